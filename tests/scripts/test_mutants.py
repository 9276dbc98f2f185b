# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants: what does not apply is an error, what applies is one edit, and reports are merged."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from types import ModuleType

from program import TOP, load, run

sys.path.insert(0, str(TOP / "tests/mutants"))
import mutants
import report
from bench import run_command
from mutants import Mutant, MutantError

SOURCE = """\
static int first(int a);

static int first(int a)
{
    return a + 1;
}

int second(void)
{
    if (first(2)) {
        return first(1) + 1;
    }
    return a + 1;
}
"""
DATA = """\
file = "a.c"
tests = ["one"]
[[mutant]]
name = "m"
before = "a"
after = "b"
reason = "r"
"""


def mutant(before: str, after: str, within: str = "") -> Mutant:
    return Mutant("a.c", "m", before, after, "r", ("one",), within)


class Apply(unittest.TestCase):
    def test_once_in_the_file(self) -> None:
        self.assertIn("first(3)", mutants.apply(mutant("first(2)", "first(3)"), SOURCE))

    def test_function_bounds_the_search(self) -> None:
        made = mutants.apply(mutant("a + 1", "a", "second"), SOURCE)
        self.assertEqual((made.count("return a + 1;"), made.count("return a;")), (1, 1))
        self.assertLess(made.index("return a + 1;"), made.index("return a;"))

    def test_refused(self) -> None:
        for edit, words in ((mutant("return", "x"), "stands 3 times"),
                            (mutant("nowhere", "x"), "stands 0 times"),
                            (mutant("first(2)", "x", "first"), "stands 0 times in first()"),
                            (mutant("first(2)", "x", "third"), "0 definitions of third()")):
            with self.subTest(edit.before), self.assertRaises(MutantError) as raised:
                mutants.apply(edit, SOURCE)
            self.assertIn(words, str(raised.exception))


