# SPDX-License-Identifier: GPL-2.0-or-later
"""What a sync costs, by the instructions that it executes: ours and stock, ring and bitmap.

The benchmark of `make bench-sync` (tests/bench/sync.py), inside L1, whose clock counts instructions, two nanoseconds
each.  So what else the host does changes nothing, and a difference of a few percent is one.

Variants: `all`, a guest of which all pages are dirty; `large`, 960 GiB and a thousand dirty pages; `odd`, memory
modules whose size is no multiple of 64 pages.

Fails where our sync of a guest with all pages dirty takes more than 1.05 times stock's, or our other syncs more than
stock's, kind by kind.  Syncs of rings that find dirty pages are shown, not compared: stock's releases the big QEMU lock
to wait for vCPUs, and the command that dirties the pages runs then, in the sync's time.

*Limits*: instructions, not time: what misses the caches costs more on real hardware.  The guest's ring has no entries.
"""

from __future__ import annotations

import sys
from pathlib import Path

from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="what a sync costs in instructions, ours and stock (figures)",
    time_limit=1800,
    needs=("kvm", "ours", "stock"),
    suites=(),
    own_binaries=True,
    icount=True,
    variants={"all": {"gib": 1, "pages": 0, "most": 1.05},
              "large": {"gib": 960, "pages": 1000},
              "odd": {"gib": 16, "pages": 1000, "odd": True}},
)

TOP = Path(__file__).resolve().parents[3]
ROUNDS = 3


def run(lab: Lab, gib: int, pages: int, odd: bool = False, most: float = 1.0) -> None:
    """Measure each subject, and compare."""
    sys.path[:0] = [str(TOP / "tests/bench")]
    import sync
    for kind, accel in (("ring", "kvm,dirty-ring-size=4096"), ("bitmap", "kvm")):
        rows = {}
        for name, program in (("ours", lab.qemu), ("stock", lab.stock)):
            subject = sync.Subject(str(program), accel, gib, own=1)
            rows[name] = sync.measure_odd(subject, ROUNDS) if odd else sync.measure(subject, [pages], ROUNDS)
            lab.figures[f"{kind} {name}"] = {what: round(value, 2) for what, value in rows[name].items()}
        for what, ours in rows["ours"].items():
            stock = rows["stock"][what]
            compared = kind == "bitmap" or not what.startswith("dirty")
            lab.check(not compared or ours <= most * stock, f"{kind}: {what}: {ours:.2f}, stock {stock:.2f}")
