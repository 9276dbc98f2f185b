# SPDX-License-Identifier: GPL-2.0-or-later
"""Our kernel modules come and go, and leave nothing behind.

All of them are loaded, stock modules that they replace not taken by mistake, and unloaded again,
over and over, with redzones and poisoning on in the slab allocator: what a module forgets in a
cache of its own, or touches after it has gone, is in the kernel log, and that fails the run.

*Limits*: what a module leaves in the general caches is seen as growth only.
"""

from pathlib import Path

from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="all our kernel modules loaded and unloaded again",
    time_limit=120,
    needs=("kernel-modules",),
    suites=("full",),
    append="slub_debug=FZPU",
    own_binaries=True,
    variants={"once": {"rounds": 1}},
)


def loaded() -> set[str]:
    """Names of the modules that the kernel has."""
    lines = Path("/proc/modules").read_text("ascii").splitlines()
    return {line.split()[0] for line in lines}


def run(lab: Lab, rounds: int) -> None:
    """Load all, unload all."""
    names = lab.modules.all()
    lab.figures["modules"] = len(names)
    for _ in range(rounds):
        lab.load(*names)
        missing = set(names) - loaded()
        lab.check(not missing, f"not loaded: {missing}")
        lab.modules.unload_all()
        left = set(names) & loaded()
        lab.check(not left, f"still loaded: {left}")