class Read(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "a.toml"

    def read(self, text: str) -> list[Mutant]:
        self.path.write_text(text, "utf-8")
        return mutants.read(self.path)

    def test_tests_of_the_file_and_of_the_mutant(self) -> None:
        other = DATA.partition("[[")[2].replace('"m"', '"n"')
        read = self.read(f'{DATA}[[{other}tests = ["two", "three"]\n')
        self.assertEqual([m.tests for m in read], [("one",), ("two", "three")])

    def test_refused(self) -> None:
        for text, words in (
                (DATA.replace('"b"', '"a"'), "changes nothing"),
                (DATA + DATA.partition('tests = ["one"]\n')[2], "two mutants are called m"),
                (DATA + 'colour = "red"\n', "unknown key colour"),
                (DATA.replace('reason = "r"\n', ""), "without reason"),
                (DATA.replace('tests = ["one"]\n', ""), "names no test program"),
                (DATA.replace('file = "a.c"\n', ""), "no 'file'"),
                ("=", "a.toml: ")):
            with self.subTest(words), self.assertRaises(MutantError) as raised:
                self.read(text)
            self.assertIn(words, str(raised.exception))


class Complaints(unittest.TestCase):
    def test_a_stale_mutant_and_an_unknown_program(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            top = Path(folder)
            (top / "tests/unit").mkdir(parents=True)
            (top / "tests/mutants").mkdir()
            (top / "tests/unit/meson.build").write_text("unit_tests = {\n  'two': {}\n}\n")
            (top / "tests/mutants/a.toml").write_text(DATA.replace('"a"', '"gone"'))
            (top / "a.c").write_text(SOURCE)
            found = mutants.complaints(top)
        self.assertEqual(found, ["a.c: m: no test program is called one",
                                 "a.c: m: the text stands 0 times in the file"])

    def test_programs(self) -> None:
        units = mutants.unit_tests()
        for program in ("vdpa-ctrl", "vdpa-ctrl-asan", "kernel/test-sim-rules",
                        "kernel/fuzz-vringh", "fuzz/vdpa-iova"):
            self.assertTrue(mutants.known(program, units), program)
        for program in ("nothing", "vdpa-ctrl-fast", "kernel/nothing", "fuzz/nothing", "lab/up"):
            self.assertFalse(mutants.known(program, units), program)


class FakeBench:
    """Runs nothing: outcomes are told beforehand; the first of a program is on the code as it is."""

    def __init__(self, module: ModuleType, *failures: bool) -> None:
        self.module = module
        self.failures = list(failures)

    def run(self, program: str, timeout: float) -> object:
        return self.module.Outcome(self.failures.pop(0), "how", 0.1)

    def write(self, file: str, text: str) -> None:
        pass

    def restore(self, file: str) -> None:
        pass


class Judge(unittest.TestCase):
    FILE = "tests/scripts/test_mutants.py"
    TEXT = "class Fake" + "Bench:"      # stands once in this file
    EQUIVALENT = Mutant(FILE, "m", TEXT, "", "r", ("one",), equivalent="why")
    PLAIN = Mutant(FILE, "m", TEXT, "", "r", ("one",))

    def judge(self, edit: Mutant, runs: int, *failures: bool) -> tuple[str, object]:
        sys.path.insert(0, str(TOP / "tests/mutants"))
        module = load("../tests/mutants/run")
        trial = module.Trial(FakeBench(sys.modules["bench"], *failures), runs)
        said = trial.judge(edit)
        return said, trial.files[edit.file]

    def test_noticed_only_if_in_each_run(self) -> None:
        edit = self.PLAIN
        for runs, failures, words, noticed in (
                (1, (False, True), "noticed by one", 1),
                (3, (False, True, True, True), "noticed by one", 1),
                (3, (False, True, False, True), "SURVIVED (noticed in 2 of 3 runs)", 0),
                (3, (False, False), "SURVIVED:", 0)):
            said, file = self.judge(edit, runs, *failures)
            self.assertIn(words, said)
            self.assertEqual(file.noticed, noticed)

    def test_errors(self) -> None:
        for edit, failures, words in (
                (self.PLAIN, (True,), "fails on the code as it is"),
                (self.EQUIVALENT, (False, True), "declared equivalent, but"),
                (Mutant(self.FILE, "m", "stands nowhere" + "!", "", "r", ("one",)), (), "0 times")):
            said, file = self.judge(edit, 1, *failures)
            self.assertIn(words, said)
            self.assertFalse(file.passed())

    def test_equivalent(self) -> None:
        said, file = self.judge(self.EQUIVALENT, 5, False, False)
        self.assertEqual((said, file.equivalent, file.passed()), ("equivalent", 1, True))


def alive(pid: int, timeout: float = 5.0) -> bool:
    """Whether a process still runs when the timeout is over."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        time.sleep(0.05)
    return True


class Hangs(unittest.TestCase):
    """A test program that hangs, and a process that it started, outlive run_command() never."""

    #: Starts a process that closes its output and sleeps; writes both ids down; then {end}.
    PROGRAM = "sleep 300 >/dev/null 2>&1 & echo $$ $! > pids.new; mv pids.new pids; {end}"
    RUNNER = """\
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bench
bench.ends_with_signals()
bench.run_command(["sh", "-c", sys.argv[3]], Path(sys.argv[2]), 300)
"""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.addCleanup(self.end_all)

    def pids(self) -> list[int]:
        file = self.folder / "pids"
        end = time.monotonic() + 30
        while not file.exists() and time.monotonic() < end:
            time.sleep(0.05)
        return [int(word) for word in file.read_text().split()]

    def end_all(self) -> None:
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def test_time_limit_and_end(self) -> None:
        for end, wanted in (("wait", None), ("exit 3", 3)):
            with self.subTest(end):
                command = ["sh", "-c", self.PROGRAM.format(end=end)]
                self.assertEqual(run_command(command, self.folder, 2.0)[0], wanted)
                self.assertFalse(any(alive(pid) for pid in self.pids()))

    def test_signals_end_the_runner(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(number.name):
                (self.folder / "pids").unlink(missing_ok=True)
                with subprocess.Popen(
                        [sys.executable, "-c", self.RUNNER, str(TOP / "tests/mutants"),
                         str(self.folder), self.PROGRAM.format(end="wait")],
                        stderr=subprocess.DEVNULL) as runner:
                    pids = self.pids()
                    runner.send_signal(number)
                    self.assertNotEqual(runner.wait(30), 0)
                self.assertFalse(any(alive(pid) for pid in pids))


class Report(unittest.TestCase):
    def test_rows_of_other_files_are_kept(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            top = Path(folder)
            document = top / "results/mutants.md"
            (top / "a.c").touch()
            report.write({"a.c": report.Row(10, 3, 1, [("m", "why: it is")]),
                          "b.c": report.Row(1, 1, 0, []), "gone.c": report.Row(1, 1, 0, [])}, document, top)
            report.write({"b.c": report.Row(10, 9, 0, [("n", "x")])}, document, top)
            text = document.read_text("utf-8")
        self.assertIn("| a.c | 5 | 1 | 3 | 1 | 75 % | 10 |", text)
        self.assertIn("| b.c | 10 | 0 | 9 | 1 | 90 % | 10 |", text)
        self.assertIn("| all | 15 | 1 | 12 | 2 | 85 % |  |", text)
        self.assertIn("- `a.c: m`: why: it is\n- `b.c: n`: x\n", text)
        self.assertNotIn("gone.c", text)


class Program(unittest.TestCase):
    def test_bad_names(self) -> None:
        name = mutants.data_files()[0].stem
        for words, told in ((["no-such-file"], "no data file is called"),
                            ([f"{name}:no-such-mutant"], "no mutant that is called"),
                            (["--report", f"{name}:x"], "whole files")):
            done = run(TOP / "tests/mutants/run", *words)
            self.assertEqual(done.returncode, 2)
            self.assertIn(told, done.stderr)


if __name__ == "__main__":
    unittest.main()
