# SPDX-License-Identifier: GPL-2.0-or-later
"""A migration that offers postcopy, into a guest with a vhost-vdpa device.

Theory of operation
===================

The device is a fake (odd-vdpa.c), which holds maps up on request; the guest has no CPU (qtest_nic.py).  An offer of
postcopy makes the destination discard all memory that was mapped.

    offered    nothing of the stream is taken before memory is mapped again; then the migration ends as precopy, and
               the device runs without a wait

*Limits*: wants userfaultfd; postcopy itself is tried in the lab (vdpa-migrate/postcopy).
"""

import time

from guest import wait_until
from hostile import Hostile

#: Seconds in which a migration of so small a guest would be through.
SOON = 2.0


class Offered(Hostile):
    """:avocado: tags=vdpa,arch:x86_64"""

    def offer(self) -> None:
        """Switch the capability on in the QEMU at hand."""
        if not self.try_cmd("migrate-set-capabilities",
                            capabilities=[{"capability": "postcopy-ram", "state": True}]):
            self.cancel("no postcopy on this machine")

    def test(self) -> None:
        """Map, discard, hold, map again."""
        self.start()
        self.drive()
        self.offer()
        source, nic = self.vm, self.nic
        self.what = self.folder / "there"
        self.start(args=["-incoming", "defer"])
        self.offer()
        wait_until("memory is mapped", lambda: bool(self.info()["mapped"]))
        time.sleep(0.2)
        self.configure(hold=1)
        self.nic.features = nic.features
        self.vm.cmd("migrate-incoming", uri=f"unix:{self.folder}/stream")
        source.cmd("migrate", uri=f"unix:{self.folder}/stream")
        time.sleep(SOON)
        self.assertEqual(source.cmd("query-migrate")["status"], "active")
        self.assertEqual(self.info()["launches"], 0)
        self.configure(hold=0)
        wait_until("the migration ends", lambda: source.cmd("query-migrate")["status"] == "completed")
        wait_until("the device runs", self.runs)
        self.assertEqual(self.end(), "")
        source.shutdown()
