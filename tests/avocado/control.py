# SPDX-License-Identifier: GPL-2.0-or-later
"""The control queue of a vhost-vdpa network device, of which QEMU's model keeps the state.

Theory of operation
===================

The device is a fake (odd-vdpa.c) that logs each command it receives.  The guest has no CPU; the test drives
it (qtest_nic.py).  So a test sees both the answer that the guest gets and the commands that the device gets.

    mac-set        the guest sets another MAC address and migrates: QEMU sets it on the destination's device,
                   without a warning
    mac-fixed      this device has no command for its address: one warning, which names both addresses
    waiting        while maps are held and a launch waits for them, QEMU's model answers: it acknowledges an
                   announcement and refuses an invalid command; the launch then replays the commands
    handover       a launch begins at each point of a burst of commands, each with another VLAN: every
                   command is answered, and the device gets each VLAN once
    refused        the device refuses what a launch replays: the launch fails, with the reason; the next one
                   replays all of it
    halted         the machine stops and continues while a launch waits; then the launch fails
    broken         while a launch waits, an answer goes to device_status, and an available index is invalid
    noise          hostile.py's random actions while launches wait; then the guest's driver can start the device

*Limits*: maps are held by the fake, not by missing pages, so userfaultfd is not involved; no traffic.
"""

import random
import struct
from collections.abc import Callable

from guest import wait_until
from hostile import BACKEND, CONTROL, EIO, NOISE, PROMISC, SET_MAC, SET_NUM, STATUS_REGISTER, Hostile, command
from qtest_nic import BAR, COMMAND, CONFIG, NEEDS_RESET, Nic

CTRL_MAC_ADDR = 23
#: Backend features of a device whose maps do not survive a reset, so each launch waits for them.
FORGETS = 0x3E
ANNOUNCE_ACK = bytes([3, 0])
LINK_STATUS, ANNOUNCE = BAR + CONFIG + 6, 2
VLAN_ADD = bytes([2, 0])
BURST = 32
#: Seconds in which an answer has to come.
AT_ONCE = 1.0


