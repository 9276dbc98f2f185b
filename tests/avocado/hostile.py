# SPDX-License-Identifier: GPL-2.0-or-later
"""A vhost-vdpa network device with a hostile guest, a failing kernel and a busy monitor.

Theory of operation
===================

The device is a fake that fails on request (odd-vdpa.c).  The guest has no CPU; the test drives it
(qtest_nic.py), so each case happens in one known order.  QEMU must survive each case, and after the fault is
removed, the guest's driver must be able to start its device.

    packed-position   the ring base of a packed ring has 32 bits; `stop` and `cont` keep it
    packed-control    the device serves a control queue with a packed ring itself
    queue-reset       VIRTIO_F_RING_RESET is not offered, because vhost-vdpa cannot reset one queue
    late-queue        the driver sets a queue up after DRIVER_OK
    deleted-queue     the driver writes the size of a queue that its feature negotiation has deleted
    query             x-query-virtio-queue-status of a running device changes nothing
    commands          more control commands at once than QEMU serves in one turn; a long one
    answer-register   the answer to a control command goes to the device's own device_status
    flood             a guest breaks its device again and again: QEMU logs five lines and a last one
    ring-register     a part of a ring turns from RAM into the device's own device_status
    stop-register     a ring lies on device_status while the machine is stopped and continues
    failed-launch     a failed launch leaves the ring bases as they were
    generic           the monitor queries a vhost-vdpa-device-pci
    faults            each ioctl fails for a while, during start, migration, stop and reset
    features          the features that the driver accepted block migration, not those that are offered
    noise             random registers, rings, monitor commands and faults; addresses are in RAM, ROM,
                      SMRAM, BARs (the device's own registers among them) and holes; `seconds` is
                      the duration (`tests/avocado/run --long`, for a QEMU that was built with
                      --enable-asan, takes ten minutes)
    unplug            netdev and NIC are plugged and unplugged in random order

*Limits*: no traffic; no KVM; few random inputs (tests/fuzz is for rings).
"""

import contextlib
import random
import shutil
import struct
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from guest import TIME_LIMIT, has_query, preload, qemu_binary, wait_until
from qemu.machine.qtest import QEMUQtestMachine
from qemu.qmp import ExecuteError
from qlab.qmpnames import QUERY_VHOST_VDPA
from qtest_nic import BAR, COMMAND, NEEDS_RESET, NOTIFY, REGISTERS, RING_PACKED, RINGS, VERSION_1, Nic
from tidy import TidyTest

RING_RESET, MQ = 40, 22
EIO = 5
RAM_END = 64 << 20
STATUS_REGISTER = BAR + REGISTERS["status"][0]
#: What the device offers: rings, a link, and with CONTROL a control queue.
PLAIN = sum(1 << bit for bit in (3, 5, 16, 28, 29, VERSION_1, 33))
CONTROL = PLAIN | sum(1 << bit for bit in (17, 18, 19, 20, 23))
#: Of the kernel: messages, batches, address spaces, suspend, resume, maps that last.
BACKEND, NO_SUSPEND = 0x13E, 0x0E
#: Numbers of ioctls.
GET_FEATURES, SET_NUM, SET_ADDR, BASE, SET_KICK, SET_CALL = 0x00, 0x10, 0x11, 0x12, 0x20, 0x21
SET_ASID, RESUME = 0x7C, 0x7E
FAILING = (GET_FEATURES, SET_NUM, SET_ADDR, BASE, SET_KICK, SET_CALL, 0x71, 0x72, 0x73, 0x75, 0x76,
           0x77, 0x7B, SET_ASID, 0x7D, RESUME)
SET_MAC = bytes([1, 1]) + bytes.fromhex("525400000011")
PROMISC = bytes([0, 0, 1])


