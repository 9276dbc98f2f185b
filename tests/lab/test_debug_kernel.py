# SPDX-License-Identifier: GPL-2.0-or-later
"""Self-check of what the lab makes of its debug kernel; needs no machine.

*Limits*: that kmemleak, KASAN and lockdep report is the scenario debug-kernel's to show.
"""

from __future__ import annotations

import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))

from qlab import debugkernel, host, klog, machine, scenario, verdict

LEAK = """unreferenced object 0xffff888107c3a840 (size 64):
  comm "insmod", pid 412, jiffies 4294900000 (age 12.300s)
  backtrace:
    [<0000000012345678>] make_object+0x1c/0x40 [lab_faults]
"""


class Report(unittest.TestCase):
    """A scenario may want a report of the kernel's."""

    SAID = verdict.line("up") + verdict.line("verdict", status="passed")

    def judge(self, log: str, report: str = "") -> str:
        """Status of a run that passed by its verdict."""
        return machine.judge(verdict.parse(self.SAID), log, "", report)[0]

    def test_one_that_is_wanted(self) -> None:
        """It passes with that report, and fails without one and with another."""
        log = "[1] BUG: KASAN: use-after-free in f\n[2] WARNING: possible recursive locking detected\n"
        self.assertEqual(self.judge(log), "failed")
        self.assertEqual(self.judge(log, "possible recursive locking"), "passed")
        self.assertEqual(self.judge(log, "possible circular locking"), "failed")
        self.assertEqual(self.judge("", "possible circular locking"), "failed")

    def test_known_reports_of_the_base(self) -> None:
        """They are left out if they name all functions, and only then; what follows is not."""
        names = next(iter(debugkernel.KNOWN_REPORTS))
        chain = "".join(f"[2]  {name}+0x1/0x2\n" for name in names)
        head, tail = "[1] WARNING: possible circular locking dependency detected\n", "[3] stack backtrace:\n"
        self.assertEqual(self.judge(head + chain + tail), "passed")
        self.assertEqual(self.judge(head + f"[2]  {names[0]}+0x1/0x2\n" + tail), "failed")
        self.assertEqual(self.judge(head + chain + tail + "[4] BUG: KASAN: use-after-free in f\n"), "failed")
        self.assertEqual(self.judge(head + "[2] a\n" + tail + head + chain + tail), "failed")

    def test_a_verdict_is_needed_as_well(self) -> None:
        """The report does not stand for the scenario's own verdict."""
        said = verdict.parse(verdict.line("up"))
        self.assertEqual(machine.judge(said, "BUG: KASAN: x\n", "", "KASAN")[0], "failed")

    def test_watchers_that_stopped_are_trouble(self) -> None:
        """A watcher that looks no longer, or was overwhelmed, fails the run."""
        for line in ("INFO: trying to register non-static key.",
                     "turning off the locking correctness validator.",
                     "INFO: lockdep is turned off.",
                     "kmemleak: Kernel memory leak detector disabled",
                     "kmemleak: Cannot insert 0x1 into the object search tree (overlaps existing)",
                     "lab: BUG: lockdep has switched itself off"):
            self.assertEqual(klog.reports_in(line + "\n"), [line])
        self.assertEqual(klog.reports_in(
            "kmemleak: Kernel memory leak detector initialized (mem pool available: 3)\n"), [])


