# SPDX-License-Identifier: GPL-2.0-or-later
"""The reduction of runs to rows, and the reading of callgrind's files.

Limits: no machine is started; what the lab does is the lab's to test.
"""

from __future__ import annotations

import sys
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import core
import stats


def run(subject: str, number: int, total_ms: float | None = 1000, downtime: float = 100,
        writes: float | None = 5000, sent: int = 10, reason: str = "", load: str = "random") -> stats.Run:
    """A run as the scenario streams it."""
    report: dict[str, Any] = {
        "migrate": {"total-time": total_ms, "downtime": downtime, "ram": {"normal": sent}},
        "writes_during": writes}
    return {"event": "run", "load": load, "subject": subject, "round": number, "reason": reason,
            "report": report}


def row(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The one row of that name."""
    found = [one for one in rows if one["name"] == name]
    assert len(found) == 1, found
    return found[0]


class Rows(unittest.TestCase):
    """results.json."""

    def runs(self) -> list[stats.Run]:
        """Three rounds of every subject; one outlier each."""
        runs = []
        for number, (ours, stock, bitmap) in enumerate(
                ((2000, 4000, 1000), (2500, 5000, 1250), (90000, 90000, 90000))):
            runs += [run("ours-ring", number, ours), run("stock-ring", number, stock),
                     run("stock-bitmap", number, bitmap)]
        return runs

    def test_medians_and_ratio(self) -> None:
        """An outlier moves neither side; the ratio is ours over stock."""
        got = row(stats.results(self.runs()), "migration_total_s_random")
        self.assertEqual(got, {"name": "migration_total_s_random", "unit": "s", "ours": 2.5,
                               "stock": 5.0, "ratio": 0.5, "n": 3, "better": "lower"})

    def test_against_the_bitmap(self) -> None:
        """The second peer has rows of its own."""
        got = row(stats.results(self.runs()), "migration_total_s_random_vs_bitmap")
        self.assertEqual((got["ours"], got["stock"], got["ratio"]), (2.5, 1.25, 2.0))

    def test_keys_are_the_agreed_ones(self) -> None:
        """Every row has these keys and no other."""
        rows = stats.results(self.runs())
        self.assertEqual(len(rows), len(stats.ROWS))
        for one in rows:
            self.assertEqual(list(one), ["name", "unit", "ours", "stock", "ratio", "n", "better"])
            self.assertIn(one["better"], ("lower", "higher"))

    def test_names_are_unique(self) -> None:
        """Rows are found by name."""
        names = [one.name("random") for one in stats.ROWS]
        self.assertEqual(len(names), len(set(names)))

    def test_failed_run_is_reported_and_not_counted(self) -> None:
        """It lowers n, stays out of the median, and has its line."""
        runs = self.runs()
        runs[0] = run("ours-ring", 0, 1, reason="3 of 9 pages differ")
        self.assertEqual(row(stats.results(runs), "migration_total_s_random")["n"], 2)
        self.assertGreater(row(stats.results(runs), "migration_total_s_random")["ours"], 2.0)
        self.assertEqual(stats.failures(runs), ["random, ours-ring, round 1: 3 of 9 pages differ"])

    def test_run_without_report_is_a_failure(self) -> None:
        """Even one that gives no reason."""
        runs = [{"load": "random", "subject": "ours-ring", "round": 0, "reason": "", "report": None}]
        self.assertEqual(stats.failures(runs), ["random, ours-ring, round 1: no report"])
        self.assertEqual(stats.good(runs), [])

    def test_row_without_runs_is_named(self) -> None:
        """What cannot be compared is left out and said."""
        runs = [one for one in self.runs() if one["subject"] != "stock-bitmap"]
        missing = stats.lacking(runs)
        self.assertIn("migration_total_s_random_vs_bitmap", missing)
        self.assertNotIn("migration_total_s_random", missing)
        self.assertEqual(len(stats.results(runs)) + len(missing), len(stats.ROWS))

    def test_figure_that_is_absent_is_no_zero(self) -> None:
        """A guest that was asked once only has no rate."""
        runs = [run("ours-ring", 0, writes=None), run("stock-ring", 0, writes=7)]
        self.assertEqual(stats.values(runs, "ours-ring", "writes"), [])
        self.assertIn("migration_guest_writes_per_s_random", stats.lacking(runs))

    def test_loads_are_apart(self) -> None:
        """Rows of each load, of that load's runs only."""
        runs = [run(subject, 0, total, load=load) for load, total in (("seq", 1000), ("zipf", 3000))
                for subject in ("ours-ring", "stock-ring", "stock-bitmap")]
        rows = stats.results(runs)
        self.assertEqual(len(rows), 2 * len(stats.ROWS))
        self.assertEqual(row(rows, "migration_total_s_seq")["ours"], 1.0)
        self.assertEqual(row(rows, "migration_total_s_zipf_vs_bitmap")["stock"], 3.0)

    def test_who_wins(self) -> None:
        """By the row's own direction."""
        self.assertTrue(stats.wins({"ratio": 0.9, "better": "lower"}))
        self.assertFalse(stats.wins({"ratio": 0.9, "better": "higher"}))
        self.assertFalse(stats.wins({"ratio": 1.1, "better": "lower"}))


CALLGRIND = """\
version: 1
positions: line
events: Ir

fl=(1) ../accel/kvm/core/dirty-ring-reap.c
fn=(1) dirty_ring_reap
10 5
+2 7
cfi=(2) ../tests/unit/fake-kvm.c
cfn=(2) fake_kvm_reset
calls=1 30
* 1000
fi=(3) ../accel/kvm/core/dirty-ring-core.h
90 2
fe=(1)
-3 11

fl=(2)
fn=(2)
30 900
fl=(1)
fn=(3) dirty_ring_add
50 1
"""


class Callgrind(unittest.TestCase):
    """Instructions by source file."""

    def test_self_cost(self) -> None:
        """Calls are the callee's; inlined lines are their own file's."""
        costs = core.cost_by_file(CALLGRIND.splitlines())
        self.assertEqual(costs, {"../accel/kvm/core/dirty-ring-reap.c": 24,
                                 "../accel/kvm/core/dirty-ring-core.h": 2,
                                 "../tests/unit/fake-kvm.c": 900})
        self.assertEqual(core.core_cost(costs), 26)

    def test_nothing_of_the_core(self) -> None:
        """A program without line numbers must not measure as free."""
        self.assertEqual(core.core_cost(core.cost_by_file(["fl=(1) ???", "0 12"])), 0)


if __name__ == "__main__":
    unittest.main()
