# SPDX-License-Identifier: GPL-2.0-or-later
"""The report: complete, by itself, and silent about nothing.

Limits: that plots look well is for eyes.
"""

from __future__ import annotations

import re
import sys
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import report
import stats

CORE = {"cases": [{"batch": 64, "instructions_per_entry": 41.02}]}


def runs() -> list[stats.Run]:
    """Two rounds of every subject."""
    made: list[stats.Run] = []
    for number in range(2):
        for place, subject in enumerate(report.COLOURS):
            what: dict[str, Any] = {
                "migrate": {"total-time": 1000 * (place + 1), "downtime": 50,
                            "ram": {"normal": 100}}, "writes_during": 10.0}
            made.append({"event": "run", "load": "random", "subject": subject, "round": number, "reason": "",
                         "report": what})
    return made


class Page(unittest.TestCase):
    """report.html."""

    def test_rows_and_plots(self) -> None:
        """Each row is named, each metric has a plot that is well-formed."""
        page = report.page({"guest": "1 vCPU"}, runs(), CORE)
        for row in stats.ROWS:
            self.assertIn(f"<td>{row.name('random')}</td>", page)
        plots = re.findall(r"<svg.*?</svg>", page, re.S)
        self.assertEqual(len(plots), len(stats.METRICS))
        for plot in plots:
            ElementTree.fromstring(plot)
        self.assertIn("41.0", page)
        self.assertIn("No run failed", page)

    def test_every_run_is_a_dot(self) -> None:
        """Two rounds of three subjects: six."""
        plot = report.plot(runs(), "total")
        self.assertEqual(plot.count("<circle"), 6)

    def test_loads_nothing(self) -> None:
        """No script, style sheet or picture from elsewhere."""
        page = report.page({}, runs(), CORE)
        self.assertEqual(re.findall(r"<script[^>]*src|<link|<img|@import|url\(http", page), [])

    def test_failed_runs_come_first(self) -> None:
        """And what they said is shown as text."""
        some = runs()
        some[0] = {**some[0], "reason": "3 < 4 pages"}
        page = report.page({}, some, CORE)
        self.assertIn("Failed runs: 1", page)
        self.assertIn("3 &lt; 4 pages", page)
        self.assertLess(page.index("Failed runs"), page.index("<table>"))

    def test_nothing_went_well(self) -> None:
        """Still a page, and it says so."""
        some = [{**run, "reason": "no boot", "report": None} for run in runs()]
        page = report.page({}, some, {"skipped": "--no-core"})
        self.assertEqual(page.count("not measured"), len(stats.ROWS))
        self.assertIn("Failed runs: 6", page)


if __name__ == "__main__":
    unittest.main()
