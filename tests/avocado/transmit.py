# SPDX-License-Identifier: GPL-2.0-or-later
"""A vhost-vdpa device keeps its transmit queues while the guest migrates, and is left alone where it can be.

Theory of operation
===================

The device and the guest are those of positions.py.

    stays       a migration and its cancelling change nothing for the transmit queue, with chains in flight: the
                device is told nothing of it and takes no chain twice, while the receive queue is shadowed
    shadowed    with x-svq-tx=on, x-svq=on, and on a device that cannot suspend both queues are shadowed
    marked      what the device writes to the transmit queue's used ring, past QEMU, reaches the migration's
                stream: a file in which each page has its place
    late-reset  a device of a guest that has stopped to migrate is suspended, and reset when the migration has
                ended; if that is cancelled, it runs again
    plugged     a virtio-mem device beside it: blocks are mapped as the guest plugs them in, and unmapped as it
                unplugs them, one by one, also if they came together
    iothread    with iothread=ID that object's thread serves shadow queues, also when the object was deleted, and
                QEMU has no thread more; a name that there is not is refused
    platform    a driver that accepted ACCESS_PLATFORM, without a vIOMMU: nothing is mapped again for it

*Limits*: one queue pair.
"""

import struct
import time
from pathlib import Path

from guest import wait_until
from hostile import BACKEND, CONTROL, NO_SUSPEND, PLAIN, SET_ADDR, SET_KICK, Hostile
from positions import CHAINS, FULL, FULL_SIZE, Positions
from qtest_nic import PluggedMemory

ENABLE = 0x75
ACCESS_PLATFORM = 33
TRANSMIT = 1
PATTERN = b"\x55"


