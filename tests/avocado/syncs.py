# SPDX-License-Identifier: GPL-2.0-or-later
"""What a sync of the dirty rings holds up.

Theory of operation
===================

SlowReset: the kernel takes two seconds for a reset of the rings (slow.c).  While a migration is under way, the
monitor must answer in less: a sync does not hold the big QEMU lock while rings are reset.  Looked at from the
second sync on; the first one keeps the lock.  query-migrate must say the same: how long the last sync took, and for
how long of that it held the lock.

MemoryAdded: a migration that starts holds the RAM list's mutex during its first sync, and a memory backend that
is created waits for that mutex with the big QEMU lock held.  If the sync gives that lock up, neither goes on.
The test creates and deletes backends through one monitor all the time while it starts and cancels migrations
through another; each answer has a time limit, so that a QEMU that hangs fails the test soon.

*Limits*: both need a KVM whose rings hold what KVM logs; on others a migration fails, and the case is skipped.
MemoryAdded meets the window by chance: QEMU_LIVE_STARTS migrations, 40 by default.
"""

import json
import os
import socket
import threading
import time
from typing import Any

from broken import RingGuest
from guest import TIME_LIMIT, wait_until
from qlab.qmpnames import QUERY_DIRTY_RING
from qlab.qmpnames import SYNCS as SYNC_TIMES

#: Milliseconds that a reset takes.
RESET_MS = 2000

#: Syncs during which answers are timed.
SYNCS = 3

#: Migrations that are started.
STARTS = int(os.environ.get("QEMU_LIVE_STARTS", "40"))

#: MiB per second: no migration completes; FAST soon has another sync.
SLOW, FAST = 8, 64


class SlowReset(RingGuest):
    """:avocado: tags=migration,arch:x86_64"""

    def setUp(self) -> None:
        """A guest whose resets take long."""
        self.begin("slow", f"SLOW_MS={RESET_MS}")

    def syncs(self) -> int:
        """Syncs of the migration so far; the case is skipped where KVM has lost entries."""
        state = self.guest.migration()
        if state["status"] == "failed" and self.ask(QUERY_DIRTY_RING)["broken"]:
            self.cancel("this machine's KVM loses entries")
        self.assertIn(state["status"], ("setup", "active"), state)
        return int(state.get("ram", {}).get("dirty-sync-count", 0))

    def test(self) -> None:
        """Time the monitor's answers during some syncs."""
        self.guest.payload.start(mode="random")
        self.guest.tune(FAST, 1)
        self.guest.cmd("migrate", uri="exec:cat >/dev/null")
        wait_until("the first sync is over", lambda: self.syncs() >= 1)
        begun, worst, first = time.monotonic(), 0.0, self.syncs()
        while self.syncs() < first + SYNCS:
            asked = time.monotonic()
            self.guest.status()
            worst = max(worst, time.monotonic() - asked)
            self.assertLess(time.monotonic() - begun, TIME_LIMIT)
        times = self.guest.migration()[SYNC_TIMES]
        self.log.info("slowest answer: %.3f s; %s; %s", worst, times, self.ask(QUERY_DIRTY_RING))
        self.assertLess(worst, RESET_MS / 2000)
        self.assertGreaterEqual(times["time"]["last-ns"], RESET_MS * 1e6)
        self.assertLess(times["bql"]["last-ns"], RESET_MS * 1e6 / 2)
        self.guest.cmd("migrate_cancel")
        self.assertEqual(self.guest.end(), 0)


class Monitor:
    """A monitor whose answers have a time limit."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(TIME_LIMIT)
        self.lines = self.socket.makefile("rw", encoding="utf-8")
        self.lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> Any:
        """A command that must succeed, and its answer; events are passed over."""
        print(json.dumps({"execute": command, "arguments": arguments}), file=self.lines, flush=True)
        answer: dict[str, Any] = {"event": ""}
        while "event" in answer:
            answer = json.loads(self.lines.readline())
        assert "return" in answer, answer
        return answer["return"]


class Backends(threading.Thread):
    """Creates and deletes memory backends, until told to stop or QEMU hangs."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.created, self.stop = 0, False
        self.monitor = Monitor(path)

    def run(self) -> None:
        """Create and delete."""
        while not self.stop:
            self.monitor.ask("object-add", **{"qom-type": "memory-backend-ram", "id": "more", "size": 4096})
            self.monitor.ask("object-del", id="more")
            self.created += 1


class MemoryAdded(RingGuest):
    """:avocado: tags=migration,arch:x86_64"""

    def setUp(self) -> None:
        """A guest with two more monitors."""
        paths = [f"{self.log_of('UNUSED').partition('=')[2]}.{name}" for name in ("memory", "migration")]
        self.begin("slow", "SLOW_MS=0", devices=[
            word for path in paths for word in ("-qmp", f"unix:{path},server=on,wait=off")])
        self.backends, self.monitor = Backends(paths[0]), Monitor(paths[1])

    def migration_status(self) -> str:
        """The migration's; the case is skipped where KVM has lost entries."""
        status = str(self.monitor.ask("query-migrate")["status"])
        if status == "failed" and self.monitor.ask(QUERY_DIRTY_RING)["broken"]:
            self.cancel("this machine's KVM loses entries")
        return status

    def test(self) -> None:
        """Start and cancel migrations while memory comes and goes."""
        self.guest.payload.start(mode="random")
        self.guest.tune(SLOW, 1)
        self.backends.start()
        for _ in range(STARTS):
            self.monitor.ask("migrate", uri="exec:cat >/dev/null")
            wait_until("it migrates", lambda: self.migration_status() == "active")
            self.monitor.ask("migrate_cancel")
            wait_until("it is cancelled", lambda: self.migration_status() == "cancelled")
        self.backends.stop = True
        self.backends.join(TIME_LIMIT)
        self.assertFalse(self.backends.is_alive())
        self.log.info("%d backends during %d starts", self.backends.created, STARTS)
        self.assertGreater(self.backends.created, STARTS)
        self.assertEqual(self.guest.end(), 0)
