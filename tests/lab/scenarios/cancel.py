# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrations that are cancelled, and destinations that are killed: the source keeps running.

`retry` begins a migration and cancels it after a random time, 20 times; then one
completes.  `killed` kills the destination at a random moment, 10 times.  Each time
the source must keep running with correct memory, and at the end it must
still migrate.

*Limits*: the moment is random within the first seconds of the migration.
"""

import random
import time

from qlab import l2, migrate
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="cancel and retry; destination killed at a random moment",
    time_limit=400,
    needs=("kvm", "guest-linux"),
    suites=("full",),
    modes=("tdp",),
    variants={
        "retry": {"times": 20, "how": "cancel"},
        "retry-bitmap": {"times": 20, "how": "cancel", "ring": 0},
        "killed": {"times": 10, "how": "kill"},
        "retry-short": {"times": 3, "how": "cancel"},
        "killed-short": {"times": 2, "how": "kill"},
    },
    short=("retry-short", "killed-short"),
)


def disturb(lab: Lab, source: l2.Guest, spec: l2.GuestSpec, how: str) -> None:
    """Begin a migration and end it before it completes."""
    destination = l2.start(lab, spec.incoming())
    migrate.begin(lab, source, destination, "unix")
    time.sleep(random.uniform(0.0, 2.0))
    if how == "kill":
        destination.kill()
        info = migrate.wait_end(source, 40)
        expected = "failed"
    else:
        info = migrate.cancel(source)
        destination.kill()
        expected = "cancelled"
    lab.check(info["status"] == expected, f"after {how}: {info}")
    lab.check(source.status() == "running", f"after {how}: the source does not run")


def run(lab: Lab, times: int, how: str, ring: int = 4096) -> None:
    """Disturb `times` times, then migrate."""
    spec = l2.GuestSpec(lab.qemu, mem=160, cpus=2, ring=ring)
    guest = l2.start(lab, spec)
    guest.wait_ready()
    for number in range(times):
        guest.payload.start()
        disturb(lab, guest, spec, how)
        before = guest.payload.writes()
        guest.payload.stop()
        found = guest.payload.verify()
        lab.check(found.clean, f"{how} {number}: {found}")
        lab.check(before > 0, f"{how} {number}: the load did not run")
        lab.figures[how] = number + 1
    _, result = migrate.hop(lab, guest, spec)
    lab.figures["last"] = result.figures()
    lab.check(result.clean, f"after {times} times: {result}")
