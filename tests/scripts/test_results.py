# SPDX-License-Identifier: GPL-2.0-or-later
"""Counting: what is missing, malformed or silent is a failure, and the last line is the count."""

import os
import re
import sys
import tempfile
import unittest
import unittest.mock
from pathlib import Path

from program import SCRIPTS, TOP, load
from program import run as run_program

results = load("results.py")
check = load("check")
peer = load("peer")
LAB = f"""
import sys
from pathlib import Path
from types import SimpleNamespace as Space
sys.path.insert(0, {str(TOP / "tests/lab")!r})
from qlab import host, machine
fake = Space(build=Path(sys.argv[1]), args=Space(kernel="6.1"), inner=lambda: Path("qemu/x"))
host.record(fake, Space(name=sys.argv[2]), "tdp", machine.Outcome("passed", "", 1.0))
"""
PASSED = '{"name": "a", "status": "passed", "seconds": 1, "reason": ""}\n'
FAILED = '{"name": "b", "status": "failed", "seconds": 1, "reason": "broke"}\n'
SKIPPED = '{"name": "c", "status": "skipped", "seconds": 0, "reason": "no disk"}\n'


class Summary(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def summary(self, **suites: str) -> tuple[int, list[str]]:
        for suite, text in suites.items():
            (self.folder / f"{suite}.jsonl").write_text(text)
        done = run_program(SCRIPTS / "summary", "--results", self.folder, *suites)
        return done.returncode, done.stdout.splitlines()

    def test_counts_over_suites(self) -> None:
        status, lines = self.summary(one=PASSED + PASSED + SKIPPED, two=PASSED + SKIPPED)
        self.assertEqual((status, lines[-1]), (0, "3 passed, 0 failed, 2 skipped"))
        self.assertIn("skipped: one: c: no disk", lines)

    def test_failure_fails(self) -> None:
        status, lines = self.summary(one=PASSED, two=FAILED)
        self.assertEqual((status, lines[-1]), (1, "1 passed, 1 failed, 0 skipped"))
        self.assertIn("failed: two: b: broke", lines)

    def test_missing_file_fails(self) -> None:
        done = run_program(SCRIPTS / "summary", "--results", self.folder, "absent")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout.splitlines()[-1], "0 passed, 1 failed, 0 skipped")

    def test_empty_and_malformed_files_fail(self) -> None:
        for text in ("", "no json\n", "[]\n", '{"name": "a", "status": "fine"}\n',
                     '{"status": "passed"}\n', PASSED + '{"name": "a", "sta'):
            status, lines = self.summary(one=text)
            self.assertEqual(status, 1, text)
            self.assertIn("1 failed", lines[-1])


class Recorder(unittest.TestCase):
    def test_silence_is_no_success(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            recorder = results.Recorder("s", Path(folder) / "s.jsonl")
            self.assertEqual(recorder.exit_status(), 1)
            recorder.add("a", "passed")
            self.assertEqual(recorder.exit_status(), 0)
            recorder.add("b", "failed", "two\nlines")
            self.assertEqual(recorder.exit_status(), 1)
            with self.assertRaises(ValueError):
                recorder.add("c", "fine")
            self.assertNotIn("\\n", recorder.path.read_text())


class Runs(unittest.TestCase):
    """A result belongs to the run that it was made in."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.build = Path(folder.name)
        environment = unittest.mock.patch.dict(os.environ)
        environment.start()
        self.addCleanup(environment.stop)
        os.environ.pop(results.RUN, None)

    def lab(self, name: str, run: Path | None) -> None:
        """Record a scenario as `lab run` does, in a process of that run or of none."""
        environment = {results.RUN: str(run)} if run else {}
        done = run_program(sys.executable, "-c", LAB, self.build, name, **environment)
        self.assertEqual(done.returncode, 0, done.stderr)

    def summary(self, folder: Path) -> str:
        return run_program(SCRIPTS / "summary", "--results", folder, "lab").stdout.splitlines()[-1]

    def test_interleaved_runs(self) -> None:
        """Two runs of `make check` and a scenario by hand, all at once: each counts its own."""
        one, two = check.Run(self.build), check.Run(self.build, name="run-other")
        os.environ.pop(results.RUN)
        self.lab("a", one.folder)
        self.lab("x", two.folder)
        self.lab("by-hand", None)
        self.lab("b", one.folder)
        self.assertEqual(self.summary(one.folder), "2 passed, 0 failed, 0 skipped")
        self.assertEqual(self.summary(two.folder), "1 passed, 0 failed, 0 skipped")
        self.assertEqual([row["name"] for row in results.read("lab", self.build / "results/by-hand")], ["by-hand"])
        one.keep("lab")
        self.lab("c", one.folder)
        self.lab("by-hand", None)
        self.assertEqual(self.summary(self.build / "results"), "2 passed, 0 failed, 0 skipped")
        two.keep("lab")
        self.assertEqual(self.summary(self.build / "results"), "1 passed, 0 failed, 0 skipped")
        one.end()
        self.assertEqual(self.summary(two.folder), "1 passed, 0 failed, 0 skipped")


class Suites(unittest.TestCase):
    """The list of suites stands in tests/suites.toml only."""

    def test_readers_agree(self) -> None:
        names = list(check.SUITES)
        said = run_program("make", "help").stdout
        self.assertEqual(re.findall(r"make check-(\S+)", said)[1:], names)
        dry = run_program("make", "-n", "-o", "build/meson/build.ninja", *(f"check-{name}" for name in names))
        self.assertEqual(re.findall(r"^scripts/check (.*)$", dry.stdout, re.M), names)
        lines = run_program(sys.executable, SCRIPTS / "suites.py", "--meson").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines], [name for name in names if name != "unit"])

    def test_commands_exist(self) -> None:
        for name, suite in check.SUITES.items():
            with self.subTest(name):
                self.assertFalse(any(" " in word for word in suite.command))
                if name != "unit":
                    self.assertTrue(os.access(TOP / suite.command[0], os.X_OK))
                    self.assertGreater(suite.timeout, 0)


class PeerVerdicts(unittest.TestCase):
    """What one run of one of migration-test's tests is worth, and what two are together."""

    def judge(self, said: str, status: int = 0) -> str:
        return str(peer.judge("/x86_64/a", status, said).status)

    def test_judge(self) -> None:
        self.assertEqual(self.judge("ok 1 /x86_64/a\n"), "passed")
        self.assertEqual(self.judge("ok 1 /x86_64/a # SKIP no uffd\n"), "skipped")
        self.assertEqual(self.judge("not ok 1 /x86_64/a\n", 1), "failed")
        self.assertEqual(self.judge("ok 1 /x86_64/a\n", -6), "failed")
        self.assertEqual(self.judge("ok 1 /x86_64/other\n"), "failed")
        self.assertEqual(self.judge(""), "failed")

    def test_compare(self) -> None:
        good, bad, skip = (peer.Verdict(s) for s in ("passed", "failed", "skipped"))
        self.assertEqual(peer.compare(good, good).status, "passed")
        self.assertEqual(peer.compare(good, bad).status, "failed")
        self.assertEqual(peer.compare(good, skip).status, "failed")
        self.assertEqual(peer.compare(bad, good).status, "skipped")
        self.assertEqual(peer.compare(skip, skip).status, "skipped")


if __name__ == "__main__":
    unittest.main()
