# SPDX-License-Identifier: GPL-2.0-or-later
"""A vhost-vdpa network device that cannot be started.

Theory of operation
===================

The device is a fake (odd-vdpa.c); the guest has no CPU (qtest_nic.py).  Before each start that may fail, the
device has run and has stopped with its ring bases at 5.  The next driver's rings are new and have frames to
send.  Then the start fails, for one reason:

    load        QEMU has N file descriptors left when the guest loads its driver
    device-add  ... when the netdev and the NIC are plugged in, and the driver is loaded
    incoming    ... when a migration arrives
    ioctls      each ioctl fails
    rings       a part of a ring lies outside RAM
    migrates    a guest whose device has failed migrates: the destination starts its device
    stalled     the kernel does not return from mapping the memory of QEMU's rings
    generic     all of these for vhost-vdpa-device-pci, which has no link

After a start that failed, the device has to be reset, the guest sees its link down, query-vhost-vdpa has
the reason, the data rings are unchanged, and the control queue is answered.  When the reason is removed,
`set_link` starts the device, and so does the next load of a driver; its ring bases are the guest's.  QEMU keeps
no descriptor open.  A generic device has DEVICE_NEEDS_RESET instead of a link that is down, and interrupts the
guest.

`values` of a case lists the N that are tried; `tests/avocado/run --long` tries all from 0 to 40, and up to
60 with 8 queue pairs, which need more than 40.

*Limits*: no KVM, so no irqfd; no traffic.
"""

from __future__ import annotations

import contextlib
import os
import resource
import struct
from pathlib import Path
from typing import Any

from guest import wait_until
from hostile import BASE, CONTROL, EIO, FAILING, MQ, PLAIN, PROMISC, SET_MAC, SET_NUM, Hostile, netdev_goes, nic_goes
from qemu.qmp import ExecuteError
from qlab.qmpnames import QUERY_VHOST_VDPA
from qtest_nic import BAR, CONFIG, CTRL_VQ, MESSAGE, NEEDS_RESET, Nic

STOPPED_AT = 5
SIZE = 128          # a part of a ring fits into a page
FRAMES = 3
BUFFERS = 0x2100000
HOLE = 0x80000000
SLOT = 2


