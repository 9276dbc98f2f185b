# SPDX-License-Identifier: GPL-2.0-or-later
"""A process drives a simulated disk through /dev/vhost-vdpa-N.

A table of good and bad requests has to be answered as the specification says; random traffic is
compared with a copy of the disk in memory, suspended and resumed now and then.

*Limits*: one queue.
"""

from qlab import simdrive
from qlab.context import Lab
from qlab.scenario import DEBUG, Scenario

SCENARIO = Scenario(
    about="requests to a simulated disk: good, bad, random, suspended",
    time_limit=150,
    needs=("kernel-modules",),
    suites=("full", "kernel"),
    append=DEBUG,
    l1_mem=1536,
    own_binaries=True,
)


def run(lab: Lab) -> None:
    """All of it."""
    sim = simdrive.Sim(lab, "blk", vdpa_sim_blk="capacity_mib=32")
    sim.add("disk0")
    lab.defer(lambda: sim.delete("disk0"))
    node = sim.node("disk0")
    simdrive.run(lab, "blk", node, "cases")
    lab.figures |= simdrive.run(lab, "blk", node, "random", 2000, 10)
    lab.figures |= simdrive.run(lab, "blk", node, "rate", 3)
