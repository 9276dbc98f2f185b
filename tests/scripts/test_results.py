# SPDX-License-Identifier: GPL-2.0-or-later
"""Counting: what is missing, malformed or silent is a failure, and the last line is the count."""

import tempfile
import unittest
from pathlib import Path

from program import SCRIPTS, load, run

results = load("results.py")
peer = load("peer")
PASSED = '{"name": "a", "status": "passed", "seconds": 1, "reason": ""}\n'
FAILED = '{"name": "b", "status": "failed", "seconds": 1, "reason": "broke"}\n'
SKIPPED = '{"name": "c", "status": "skipped", "seconds": 0, "reason": "no disk"}\n'


class Summary(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.build = Path(folder.name)
        (self.build / "results").mkdir()

    def summary(self, **suites: str) -> tuple[int, list[str]]:
        for suite, text in suites.items():
            (self.build / "results" / f"{suite}.jsonl").write_text(text)
        done = run(SCRIPTS / "summary", "--build", self.build, *suites)
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
        done = run(SCRIPTS / "summary", "--build", self.build, "absent")
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
