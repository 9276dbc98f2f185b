# SPDX-License-Identifier: GPL-2.0-or-later
"""Destinations that may not pin the guest's memory and must refuse the guest.

Theory of operation
===================

refuse() starts a destination whose limit on pinned memory is below the guest's memory, and migrates to it
without a bandwidth limit.  The migration has to fail while the guest still runs at the source.  Both ends have
to report an error; the destination's names the limit, on stderr when it exits, or in query-migrate if it
stays.

    exits        the destination exits, which is the default
    stays        it does not exit (exit-on-error=false)
    return-path  the destination confirms to the source that it has loaded the guest
    postcopy     postcopy is enabled, and not used
    unused       the guest's driver is not loaded: the destination learns too late whether the device is used

raise_limit() lets a destination that was started with that limit pin all of it before the guest comes.

*Limits*: the caller checks that no frame is lost, because it has the counters.
"""

from __future__ import annotations

import time
from dataclasses import replace

from . import l2, migrate as migration, vdpa
from .context import Lab

MEMLOCK = 64  # MiB
REASON = "RLIMIT_MEMLOCK"
CAPABILITIES = {"return-path": ("return-path",), "postcopy": ("postcopy-ram",)}
DOWNTIME_MS = 3000


def check_reason(lab: Lab, other: l2.Guest, how: str) -> None:
    """Check that the destination names the limit, and exits with 1 unless it was asked to stay."""
    if how == "stays":
        info = migration.query(other)
        lab.check(info.get("status") == "failed" and REASON in info.get("error-desc", ""),
                  f"{how}: the destination reports: {info}")
    else:
        status = other.process.wait(timeout=20)
        lab.check(status == 1, f"{how}: the destination ended with {status}")
    lab.check(REASON in other.stderr(), f"{how}: stderr does not name RLIMIT_MEMLOCK")


def refuse(lab: Lab, guest: l2.Guest, net: vdpa.Net, spec: l2.GuestSpec, how: str,
           rate: int) -> None:
    """Migrate to a destination that cannot pin; the guest stays at the source, with RATE frames per second."""
    if how == "unused":
        net.stop()
        net.settle()
        net.ask("unload")
    other = l2.start(lab, replace(spec, memlock=MEMLOCK).incoming())
    migration.enable(CAPABILITIES.get(how, ()), guest, other)
    where = migration.channel(migration.address(lab, "unix"))
    other.qmp.cmd("migrate-incoming", where | {"exit-on-error": how != "stays"})
    migration.limits(guest, migration.FAST, DOWNTIME_MS)
    guest.qmp.cmd("migrate", where)
    info = migration.wait_end(guest, 60)
    lab.log(f"{how}: the source reports: {info}")
    lab.check(info.get("status") == "failed", f"{how}: the migration is {info.get('status')}")
    lab.check(bool(info.get("error-desc")), f"{how}: the source reports no error: {info}")
    check_reason(lab, other, how)
    other.kill()
    migration.enable(CAPABILITIES.get(how, ()), guest, state=False)
    lab.check(guest.status() == "running", f"{how}: the source is {guest.status()}")
    if how == "unused":
        net.ask("load")
        net.ask("rebind")
        net.start(rate=rate)


def raise_limit(lab: Lab, other: l2.Guest) -> None:
    """Wait until it has failed to pin memory, then let it."""
    deadline = time.monotonic() + 20
    while REASON not in other.stderr():
        lab.check(time.monotonic() < deadline, "stderr does not name RLIMIT_MEMLOCK")
        time.sleep(0.05)
    other.allow_pinning()
