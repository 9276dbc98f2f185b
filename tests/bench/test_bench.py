# SPDX-License-Identifier: GPL-2.0-or-later
"""The harness: what it asks the lab for, what it leaves, and how it ends.

Limits: the lab is not run; its runs and its outcome are made up.
"""

from __future__ import annotations

import json
import sys
import tempfile
import unittest
import unittest.mock
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bench
import labrows
import stats
from qlab import machine
from test_report import runs

ROW = {"name": "made-up", "unit": "ns", "ours": 1.0, "stock": 2.0, "ratio": 0.5, "n": 1,
       "better": "lower"}
PASSED = machine.Outcome("passed", "", 60.0)


class Harness(unittest.TestCase):
    """main(), with the lab and the clock of the core taken away."""

    def ended(self, made: list[stats.Run], outcome: machine.Outcome = PASSED,
              measured: dict[str, Any] | None = None, rounds: int = 2,
              vdpa: Any = None, in_lab: Any = None) -> int:
        """The exit status; files are left in self.out."""
        argv = ["bench", "--runs", str(rounds), "--load", "random", "--out", str(self.out)]
        with unittest.mock.patch.object(sys, "argv", argv), \
                unittest.mock.patch.object(bench, "migrations", return_value=(made, outcome)), \
                unittest.mock.patch.object(bench, "core_figures",
                                           return_value=measured or {"skipped": "test"}), \
                unittest.mock.patch.object(bench, "vdpa_figures", return_value=[ROW],
                                           side_effect=vdpa), \
                unittest.mock.patch.object(bench, "vdpa_migrations", return_value=[],
                                           side_effect=in_lab), \
                unittest.mock.patch.object(bench, "ring_figures", return_value=[]), \
                unittest.mock.patch("builtins.print"):
            return bench.main()

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.out = Path(scratch.name)

    def test_all_well(self) -> None:
        """Every row, a report, and success."""
        self.assertEqual(self.ended(runs()), 0)
        rows = json.loads((self.out / "results.json").read_text("utf-8"))
        self.assertEqual([row["name"] for row in rows], [row.name("random") for row in stats.ROWS] + ["made-up"])
        self.assertIn("<svg", (self.out / "report.html").read_text("utf-8"))

    def test_failed_run(self) -> None:
        """One is enough."""
        made = runs()
        made[0] = {**made[0], "reason": "2 of 9 pages are wrong"}
        self.assertEqual(self.ended(made), 1)

    def test_missing_run(self) -> None:
        """A lab that ends early is no success, whatever it says."""
        self.assertEqual(self.ended(runs()[:-1]), 1)

    def test_failed_lab(self) -> None:
        """Nor is one that failed after the last run."""
        self.assertEqual(self.ended(runs(), machine.Outcome("failed", "L1 kernel: BUG", 9.0)), 1)
        self.assertEqual(self.ended(runs(), machine.Outcome("skipped", "no stock", 0.0)), 1)

    def test_failed_vdpa_migration(self) -> None:
        """The other rows are written, and it is no success."""
        self.assertEqual(self.ended(runs(), in_lab=labrows.LabError("x")), 1)
        rows = json.loads((self.out / "results.json").read_text("utf-8"))
        self.assertEqual(rows[-1], ROW)

    def test_vdpa_rows(self) -> None:
        """Medians, a ratio, and the runs of the smaller side; no ratio to nothing."""
        def found(ours: float, stock: float) -> dict[str, Any]:
            return {"ours": {"median": ours, "runs": [ours] * 3},
                    "stock": {"median": stock, "runs": [stock] * 2}}
        rows = list(bench.vdpa_lab.rows({"pps": found(10, 40), "main_us": found(3, 2)},
                                        "vdpa-rate/shadow"))
        self.assertEqual([(row["name"], row["ratio"], row["n"], row["better"]) for row in rows],
                         [("vdpa_shadow_pps", 0.25, 2, "higher"),
                          ("vdpa_shadow_main_us", 1.5, 2, "lower")])
        with self.assertRaises(labrows.LabError):
            list(bench.vdpa_lab.rows({"pps": found(1, 0)}, "vdpa-rate/passthrough"))

    def test_vdpa_growth(self) -> None:
        """What a large guest costs more than a small one, if both were measured."""
        figures = {256: (2.0, 10.0), 4096: (3.0, 90.0)}
        made = [labrows.row(f"vdpa_switch_ms_{size}", "ms", "lower", *pair, 3)
                for size, pair in figures.items()]
        rows = list(bench.vdpa_lab.growth(made))
        self.assertEqual([(row["name"], row["ours"], row["stock"]) for row in rows],
                         [("vdpa_switch_ms", 3.0, 90.0), ("vdpa_switch_growth", 1.5, 9.0)])
        self.assertEqual(list(bench.vdpa_lab.growth(made[:1])), [])

    def test_vdpa_cases(self) -> None:
        """Each case is one that the lab has, and no two rows have one name."""
        names = [figure.row + suffix for suffix, figures in bench.vdpa_lab.CASES.values()
                 for figure in figures]
        self.assertEqual(len(names), len(set(names)))
        there = {case.name for case in bench.scenario.load_all()}
        self.assertLessEqual(set(bench.vdpa_lab.CASES), there)

    def test_ring_rows(self) -> None:
        """Each ring size against both peers; medians of repeated cases; idle reapers at their worst."""
        runs = [{"ours ring 1024": {"writes": ours, "reaper-wakeups": 0.5},
                 "stock ring 1024": {"writes": 50, "reaper-wakeups": 1.0}, "stock bitmap": {"writes": 200}}
                for ours in (90, 100, 999)]
        rows = list(bench.ring_lab.rows(runs, "ring-rate/zipf-4"))
        self.assertEqual([(row["name"], row["ratio"], row["n"], row["better"]) for row in rows],
                         [("ring_writes_per_s_zipf-4_1024", 2.0, 3, "higher"),
                          ("ring_writes_per_s_zipf-4_1024_vs_bitmap", 0.5, 3, "higher"),
                          ("ring_reaper_wakeups_per_s_zipf-4", 0.5, 3, "lower")])

    def test_ring_viewed_rows(self) -> None:
        """Writes with a viewer as a share of those without."""
        run = {subject: {"writes": writes, "reaper-wakeups": 1.0} for subject, writes in (
            ("stock bitmap", 200), ("stock bitmap viewed", 180), ("ours ring 64", 100), ("ours ring 64 viewed", 99),
            ("stock ring 64", 100), ("stock ring 64 viewed", 50))}
        rows = list(bench.ring_lab.rows([run], "ring-rate/display"))
        self.assertEqual([(row["name"], row["ours"], row["stock"]) for row in rows],
                         [("ring_viewed_share_64", 0.99, 0.5), ("ring_viewed_share_64_vs_bitmap", 0.99, 0.9),
                          ("ring_reaper_wakeups_per_s_display", 1.0, 1.0)])

    def test_ring_cases(self) -> None:
        """Each case is one that the lab has, and none that it has is left out."""
        there = {case.name for case in bench.scenario.load_all() if case.name.startswith("ring-rate/")}
        self.assertEqual(set(bench.ring_lab.CASES), there)
        self.assertLessEqual(set(bench.ring_lab.QUICK), there)

    def test_failed_vdpa(self) -> None:
        """Nor is one whose vDPA core could not be measured."""
        self.assertEqual(self.ended(runs(), vdpa=bench.vdpa.VdpaError("x")), 1)

    def test_failed_core(self) -> None:
        """A micro-benchmark that broke is told from one that was left out."""
        self.assertEqual(self.ended(runs(), measured={"skipped": "x", "error": "x"}), 1)

    def test_nothing_stale(self) -> None:
        """Figures of an earlier invocation are gone before the first run."""
        for name in bench.OUTPUT:
            (self.out / name).write_text("old", "utf-8")
        with unittest.mock.patch.object(bench, "migrations", side_effect=KeyboardInterrupt), \
                unittest.mock.patch.object(sys, "argv", ["bench", "--out", str(self.out)]):
            self.assertRaises(KeyboardInterrupt, bench.main)
        self.assertEqual(list(self.out.iterdir()), [])

    def test_words_for_the_lab(self) -> None:
        """Options become the scenario's parameters, and more rounds more time."""
        args = bench.lab_args(bench.parse_args(["--runs", "4", "--bandwidth", "2"]), "zipf")
        params = dict(pair.split("=", 1) for pair in args.param)
        self.assertEqual(params["rounds"], "4")
        self.assertEqual(json.loads(params["plan"])["bandwidth"], 2 << 20)
        self.assertEqual(json.loads(params["load"]), {"mode": "zipf"})
        short = bench.lab_args(bench.parse_args(["--quick"]), "light")
        self.assertLess(short.time_factor, args.time_factor)


if __name__ == "__main__":
    unittest.main()
