# SPDX-License-Identifier: GPL-2.0-or-later
"""The control queue of a vhost-vdpa network device, of which QEMU's model keeps the state.

Theory of operation
===================

The device is a fake (odd-vdpa.c) that writes each command it gets to a log; the guest has no CPU and is
driven from here (qtest_nic.py).  So a test sees what the guest is answered, and what the device is told.

    mac-told       the guest sets another MAC address and migrates: the device at the destination is told
                   it, and QEMU says nothing
    mac-untold     this device cannot be told: one warning, which names both addresses

*Limits*: memory is where it is at once, so nothing of postcopy; no traffic.
"""

from collections.abc import Callable

from guest import wait_until
from hostile import CONTROL, SET_MAC, Hostile
from qtest_nic import BAR, CONFIG, Nic

CTRL_MAC_ADDR = 23


class Control(Hostile):
    """:avocado: tags=vdpa,arch:x86_64"""

    timeout = 240

    def test(self) -> None:
        """What the case says."""
        cases: dict[str, Callable[[], None]] = {
            "mac-told": self.mac_told, "mac-untold": self.mac_untold}
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
