# SPDX-License-Identifier: GPL-2.0-or-later
"""The simulated NIC's packet rate, ours and the base's in turn.

Theory of operation
===================

In one L1, our modules are loaded, a process sends frames to itself through /dev/vhost-vdpa-N for a
while, and everything is unloaded; then the same with the base's (tests/kernel/base-modules builds
them); and so on in turn.  L1's clock counts instructions, two nanoseconds each, so what else the host
does changes nothing.  A figure is the median of a side's rounds, the claim is their ratio.

*Limits*: instructions, not time: caches and what two CPUs do at once are not in it, and the two CPUs
take turns.  How the process that waits and the simulator's worker share them is in it.  Both stacks as
a whole are compared: vhost_vdpa's kick, vringh, the IOTLB and the simulator.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from qlab import kmod, simdrive
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="a simulated NIC's packet rate beside the base's",
    time_limit=900,
    needs=("kernel-modules",),
    suites=(),
    own_binaries=True,
    not_on={"6.12": "the base's simulators are those of 6.1"},
    icount=True,
    variants={"": {"rounds": 3}},
)

SECONDS = 0.3
SIZES = (30, 1400)


def measure(lab: Lab, modules: kmod.Modules) -> dict[int, float]:
    """Frames a second, by their size."""
    lab.modules = modules
    sim = simdrive.Sim(lab, "net", vdpa_sim="batch_mapping=1")
    sim.add("net0", "mac", "52:54:00:11:22:33")
    rates = {size: simdrive.run(lab, "net", sim.node("net0"), "rate", 1, SECONDS, size)["rate"]
             for size in SIZES}
    sim.delete("net0")
    modules.unload_all()
    return rates


def run(lab: Lab, rounds: int, base: str = "") -> None:
    """As many rounds as asked for; the base's modules are in BASE, or where base-modules puts them."""
    ours = lab.modules
    theirs = kmod.Modules(Path(base) if base else
                          ours.directory.parent.parent / "kernel-base" / ours.directory.name)
    if not theirs.is_ours("vdpa_sim_net"):
        lab.skip(f"no modules of the base's in {theirs.directory}; tests/kernel/base-modules builds them")
    found: dict[str, list[dict[int, float]]] = {"ours": [], "base": []}
    for _ in range(rounds):
        found["ours"].append(measure(lab, ours))
        found["base"].append(measure(lab, theirs))
    for size in SIZES:
        medians = {side: statistics.median(rates[size] for rates in all_rates)
                   for side, all_rates in found.items()}
        lab.log(f"{size}: {[(side, [rates[size] for rates in found[side]]) for side in found]}")
        lab.figures |= {f"{side} {size}": round(rate) for side, rate in medians.items()}
        lab.figures[f"ratio {size}"] = round(medians["ours"] / medians["base"], 2)
