# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrations in L1: run one, wait for it, judge it with both oracles.

Theory of operation
===================

A guest whose load dirties memory flat out never converges by itself, so a
migration here is steered, in two phases.  First the bandwidth is limited and
next to no downtime is allowed, until RAM has been synced `syncs` times with the
load running: every page that changes meanwhile goes through dirty tracking.
Then both limits are lifted and the migration completes.

Afterwards the source is in postmigrate and the destination paused: RAM is
compared (oracle.py), the destination is let go, and the payload verifies its
stamps there.  `hop()` is all of that.

*Limits*: precopy over Unix sockets and TCP on the loop-back device.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Any

from . import l2, oracle
from .context import Lab
from .payload import Verified
from .qmp import QmpTimeout

SLOW = 48 << 20  # bytes a second while dirty pages are collected
FAST = 1 << 40
DONE = ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class Hop:
    """One migration and what the oracles say of it."""

    info: dict[str, Any]
    compared: oracle.Compared
    verified: Verified

    @property
    def clean(self) -> bool:
        """Whether both oracles are content."""
        return self.compared.same and self.verified.clean

    def figures(self) -> dict[str, Any]:
        """The numbers worth keeping."""
        ram = self.info.get("ram", {})
        return {"total_ms": self.info.get("total-time"),
                "downtime_ms": self.info.get("downtime"),
                "setup_ms": self.info.get("setup-time"),
                "syncs": ram.get("dirty-sync-count"),
                "pages": ram.get("normal"),
                "ram_differs": len(self.compared.pages),
                "bad_stamps": self.verified.bad}

    def __str__(self) -> str:
        return f"RAM: {self.compared}; stamps: {self.verified}"


def address(lab: Lab, transport: str) -> dict[str, Any]:
    """A place to migrate to, as a QAPI socket address."""
    if transport == "unix":
        return {"transport": "socket", "type": "unix",
                "path": str(lab.tmp / f"{lab.next_name('mig')}.sock")}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {"transport": "socket", "type": "inet", "host": "127.0.0.1",
            "port": str(port)}


def channel(where: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `migrate` and `migrate-incoming` for an address."""
    return {"channels": [{"channel-type": "main", "addr": where}]}


def limits(guest: l2.Guest, bandwidth: int, downtime_ms: int) -> None:
    """Set how fast and how abrupt a migration may be."""
    guest.qmp.cmd("migrate-set-parameters",
                  {"max-bandwidth": bandwidth, "downtime-limit": downtime_ms})


def enable(names: tuple[str, ...], *guests: l2.Guest, state: bool = True) -> None:
    """Switch capabilities on, or off."""
    for guest in guests:
        guest.qmp.cmd("migrate-set-capabilities", {"capabilities": [
            {"capability": name, "state": state} for name in names]})


def begin(lab: Lab, source: l2.Guest, destination: l2.Guest, transport: str,
          bandwidth: int = SLOW) -> None:
    """Start a migration that does not complete while the load runs."""
    where = address(lab, transport)
    destination.qmp.cmd("migrate-incoming", channel(where))
    limits(source, bandwidth, 1)
    source.qmp.cmd("migrate", channel(where))


def query(guest: l2.Guest, timeout: float | None = None) -> dict[str, Any]:
    """query-migrate."""
    answer: dict[str, Any] = guest.qmp.cmd("query-migrate", timeout=timeout)
    return answer


def wait_syncs(source: l2.Guest, syncs: int, timeout: float) -> bool:
    """Wait for RAM to have been synced so often; False if it ended before."""
    deadline = time.monotonic() + timeout
    while True:
        info = query(source)
        if info.get("status") in DONE:
            return False
        if info.get("ram", {}).get("dirty-sync-count", 0) >= syncs:
            return True
        if time.monotonic() > deadline:
            raise QmpTimeout(f"{syncs} syncs took longer than {timeout:.0f} s: {info}")
        time.sleep(0.05)


def wait_end(guest: l2.Guest, timeout: float) -> dict[str, Any]:
    """Wait for a migration to end in any way; its last query-migrate.

    The monitor does not answer while the stopped guest's last pages are sent.
    """
    deadline = time.monotonic() + timeout
    while True:
        info = query(guest, max(20, deadline - time.monotonic()))
        if info.get("status") in DONE:
            return info
        if time.monotonic() > deadline:
            raise QmpTimeout(f"the migration did not end in {timeout:.0f} s: {info}")
        time.sleep(0.05)


def finish(source: l2.Guest, timeout: float = 90.0) -> dict[str, Any]:
    """Lift the limits and wait for the end."""
    limits(source, FAST, 60000)
    return wait_end(source, timeout)


def cancel(source: l2.Guest, timeout: float = 30.0) -> dict[str, Any]:
    """Cancel and wait until that is through."""
    source.qmp.cmd("migrate_cancel")
    return wait_end(source, timeout)


def settled(destination: l2.Guest, timeout: float = 20.0) -> None:
    """Wait until the destination has loaded everything."""
    deadline = time.monotonic() + timeout
    while destination.status() == "inmigrate":
        if time.monotonic() > deadline:
            raise QmpTimeout(f"{destination.name} stays in inmigrate")
        time.sleep(0.02)


def judge(lab: Lab, source: l2.Guest, destination: l2.Guest,
          info: dict[str, Any]) -> Hop:
    """Both oracles on a completed migration; the destination runs afterwards."""
    lab.check(info.get("status") == "completed", f"migration: {info}")
    settled(destination)
    compared = oracle.compare(source, destination)
    if compared.same:
        destination.lab.watched[destination.name] = destination.process
    destination.qmp.cmd("cont")
    destination.payload.ping()
    destination.payload.stop()
    hop = Hop(info, compared, destination.payload.verify())
    lab.log(f"{source.name} -> {destination.name}: {hop.figures()}")
    return hop


def hop(lab: Lab, source: l2.Guest, to: l2.GuestSpec, transport: str = "unix",
        syncs: int = 3, load: dict[str, Any] | None = None) -> tuple[l2.Guest, Hop]:
    """Start a destination, migrate under load, judge, end the source."""
    destination = l2.start(lab, to.incoming())
    source.payload.start(**({"mode": "random"} if load is None else load))
    begin(lab, source, destination, transport)
    wait_syncs(source, syncs, 90)
    result = judge(lab, source, destination, finish(source))
    source.quit()
    return destination, result