class Control(Hostile):
    """:avocado: tags=vdpa,arch:x86_64"""

    timeout = 90

    def test(self) -> None:
        """Run the case."""
        cases: dict[str, Callable[[], None]] = {
            "mac-set": self.mac_set, "mac-fixed": self.mac_fixed,
            "waiting": self.waiting, "handover": self.handover, "refused": self.refused, "halted": self.halted,
            "broken": self.broken_meanwhile, "noise": self.noise}
        cases[self.params.get("what", default="mac-set")]()

    def commands_received(self) -> list[bytes]:
        """The commands that the device has received so far."""
        lines = self.what.with_name("what.log").read_text("ascii").splitlines()
        return [bytes.fromhex(line[len("command"):]) for line in lines if line.startswith("command")]

    def migrate(self, **config: int) -> None:
        """Migrate into another QEMU, whose device has this configuration."""
        stream = self.folder / "stream"
        nic: Nic = self.nic
        self.vm.cmd("migrate", uri=f"exec:cat >{stream}")
        wait_until("the migration ends", lambda: self.migration() == "completed")
        self.end()
        self.start(args=["-incoming", "defer"], **config)
        self.nic.features, self.nic.added = nic.features, dict(nic.added)
        self.vm.cmd("migrate-incoming", uri=f"exec:cat {stream}")
        wait_until("the device runs", self.runs)

    def mac_set(self) -> None:
        """The launch sends the address through the device's control queue."""
        self.start()
        self.drive()
        self.assertEqual(self.nic.command(SET_MAC), 0)
        self.migrate()
        self.assertIn(SET_MAC, self.commands_received())
        self.assertEqual(self.end(), "")

    def mac_fixed(self) -> None:
        """The guest has the first device's address; no command changes the second's."""
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
        """Wait until the launch waits for memory."""
        wait_until("the launch waits", lambda: bool(self.info()["waiting"]))

    def let_go(self) -> None:
        """Let the maps through, and wait until the device is started."""
        self.configure(hold=0)
        wait_until("the device runs", self.runs)
        self.assertEqual(self.kinds(), ["passthrough", "passthrough", "control"])

    def waiting(self) -> None:
        """The model answers; the device receives the valid commands later."""
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
        self.assertEqual(self.commands_received(), [])
        self.let_go()
        received = self.commands_received()
        self.assertIn(SET_MAC, received)
        self.assertIn(PROMISC[:2] + b"\0", received)
        self.assertNotIn(ANNOUNCE_ACK, received)
        self.assertEqual(self.nic.command(PROMISC), 0)
        self.assertEqual(self.commands_received(), received + [PROMISC])
        self.assertEqual(self.end(), "")

    def burst(self, first: int, let_go_at: int) -> None:
        """Send a command for each of BURST VLANs without waiting for answers."""
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
        added = self.nic.added.get(queue, 0)
        for number in range(BURST):
            self.nic.write(rings + 0x1004 + 2 * (added % size), 2, 2 * number)
            added = added + 1 & 0xFFFF
            self.nic.write(rings + 0x1002, 2, added)
            self.nic.kick(queue)
            if number == let_go_at:
                self.configure(hold=0)
        self.nic.added[queue] = added
        wait_until("all is answered", lambda: self.nic.read(rings + 0x2002, 2) == added)
        answers = [self.nic.read(COMMAND + 0x1000 + 16 * number, 1) for number in range(BURST)]
        self.assertEqual(answers, [0] * BURST)

    def handover(self) -> None:
        """The device gets each VLAN once, whether the model or the device answered its command."""
        self.begin()
        for number, let_go_at in enumerate((0, 1, 5, 11, 17, 23, 29, 30, 31)):
            before = len(self.commands_received())
            self.burst(number * BURST, let_go_at)
            wait_until("the device runs", self.runs)
            vlans = [command for command in self.commands_received()[before:]
                     if command.startswith(VLAN_ADD)]
            self.assertEqual(sorted(vlans), sorted(
                VLAN_ADD + struct.pack("<H", vlan) for vlan in range((number + 1) * BURST)))
            self.vm.cmd("stop")
            self.configure(hold=1)
            self.vm.cmd("cont")
            self.waits()
        self.let_go()
        self.assertEqual(self.end(), "")

    def refused(self) -> None:
        """More commands than are in the ring at a time."""
        self.start()
        self.drive()
        vlans = [VLAN_ADD + struct.pack("<H", number) for number in range(100)]
        for vlan in vlans:
            self.assertEqual(self.nic.command(vlan), 0)
        self.vm.cmd("stop")
        self.configure(answer=1)
        self.vm.cmd("cont")
        wait_until("the launch fails", lambda: "refused to restore" in str(self.info().get("last-error")))
        self.vm.cmd("stop")
        self.configure(answer=0)
        before = len(self.commands_received())
        self.vm.cmd("cont")
        wait_until("the device runs", self.runs)
        again = [command for command in self.commands_received()[before:] if command.startswith(VLAN_ADD)]
        self.assertEqual(sorted(again), sorted(vlans))
        self.end()

    def halted(self) -> None:
        """The control queue keeps its ring base."""
        self.begin()
        for _ in range(3):
            self.assertEqual(self.nic.command(SET_MAC, AT_ONCE, times=20), 0)
            self.vm.cmd("stop")
            self.vm.cmd("cont")
            self.waits()
        self.assertEqual(self.nic.command(SET_MAC, AT_ONCE, times=20), 0)
        self.configure(f"fail {SET_NUM:#x} {EIO}", hold=0)
        wait_until("the launch fails", lambda: "size" in str(self.info().get("last-error")))
        self.configure()
        self.vm.cmd("set_link", name="n0", up=True)
        wait_until("the device runs", self.runs)
        self.assertEqual(self.nic.command(PROMISC), 0)
        received = self.commands_received()
        self.assertEqual((received.count(SET_MAC), received[-1]), (1, PROMISC))
        self.end()

    def broken_meanwhile(self) -> None:
        """QEMU reports the fault once, and the launch continues."""
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
        """Half of the random actions are control commands."""
        for seed in range(3):
            lot = random.Random(seed)
            self.start(lot.choice(("", ",x-svq=on")), backend=lot.choice((FORGETS, BACKEND)), hold=1)
            for _ in range(100):
                if lot.random() < 0.2:
                    self.nic.start()
                lot.choice((*NOISE, *len(NOISE) * (command,)))(self, lot)
            self.assertEqual(self.info()["launches"], 0)
            self.configure(hold=0)
            self.calm()
            self.vm.cmd("system_reset")
            self.nic.find()
            self.recovers()
            self.end()
