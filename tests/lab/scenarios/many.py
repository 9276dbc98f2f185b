# SPDX-License-Identifier: GPL-2.0-or-later
"""Many migrations under load in one L1, counting oracle failures.

One guest hops from QEMU to QEMU, `count` times; the ring size, the transport
and the load change from hop to hop.  A failed oracle is counted and the run
continues; a QEMU that fails or hangs ends it.

*Limits*: the number of vCPUs is the variant's, as a guest cannot change it.
"""

from dataclasses import replace
from itertools import cycle, islice, product

from qlab import l2, migrate
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="--count migrations under load, oracle failures counted",
    time_limit=3600,
    needs=("kvm", "guest-linux", "guest-payload32"),
    suites=("full",),
    modes=("tdp", "shadow"),
    variants={
        "linux": {"kind": "linux", "mem": 160, "cpus": 1},
        "linux-smp2": {"kind": "linux", "mem": 160, "cpus": 2},
        "payload32-smp2": {"kind": "payload32", "mem": 64, "cpus": 2},
    },
)

LOADS = ({"mode": "random"}, {"mode": "seq"}, {"mode": "zipf"}, {"mode": "stride", "stride": 7},
         {"mode": "random", "rate": 20000})


def run(lab: Lab, kind: str, mem: int, cpus: int) -> None:
    """Hop `count` times."""
    count = lab.count or 12
    spec = l2.GuestSpec(lab.qemu, kind=kind, mem=mem, cpus=cpus)
    plans = product((1024, 4096, 65536), ("unix", "tcp"), LOADS)
    failures = 0
    guest = l2.start(lab, replace(spec, ring=1024))
    guest.wait_ready()
    for number, (ring, transport, load) in enumerate(islice(cycle(plans), count)):
        guest, result = migrate.hop(lab, guest, replace(spec, ring=ring), transport,
                                    syncs=2, load=load)
        if not result.clean:
            failures += 1
            lab.log(f"hop {number} to ring {ring} over {transport}, {load}: {result}")
        lab.figures.update(migrations=number + 1, oracle_failures=failures)
    lab.check(failures == 0, f"{failures} of {count} migrations lost something")
