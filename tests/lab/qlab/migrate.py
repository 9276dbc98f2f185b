# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrations: start one, wait for its end, make it converge.

Theory of operation
===================

A guest that writes as fast as it can never fits into a short downtime, so a
migration is first held open with a downtime limit of nothing, for as many
dirty syncs as the scenario wants to see, and then let go with a limit that
anything fits into.  All waiting is polling of query-migrate with a deadline.

*Limits*: precopy; one migration of a guest at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .l2 import Guest
from .qmp import QmpTimeout

ENDED = ("completed", "failed", "cancelled")

#: Milliseconds; nothing fits, and everything does.  0 would not do: QEMU then never
#: asks what is dirty anew, and completes when it has sent what it knew of.
DOWNTIME_HOLD = 1
DOWNTIME_ANY = 60_000


@dataclass(frozen=True)
class Migrated:
    """How a migration ended, in query-migrate's words and units."""

    status: str
    info: dict[str, Any]

    @property
    def completed(self) -> bool:
        """Whether it got there."""
        return self.status == "completed"

    def figures(self) -> dict[str, Any]:
        """What a report wants to know."""
        ram = self.info.get("ram", {})
        return {
            "total_ms": self.info.get("total-time"),
            "downtime_ms": self.info.get("downtime"),
            "setup_ms": self.info.get("setup-time"),
            "syncs": ram.get("dirty-sync-count"),
            "pages": ram.get("normal"),
            "transferred": ram.get("transferred"),
        }


def unix_uri(guest: Guest) -> str:
    """An address for a destination."""
    return f"unix:{guest.lab.tmp / guest.name}.mig"


def listen(destination: Guest, uri: str) -> str:
    """Make a destination that was started with `defer` listen; its address."""
    destination.qmp.cmd("migrate-incoming", {"uri": uri})
    if not uri.startswith("tcp:"):
        return uri
    info = destination.qmp.cmd("query-migrate")
    address = info["socket-address"][0]
    return f"tcp:{address['host']}:{address['port']}"


def begin(source: Guest, uri: str) -> None:
    """Start a migration that is held open; see release()."""
    source.qmp.cmd("migrate-set-parameters", {
        "downtime-limit": DOWNTIME_HOLD, "max-bandwidth": 0})
    source.qmp.cmd("migrate", {"uri": uri})


def release(source: Guest) -> None:
    """Let a migration complete whatever is left to send."""
    source.qmp.cmd("migrate-set-parameters", {"downtime-limit": DOWNTIME_ANY})


def query(source: Guest) -> dict[str, Any]:
    """query-migrate."""
    info: dict[str, Any] = source.qmp.cmd("query-migrate")
    return info


def wait_until(source: Guest, done: Callable[[dict[str, Any]], bool],
               timeout: float, what: str) -> dict[str, Any]:
    """Poll until DONE likes query-migrate's answer or the migration is over."""
    deadline = time.monotonic() + timeout
    while True:
        info = query(source)
        if done(info) or info.get("status") in ENDED:
            return info
        if time.monotonic() > deadline:
            raise QmpTimeout(f"{what}: still {info.get('status')} after "
                             f"{timeout:.0f} s: {info.get('ram')}")
        time.sleep(0.05)


def wait_syncs(source: Guest, syncs: int, timeout: float = 60.0) -> dict[str, Any]:
    """Wait for the migration's dirty sync number SYNCS."""
    return wait_until(
        source, lambda info: info.get("ram", {}).get("dirty-sync-count", 0) >= syncs,
        timeout, f"dirty sync {syncs}")


def wait_end(source: Guest, timeout: float = 120.0) -> Migrated:
    """Wait for the end of a migration, whichever."""
    info = wait_until(source, lambda info: False, timeout, "the migration's end")
    return Migrated(str(info["status"]), info)


def cancel(source: Guest, timeout: float = 30.0) -> Migrated:
    """Cancel, and wait until that is done."""
    source.qmp.cmd("migrate_cancel")
    return wait_end(source, timeout)


def precopy(source: Guest, destination: Guest, uri: str, syncs: int = 4) -> Migrated:
    """A whole live migration with at least SYNCS dirty syncs under load."""
    begin(source, listen(destination, uri))
    wait_syncs(source, syncs)
    release(source)
    return wait_end(source)
