# SPDX-License-Identifier: GPL-2.0-or-later
"""vhost-vdpa's switch and downtime, ours and stock by turns in one L1.

Theory of operation
-------------------
The lab's scenario vdpa-speed runs once for each size of guest; its medians become rows:

    vdpa_switch_ms_SIZE     longest time without a frame while a migration was held up, which has
                            the switch from passthrough to shadow rings in it
    vdpa_downtime_ms_SIZE   query-migrate's

SIZE is the guest's memory in MiB.

Limits: the emulated machine's own hiccups are in a gap, too; compare within one row only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qlab import host, scenario

NAMES = {"vdpa_switch_ms": "held_ms", "vdpa_downtime_ms": "downtime_ms"}
SIZES = (256, 1024)


class LabError(Exception):
    """The scenario did not pass; the text says why."""


def rows(figures: Mapping[str, Any], size: int) -> Iterator[dict[str, Any]]:
    """The rows of one run of the scenario."""
    for name, what in NAMES.items():
        ours, stock = (figures[what][subject]["median"] for subject in ("ours", "stock"))
        if not stock:
            raise LabError(f"{name}_{size}: stock's is 0, there is no ratio")
        count = min(len(figures[what][subject]["runs"]) for subject in ("ours", "stock"))
        yield {"name": f"{name}_{size}", "unit": "ms", "ours": ours, "stock": stock,
               "ratio": round(ours / stock, 4), "n": count, "better": "lower"}


def measure(runs: int, sizes: tuple[int, ...], mode: str) -> Iterator[dict[str, Any]]:
    """All rows, with RUNS of each subject."""
    cases = scenario.load_file(scenario.SCENARIO_DIR / "vdpa-speed.py")
    for size in sizes:
        case = next(case for case in cases if case.params["memory"] == size)
        lab = host.Host(host.parse_args(
            ["run", case.name, "--mode", mode, "--param", f"rounds={runs}",
             "--time-factor", str(max(1.0, runs / 3))]))
        outcome = host.run_case(lab, case, mode)
        if outcome.status != "passed":
            raise LabError(f"{case.name}: {outcome.status}: {outcome.reason}")
        yield from rows(outcome.figures, size)