class Hostile(TidyTest):
    """:avocado: tags=vdpa,arch:x86_64"""

    timeout = 400

    def setUp(self) -> None:
        """Skip where it cannot run."""
        self.binary = qemu_binary(self.params.get("qemu_binary"))
        if not self.binary.exists():
            self.cancel(f"missing: {self.binary}")
        if not has_query(self.binary):
            self.cancel(f"{self.binary} is not qemu-live's")
        self.folder = Path(tempfile.mkdtemp(prefix="qemu-live-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.prefix = preload(self.folder, "odd-vdpa")
        self.what = self.folder / "what"

    def configure(self, *lines: str, **values: int) -> None:
        """Change the device's configuration: VALUES stay, LINES are for now."""
        self.config.update(values)
        text = "".join(f"{word} {value:#x}\n" for word, value in self.config.items())
        new = self.folder / "what.new"
        new.write_text(text + "".join(f"{line}\n" for line in lines), "ascii")
        new.rename(self.what)

    def start(self, netdev: str = "", device: str = "", generic: bool = False,
              args: Sequence[str] = (), **config: int) -> None:
        """Start a QEMU with the device; GENERIC: vhost-vdpa-device-pci; ARGS: other devices."""
        self.config = {"features": CONTROL, "backend": BACKEND, **config}
        self.configure()
        Path(f"{self.what}.log").unlink(missing_ok=True)
        self.vm = QEMUQtestMachine(
            str(self.binary), base_temp_dir=str(self.folder), qmp_timer=TIME_LIMIT,
            wrapper=["setpriv", "--pdeathsig", "KILL", *self.prefix, f"ODD_VDPA={self.what}"],
            args=["-m", "64", "-machine", "pc", "-nodefaults", "-no-user-config",
                  "-qtest-log", "none", *args,
                  *(("-device", "vhost-vdpa-device-pci,id=nic,vhostdev=/dev/null,disable-legacy=on")
                    if generic else
                    ("-netdev", f"vhost-vdpa,id=n0,vhostdev=/dev/null{netdev}",
                     "-device", "virtio-net-pci,id=nic,netdev=n0,disable-legacy=on,romfile=,"
                                f"mac=52:54:00:00:00:aa{device}"))])
        self.addCleanup(self.vm.kill)
        self.vm.launch()
        assert self.vm._qtest is not None   # it has no public name
        self.nic = Nic(self.vm._qtest)

    def end(self) -> str:
        """End QEMU, which has to exit with 0; its log."""
        self.vm.shutdown(timeout=int(TIME_LIMIT))
        self.assertEqual(self.vm.exitcode(), 0)
        return self.vm.get_log() or ""

    def calls(self, way: str, number: int) -> list[tuple[int, int]]:
        """The first two words of each ioctl of that number so far."""
        lines = Path(f"{self.what}.log").read_text("ascii").splitlines()
        found = (line.split() for line in lines if line.startswith(f"{way} {number:#x} "))
        return [(int(words[2], 0), int(words[3], 0)) for words in found]

    def info(self) -> dict[str, Any]:
        """query-vhost-vdpa of the only device."""
        answer: Any = self.vm.cmd(QUERY_VHOST_VDPA)
        return dict(answer[0])

    def kinds(self) -> list[str]:
        """How each queue is served."""
        return [str(queue["kind"]) for queue in self.info()["queues"]]

    def runs(self) -> bool:
        """Whether the device is started and does not wait for memory."""
        info = self.info()
        return info["state"] == "driver-ok" and not info["waiting"]

    def drive(self, refuse: int = 0) -> None:
        """The guest's driver starts the device."""
        self.nic.start(refuse)
        wait_until("the device runs", self.runs)

    def recovers(self) -> None:
        """Remove all faults; the guest's driver can start the device."""
        self.configure()
        self.try_cmd("set_link", name="n0", up=True)
        self.drive()
        if self.nic.features >> 17 & 1:
            self.assertEqual(self.nic.command(SET_MAC), 0)

    def try_cmd(self, command: str, **arguments: Any) -> bool:
        """A QMP command that may be refused."""
        with contextlib.suppress(ExecuteError):
            self.vm.cmd(command, **arguments)
            return True
        return False

    def migration(self) -> str:
        """The migration's status."""
        answer: Any = self.vm.cmd("query-migrate")
        return str(answer.get("status", "none"))

    def migrate_and_cancel(self) -> None:
        """Start a migration and cancel it, if it can be started."""
        self.vm.cmd("migrate-set-parameters", max_bandwidth=4 << 20)
        if not self.try_cmd("migrate", uri="exec:cat >/dev/null"):
            return
        wait_until("the migration begins", lambda: self.migration() != "setup")
        self.nic.command(PROMISC, timeout=0.3)
        self.try_cmd("migrate_cancel")
        wait_until("the migration ends", lambda: self.migration() in (
            "completed", "failed", "cancelled"))

    def test(self) -> None:
        """Run the case."""
        name = self.params.get("what", default="late-queue")
        cases: dict[str, Callable[[], None]] = {
            "packed-position": self.packed_position, "packed-control": self.packed_control,
            "queue-reset": self.queue_reset, "late-queue": self.late_queue,
            "deleted-queue": self.deleted_queue, "query": self.query,
            "commands": self.commands, "failed-launch": self.failed_launch,
            "features": self.features, "generic": self.generic, "faults": self.faults, "noise": self.noise,
            "answer-register": self.answer_register, "flood": self.flood, "ring-register": self.ring_register,
            "stop-register": self.stop_register,
            "unplug": self.unplug}
        cases[name]()

    def packed_position(self) -> None:
        """Both wrap counters are 1, so bit 31 is set."""
        place = 0x80058005
        self.start(device=",packed=on", features=PLAIN | 1 << RING_PACKED, base=place)
        self.drive()
        self.vm.cmd("stop")
        self.vm.cmd("cont")
        wait_until("the device runs", self.runs)
        self.assertEqual(self.calls("set", BASE)[-2:], [(0, place), (1, place)])
        self.assertEqual(self.end(), "")

    def packed_control(self) -> None:
        """With a split ring QEMU serves the control queue; with a packed ring the device does."""
        self.start(device=",packed=on", features=CONTROL | 1 << RING_PACKED)
        self.drive(refuse=1 << RING_PACKED)
        self.assertEqual(self.kinds(), ["passthrough", "passthrough", "control"])
        self.assertEqual(self.calls("set", SET_ASID)[-1], (1, 1))
        self.drive()
        self.assertEqual(self.kinds(), ["passthrough", "passthrough", "passthrough"])
        self.assertEqual(self.calls("set", SET_ASID)[-1], (1, 0))
        self.assertEqual(self.end(), "")

    def queue_reset(self) -> None:
        """The feature is not offered, although the device offers it."""
        self.start(features=CONTROL | 1 << RING_RESET)
        self.assertFalse(self.nic.offered() >> RING_RESET & 1)
        self.drive()
        self.assertEqual(self.end(), "")

    def late_queue(self) -> None:
        """One queue is set up after DRIVER_OK, another one is changed after it."""
        self.start(features=PLAIN)
        self.nic.accept(PLAIN)
        self.nic.set_queue(0)
        self.nic.ready()
        wait_until("the device runs", self.runs)
        self.nic.set_queue(1)
        self.nic.reset()
        self.drive()
        self.nic.put("queue_select", 0)
        self.nic.put("queue_desc", 0)
        self.nic.put("queue_enable", 1)
        asked = len(self.calls("get", BASE))
        self.nic.reset()
        self.assertEqual(len(self.calls("get", BASE)), asked + 2, "QEMU did not stop a queue")
        self.recovers()
        self.end()

    def deleted_queue(self) -> None:
        """The driver sets multiqueue up and then refuses it without a reset; any virtio-net device allows that."""
        self.start(device=",mq=on", features=CONTROL | 1 << MQ, pairs=2)
        self.nic.accept(self.nic.offered())
        for queue in range(5):
            self.nic.set_queue(queue)
        self.nic.accept(self.nic.offered() & ~(1 << MQ))
        for queue in range(5):
            self.nic.put("queue_select", queue)
            self.nic.put("queue_size", 256)
            self.nic.put("queue_size", 1024)
        self.recovers()
        self.end()

    def query(self) -> None:
        """The device keeps running while its ring bases are queried."""
        self.start()
        self.drive()
        for queue in (0, 1):
            self.vm.cmd("x-query-virtio-queue-status", queue=queue,
                        path="/machine/peripheral/nic/virtio-backend")
        self.assertTrue(self.runs())
        self.vm.cmd("stop")
        self.assertEqual([index for index, _ in self.calls("get", BASE)], [0, 1])
        self.vm.cmd("cont")
        wait_until("the device runs", self.runs)
        self.assertEqual(self.end(), "")

    def commands(self) -> None:
        """More control commands at once than QEMU serves in one turn."""
        self.start()
        self.drive()
        self.assertEqual(self.nic.command(bytes([0, 0, 1]), times=40), 0)
        self.long_table()
        self.assertEqual(self.end(), "")

    def last_commands(self, count: int) -> list[str]:
        """The last commands that the device received."""
        lines = Path(f"{self.what}.log").read_text("ascii").splitlines()
        return [line for line in lines if line.startswith("command")][-count:]

    def long_table(self) -> None:
        """A filter table longer than QEMU's memory for commands overflows; then a short one."""
        promisc, multi = "command 00 00 0", "command 00 01 0"
        many = struct.pack("<I", 10961) + bytes(6 * 10961)
        few = struct.pack("<I", 1) + bytes.fromhex("525400000022")
        none = struct.pack("<I", 0)
        self.assertEqual(self.nic.command(bytes([0, 0, 0])), 0)
        self.assertEqual(self.nic.command(bytes([1, 0]) + many + none), 0)
        self.assertEqual(self.last_commands(3), [f"{promisc}1", "command 01 00" + " 00" * 8,
                                             f"{multi}0"])
        self.assertEqual(self.nic.command(bytes([0, 0, 0])), 0)
        self.assertEqual(self.last_commands(3)[0], f"{promisc}1")
        self.assertEqual(self.nic.command(bytes([1, 0]) + few + none), 0)
        self.assertEqual(self.last_commands(2), [f"{promisc}0", f"{multi}0"])
        self.assertEqual(self.nic.command(bytes([0, 0, 1])), 0)
        self.assertEqual(self.last_commands(1), [f"{promisc}1"])
        self.assertEqual(self.nic.command(bytes([4, 9]) + bytes(1 << 17)), 1)

    def broken(self, *said: str) -> None:
        """The guest sees NEEDS_RESET, QEMU has logged one line, and a reset repairs the device."""
        wait_until("the device is broken", lambda: bool(self.nic.get("status") & NEEDS_RESET))
        if self.nic.get("msix_config") == 0:
            wait_until("the guest is interrupted", self.nic.has_message)
        self.nic.find()
        self.recovers()
        lines = [line for line in self.end().splitlines() if "vhost-vdpa" in line]
        self.assertEqual(len(lines), 1, lines)
        for words in said:
            self.assertIn(words, lines[0])

    def answer_register(self) -> None:
        """Once the answer lies on the register, once the command."""
        for command, answer in ((COMMAND, STATUS_REGISTER), (STATUS_REGISTER, COMMAND)):
            self.start()
            self.drive()
            self.nic.await_message()
            (queue_index,) = self.nic.queues()[-1:]
            at = self.nic.rings(queue_index)
            self.nic.store(COMMAND, PROMISC)
            self.nic.store(at, struct.pack("<QIHHQIHH", command, len(PROMISC), 1, 1, answer, 1, 2, 0))
            self.nic.write(at + 0x1002, 2, 1)
            self.nic.kick(queue_index)
            self.broken("queue 2: buffer at 0xe0000014 is not in guest memory")

    def flood(self) -> None:
        """QEMU limits its log lines about the guest; query-vhost-vdpa still has the last error."""
        self.start()
        for number in range(40):
            self.drive()
            at = self.nic.rings(2)
            self.nic.store(COMMAND, PROMISC)
            self.nic.store(at, struct.pack("<QIHHQIHH", COMMAND, len(PROMISC), 1, 1,
                                           STATUS_REGISTER + (number << 40), 1, 2, 0))
            self.nic.write(at + 0x1002, 2, 1)
            self.nic.kick(2)
            wait_until("the device is broken",
                       lambda: bool(self.nic.get("status") & NEEDS_RESET))
        self.assertIn(f"{STATUS_REGISTER + (39 << 40):#x}", str(self.info()["last-error"]))
        lines = [line for line in self.end().splitlines() if "vhost-vdpa" in line]
        self.assertEqual(len(lines), 6, lines)
        self.assertIn("more messages like this one are left out", lines[5])

    def pam(self, ram: bool) -> None:
        """Map 0xC0000 to 0xC3FFF to RAM or to PCI (i440FX, PAM1)."""
        register = self.nic.pci(0, 0x58) & ~(0xFF << 16)
        self.nic.pci(0, 0x58, register | (0x33 if ram else 0) << 16)

    def ring_register(self) -> None:
        """For each part of a ring, move the BAR below it."""
        for part in ("queue_desc", "queue_driver", "queue_device"):
            self.start(",x-svq=on", features=CONTROL & ~(1 << 29))
            self.pam(ram=True)
            self.nic.reset()
            self.nic.accept(self.nic.offered())
            for number in self.nic.queues():
                for offset in range(0, 0x3000, 0x1000):
                    self.nic.store(self.nic.rings(number) + offset, bytes(0x1000))
                self.nic.set_queue(number, enable=False)
                if number == 2:     # QEMU answers at once, so it writes used entries
                    self.nic.store(0xC0000, bytes(0x1000))
                    self.nic.put(part, 0xC0000)
                self.nic.put("queue_enable", 1)
            self.nic.ready()
            wait_until("the device runs", self.runs)
            slot = self.nic.slot
            self.nic.pci(slot, 0x20, 0xC0000)
            self.pam(ram=False)
            if part != "queue_driver":  # a command waits
                self.nic.write(self.nic.rings(2) + 0x1002, 2, 1)
            self.nic.write(0xC0000 + NOTIFY + 4 * 2, 2, 2)
            time.sleep(0.2)
            self.nic.find()
            self.broken("queue 2: ", "in guest memory")

    def stop_register(self) -> None:
        """vhost unmaps what it has mapped of such a ring."""
        self.start()
        for part in ("queue_desc", "queue_driver", "queue_device"):
            self.nic.reset()
            self.nic.accept(self.nic.offered())
            for index in self.nic.queues():
                self.nic.set_queue(index, size=4, enable=False)
                if index == 0:
                    self.nic.put(part, BAR)
                self.nic.put("queue_enable", 1)
            self.vm.cmd("stop")
            self.nic.ready()
            self.vm.cmd("cont")
            self.vm.cmd("stop")
            self.try_cmd("set_link", name="n0", up=False)
            self.vm.cmd("cont")
            self.recovers()
        self.end()

    def failed_launch(self) -> None:
        """The next launch sets the ring bases from before the failed launch."""
        self.start(features=PLAIN, base=5)
        self.drive()
        for queue in (0, 1):        # five buffers, all used
            self.nic.write(self.nic.rings(queue) + 0x1002, 2, 5)
            self.nic.write(self.nic.rings(queue) + 0x2002, 2, 5)
        self.vm.cmd("stop")
        self.configure(f"fail {SET_NUM:#x} {EIO}")
        self.vm.cmd("cont")
        wait_until("the launch fails", lambda: "size" in str(self.info().get("last-error")))
        self.configure()
        self.vm.cmd("set_link", name="n0", up=True)
        wait_until("the device runs", self.runs)
        self.assertEqual(self.calls("set", BASE)[-2:], [(0, 5), (1, 5)])
        self.assertNotIn("restore failed", self.end())

    def migrates(self) -> str:
        """Migrate into a pipe; empty if that completes, else the error."""
        try:
            self.vm.cmd("migrate", uri="exec:cat >/dev/null")
        except ExecuteError as error:
            return str(error)
        wait_until("the migration ends", lambda: self.migration() in ("completed", "failed"))
        answer: Any = self.vm.cmd("query-migrate")
        if answer["status"] == "completed":
            self.vm.cmd("cont")
            return ""
        return str(answer.get("error-desc"))

    def features(self) -> None:
        """RING_PACKED is offered, accepted, given up, and accepted during a migration."""
        packed = 1 << RING_PACKED
        odd = packed | 1 << 35 | 1 << 36 | 1 << RING_RESET
        self.start(features=CONTROL | odd)
        self.drive()
        self.assertFalse(self.nic.features & odd & ~(1 << 36))
        self.assertEqual(self.migrates(), "")
        self.assertNotIn("accepted", self.end())
        self.start(",x-svq=on", ",packed=on", features=CONTROL | packed)
        self.drive()
        self.assertEqual(self.kinds(), ["shadow", "shadow", "control"])
        self.assertEqual(self.end(), "")
        self.start(device=",packed=on", features=CONTROL | packed)
        self.drive(refuse=packed)
        self.assertEqual(self.migrates(), "")
        self.drive()
        self.assertIn("n0: the guest's driver accepted RING_PACKED", self.migrates())
        self.vm.cmd("stop")
        self.assertIn("accepted RING_PACKED", self.migrates())
        self.vm.cmd("cont")
        self.nic.reset()
        self.assertEqual(self.migrates(), "")
        self.drive(refuse=packed)
        self.vm.cmd("migrate-set-parameters", max_bandwidth=1 << 16)
        self.vm.cmd("migrate", uri="exec:cat >/dev/null")
        wait_until("the migration runs", lambda: self.migration() == "active")
        self.drive()
        self.assertEqual(self.kinds(), ["passthrough"] * 3)
        wait_until("the migration fails", lambda: self.migration() == "failed")
        self.assertIn("accepted RING_PACKED", str(self.vm.cmd("query-migrate")))
        self.assertTrue(self.runs())
        self.assertIn("accepted RING_PACKED", self.migrates())
        self.vm.cmd("migrate-set-parameters", max_bandwidth=1 << 30)
        self.drive(refuse=packed)
        self.assertEqual(self.migrates(), "")
        self.end()

    def generic(self) -> None:
        """The device keeps running while it is queried."""
        self.start(generic=True, features=PLAIN)
        self.drive()
        ask(self, random.Random(0))
        stop(self, random.Random(0))
        wait_until("the device runs", self.runs)
        self.assertEqual(self.end(), "")

    def faults(self) -> None:
        """In passthrough, on a device that cannot suspend, and with x-svq=on."""
        for netdev, backend in (("", BACKEND), ("", NO_SUSPEND), (",x-svq=on", BACKEND)):
            self.start(netdev, backend=backend)
            for number in FAILING:
                self.log.info("%s, %#x: %#x fails", netdev, backend, number)
                self.drive()
                self.configure(f"fail {number:#x} {EIO}")
                self.migrate_and_cancel()
                self.vm.cmd("stop")
                self.vm.cmd("cont")
                self.nic.start()
                self.nic.command(SET_MAC, timeout=0.3)
                self.recovers()
            self.end()

    def noise(self) -> None:
        """Each machine has its own seed, which is logged; with seed 4 the base's vhost.c fails."""
        until = time.monotonic() + float(self.params.get("seconds", default=0))
        number = 0
        while number < 4 or time.monotonic() < until:
            seed = int(self.params.get("seed", default=4)) * 100 + number
            self.log.info("seed %d", seed)
            lot = random.Random(seed)
            self.start(lot.choice(("", ",x-svq=on")), ",mq=on", generic=number % 4 == 3,
                       features=CONTROL | lot.choice((0, 1 << 22)), pairs=2,
                       backend=lot.choice((BACKEND, NO_SUSPEND, 0x3E, 0x1E)))
            for _ in range(120):
                lot.choice(NOISE)(self, lot)
            self.calm()
            self.vm.cmd("system_reset")
            self.nic.find()
            self.recovers()
            self.end()
            number += 1

    def calm(self) -> None:
        """Remove faults, cancel the migration, let the guest run."""
        self.configure()
        self.try_cmd("migrate_cancel")
        wait_until("the migration ends", lambda: self.migration() in (
            "none", "completed", "failed", "cancelled"))
        wait_until("the guest may run", lambda: self.try_cmd("cont"))

    def unplug(self) -> None:
        """Unplug either half first, in any state; at the end, both can be plugged and work."""
        for number in range(3):
            seed = int(self.params.get("seed", default=1)) * 100 + number
            self.log.info("seed %d", seed)
            lot = random.Random(seed)
            self.start(backend=lot.choice((BACKEND, NO_SUSPEND, 0x1E)))
            for _ in range(100):
                lot.choice(PLUG)(self, lot)
            self.calm()
            wait_until("the guest's half is gone", lambda: nic_goes(self, lot))
            wait_until("QEMU's half is gone", lambda: netdev_goes(self, lot))
            self.assertEqual(self.vm.cmd(QUERY_VHOST_VDPA), [])
            self.assertTrue(netdev_comes(self, lot) and nic_comes(self, lot))
            self.nic.find()
            self.recovers()
            self.end()


class LongNoise(Hostile):
    """:avocado: tags=vdpa,arch:x86_64,long"""

    timeout = 1200


def any_address(lot: random.Random) -> int:
    """A random address in RAM, ROM, SMRAM, a PAM region, a BAR or a hole, often at their ends."""
    page = lot.choice((0, RINGS, 0x1800000, 0x3FF0000, RAM_END - 0x1000, 0x1000000, 0xA0000, 0xB8000,
                       0xC0000, 0xDF000, 0xF0000, 0xFFFFF000, 0xFFFC0000, 0xFEE00000, 0xFEC00000,
                       BAR, BAR + 0x1000, BAR + 0x2000, BAR + 0x3000, BAR + 0x4000, RAM_END,
                       0x80000000, 1 << 40, 1 << 63, (1 << 64) - 0x1000, lot.getrandbits(64)))
    return (page + lot.choice((0, 0, 1, 0x10, 0x14, 0xFF0, 0xFFC))) % (1 << 64)


def chain(test: Hostile, lot: random.Random) -> None:
    """Make a chain with buffers and indirect tables at random addresses available."""
    queue_index = lot.randrange(6)
    at = test.nic.rings(queue_index)
    test.nic.store(COMMAND, PROMISC)
    for number in range(3):
        test.nic.store(at + 16 * number, struct.pack(
            "<QIHH", lot.choice((COMMAND, any_address(lot))), lot.choice((1, 3, 16, 64, 0x2000)),
            lot.choice((1, 3, 2, 0, 4)), number + 1))
    test.nic.write(at + 0x1002, 2, test.nic.read(at + 0x1002, 2) + 1 & 0xFFFF)
    test.nic.kick(queue_index)


def move(test: Hostile, lot: random.Random) -> None:
    """Move the BAR, also over RAM, and back; map PAM regions to RAM or PCI."""
    slot = test.nic.slot
    test.pam(lot.random() < 0.5)
    test.nic.pci(slot, 0x20, lot.choice((0xC0000, RINGS, 0xF0000000)))
    if lot.random() < 0.5:
        test.nic.kick(lot.randrange(6))
        time.sleep(0.005)
    test.nic.pci(slot, 0x20, BAR)


def queue(test: Hostile, lot: random.Random) -> None:
    """Write a queue's registers at any time; its size only before DRIVER_OK."""
    sizes = (None,) if test.nic.get("status") & 4 else (None, 1, 2, 3, 8, 256, 1024)
    test.nic.set_queue(lot.choice((0, 1, 2, 3, 4, 5, 1023, 0xFFFF)), size=lot.choice(sizes),
                       at=any_address(lot))


def ring(test: Hostile, lot: random.Random) -> None:
    """Write random words into a ring."""
    for _ in range(8):
        test.nic.write(test.nic.rings(lot.randrange(6)) + lot.choice((0, 0x1000, 0x2000))
                       + lot.randrange(0x60), 4, lot.getrandbits(32))


def fault(test: Hostile, lot: random.Random) -> None:
    """An ioctl fails from now on, or none does."""
    lines = [f"fail {lot.choice(FAILING):#x} {lot.choice((EIO, 11, 22))}"]
    test.configure(*lot.choice((lines, [])))


def ask(test: Hostile, lot: random.Random) -> None:
    """Query the device in all ways that the monitor has."""
    path = "/machine/peripheral/nic/virtio-backend"
    test.info()
    test.vm.cmd("human-monitor-command", command_line="info vhost-vdpa")
    for command in ("x-query-virtio-queue-status", "x-query-virtio-vhost-queue-status"):
        test.try_cmd(command, path=path, queue=lot.randrange(5))
    test.try_cmd("x-query-virtio-status", path=path)


def stop(test: Hostile, lot: random.Random) -> None:
    """`stop` and `cont`."""
    test.vm.cmd("stop")
    test.try_cmd("cont")


def migrate(test: Hostile, lot: random.Random) -> None:
    """Migrate, slowly or fast."""
    test.vm.cmd("migrate-set-parameters", max_bandwidth=lot.choice((1 << 20, 1 << 30)))
    test.try_cmd("migrate", uri="exec:cat >/dev/null")


def set_link(test: Hostile, lot: random.Random) -> None:
    """`set_link` by the netdev's name or the NIC's."""
    test.try_cmd("set_link", name=lot.choice(("n0", "nic")), up=lot.random() < 0.7)


def cancel(test: Hostile, lot: random.Random) -> None:
    """Cancel a migration, if there is one."""
    test.try_cmd("migrate_cancel")


def command(test: Hostile, lot: random.Random) -> None:
    """Send a random control command, if there is a control queue."""
    with contextlib.suppress(IndexError):
        test.nic.command(bytes([lot.randrange(6), lot.randrange(4)])
                         + lot.randbytes(lot.randrange(20)), timeout=0.05)


NOISE: tuple[Callable[[Hostile, random.Random], None], ...] = (
    queue, ring, chain, chain, move, fault, ask, stop, migrate, command,
    lambda test, lot: test.nic.start(),
    lambda test, lot: test.nic.reset(),
    lambda test, lot: test.nic.ready(),
    lambda test, lot: test.nic.accept(lot.getrandbits(64) & test.nic.offered()),
    lambda test, lot: test.nic.put("status", lot.getrandbits(8)),
    lambda test, lot: test.nic.kick(lot.randrange(8)),
    set_link, cancel,
    lambda test, lot: time.sleep(0.01),
)


def nic_goes(test: Hostile, lot: random.Random) -> bool:
    """Unplug the NIC and let the guest eject it; whether it is gone."""
    exists = test.try_cmd("device_del", id="nic")
    test.nic.ask("outl 0xae10 0")       # ACPI: bus 0
    test.nic.ask(f"outl 0xae08 {1 << SLOT:#x}")
    return not exists


def netdev_goes(test: Hostile, lot: random.Random) -> bool:
    """Delete the netdev; whether it is gone."""
    return not test.try_cmd("netdev_del", id="n0")


def netdev_comes(test: Hostile, lot: random.Random) -> bool:
    """Add the netdev; whether it is there."""
    return test.try_cmd("netdev_add", type="vhost-vdpa", id="n0", vhostdev="/dev/null")


def nic_comes(test: Hostile, lot: random.Random) -> bool:
    """Add the NIC; whether it is there."""
    return test.try_cmd("device_add", driver="virtio-net-pci", id="nic", netdev="n0",
                        addr=str(SLOT), romfile="", **{"disable-legacy": "on"})


def driver(test: Hostile, lot: random.Random) -> None:
    """The guest's driver starts the NIC, if it is there."""
    with contextlib.suppress(LookupError):
        test.nic.find()
        test.nic.start()


def no_memory(test: Hostile, lot: random.Random) -> None:
    """The kernel refuses to map memory from now on."""
    test.configure(f"message {lot.choice((12, 14, 22))}")


SLOT = 2    # of the first device on the command line
PLUG: tuple[Callable[[Hostile, random.Random], object], ...] = (
    nic_goes, netdev_goes, netdev_comes, nic_comes, netdev_comes, nic_comes, driver, driver,
    fault, no_memory, stop, migrate, cancel, set_link,
    lambda test, lot: test.vm.cmd("system_reset"),
    lambda test, lot: test.vm.cmd(QUERY_VHOST_VDPA),
)
