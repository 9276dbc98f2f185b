# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/results: pages are written from results, kept where there are none, and complained about when edited."""

import json
import tempfile
import unittest
from pathlib import Path

from program import TOP, load, run

pages = load("result-pages")
LAB = {"name": "precopy/unix", "status": "passed", "seconds": 1, "reason": "", "mode": "tdp", "kernel": "6.1",
       "qemu": "qemu", "up_seconds": 5, "figures": {"written": 7, "long": "x" * 40}}
RECORDED = {"title": "A run", "command": "make bench", "date": "2026-01-01", "machine": "m", "versions": "v",
            "peers": "p", "runs": "one", "columns": ["row", "value"], "rows": [["a", "1"]], "notes": ["A note."]}


class Pages(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.build = Path(folder.name) / "build"
        self.out = Path(folder.name) / "out"
        for path in (self.build / "results", self.build / "bench", self.out / "recorded"):
            path.mkdir(parents=True)

    def results(self, name: str, *rows: dict[str, object]) -> None:
        (self.build / f"results/{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def write(self) -> None:
        done = run(TOP / "scripts/result-pages", "--build", self.build, "--out", self.out)
        self.assertEqual(done.returncode, 0, done.stderr)

    def page(self, name: str) -> str:
        return (self.out / name).read_text()

    def test_suites_and_lab(self) -> None:
        case = {"name": "a", "status": "passed", "seconds": 1, "reason": ""}
        self.results("unit", case, case, {**case, "status": "failed"})
        self.results("lab", LAB, {**LAB, "status": "failed", "reason": "a | b"})
        (self.build / "results/unit.run.json").write_text('{"version": "0.1 (abc)", "machine": "a PDP-11"}')
        self.write()
        self.assertRegex(self.page("suites.md"), r"\| unit \| 2 \| 1 \| 0 \| [-0-9: ]+ \| 0.1 \(abc\) \| a PDP-11 \|")
        self.assertRegex(self.page("lab.md"),
                         r"\| precopy/unix \| 6.1 \| tdp \| qemu \| 1 \| 1 \| 0 \| failed \| by [-0-9: ]+ "
                         r"\| not noted \| written 7 \|")
        self.assertEqual(list(pages.complaints(self.out)), [])

    def test_rows_without_results_stay(self) -> None:
        case = {"name": "a", "status": "passed", "seconds": 1, "reason": ""}
        self.results("unit", case)
        self.write()
        (self.build / "results/unit.jsonl").unlink()
        self.results("graft", case, case)
        self.write()
        self.assertIn("| unit | 1 |", self.page("suites.md"))
        self.assertIn("| graft | 2 |", self.page("suites.md"))

    def test_bench_and_recorded(self) -> None:
        (self.build / "bench/results.json").write_text(json.dumps([
            {"name": "total_s", "unit": "s", "ours": 1.5, "stock": 2, "ratio": 0.75, "n": 3, "better": "lower"}]))
        (self.out / "recorded/long.json").write_text(json.dumps(RECORDED))
        self.write()
        self.assertIn("| total_s | s | 1.5 | 2 | 0.75 | 3 | lower |", self.page("bench.md"))
        self.assertIn("| date | 2026-01-01 |", self.page("long.md"))
        self.assertEqual(list(pages.complaints(self.out)), [])

    def test_complaints(self) -> None:
        (self.out / "recorded/long.json").write_text(json.dumps(RECORDED))
        self.write()
        (self.out / "long.md").write_text(self.page("long.md").replace("| a | 1 |", "| a | 2 |"))
        (self.out / "typed.md").write_text("# Typed\n\nFast.\n")
        (self.out / "odd.md").write_text("# Odd\n\nWritten by `make nonsense`; do not edit.\n")
        (self.out / "other.md").write_text("# Other\n\nWritten by `make results`; do not edit.\n")
        found = "\n".join(pages.complaints(self.out))
        self.assertIn("long.md: was edited", found)
        self.assertIn("typed.md: no line says which command writes it", found)
        self.assertIn("odd.md: `make nonsense` does not exist", found)
        self.assertIn("other.md: `make results` does not write it", found)

    def test_pages_of_the_tree(self) -> None:
        self.assertEqual(list(pages.complaints()), [])


if __name__ == "__main__":
    unittest.main()
