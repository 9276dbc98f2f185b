# SPDX-License-Identifier: GPL-2.0-or-later
"""The control queue of a vhost-vdpa network device, of which QEMU's model keeps the state.

Theory of operation
===================

The device is a fake (odd-vdpa.c) that writes each command it gets to a log; the guest has no CPU and is
driven from here (qtest_nic.py).  So a test sees what the guest is answered, and what the device is told.

    mac-told       the guest sets another MAC address and migrates: the device at the destination is told
                   it, and QEMU says nothing
    mac-untold     this device cannot be told: one warning, which names both addresses
    waiting        while maps are held and a launch waits for them, QEMU's model answers: an announcement
                   is acknowledged, a command that cannot be is refused; the launch tells the device
    handover       launches begin at each point of a burst of commands, each for a VLAN of its own: every
                   command is answered, and the device is told of each VLAN once
    halted         the machine stops and goes on while a launch waits; the device then fails to launch
    broken         an answer that goes to device_status, and an available index that cannot be, while a
                   launch waits
    noise          what hostile.py draws by lot, while launches wait; then the guest gets its device going

*Limits*: held maps are not missing pages, so nothing of userfaultfd; no traffic.
"""

import random
import struct
from collections.abc import Callable

from guest import wait_until
from hostile import (BACKEND, CONTROL, EIO, NOISE, PROMISC, SET_MAC, SET_NUM, STATUS_REGISTER, Hostile,
                     command)
from qtest_nic import BAR, COMMAND, CONFIG, NEEDS_RESET, Nic

CTRL_MAC_ADDR = 23
#: Maps are forgotten at a reset, so each launch waits for them anew.
FORGETS = 0x3E
ANNOUNCE_ACK = bytes([3, 0])
LINK_STATUS, ANNOUNCE = BAR + CONFIG + 6, 2
VLAN_ADD = bytes([2, 0])
BURST = 32
#: Seconds for an answer that waits for nothing.
AT_ONCE = 1.0


