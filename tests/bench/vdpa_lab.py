#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vhost-vdpa in the lab, ours and stock by turns in one L1.

    tests/bench/vdpa_lab.py [--runs N] [--mode MODE] [--output FILE] [CASE...]

Theory of operation
-------------------
Scenarios of the lab run once each; their medians become rows.  CASE is one of CASES, by default
all; as a program it prints rows and writes them to build/bench/vdpa-lab.json.

    vdpa-speed/SIZE, guests of SIZE MiB
        vdpa_switch_ms_SIZE             data queues stand still as they are switched to shadow rings
        vdpa_switch_back_ms_SIZE        they are switched back after a cancelled migration
        vdpa_switch_gap_ms_SIZE         longest time without a frame, as the guest sees it
        vdpa_switch_mapped_mib_SIZE     mapped anew in both switches
        vdpa_downtime_ms_SIZE           from the source's last data queue to the destination's
        vdpa_reported_downtime_ms_SIZE  query-migrate's
        vdpa_switch_ms, vdpa_downtime_ms
                                        the largest SIZE's again
        vdpa_switch_growth, vdpa_downtime_growth
                                        the largest SIZE's, as a multiple of the smallest's
    vdpa-rate/shadow, vdpa-rate/passthrough
        vdpa_shadow_pps, vdpa_passthrough_pps
                                        frames a second
        vdpa_shadow_main_us             CPU time of QEMU's main thread a frame

What is measured how, and what is not in it: the scenarios' heads.

Limits: instructions of an emulated machine, not time; compare within one row only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import labrows
from labrows import row


@dataclass(frozen=True)
class Figure:
    """One of a scenario's figures and the row that is made of it."""

    name: str
    row: str
    unit: str
    better: str = "lower"


SPEED = (Figure("switch_ms", "vdpa_switch_ms", "ms"),
         Figure("back_ms", "vdpa_switch_back_ms", "ms"),
         Figure("gap_ms", "vdpa_switch_gap_ms", "ms"),
         Figure("mapped_mib", "vdpa_switch_mapped_mib", "MiB"),
         Figure("downtime_ms", "vdpa_downtime_ms", "ms"),
         Figure("reported_ms", "vdpa_reported_downtime_ms", "ms"))
SHADOW = (Figure("pps", "vdpa_shadow_pps", "frames/s", "higher"),
          Figure("main_us", "vdpa_shadow_main_us", "us"))
PASSTHROUGH = (Figure("pps", "vdpa_passthrough_pps", "frames/s", "higher"),)
#: A case of a scenario, what its rows' names end with, and its figures.
CASES = {"vdpa-speed/256": ("_256", SPEED), "vdpa-speed/1024": ("_1024", SPEED),
         "vdpa-speed/4096": ("_4096", SPEED), "vdpa-rate/shadow": ("", SHADOW),
         "vdpa-rate/passthrough": ("", PASSTHROUGH)}
#: Enough of each subject: the lab counts instructions here.
RUNS = 3
#: Those that show that the harness works.
QUICK = ("vdpa-speed/256", "vdpa-rate/shadow")
#: Rows of the smallest and the largest guest, whose quotient says how much memory matters.
GROWTH = {"vdpa_switch_growth": ("vdpa_switch_ms_256", "vdpa_switch_ms_4096"),
          "vdpa_downtime_growth": ("vdpa_downtime_ms_256", "vdpa_downtime_ms_4096")}
#: A name without a size means the largest guest's.
PLAIN = {"vdpa_switch_ms": "vdpa_switch_ms_4096", "vdpa_downtime_ms": "vdpa_downtime_ms_4096"}


def rows(figures: Mapping[str, Any], case: str) -> Iterator[dict[str, Any]]:
    """The rows of one run of the case."""
    suffix, wanted = CASES[case]
    for figure in wanted:
        found = figures[figure.name]
        ours, stock = (found[subject]["median"] for subject in ("ours", "stock"))
        yield row(figure.row + suffix, figure.unit, figure.better, ours, stock,
                  min(len(found[subject]["runs"]) for subject in ("ours", "stock")))


def growth(made: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows of rows."""
    by_name = {one["name"]: one for one in made}
    for name, same in PLAIN.items():
        if same in by_name:
            yield {**by_name[same], "name": name}
    for name, (small, large) in GROWTH.items():
        if small in by_name and large in by_name:
            one, other = by_name[small], by_name[large]
            yield row(name, "x", "lower", round(other["ours"] / one["ours"], 4),
                      round(other["stock"] / one["stock"], 4), min(one["n"], other["n"]))


def run_case(name: str, runs: int, mode: str) -> Mapping[str, Any]:
    """The scenario's figures."""
    return labrows.run_case(name, mode, "--param", f"rounds={runs}", "--time-factor", str(max(1.0, runs / 3)))


def measure(runs: int, names: tuple[str, ...], mode: str) -> Iterator[dict[str, Any]]:
    """All rows, with RUNS of each subject."""
    made: list[dict[str, Any]] = []
    for name in names:
        for one in rows(run_case(name, runs, mode), name):
            made.append(one)
            yield one
    yield from growth(made)


if __name__ == "__main__":
    sys.exit(labrows.main("vdpa_lab.py", "vhost-vdpa in the lab.", measure, tuple(CASES), RUNS))