class Questions(unittest.TestCase):
    """What the watchers answer at the end."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)

    def ask(self, report: str | None) -> list[str]:
        """Complaints of a kmemleak that would answer REPORT; none if there is none."""
        asked = []

        class File:
            """Stands for debugfs/kmemleak."""

            def write_text(self, text: str, _: str) -> None:
                """A command."""
                if report is None:
                    raise OSError("no kmemleak")
                asked.append(text)

            def read_text(self, *_: str, **__: str) -> str:
                """The report."""
                return report or ""

        watchdog = self.top / "watchdog_thresh"
        watchdog.write_text("2", "ascii")
        with mock.patch.object(debugkernel, "DEBUGFS", mock.MagicMock(
                __truediv__=lambda *_: File())), mock.patch("time.sleep"), mock.patch.object(
                debugkernel, "WATCHDOG", watchdog):
            complaints = debugkernel.check_kmemleak(self.top)
        if report is not None:
            self.assertEqual(asked, ["scan", "scan"])
            self.assertEqual(watchdog.read_text("ascii"), str(debugkernel.WATCHDOG_S))
        return complaints

    def test_kmemleak(self) -> None:
        """Every object is a complaint, and so is a kmemleak that does not answer."""
        self.assertEqual(self.ask(""), [])
        self.assertIn("kmemleak: 2 objects are lost", self.ask(LEAK * 2)[0])
        self.assertEqual((self.top / "kmemleak.log").read_text("utf-8"), LEAK * 2)
        self.assertIn("cannot be asked", self.ask(None)[0])

    def test_known_leak(self) -> None:
        """An object that the base's own code loses is none; another beside it is one."""
        for names in debugkernel.KNOWN_LEAKS:
            known = LEAK + "".join(f"    [<0000000064189b5a>] {name}+0x155/0x1e60\n" for name in names)
            self.assertEqual(self.ask(known), [])
            self.assertIn("kmemleak: 1 objects are lost", self.ask(known + LEAK)[0])
            self.assertIn("kmemleak: 1 objects are lost", self.ask(LEAK + f"    [<1>] {names[0]}+0x1/0x2\n")[0])

    def test_lockdep(self) -> None:
        """Off, and not there at all."""
        self.assertFalse(debugkernel.lockdep_is_off(" lock-classes: 900\n debug_locks:     1\n"))
        self.assertTrue(debugkernel.lockdep_is_off(" lock-classes: 900\n debug_locks:     0\n"))
        self.assertTrue(debugkernel.lockdep_is_off(""))


class Choice(unittest.TestCase):
    """What `--kernel 6.1-debug` changes."""

    def settings(self, kernel: str) -> machine.Settings:
        """Settings of a scenario on a kernel."""
        declared = scenario.Scenario("", 100, l1_mem=1536, append="slub_debug=FZ x=1", variants={"": {}, "b": {}},
                                     not_on={"6.1": {"b": "no"}}, reports={"": "KASAN"})
        self.case = scenario.Case("x", "", declared, lambda: None)
        self.host = host.Host(host.parse_args(
            ["--build", "/there", "run", "x", "--kernel", kernel, "--time-factor", "2"]))
        with mock.patch.object(host.Host, "kernel_of", lambda _, version: Path("/k") / version):
            return self.host.settings(self.case, "tdp")

    def test_debug(self) -> None:
        """Scenarios see 6.1, nested guests run it; L1 has more memory and time."""
        got = self.settings("6.1-debug")
        self.assertEqual((got.request["kernel"], got.request["built_for"], got.request["debug"]),
                         ("6.1", "6.1-debug", True))
        self.assertEqual(got.request["vmlinux"], "/k/6.1/vmlinux")
        self.assertEqual(got.request["ko"], "/there/kernel/6.1-debug")
        self.assertEqual(got.kernel_dir, Path("/k/6.1-debug"))
        self.assertEqual(got.memory, 1536 + debugkernel.MORE_MEMORY)
        self.assertEqual(got.time_limit, 200 * debugkernel.SLOWER + debugkernel.END)
        self.assertEqual(got.out.name, "x@6.1-debug")
        self.assertEqual(got.report, "KASAN")
        self.assertEqual(got.append, f"x=1 {debugkernel.APPEND}")

    def test_plain(self) -> None:
        """Nothing changes for Debian's."""
        got = self.settings("6.1")
        self.assertEqual((got.request["built_for"], got.request["debug"]), ("6.1", False))
        self.assertEqual((got.memory, got.time_limit, got.append), (1536, 200, "slub_debug=FZ x=1"))


if __name__ == "__main__":
    unittest.main()
