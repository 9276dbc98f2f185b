# SPDX-License-Identifier: GPL-2.0-or-later
"""A vhost-vdpa network device that cannot be started.

Theory of operation
===================

The device is a fake (odd-vdpa.c), the guest has no CPU (qtest_nic.py).  Before each start that may
fail, the device has run, and stopped with its queues at 5; the rings of the next driver are fresh and
have frames to send.  Then the start fails, for one reason:

    load        QEMU has N file descriptors left when the guest loads its driver
    device-add  ... when the netdev and the NIC are plugged in, and the driver loaded
    incoming    ... when a migration comes in
    ioctls      each ioctl fails
    rings       a part of a ring lies where no RAM is
    generic     all of these for vhost-vdpa-device-pci, which has no link to take down

What has to hold after a start that failed: the device is reset, the guest sees a link that is down,
query-vhost-vdpa has the reason, no data ring is touched, the control queue is answered.  A generic
device has DEVICE_NEEDS_RESET instead, and interrupts the guest.  When nothing is in the way any more,
`set_link` brings the device back, and so does the next load of a driver; its queues start where the
guest's rings are.  No descriptor is kept.

`values` of a case says which N are tried; `tests/avocado/run --long` tries all from 0 to 40, and up to
60 with 8 queue pairs, where 40 are never enough.

*Limits*: no KVM, so no irqfd; no traffic.
"""

from __future__ import annotations

import os
import resource
import struct
from typing import Any

from guest import wait_until
from hostile import (BASE, CONTROL, EIO, FAILING, MQ, PLAIN, PROMISC, SET_MAC, Hostile, netdev_goes,
                     nic_goes)
from qemu.qmp import ExecuteError
from qlab.qmpnames import QUERY_VHOST_VDPA
from qtest_nic import BAR, CONFIG, CTRL_VQ, NEEDS_RESET, Nic

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
        """What the case says."""
        name = self.params.get("what", default="load")
        self.pairs = int(self.params.get("pairs", default=1))
        self.svq = ",x-svq=on" if self.params.get("svq", default=0) else ""
        values = self.params.get("values", default="")
        self.values = [int(word) for word in str(values).split()] or list(
            range(41 if self.pairs == 1 else 61))
        {"load": self.load, "device-add": self.device_add, "incoming": self.incoming,
         "ioctls": self.ioctls, "rings": self.bad_rings, "generic": self.generic_device}[name]()

    # --- the machine ---------------------------------------------------------

    def begin(self, more: tuple[str, ...] = ()) -> None:
        """A QEMU with such a device."""
        features = CONTROL | (1 << MQ if self.pairs > 1 else 0)
        self.start(self.svq, ",mq=on,vectors=20" if self.pairs > 1 else "", args=more,
                   features=features, pairs=self.pairs, base=STOPPED_AT)

    def descriptors(self) -> set[int]:
        """Those that QEMU has open."""
        return {int(name) for name in os.listdir(f"/proc/{self.vm.get_pid()}/fd")}

    def limit(self, left: int | None) -> None:
        """QEMU can open LEFT more; None: as many as it likes.  The limit is about numbers."""
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
        """Data queues."""
        return self.nic.queues()[:-1] if self.nic.features >> CTRL_VQ & 1 else self.nic.queues()

    def prepare(self) -> None:
        """All that a driver does before DRIVER_OK; each data queue has buffers."""
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
        """What the guest sees."""
        return bool(self.nic.read(BAR + CONFIG + 6, 2) & 1)

    def down(self) -> bool:
        """The device does not run, and the guest has seen it."""
        return not self.runs() and not self.link()

    # --- what has to hold ----------------------------------------------------

    def started(self) -> bool:
        """DRIVER_OK; whether the device runs.  If not, everything is as it should be."""
        before = self.rings()
        self.nic.ready()
        return self.check_started(before)

    def check_started(self, before: list[str]) -> bool:
        """The same, after what starts it."""
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
        """With nothing in the way any more."""
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
                         "a queue does not start where the guest's ring is")
        commands = len(self.told_last(1 << 30))
        self.assertEqual(self.nic.command(SET_MAC), 0)
        self.assertEqual(len(self.told_last(1 << 30)), commands + 1)

    def runs_once(self) -> None:
        """A driver uses the device for a while, and is unloaded."""
        self.prepare()
        self.nic.ready()
        wait_until("the device runs", self.runs)
        self.assertEqual(self.nic.command(SET_MAC), 0)
        self.nic.reset()

    #: Where a device may be in its life, and what query-vhost-vdpa says then.
    states: tuple[str, ...] = ("reset",)
    reason = "descriptor|Too many open files"

    # --- cases ---------------------------------------------------------------

    def load(self) -> None:
        """QEMU runs on, and the next number is tried on it."""
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
            self.assertEqual(len(self.descriptors()), held, "descriptors that are kept")
        self.assertGreater(failures, 0)
        self.assertNotIn("falling back", self.end())

    def plug(self) -> bool:
        """Both halves, as far as they go; whether both are there."""
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
        """What could not be plugged in is when there are descriptors."""
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
        """A machine for each number; its guest comes from one file."""
        file = self.folder / "stream"
        failures = 0
        self.begin()
        self.prepare()
        self.nic.ready()
        wait_until("the device runs", self.runs)
        state = (self.nic.features, self.nic.added)
        self.told["base"] = 0       # it takes nothing before the guest migrates
        self.tell()
        self.vm.cmd("migrate", uri=f"file:{file}")
        wait_until("the migration ends", lambda: self.migration() in ("completed", "failed"))
        self.assertEqual(self.migration(), "completed")
        before = self.rings()       # a shadow ring has asked for a kick when it stopped
        self.vm.shutdown()
        for number in self.values:
            self.log.info("%d pairs, %d descriptors left", self.pairs, number)
            self.begin(more=("-incoming", "defer"))
            self.told["base"] = 0
            self.tell()
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
        """The guest, or QEMU says why not, and lives."""
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
        """Each fails as long as it is told to."""
        failures = 0
        self.reason = "."
        self.states = ("reset", "needs-reset")       # a reset may be what fails
        self.begin()
        for number in FAILING:
            for by_link in (True, False):
                self.log.info("%#x fails", number)
                self.runs_once()
                self.prepare()
                self.tell(f"fail {number:#x} {EIO}")
                ran = self.started()
                self.tell()
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
            self.tell(*([] if failing is None else [f"fail {failing:#x} {EIO}"]))
            failures += not self.generic_starts(self.reason if failing is None else ".")
            self.limit(None)
            self.tell()
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