class StartFails(Hostile):
    """:avocado: tags=vdpa,arch:x86_64"""

    timeout = 400

    def test(self) -> None:
        """Run the case."""
        name = self.params.get("what", default="load")
        self.pairs = int(self.params.get("pairs", default=1))
        self.svq = ",x-svq=on" if self.params.get("svq", default=0) else ""
        values = self.params.get("values", default="")
        self.values = [int(word) for word in str(values).split()] or list(
            range(41 if self.pairs == 1 else 61))
        {"load": self.load, "device-add": self.device_add, "incoming": self.incoming,
         "migrates": self.migrates, "ioctls": self.ioctls, "rings": self.bad_rings, "stalled": self.stalled,
         "generic": self.generic_device}[name]()

    # --- the machine ---------------------------------------------------------

    def begin(self, more: tuple[str, ...] = ()) -> None:
        """Start a QEMU with the device."""
        features = CONTROL | (1 << MQ if self.pairs > 1 else 0)
        self.start(self.svq, ",mq=on,vectors=20" if self.pairs > 1 else "", args=more,
                   features=features, pairs=self.pairs, base=STOPPED_AT)

    def descriptors(self) -> set[int]:
        """The descriptors that QEMU has open; the fake device's configuration, read by any thread, is not counted."""
        folder, found = Path(f"/proc/{self.vm.get_pid()}/fd"), set()
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(folder / name) != str(self.what):
                    found.add(int(name))
        return found

    def limit(self, left: int | None) -> None:
        """Let QEMU open LEFT more descriptors; None: no limit.  RLIMIT_NOFILE limits their numbers."""
        pid, number, taken = self.vm.get_pid(), 0, self.descriptors()
        assert pid is not None
        hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
        if left is None:
            number = hard
        else:
            while left or number in taken:
                left -= number not in taken
                number += 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (number, hard))

    # --- the guest -----------------------------------------------------------

    def data(self) -> list[int]:
        """The indexes of the data queues."""
        return self.nic.queues()[:-1] if self.nic.features >> CTRL_VQ & 1 else self.nic.queues()

    def prepare(self) -> None:
        """Do all that a driver does before DRIVER_OK; each data queue has buffers."""
        nic = self.nic
        nic.reset()
        nic.accept(nic.offered())
        for queue in nic.queues():
            for part in range(3):
                nic.store(nic.rings(queue) + part * 0x1000, bytes(0x1000))
            nic.set_queue(queue, size=SIZE)
        for queue in self.data():
            flags = 0 if queue % 2 else 2
            nic.store(nic.rings(queue), b"".join(
                struct.pack("<QIHH", BUFFERS + 0x800 * number, 0x600, flags, 0)
                for number in range(FRAMES)))
            nic.store(nic.rings(queue) + 0x1000, struct.pack(
                f"<HH{FRAMES}H", 0, FRAMES, *range(FRAMES)))

    def rings(self) -> list[str]:
        """All bytes of the data queues' rings."""
        return [self.nic.wire.cmd(f"read {self.nic.rings(queue):#x} 0x3000") for queue in self.data()]

    def link(self) -> bool:
        """Whether the guest sees its link up."""
        return bool(self.nic.read(BAR + CONFIG + 6, 2) & 1)

    def down(self) -> bool:
        """Whether the device is not started and the guest sees its link down."""
        return not self.runs() and not self.link()

    # --- what has to hold ----------------------------------------------------

    def started(self) -> bool:
        """Set DRIVER_OK; whether the device is started.  If not, check what has to hold."""
        before = self.rings()
        self.nic.ready()
        return self.check_started(before)

    def check_started(self, before: list[str]) -> bool:
        """Whether the device is started.  If not, check what has to hold; BEFORE are the data rings' bytes."""
        wait_until("the start ends", lambda: self.runs() or self.down())
        if self.runs():
            return True
        info = self.info()
        self.assertIn(info["state"], self.states)
        self.assertEqual((info["waiting"], info["queues"]), (False, []))
        self.assertRegex(str(info.get("last-error")), self.reason)
        for queue in self.data():
            self.nic.kick(queue)
        self.assertEqual(self.nic.command(PROMISC), 0)
        self.assertEqual(self.rings(), before, "a ring was touched")
        return False

    def comes_back(self, by_link: bool) -> None:
        """After the reason is removed, the device starts."""
        asked = len(self.calls("set", BASE))
        if by_link:
            self.vm.cmd("set_link", name="n0", up=True)
        else:
            self.prepare()
            self.nic.ready()
        wait_until("the device runs", self.runs)
        self.assertTrue(self.link())
        bases = dict(self.calls("set", BASE)[asked:])
        self.assertEqual({queue: bases[queue] for queue in self.data()}, dict.fromkeys(self.data(), 0),
                         "a ring base is not the guest's")
        commands = len(self.last_commands(1 << 30))
        self.assertEqual(self.nic.command(SET_MAC), 0)
        self.assertEqual(len(self.last_commands(1 << 30)), commands + 1)

    def runs_once(self) -> None:
        """A driver starts the device and is unloaded."""
        self.prepare()
        self.nic.ready()
        wait_until("the device runs", self.runs)
        self.assertEqual(self.nic.command(SET_MAC), 0)
        self.nic.reset()

    #: The states of query-vhost-vdpa after a failed start, and the pattern of its last-error.
    states: tuple[str, ...] = ("reset",)
    reason = "descriptor|Too many open files"

    # --- cases ---------------------------------------------------------------

    def load(self) -> None:
        """Try all numbers on one QEMU."""
        failures = 0
        self.begin()
        self.runs_once()
        held = len(self.descriptors())
        for number in self.values:
            self.log.info("%d pairs, %d descriptors left", self.pairs, number)
            self.runs_once()
            self.prepare()
            self.limit(number)
            ran = self.started()
            self.limit(None)
            if not ran:
                failures += 1
                self.comes_back(by_link=number % 2 == 0)
            self.nic.reset()
            self.assertEqual(len(self.descriptors()), held, "QEMU keeps descriptors open")
        self.assertGreater(failures, 0)
        self.assertNotIn("falling back", self.end())

    def plug(self) -> bool:
        """Add the netdev and the NIC; whether both are there."""
        words: dict[str, Any] = {"disable-legacy": "on"}
        if self.pairs > 1:
            words.update(mq=True, vectors=20)
        svq = {"x-svq": True} if self.svq else {}
        self.try_cmd("netdev_add", type="vhost-vdpa", id="n0", vhostdev="/dev/null", **svq)
        if not self.vm.cmd(QUERY_VHOST_VDPA):
            return False
        self.try_cmd("device_add", driver="virtio-net-pci", id="nic", netdev="n0", addr=str(SLOT),
                     romfile="", **words)
        try:
            self.nic.find()
        except LookupError:
            return False
        return True

    def device_add(self) -> None:
        """What could not be plugged in can be when there are descriptors."""
        lot: Any = None
        self.begin()
        for number in self.values:
            self.log.info("%d pairs, %d descriptors left", self.pairs, number)
            self.nic.reset()
            wait_until("the guest's half is gone", lambda: nic_goes(self, lot))
            wait_until("QEMU's half is gone", lambda: netdev_goes(self, lot))
            self.limit(number)
            there = self.plug()
            if there:
                self.prepare()
                there = self.started()
                self.limit(None)
                if not there:
                    self.comes_back(by_link=number % 2 == 0)
            else:
                self.limit(None)
                self.assertTrue(self.plug())
                self.comes_back(by_link=False)
        self.assertNotIn("falling back", self.end())

    def incoming(self) -> None:
        """Start a QEMU for each number; its guest comes from one file."""
        file = self.folder / "stream"
        failures = 0
        self.begin()
        self.prepare()
        self.nic.ready()
        wait_until("the device runs", self.runs)
        state = (self.nic.features, dict(self.nic.added))
        self.config["base"] = 0       # the device takes no buffer before the guest migrates
        self.configure()
        self.vm.cmd("migrate", uri=f"file:{file}")
        wait_until("the migration ends", lambda: self.migration() in ("completed", "failed"))
        self.assertEqual(self.migration(), "completed")
        before = self.rings()       # a shadow ring asks for a kick when it stops
        self.vm.shutdown()
        for number in self.values:
            self.log.info("%d pairs, %d descriptors left", self.pairs, number)
            self.begin(more=("-incoming", "defer"))
            self.config["base"] = 0
            self.configure()
            self.limit(number)
            if self.arrives(str(file), state):
                ran = self.check_started(before)
                self.limit(None)
                if not ran:
                    failures += 1
                    self.comes_back(by_link=True)
            self.vm.shutdown()
            self.assertNotIn("falling back", self.vm.get_log() or "")
        self.assertGreater(failures, 0)

    def arrives(self, file: str, state: tuple[int, int]) -> bool:
        """Whether the guest arrives; if not, QEMU says why and does not exit."""
        try:
            self.vm.cmd("migrate-incoming", **{"uri": f"file:{file}", "exit-on-error": False})
        except ExecuteError as error:
            self.assertRegex(str(error), self.reason)
            return False
        wait_until("the migration ends", lambda: self.migration() in ("completed", "failed"))
        if self.migration() == "failed":
            return False
        assert self.vm._qtest is not None
        wait_until("the guest runs", lambda: bool(self.vm.cmd("query-status")["running"]))
        self.nic = Nic(self.vm._qtest)
        self.nic.features, self.nic.added = state
        return True

    def ioctls(self) -> None:
        """Each ioctl fails during one start."""
        failures = 0
        self.reason = "."
        self.states = ("reset", "needs-reset")       # a reset may be what fails
        self.begin()
        for number in FAILING:
            for by_link in (True, False):
                self.log.info("%#x fails", number)
                self.runs_once()
                self.prepare()
                self.configure(f"fail {number:#x} {EIO}")
                ran = self.started()
                self.configure()
                if not ran:
                    failures += 1
                    self.comes_back(by_link)
                self.nic.reset()
        self.assertGreater(failures, 12)
        self.assertNotIn("falling back", self.end())

    def bad_rings(self) -> None:
        """Each part of each queue's ring in turn."""
        self.reason = "ring|queue"
        self.begin()
        for queue in range(2 * self.pairs + 1):
            for part in ("queue_desc", "queue_driver", "queue_device"):
                self.log.info("%s of queue %d", part, queue)
                self.runs_once()
                self.prepare()
                self.nic.put("queue_select", queue)
                self.nic.put(part, HOLE)
                self.nic.put("queue_enable", 1)
                self.nic.ready()
                wait_until("the start fails", self.down)
                self.assertRegex(str(self.info().get("last-error")), self.reason)
                self.comes_back(by_link=False)
                self.nic.reset()
        self.assertNotIn("falling back", self.end())

    def fails(self) -> None:
        """The guest's driver starts the device, which fails."""
        self.prepare()
        self.nic.await_message()
        self.configure(f"fail {SET_NUM:#x} {EIO}")
        self.assertFalse(self.started())
        wait_until("the guest is interrupted", self.nic.has_message)
        self.nic.write(MESSAGE, 4, 0)

    def save(self, file: str) -> tuple[int, int]:
        """Migrate into the file and end QEMU; what the driver knows."""
        self.vm.cmd("migrate", uri=f"file:{file}")
        wait_until("the migration ends", lambda: self.migration() in ("completed", "failed"))
        self.assertEqual(self.migration(), "completed")
        state = (self.nic.features, dict(self.nic.added))
        self.vm.shutdown()
        return state

    def arrive(self, file: str, state: tuple[int, int], *lines: str) -> None:
        """A QEMU whose device has this configuration takes the guest."""
        self.begin(more=("-incoming", "defer"))
        self.configure(*lines)
        self.assertTrue(self.arrives(file, state))

    def migrates(self) -> None:
        """A link that a failure took down is up at the destination if the device starts there."""
        file, failing = str(self.folder / "stream"), f"fail {SET_NUM:#x} {EIO}"
        self.reason = "size"
        self.begin()
        self.config["base"] = 0       # the device takes no buffer
        self.fails()
        self.vm.cmd("stop")
        self.vm.cmd("cont")
        wait_until("the device fails again", self.down)
        state = self.save(file)
        self.arrive(file, state)
        wait_until("the device runs", self.runs)
        self.assertTrue(self.link())
        self.assertTrue(self.nic.has_message(), "the guest is not told that its link is up")
        self.vm.shutdown()
        self.arrive(file, state, failing)
        wait_until("the device fails there, too", self.down)
        self.assertRegex(str(self.info().get("last-error")), self.reason)
        self.configure()
        self.comes_back(by_link=False)
        self.vm.cmd("stop")
        self.vm.cmd("cont")
        wait_until("the device runs", self.runs)
        self.fails()
        self.vm.cmd("set_link", name="n0", up=False)
        self.configure()
        state = self.save(file)
        self.arrive(file, state)
        self.assertTrue(self.down(), "a link that the user took down is up")

    def stalled(self) -> None:
        """QEMU waits for a limited time; then a start waits without the BQL, and the guest is answered."""
        self.reason = "mapping memory for the device for more than 40 s"
        self.begin()
        self.runs_once()
        self.prepare()
        self.configure(hold=1)
        self.assertFalse(self.started())
        self.nic.reset()
        self.prepare()
        self.nic.ready()
        self.assertTrue(self.info()["waiting"])
        self.assertEqual(self.nic.command(PROMISC), 0)
        self.vm.cmd("set_link", name="n0", up=False)
        self.configure(hold=0)
        self.comes_back(by_link=True)
        self.assertNotIn("falling back", self.end())

    def generic_starts(self, reason: str) -> bool:
        """DRIVER_OK; whether the device runs.  If not, the guest and the user have to know."""
        self.nic.await_message()
        before = self.rings()
        self.nic.ready()
        wait_until("the start ends", lambda: self.runs() or bool(
            self.nic.get("status") & NEEDS_RESET))
        if self.runs():
            return True
        wait_until("the guest is interrupted", self.nic.has_message)
        self.assertRegex(str(self.info().get("last-error")), reason)
        self.assertEqual((self.info()["waiting"], self.info()["queues"]), (False, []))
        self.vm.cmd("stop")
        self.vm.cmd("cont")
        self.assertFalse(self.runs(), "it starts before the guest has reset it")
        self.assertEqual(self.rings(), before, "a ring was touched")
        return False

    def generic_device(self) -> None:
        """Each descriptor that may be missing, each ioctl, each part of a ring; then a driver."""
        failures = 0
        self.start(generic=True, features=PLAIN, base=STOPPED_AT)
        held = 0
        for left, failing in (*((number, None) for number in self.values),
                              *((None, number) for number in FAILING)):
            self.log.info("%s descriptors left, ioctl %s fails", left, failing)
            self.runs_generic()
            held = held or len(self.descriptors())
            self.prepare()
            self.limit(left)
            self.configure(*([] if failing is None else [f"fail {failing:#x} {EIO}"]))
            failures += not self.generic_starts(self.reason if failing is None else ".")
            self.limit(None)
            self.configure()
            self.runs_generic()
            self.assertEqual(len(self.descriptors()), held, "descriptors that are kept")
        for part in ("queue_desc", "queue_driver", "queue_device"):
            self.prepare()
            self.nic.put("queue_select", 1)
            self.nic.put(part, HOLE)
            self.nic.put("queue_enable", 1)
            self.assertFalse(self.generic_starts("ring|queue"))
            self.runs_generic()
        self.assertGreater(failures, 10)
        self.end()

    def runs_generic(self) -> None:
        """A driver uses the device for a while, and is unloaded."""
        self.prepare()
        self.nic.ready()
        wait_until("the device runs", self.runs)
        bases = dict(self.calls("set", BASE)[-2:])
        self.assertEqual(bases, {0: 0, 1: 0}, "a queue does not start where the guest's ring is")
        self.nic.reset()


class LongStart(StartFails):
    """:avocado: tags=vdpa,arch:x86_64,long"""

    timeout = 1200