class Transmit(Positions):
    """:avocado: tags=vdpa,arch:x86_64"""

    netdev = ""
    migrating = ("shadow", "passthrough")

    def takes_of(self, queue: int) -> int:
        """How many chains of the queue the device has taken so far."""
        return len(self.log_lines(f"take {queue}"))

    def told(self) -> list[tuple[int, int]]:
        """What the device was told of the transmit queue."""
        return [call for number in (SET_ADDR, SET_KICK, ENABLE) for call in self.calls("set", number)
                if call[0] == TRANSMIT]

    def sends(self, count: int) -> None:
        """COUNT chains more of the transmit queue; the receive queue has none."""
        ring = self.nic.rings(TRANSMIT) + 0x1000
        for number in range(self.available, self.available + count):
            self.nic.write(ring + 4 + 2 * number, 2, number)
        self.available += count
        self.nic.write(ring + 2, 2, self.available)
        self.nic.kick(TRANSMIT)
        wait_until("they are taken", lambda: self.takes_of(TRANSMIT) >= self.available)

    def stays(self) -> None:
        """Twice there and back."""
        self.start(features=PLAIN, take=1)
        self.drive()
        self.begin()
        self.cancel()       # the first switch finds out what the device can do, with that queue
        self.sends(CHAINS)
        told, resets = self.told(), self.info()["resets"]
        for _ in range(2):
            self.begin()
            self.sends(CHAINS)
            self.cancel()
        time.sleep(0.05)
        self.assertEqual(self.takes_of(TRANSMIT), self.available)
        self.assertEqual(self.told(), told)
        self.assertEqual(self.info()["resets"], resets)
        self.configure(serve=1)
        wait_until("all come back", lambda: self.used(TRANSMIT) == self.available)
        self.end()

    def shadowed(self) -> None:
        """Each reason for it."""
        self.migrating = ("shadow", "shadow")
        for netdev, backend in ((",x-svq-tx=on", BACKEND), ("", NO_SUSPEND)):
            self.netdev = netdev
            self.start(features=PLAIN, backend=backend, take=1)
            self.drive()
            self.begin()
            self.cancel()
            self.end()
        self.netdev = ",x-svq=on"
        self.start(features=PLAIN)
        self.drive()
        self.assertEqual(self.kinds(), ["shadow", "shadow"])
        self.end()

    def page(self, stream: Path, address: int) -> bytes:
        """A page of guest memory in the file."""
        data = stream.read_bytes()
        ram = data.index(PATTERN * FULL_SIZE) - FULL
        return data[ram + address:ram + address + 0x1000]

    def marked(self) -> None:
        """The device writes the ring when its pages have been sent."""
        stream = self.folder / "stream"
        self.start(features=PLAIN, take=1)
        self.drive()
        self.nic.ask(f"memset {FULL:#x} {FULL_SIZE:#x} {PATTERN[0]:#x}")
        self.vm.cmd("migrate-set-capabilities", capabilities=[{"capability": "mapped-ram", "state": True}])
        self.vm.cmd("migrate-set-parameters", max_bandwidth=1 << 20)
        self.vm.cmd("migrate", uri=f"file:{stream}")
        wait_until("memory behind the rings is sent",
                   lambda: stream.exists() and PATTERN * 0x1000 in stream.read_bytes())
        self.assertEqual(self.kinds(), ["shadow", "passthrough"])
        self.configure(serve=1)
        self.add(CHAINS)
        wait_until("they come back", lambda: self.used(0) == self.used(TRANSMIT) == CHAINS)
        self.assertEqual(self.migration(), "active")
        self.vm.cmd("migrate-set-parameters", max_bandwidth=1 << 30)
        wait_until("the migration ends", lambda: self.migration() == "completed")
        for queue in (0, TRANSMIT):
            at = self.nic.rings(queue) + 0x2000
            ring = bytes.fromhex(self.nic.wire.cmd(f"read {at:#x} 0x1000").split()[1].removeprefix("0x"))
            self.assertEqual(struct.unpack_from("<H", ring, 2)[0], CHAINS, f"queue {queue}")
            self.assertEqual(self.page(stream, at), ring, f"queue {queue}: the used ring is not what was sent")
        self.end()

    def late_reset(self) -> None:
        """Held when the guest has stopped; cancelled once, then completed."""
        self.start()
        Hostile.drive(self)
        self.vm.cmd("migrate-set-capabilities", capabilities=[{"capability": "pause-before-switchover", "state": True}])
        self.assertGreater(sum(self.info()["last-launch"].values()), 0)
        self.assertNotIn("last-halt", self.info())
        for end in ("cancelled", "completed"):
            resets = self.info()["resets"]
            self.vm.cmd("migrate", uri="exec:cat >/dev/null")
            wait_until("the guest is stopped", lambda: self.migration() == "pre-switchover")
            self.assertEqual((self.info()["state"], self.info()["resets"]), ("suspended", resets))
            self.assertGreater(sum(self.info()["last-halt"].values()), 0)
            if end == "cancelled":
                self.vm.cmd("migrate_cancel")
                wait_until("the device runs", self.runs)
            else:
                self.vm.cmd("migrate-continue", state="pre-switchover")
                wait_until("it is reset", lambda: self.info()["state"] == "reset")
            wait_until(end, lambda: self.migration() == end)
        self.end()

    def mapped(self) -> int:
        """Bytes of guest memory that are mapped, when that no longer changes."""
        before, now = -1, 0
        while before != now or not now:
            time.sleep(0.1)
            before, now = now, self.info()["mapped"]
        return now

    def messages(self, word: str, address: int) -> list[int]:
        """Sizes in the device's messages about that address: map or unmap."""
        return [int(size, 0) for _, _, at, size in map(str.split, self.log_lines(word)) if int(at, 0) == address]

    def plugged(self) -> None:
        """Three blocks in, the middle one out, all again at a new launch."""
        self.start(args=("-m", "64,maxmem=1G", "-object", "memory-backend-ram,id=m0,size=256M,reserve=off",
                         "-device", "virtio-mem-pci,memdev=m0,id=mem0,requested-size=64M"))
        before = self.mapped()
        self.assertLessEqual(before, 66 << 20, "memory that is not plugged in is mapped")
        Hostile.drive(self)
        assert self.vm._qtest is not None   # it has no public name
        memory = PluggedMemory(self.vm._qtest)
        memory.start()
        block, first = memory.block(), memory.address()
        self.assertEqual(memory.plug(0, 3), 0)
        self.assertEqual(self.info()["mapped"], before + 3 * block)
        self.assertEqual(memory.unplug(1, 1), 0)
        self.assertEqual(self.info()["mapped"], before + 2 * block)
        for number, unmapped in enumerate(([], [block], [])):
            self.assertEqual(self.messages("map", first + number * block), [block])
            self.assertEqual(self.messages("unmap", first + number * block), unmapped)
        Hostile.drive(self)
        self.assertEqual(self.info()["mapped"], before + 2 * block)
        self.assertEqual(self.end(), "")

    def cpu_ns(self, task: int) -> int:
        """What a thread of QEMU's has run."""
        return int(Path(f"/proc/{self.vm.get_pid()}/task/{task}/schedstat").read_text("ascii").split()[0])

    def threads(self) -> int:
        """How many threads QEMU has."""
        return len(list(Path(f"/proc/{self.vm.get_pid()}/task").iterdir()))

    def iothread(self) -> None:
        """Frames both ways, before and after object-del."""
        self.netdev = ",x-svq=on"
        self.start(features=PLAIN)
        self.drive()
        threads = self.threads()
        self.end()
        self.netdev = ",x-svq=on,iothread=io0"
        self.start(args=("-object", "iothread,id=io0"), features=PLAIN, take=1)
        self.drive()
        self.configure(serve=1)
        self.assertEqual(self.threads(), threads)
        thread = self.vm.cmd("query-iothreads")[0]["thread-id"]
        answer = self.vm.qmp("netdev_add", type="vhost-vdpa", id="n1", vhostdev="/dev/null", iothread="io1")
        self.assertIn("no IOThread 'io1'", answer["error"]["desc"])
        for _ in range(2):
            before = self.cpu_ns(thread)
            self.add(CHAINS)
            wait_until("they come back", lambda: self.used(0) == self.used(TRANSMIT) == self.available)
            self.assertGreater(self.cpu_ns(thread), before)
            self.vm.qmp("object-del", id="io0")
        self.end()

    def platform(self) -> None:
        """As many maps as before the driver came, and no unmap."""
        self.start(device=",iommu_platform=on", features=CONTROL)
        before, now = {}, self.info()
        while before != now or not now["mapped"]:
            time.sleep(0.3)
            before, now = now, self.info()
        Hostile.drive(self)
        after = self.info()
        self.assertTrue(self.nic.features >> ACCESS_PLATFORM & 1)
        self.assertEqual((after["maps"], after["unmaps"]), (before["maps"], before["unmaps"]))
        self.end()
