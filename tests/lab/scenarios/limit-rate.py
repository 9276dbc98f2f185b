# SPDX-License-Identifier: GPL-2.0-or-later
"""dirty-limit limits: a vCPU writes at 1, 5 and 20 MB/s, if that is its limit.

From 3 s on the guest's own count of pages is within 10 % of the limit, with a small ring
and a large one, and while a monitor measures dirty rates and queries limits.  The guest
has no kernel, whose pages would count too, and writes page after page, so that none is
dirtied twice between two syncs.

There are two vCPUs: the first leaves the guest each millisecond, when it polls its serial
port, the second only if it is made to.

*Limits*: tests/unit/test-dirty-limit-model.c has more, and higher limits.
"""

import itertools
import time

from qlab import l2
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="dirty-limit holds vCPUs at their limit",
    time_limit=400,
    needs=("kvm", "guest-payload32"),
    suites=("full",),
    variants={str(ring): {"ring": ring} for ring in (1024, 65536)},
    icount=True,
)

LIMITS_MBS = (1, 5, 20)
TOLERANCE = 0.1
SETTLE_S, MEASURE_S = 3.0, 9.0
PAGES_PER_MB = 256
CPUS = 2


def pass_time(guest: l2.Guest, seconds: float, polled: bool) -> None:
    """Wait so long; if polled, measure and query meanwhile."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not polled:
            time.sleep(until - time.monotonic())
            return
        if guest.qmp.cmd("query-dirty-rate")["status"] != "measuring":
            guest.qmp.cmd("calc-dirty-rate", {"calc-time": 1, "mode": "dirty-ring"})
        guest.qmp.cmd("query-vcpu-dirty-limit")
        time.sleep(0.1)


def sample(guest: l2.Guest) -> tuple[float, float]:
    """MB that a vCPU has written on average, and when."""
    return guest.payload.writes() / PAGES_PER_MB / CPUS, time.monotonic()


def rate(guest: l2.Guest, seconds: float, polled: bool = False) -> float:
    """MB/s that a vCPU writes on average."""
    mb, start = sample(guest)
    pass_time(guest, seconds, polled)
    mb_then, end = sample(guest)
    return round((mb_then - mb) / (end - start), 3)


def run(lab: Lab, ring: int) -> None:
    """Each limit, alone and polled; then none."""
    guest = l2.start(lab, l2.GuestSpec(lab.qemu, kind="payload32", mem=160, cpus=CPUS,
                                   ring=ring))
    guest.wait_ready()
    guest.payload.start(mode="seq")
    missed = []
    for polled, limit in itertools.product((False, True), LIMITS_MBS):
        guest.qmp.cmd("set-vcpu-dirty-limit", {"dirty-rate": limit})
        pass_time(guest, SETTLE_S, polled)
        name = f"held_{limit}{'_polled' if polled else ''}_mbs"
        lab.figures[name] = found = rate(guest, MEASURE_S, polled)
        lab.figures[f"{name}_shown"] = guest.qmp.cmd("query-vcpu-dirty-limit")[0]["current-rate"]
        if abs(found / limit - 1) > TOLERANCE:
            missed.append(f"{found} MB/s at a limit of {limit}{', polled' if polled else ''}")
    guest.qmp.cmd("cancel-vcpu-dirty-limit")
    lab.figures["freed_mbs"] = freed = rate(guest, 2)
    lab.check(not missed, "; ".join(missed))
    lab.check(freed > 2 * max(LIMITS_MBS), f"{freed} MB/s without a limit")
    guest.payload.stop()
    found_bad = guest.payload.verify()
    lab.check(found_bad.clean, f"at the end: {found_bad}")
