# SPDX-License-Identifier: GPL-2.0-or-later
"""From runs to rows: medians, ratios, and build/bench/results.json.

Theory of operation
-------------------
A run is one `run` event of the bench scenario, as a dictionary: `load`, `subject`, `round`, `reason`
(empty if it went well) and `report`.  METRICS says how a figure is read out of a run's report,
ROWS which subjects a row of results.json compares by which metric, for each load.  A row's `ours` and `stock` are
medians over the runs that went well, `n` is the smaller number of such runs, and `ratio` is
`ours / stock`.

Failed runs are not in the medians: failures() lists them, and the caller makes the benchmark fail.
A row that lacks runs on either side is left out of results.json and
named by lacking().

Limits: no tests of significance; `spread` gives the reader the smallest and largest run.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Run = dict[str, Any]


@dataclass(frozen=True)
class Metric:
    """A figure of one run."""

    about: str
    unit: str
    better: str  # "lower" or "higher"
    read: Callable[[dict[str, Any]], float | None]


@dataclass(frozen=True)
class Row:
    """One comparison, of each load."""

    stem: str
    metric: str
    ours: str
    stock: str
    suffix: str

    def name(self, load: str) -> str:
        """In results.json."""
        return f"{self.stem}_{load}{self.suffix}"


def seconds_total(report: dict[str, Any]) -> float | None:
    """query-migrate's total-time."""
    ms = report["migrate"].get("total-time")
    return None if ms is None else ms / 1000


METRICS = {
    "total": Metric("Time from `migrate` to completion", "s", "lower", seconds_total),
    "downtime": Metric("Time during which neither side ran the guest", "ms", "lower",
                       lambda report: report["migrate"].get("downtime")),
    "writes": Metric("Pages that the guest wrote a second while it was migrated",
                     "pages/s", "higher", lambda report: report["writes_during"]),
    "sent": Metric("Pages sent, zero pages aside", "pages", "lower",
                   lambda report: report["migrate"].get("ram", {}).get("normal")),
}

#: (stem, metric): a row STEM_LOAD is made against stock's ring, STEM_LOAD_vs_bitmap against its bitmap.
COMPARED = (
    ("migration_total_s", "total"),
    ("migration_downtime_ms", "downtime"),
    ("migration_guest_writes_per_s", "writes"),
    ("migration_pages_sent", "sent"),
)

ROWS = tuple(Row(stem, metric, "ours-ring", peer, suffix)
             for stem, metric in COMPARED
             for suffix, peer in (("", "stock-ring"), ("_vs_bitmap", "stock-bitmap")))


def good(runs: list[Run]) -> list[Run]:
    """Runs that went well."""
    return [run for run in runs if not run["reason"] and run["report"]]


def failures(runs: list[Run]) -> list[str]:
    """One line for each run that did not."""
    return [f"{run['load']}, {run['subject']}, round {run['round'] + 1}: {run['reason'] or 'no report'}"
            for run in runs if run["reason"] or not run["report"]]


def values(runs: list[Run], subject: str, metric: str) -> list[float]:
    """A metric of a subject's good runs, in the order of the runs."""
    read = (METRICS[metric].read(run["report"]) for run in good(runs)
            if run["subject"] == subject)
    return [float(value) for value in read if value is not None]


def spread(some: list[float]) -> tuple[float, float]:
    """Smallest and largest."""
    return min(some), max(some)


def rounded(value: float) -> float:
    """Four significant digits; the rest is noise."""
    return float(f"{value:.4g}")


def by_load(runs: list[Run]) -> dict[str, list[Run]]:
    """The runs of each load, in the order of the runs."""
    sorted_out: dict[str, list[Run]] = {}
    for run in runs:
        sorted_out.setdefault(run["load"], []).append(run)
    return sorted_out


def compare(row: Row, load: str, runs: list[Run]) -> dict[str, Any] | None:
    """A row of results.json from one load's runs; None if either side has nothing to compare."""
    ours, stock = (values(runs, subject, row.metric) for subject in (row.ours, row.stock))
    if not ours or not stock:
        return None
    mine, theirs = statistics.median(ours), statistics.median(stock)
    if not theirs:
        return None
    metric = METRICS[row.metric]
    return {"name": row.name(load), "unit": metric.unit, "ours": rounded(mine),
            "stock": rounded(theirs), "ratio": rounded(mine / theirs),
            "n": min(len(ours), len(stock)), "better": metric.better}


def results(runs: list[Run]) -> list[dict[str, Any]]:
    """What results.json holds."""
    made = (compare(row, load, some) for load, some in by_load(runs).items() for row in ROWS)
    return [row for row in made if row]


def lacking(runs: list[Run]) -> list[str]:
    """Names of the rows that could not be made."""
    return [row.name(load) for load, some in by_load(runs).items() for row in ROWS
            if compare(row, load, some) is None]


def wins(row: dict[str, Any]) -> bool:
    """Whether ours is the better one of a row."""
    ratio: float = row["ratio"]
    return ratio < 1 if row["better"] == "lower" else ratio > 1
