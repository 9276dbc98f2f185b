# SPDX-License-Identifier: GPL-2.0-or-later
"""Both oracles must find pages that dirty tracking loses.

The build under test loses pages (include/system/core/dirty-fault.h).

ring: one harvested entry in 100,000 is dropped.  Before the load stops, it writes all of memory once more in order,
more than 100,000 different pages since the bulk of RAM was sent: so at least one dropped page is not written again,
and the destination must miss it.  The scenario passes if both oracles find a difference.  The dropped entry may be of
a page that the guest's kernel writes again at once: then nothing is lost, and both oracles rightly find no difference.
The scenario tries another pair of guests, five at most.

summary: a sync never finds the pages of one chunk in 300.  The load writes to them, too.

*Limits*: how small a loss is found is not measured.
"""

import os
import time

from qlab import l2, migrate, oracle
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="a build that loses pages: both oracles must fail",
    time_limit=420,
    needs=("kvm", "guest-linux", "fault"),
    suites=("short", "full"),
    own_binaries=True,
    l1_mem=4096,
    variants={name: {"fault": name} for name in ("ring", "summary")},
)

MEM = 704
LOAD_MB = 540
PERIOD = 100_000
ATTEMPTS = 5    #: a page of the kernel's own may be dropped, and written again at once


def write_once_over(guest: l2.Guest, pages: int, timeout: float) -> int:
    """Let the load go over all pages in order, then stop it."""
    guest.payload.start(mode="seq")
    deadline = time.monotonic() + timeout
    before = guest.payload.writes()
    while guest.payload.writes() - before < pages * 11 // 10:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the load did not get round in {timeout:.0f} s")
        time.sleep(0.1)
    guest.payload.stop()
    return guest.payload.writes() - before


def migrate_once(lab: Lab, spec: l2.GuestSpec) -> tuple[int, int]:
    """Migrate with the faulty build: pages that differ, and stamps that are wrong."""
    guest = l2.start(lab, spec)
    guest.wait_ready()
    pages = guest.payload.verify().pages
    lab.check(pages > PERIOD * 11 // 10,
              f"{pages} pages are too few for one drop in {PERIOD}")
    # A light load and a slow channel: after the first pass little is left, and yet the
    # second takes long enough for the limit to be lowered before the migration is over.
    guest.payload.start(mode="random", rate=500)
    destination = l2.start(lab, spec.incoming())
    migrate.begin(lab, guest, destination, "unix")
    lab.check(migrate.wait_syncs(guest, 2, 120), "the migration ended too early")
    migrate.limits(guest, 1 << 20, 1)
    guest.payload.stop()
    lab.figures["written"] = write_once_over(guest, pages, 120)
    info = migrate.finish(guest)
    lab.check(info["status"] == "completed", f"migration: {info}")
    migrate.settled(destination)
    compared = oracle.compare(guest, destination)
    destination.qmp.cmd("cont")
    verified = destination.payload.verify()
    guest.quit()
    destination.quit()
    return len(compared.pages), verified.bad


def run(lab: Lab, fault: str) -> None:
    """Migrate with the faulty build until a page is lost; both oracles must notice."""
    os.environ["QEMU_LIVE_DIRTY_FAULT"] = fault
    spec = l2.GuestSpec(lab.fault, mem=MEM, ring=4096, load_mb=LOAD_MB)
    for attempt in range(1, ATTEMPTS + 1):
        differs, bad = migrate_once(lab, spec)
        lab.figures.update(attempt=attempt, ram_differs=differs, bad_stamps=bad)
        lab.check(differs > 0 or bad == 0,
                  f"{bad} stamps are wrong in RAM that is the same: "
                  "the comparison does not bite")
        if differs and bad:
            return
    lab.check(differs > 0, "RAM of source and destination is the same: "
              "the comparison does not bite")
    lab.check(bad > 0, "all stamps are right: the payload does not bite")