class Control(Hostile):
    """:avocado: tags=vdpa,arch:x86_64"""

    timeout = 90

    def test(self) -> None:
        """What the case says."""
        cases: dict[str, Callable[[], None]] = {
            "mac-told": self.mac_told, "mac-untold": self.mac_untold,
            "waiting": self.waiting, "handover": self.handover, "halted": self.halted,
            "broken": self.broken_meanwhile, "noise": self.noise}
        cases[self.params.get("what", default="mac-told")]()

    def commands_told(self) -> list[bytes]:
        """What the device has got on its control queue so far."""
        lines = self.what.with_name("what.log").read_text("ascii").splitlines()
        return [bytes.fromhex(line[len("command"):]) for line in lines if line.startswith("command")]

    def migrate(self, **told: int) -> None:
        """Into another QEMU, whose device is as TOLD."""
        stream = self.folder / "stream"
        nic: Nic = self.nic
        self.vm.cmd("migrate", uri=f"exec:cat >{stream}")
        wait_until("the migration ends", lambda: self.migration() == "completed")
        self.end()
        self.start(args=["-incoming", "defer"], **told)
        self.nic.features, self.nic.added = nic.features, nic.added
        self.vm.cmd("migrate-incoming", uri=f"exec:cat {stream}")
        wait_until("the device runs", self.runs)

    def mac_told(self) -> None:
        """By its control queue, at launch."""
        self.start()
        self.drive()
        self.assertEqual(self.nic.command(SET_MAC), 0)
        self.migrate()
        self.assertIn(SET_MAC, self.commands_told())
        self.assertEqual(self.end(), "")

    def mac_untold(self) -> None:
        """The guest has its address from the first device; no command changes the second's."""
        features = CONTROL & ~(1 << CTRL_MAC_ADDR)
        self.start(features=features, mac=0x11)
        self.nic.accept(self.nic.offered())
        self.assertEqual(self.nic.read(BAR + CONFIG + 5, 1), 0x11)
        for queue in self.nic.queues():
            self.nic.set_queue(queue)
        self.nic.ready()
        wait_until("the device runs", self.runs)
        self.migrate(features=features)
        said = self.end().lower()
        for words in ("52:54:00:00:00:aa", "the guest uses 52:54:00:00:00:11", "cannot be told"):
            self.assertIn(words, said)

    def begin(self) -> None:
        """The guest's driver starts the device, whose launch waits for memory."""
        self.start(backend=FORGETS, hold=1)
        self.nic.start()
        self.waits()

    def waits(self) -> None:
        """The launch does."""
        wait_until("the launch waits", lambda: bool(self.info()["waiting"]))

    def let_go(self) -> None:
        """Memory is mapped, and the device runs."""
        self.tell(hold=0)
        wait_until("the device runs", self.runs)
        self.assertEqual(self.kinds(), ["passthrough", "passthrough", "control"])

    def waiting(self) -> None:
        """Answers, none of which the device has given, and what it hears of them."""
        self.begin()
        self.vm.cmd("announce-self", initial=50, max=50, rounds=1, step=0)
        self.assertTrue(self.nic.read(LINK_STATUS, 2) & ANNOUNCE)
        self.assertEqual(self.nic.command(ANNOUNCE_ACK, AT_ONCE), 0)
        self.assertFalse(self.nic.read(LINK_STATUS, 2) & ANNOUNCE)
        self.assertEqual(self.nic.command(SET_MAC, AT_ONCE), 0)
        self.assertEqual(self.nic.command(PROMISC[:2] + b"\0", AT_ONCE), 0)
        self.assertEqual(self.nic.command(bytes([9, 9, 9]), AT_ONCE), 1)
        self.assertEqual(self.nic.command(bytes([1]), AT_ONCE), 1)
        self.assertTrue(self.info()["waiting"])
        self.assertEqual(self.kinds(), ["control-model"])
        self.assertEqual(self.commands_told(), [])
        self.let_go()
        told = self.commands_told()
        self.assertIn(SET_MAC, told)
        self.assertIn(PROMISC[:2] + b"\0", told)
        self.assertNotIn(ANNOUNCE_ACK, told)
        self.assertEqual(self.nic.command(PROMISC), 0)
        self.assertEqual(self.commands_told(), told + [PROMISC])
        self.assertEqual(self.end(), "")

    def burst(self, first: int, let_go_at: int) -> None:
        """A command for each of BURST VLANs, one after the other, without waiting for answers."""
        queue = self.nic.queues()[-1]
        rings = self.nic.rings(queue)
        self.nic.put("queue_select", queue)
        size = self.nic.get("queue_size")
        for number in range(BURST):
            at = COMMAND + 16 * number
            self.nic.store(at, VLAN_ADD + struct.pack("<H", first + number))
            self.nic.write(at + 0x1000, 1, 0xAA)
            self.nic.store(rings + 32 * number, struct.pack("<QIHHQIHH", at, 4, 1, 2 * number + 1,
                                                            at + 0x1000, 1, 2, 0))
        for number in range(BURST):
            self.nic.write(rings + 0x1004 + 2 * (self.nic.added % size), 2, 2 * number)
            self.nic.added = self.nic.added + 1 & 0xFFFF
            self.nic.write(rings + 0x1002, 2, self.nic.added)
            self.nic.kick(queue)
            if number == let_go_at:
                self.tell(hold=0)
        wait_until("all is answered", lambda: self.nic.read(rings + 0x2002, 2) == self.nic.added)
        answers = [self.nic.read(COMMAND + 0x1000 + 16 * number, 1) for number in range(BURST)]
        self.assertEqual(answers, [0] * BURST)

    def handover(self) -> None:
        """Whether the model or the device took a command, its VLAN is told once."""
        self.begin()
        for number, let_go_at in enumerate((0, 1, 5, 11, 17, 23, 29, 30, 31)):
            told = len(self.commands_told())
            self.burst(number * BURST, let_go_at)
            wait_until("the device runs", self.runs)
            vlans = [command for command in self.commands_told()[told:]
                     if command.startswith(VLAN_ADD)]
            self.assertEqual(sorted(vlans), sorted(
                VLAN_ADD + struct.pack("<H", vlan) for vlan in range((number + 1) * BURST)))
            self.vm.cmd("stop")
            self.tell(hold=1)
            self.vm.cmd("cont")
            self.waits()
        self.let_go()
        self.assertEqual(self.end(), "")

    def halted(self) -> None:
        """Positions of the control queue hold."""
        self.begin()
        for _ in range(3):
            self.assertEqual(self.nic.command(SET_MAC, AT_ONCE, times=20), 0)
            self.vm.cmd("stop")
            self.vm.cmd("cont")
            self.waits()
        self.assertEqual(self.nic.command(SET_MAC, AT_ONCE, times=20), 0)
        self.tell(f"fail {SET_NUM:#x} {EIO}", hold=0)
        wait_until("the launch fails", lambda: "size" in str(self.info().get("last-error")))
        self.tell()
        self.vm.cmd("set_link", name="n0", up=True)
        wait_until("the device runs", self.runs)
        self.assertEqual(self.nic.command(PROMISC), 0)
        told = self.commands_told()
        self.assertEqual((told.count(SET_MAC), told[-1]), (1, PROMISC))
        self.end()

    def broken_meanwhile(self) -> None:
        """It is reported once, and the launch goes on."""
        for available, said in ((1, "buffer at 0xe0000014 is not in guest memory"),
                                (0x4000, "available index")):
            self.begin()
            (queue,) = self.nic.queues()[-1:]
            at = self.nic.rings(queue)
            self.nic.store(COMMAND, PROMISC)
            self.nic.store(at, struct.pack("<QIHHQIHH", COMMAND, len(PROMISC), 1, 1,
                                           STATUS_REGISTER, 1, 2, 0))
            self.nic.write(at + 0x1002, 2, available)
            self.nic.kick(queue)
            wait_until("the device is broken", lambda: bool(self.nic.get("status") & NEEDS_RESET))
            self.let_go()
            self.nic.kick(queue)
            self.broken(f"queue 2: {said}")

    def noise(self) -> None:
        """Half of what is drawn is the guest's commands, after its driver has started the device."""
        for seed in range(3):
            lot = random.Random(seed)
            self.start(lot.choice(("", ",x-svq=on")), backend=lot.choice((FORGETS, BACKEND)), hold=1)
            for _ in range(100):
                if lot.random() < 0.2:
                    self.nic.start()
                lot.choice((*NOISE, *len(NOISE) * (command,)))(self, lot)
            self.assertEqual(self.info()["launches"], 0)
            self.tell(hold=0)
            self.calm()
            self.vm.cmd("system_reset")
            self.nic.find()
            self.recovers()
            self.end()
