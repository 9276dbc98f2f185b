#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The dirty ring in the lab: what it costs a guest, ours, the stock ring and the stock bitmap by turns in one L1.

    tests/bench/ring_lab.py [--runs N] [--mode MODE] [--output FILE] [CASE...]

Theory of operation
-------------------
Cases are variants of the scenario ring-rate, CASE its name, as ring-rate/48-4 (48 MiB, 4 vCPUs).  ENTRIES are the
ring's; stock is the ring, or with _vs_bitmap the bitmap.

    any variant with writes that are as fast as they can be
        ring_writes_per_s_CASE_ENTRIES, ..._vs_bitmap   pages that the guest writes while it migrates
    ring-rate/stalls
        ring_full_p99_us_ENTRIES        99 of 100 stays in user space because of a full ring are shorter
        ring_full_sum_us_ENTRIES        ring-rate/display
        ring_viewed_share_ENTRIES, ..._vs_bitmap    of the pages that the guest writes without a viewer of its
                                        display, it writes so many with one
    all of them
    ring-rate/answers
        ring_sync_answer_ms, ..._vs_bitmap      longest answer of the monitor while full rings are synced: as long
                                        as the big QEMU lock is held, by the sync and by whatever else
    all of them
        ring_reaper_wakeups_per_s       of an idle guest; the largest of the case

What is measured how, and what is not in it: the scenario's head.

Limits: instructions of an emulated machine, not time; compare within one row only.  One run of each subject, since
runs differ by a percent or so: --runs repeats whole cases and takes medians.
"""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import labrows
from labrows import row

RATES = ("8", "48", "150", "zipf", "8-4", "48-4", "150-4", "zipf-4")
CASES = tuple(f"ring-rate/{name}" for name in (*RATES, "display", "answers", "stalls"))
#: Of each subject.
RUNS = 1
#: Those that show that the harness works.
QUICK = ("ring-rate/stalls",)
#: Row, the scenario's figure, unit, better.
Figure = tuple[str, str, str, str]
STALLS: tuple[Figure, ...] = (("ring_full_p99_us", "stall-p99-us", "us", "lower"),
                              ("ring_full_sum_us", "stall-sum-us", "us", "lower"))
VIEWED: tuple[Figure, ...] = (("ring_viewed_share", "viewed-share", "1", "higher"),)
ANSWERS: tuple[Figure, ...] = (("ring_sync_answer_ms", "answer-max-ms", "ms", "lower"),)


def wanted(name: str) -> tuple[Figure, ...]:
    """The figures of a case that become rows."""
    if name == "stalls":
        return STALLS
    if name == "answers":
        return ANSWERS
    if name == "display":
        return VIEWED
    return ((f"ring_writes_per_s_{name}", "writes", "pages/s", "higher"),)


def compared(runs: list[dict[str, dict[str, Any]]], ours: str, peer: str, figure: str) -> tuple[float, float]:
    """Medians of a figure of two subjects."""
    return (float(statistics.median(run[ours][figure] for run in runs)),
            float(statistics.median(run[peer][figure] for run in runs)))


def with_shares(run: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A run's figures, and how much each subject writes with a viewer of what it writes without one."""
    return {subject: {**found, **({"viewed-share": run[f"{subject} viewed"]["writes"] / found["writes"]}
                                  if f"{subject} viewed" in run else {})} for subject, found in run.items()}


def rows(found: list[Mapping[str, Any]], case: str) -> Iterator[dict[str, Any]]:
    """The rows of a case's runs, each of which is the scenario's figures."""
    runs = [with_shares(run) for run in found]
    name = case.partition("/")[2]
    rings = [match[1] for match in map(re.compile(r"ours ring (\d+)").fullmatch, runs[0]) if match]
    for ring in rings:
        ours, peers = f"ours ring {ring}", {"": f"stock ring {ring}", "_vs_bitmap": "stock bitmap"}
        for label, figure, unit, better in wanted(name):
            for suffix, peer in peers.items():
                if peer in runs[0]:
                    yield row(f"{label}_{ring}{suffix}", unit, better, *compared(runs, ours, peer, figure),
                              len(runs))
    woken = [max(float(run[f"{subject} ring {ring}"]["reaper-wakeups"]) for run in runs for ring in rings)
             for subject in ("ours", "stock")]
    yield row(f"ring_reaper_wakeups_per_s_{name}", "1/s", "lower", *woken, len(runs))


def measure(runs: int, names: tuple[str, ...], mode: str) -> Iterator[dict[str, Any]]:
    """All rows, with RUNS of each case."""
    for name in names:
        yield from rows([labrows.run_case(name, mode) for _ in range(runs)], name)


if __name__ == "__main__":
    sys.exit(labrows.main("ring_lab.py", "The dirty ring in the lab.", measure, CASES, RUNS))
