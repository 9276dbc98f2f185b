# SPDX-License-Identifier: GPL-2.0-or-later
"""The ring together with its other users: calc-dirty-rate, vcpu-dirty-limit.

`rate` measures the dirty rate in ring mode while a migration runs, and after
it; `limit` throttles the vCPUs with vcpu-dirty-limit, checks that the load
slows down, and migrates while the limit is in service.  `query` asks a migration
with the dirty-limit capability how it goes, while one of two vCPUs writes little
and the other nothing: their average is 0 MB/s, by which stock QEMU divides.

*Limits*: the load may be slower than its limit; limit-rate.py is about the rate.
"""

import time

from qlab import l2, migrate
from qlab.context import Lab
from qlab.qmp import QmpGone
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="ring with calc-dirty-rate and with vcpu-dirty-limit",
    time_limit=240,
    needs=("kvm", "guest-linux"),
    suites=("full",),
    variants={what: {"what": what} for what in ("rate", "limit", "query")},
    short=("limit",),
)


LIMIT_MBS = 4  # a vCPU
TOLERANCE = 1.1


def measured_rate(guest: l2.Guest) -> int:
    """calc-dirty-rate in ring mode over one second, in MB/s."""
    guest.qmp.cmd("calc-dirty-rate", {"calc-time": 1, "mode": "dirty-ring"})
    for _ in range(200):
        answer = guest.qmp.cmd("query-dirty-rate")
        if answer["status"] == "measured":
            return int(answer["dirty-rate"])
        time.sleep(0.1)
    raise TimeoutError("calc-dirty-rate did not end in 20 s")


def writes_per_second(guest: l2.Guest, seconds: float = 2.0) -> float:
    """What the load gets done."""
    before, start = guest.payload.writes(), time.monotonic()
    time.sleep(seconds)
    return (guest.payload.writes() - before) / (time.monotonic() - start)


def with_rate(lab: Lab, guest: l2.Guest, spec: l2.GuestSpec) -> l2.Guest:
    """Measure before, during and after a migration."""
    guest.payload.start()
    lab.figures["rate_before_mbs"] = measured_rate(guest)
    lab.check(lab.figures["rate_before_mbs"] > 0, "no dirty rate measured")
    destination = l2.start(lab, spec.incoming())
    migrate.begin(lab, guest, destination, "unix")
    lab.figures["rate_during_mbs"] = measured_rate(guest)
    migrate.wait_syncs(guest, 3, 90)
    result = migrate.judge(lab, guest, destination, migrate.finish(guest))
    lab.figures["hop"] = result.figures()
    lab.check(result.clean, f"{result}")
    guest.quit()
    destination.payload.start()
    lab.figures["rate_after_mbs"] = measured_rate(destination)
    destination.payload.stop()
    return destination


def with_limit(lab: Lab, guest: l2.Guest, spec: l2.GuestSpec) -> l2.Guest:
    """Throttle, see it bite, migrate, see it gone."""
    guest.payload.start()
    free = writes_per_second(guest)
    guest.qmp.cmd("set-vcpu-dirty-limit", {"dirty-rate": LIMIT_MBS})
    time.sleep(6)
    held = writes_per_second(guest, 4)
    allowed = round(TOLERANCE * LIMIT_MBS * 256 * guest.spec.cpus)
    lab.figures.update(free_writes_s=round(free), held_writes_s=round(held),
                       allowed_writes_s=allowed)
    lab.check(free > 4 * allowed, f"{free:.0f} writes a second need no limit")
    lab.check(held < allowed, f"the limit does not bite: {held:.0f} writes a "
              f"second, {allowed} allowed")
    lab.check(held > 0, "a throttled guest must go on")
    guest.payload.stop()
    guest, result = migrate.hop(lab, guest, spec, syncs=2)
    lab.figures["hop"] = result.figures()
    lab.check(result.clean, f"{result}")
    return guest


def with_query(lab: Lab, guest: l2.Guest, spec: l2.GuestSpec) -> l2.Guest:
    """Ask the whole time while the rates are measured, then complete."""
    destination = l2.start(lab, spec.incoming())
    migrate.enable(("dirty-limit",), guest, destination)
    guest.qmp.cmd("set-vcpu-dirty-limit", {"dirty-rate": 1})
    guest.payload.start(rate=300, workers=1)
    migrate.begin(lab, guest, destination, "unix", bandwidth=4 << 20)
    asked, until = 0, time.monotonic() + 15
    try:
        while time.monotonic() < until:
            status = migrate.query(guest)["status"]
            lab.check(status in ("setup", "active"), f"the migration is {status}")
            asked += 1
            time.sleep(0.02)
    except QmpGone:
        lab.fail(f"query-migrate ended QEMU after {asked} answers: {guest.process.wait(20)}")
    lab.figures["asked"] = asked
    result = migrate.judge(lab, guest, destination, migrate.finish(guest))
    lab.check(result.clean, f"{result}")
    guest.quit()
    return destination


def run(lab: Lab, what: str) -> None:
    """One of them."""
    spec = l2.GuestSpec(lab.qemu, mem=160, cpus=2, ring=1024)
    guest = l2.start(lab, spec)
    guest.wait_ready()
    guest = {"rate": with_rate, "limit": with_limit, "query": with_query}[what](lab, guest, spec)
    found = guest.payload.verify()
    lab.check(found.clean, f"at the end: {found}")
