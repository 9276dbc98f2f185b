# SPDX-License-Identifier: GPL-2.0-or-later
"""What scripts/demo shows and how it ends, and the stream that it follows.

Limits: the lab is not run; its outcome is made up.
"""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "scripts"), str(TOP / "tests/lab")]

import demo_view as view
from qlab import live, machine, qmp, stream

RING = {"size": 4096, "harvested": 9000, "published": 8999, "full-exits": 1234, "resets": 40,
        "resets-skipped": 2, "resets-incomplete": 1, "resets-failed": 0, "overflows": 0,
        "broken": False, "reaper-wakeups": 56,
        "vcpus": [{"vcpu-id": 1, "full-exits": 1000}, {"vcpu-id": 0, "full-exits": 234}]}

MIGRATE = {"status": "active", "total-time": 5100, "downtime": 338, "setup-time": 53,
           "ram": {"remaining": 3 << 20, "transferred": 1 << 30, "dirty-pages-rate": 28942,
                   "dirty-sync-count": 5, "normal": 52155, "duplicate": 9654}}


def report(**changes: Any) -> dict[str, Any]:
    """A clean run's report, changed."""
    clean = live.Report(status="completed", migrate=dict(MIGRATE), ring=dict(RING),
                        writes_before=125000.0, writes_during=4100.0, pages_compared=49152,
                        pages_verified=26130)
    return {**clean.as_dict(), **changes}


def demo_program() -> ModuleType:
    """scripts/demo, as a module."""
    loader = SourceFileLoader("demo_program", str(TOP / "scripts/demo"))
    spec = importlib.util.spec_from_loader("demo_program", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class Progress(unittest.TestCase):
    """The line that moves."""

    def test_all_figures(self) -> None:
        """Everything that was promised is in it."""
        line = view.progress({"migrate": MIGRATE, "ring": RING})
        for part in ("remaining 3.0 MiB", "dirty 28,942 pages/s", "sent 1,024.0 MiB",
                     "syncs 5", "ring full 1,234", "reaper 56"):
            self.assertIn(part, line)

    def test_no_ring(self) -> None:
        """A stock binary has no ring statistics, and none are made up."""
        line = view.progress({"migrate": MIGRATE, "ring": None})
        self.assertNotIn("ring", line)
        self.assertNotIn("reaper", line)

    def test_figure_not_given(self) -> None:
        """Unknown is shown as unknown."""
        self.assertIn("remaining -", view.progress({"migrate": {"status": "setup"}}))

    def test_terminal_rewrites(self) -> None:
        """One line, cut to the width, ended before anything else."""
        out = io.StringIO()
        screen = view.Screen(out, tty=True, width=lambda: 30)
        screen.progress("a" * 80)
        screen.progress("b" * 10)
        screen.line("end")
        self.assertEqual(out.getvalue(), "\r\x1b[K" + "a" * 29 + "\r\x1b[K" + "b" * 10
                         + "\nend\n")

    def test_plain_is_at_most_one_a_second(self) -> None:
        """A log gets whole lines, and not too many."""
        out = io.StringIO()
        screen = view.Screen(out, tty=False)
        for at in range(9):
            screen.progress(f"at {at}", now=100 + at * 0.25)
        self.assertEqual(out.getvalue(), "at 0\nat 4\nat 8\n")


class Table(unittest.TestCase):
    """The end of the show."""

    def test_rows(self) -> None:
        """Each figure is there."""
        text = "\n".join(view.table(report()))
        for part in ("5.10 s", "338 ms", "53 ms", "52,155", "1,234 (234 on vCPU 0, 1,000 on",
                     "26,130 pages verified by the guest, 0 wrong",
                     "49,152 pages compared byte for byte, 0 wrong"):
            self.assertIn(part, text)

    def test_oracle_that_did_not_look(self) -> None:
        """No pages is no verdict."""
        text = "\n".join(view.table(report(pages_verified=0, pages_compared=0)))
        self.assertEqual(text.count("did not get to look"), 2)

    def test_lost_pages_are_said(self) -> None:
        """A broken ring stands out."""
        self.assertIn("BROKEN", "\n".join(view.table(report(ring={**RING, "broken": True}))))

    def test_beside_the_bitmap(self) -> None:
        """Both guests' writes, as a share of what they were."""
        other = report(writes_before=2000.0, writes_during=1500.0)
        text = "\n".join(view.table({**report(writes_before=1000.0, writes_during=500.0), "bitmap": other}))
        self.assertRegex(text, r"writes, migrating +500 pages/s \(2.0 MiB/s\), 50% of before")
        self.assertRegex(text, r"\.\.\. with the bitmap +1,500 pages/s \(5.9 MiB/s\), 75% of before")
        self.assertNotIn("with the bitmap", "\n".join(view.table(report(writes_during=None))))

    def test_without_ring(self) -> None:
        """No ring, no rows about it."""
        self.assertNotIn("ring size", "\n".join(view.table(report(ring=None))))


class Judgement(unittest.TestCase):
    """live.judge(): what makes a migration worthless."""

    def judged(self, **changes: Any) -> str:
        """The reason."""
        return live.judge(live.Report(**report(**changes)))

    def test_clean(self) -> None:
        """Nothing wrong, no reason."""
        self.assertEqual(self.judged(), "")

    def test_each_fault_is_found(self) -> None:
        """Each fault alone is a reason."""
        for changes, word in (
                ({"status": "failed"}, "migration: failed"),
                ({"pages_different": 1}, "1 of 49152 pages differ"),
                ({"pages_bad": 2}, "2 of 26130 pages are wrong"),
                ({"pages_compared": 0}, "pages differ"),
                ({"pages_verified": 0}, "pages are wrong"),
                ({"ring": {**RING, "broken": True}}, "ring lost pages")):
            self.assertIn(word, self.judged(**changes))


class Ending(unittest.TestCase):
    """scripts/demo's exit status."""

    def ended(self, status: str, reason: str = "",
              left: dict[str, Any] | None = None) -> tuple[int, str]:
        """Exit status and last line."""
        out = io.StringIO()
        outcome = machine.Outcome(status, reason, 42.0)
        code = demo_program().conclude(outcome, left, Path("build/lab/demo"),
                                       view.Screen(out, tty=False))
        return code, out.getvalue()

    def test_passed(self) -> None:
        """Only with a report."""
        self.assertEqual(self.ended("passed", left=report())[0], 0)
        self.assertEqual(self.ended("passed")[0], 1)

    def test_not_passed(self) -> None:
        """A skip is no success either, and the reason is said."""
        for status in ("failed", "skipped"):
            code, text = self.ended(status, "no such kernel")
            self.assertEqual(code, 1)
            self.assertIn("FAILED", text)
            self.assertIn("no such kernel", text)

    def test_options_reach_the_scenario(self) -> None:
        """--bitmap is no ring; MiB become bytes."""
        program = demo_program()
        args = program.lab_args(program.parse_args(
            ["--bitmap", "--bandwidth", "3", "--rate", "9", "--load", "seq", "--stock"]))
        params = dict(pair.split("=", 1) for pair in args.param)
        self.assertEqual(params["ring"], "0")
        self.assertEqual(params["beside"], "true")
        self.assertEqual(live.Plan(**json.loads(params["plan"])).bandwidth, 3145728)
        self.assertEqual(params["load"], '{"mode": "seq", "rate": 9}')
        self.assertTrue(args.stock)

    def test_bad_ring(self) -> None:
        """Refused before a machine is started."""
        program = demo_program()
        for size in ("1000", "512", "131072", "x"):
            with self.assertRaises(SystemExit) as caught, \
                    unittest.mock.patch("sys.stderr", io.StringIO()):
                program.parse_args(["--ring", size])
            self.assertEqual(caught.exception.code, 2)


class News(unittest.TestCase):
    """The stream between L1 and host."""

    def test_each_line_once_and_whole(self) -> None:
        """Half a line waits for its other half."""
        with tempfile.TemporaryDirectory() as name:
            out = Path(name)
            follower = stream.Follower(out)
            self.assertEqual(follower.new(), [])
            writer = stream.Stream(out)
            writer.put("phase", name="boot")
            with (out / stream.NAME).open("a", encoding="utf-8") as raw:
                raw.write('{"event": "sample", "n": ')
            self.assertEqual([item["event"] for item in follower.new()], ["phase"])
            self.assertEqual(follower.new(), [])
            with (out / stream.NAME).open("a", encoding="utf-8") as raw:
                raw.write("5}\nnonsense\n[1]\n")
            self.assertEqual(follower.new(), [{"event": "sample", "n": 5}])
            writer.close()


class Epitaph(unittest.TestCase):
    """What is said of a QEMU that went away."""

    def of(self, command: str, event: dict[str, Any] | None) -> str:
        """The words for a process that runs COMMAND."""
        def wait_event(_name: str, _timeout: float) -> dict[str, Any]:
            if event is None:
                raise qmp.QmpGone("closed")
            return event
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "l2-1.log").write_text("first\nsocket: Broken pipe\n", "utf-8")
            with subprocess.Popen(["sh", "-c", command]) as process:
                guest = SimpleNamespace(name="l2-1", process=process,
                                        lab=SimpleNamespace(out=Path(name)),
                                        qmp=SimpleNamespace(wait_event=wait_event))
                try:
                    return live.exit_report(guest)  # type: ignore[arg-type]
                finally:
                    process.kill()

    def test_guest_reset(self) -> None:
        """A guest that reset is told from a QEMU that crashed."""
        said = self.of("exit 0", {"event": "SHUTDOWN", "data": {"reason": "guest-reset"}})
        self.assertIn("l2-1 ended with 0, shutdown reason: guest-reset", said)

    def test_crash(self) -> None:
        """Status and last line are all there is."""
        said = self.of("exit 3", None)
        self.assertIn("ended with 3, shutdown reason: none given", said)
        self.assertIn("socket: Broken pipe", said)

    def test_alive(self) -> None:
        """Nothing is said of the living."""
        self.assertEqual(self.of("exec sleep 9", None), "")


class Rate(unittest.TestCase):
    """live.Throughput: never waits, and never counts half an answer."""

    def test_answers_as_they_come(self) -> None:
        """Asked once at a time; the rate is between first and last answer."""
        class Fake:
            """A payload that answers when it likes."""

            def __init__(self) -> None:
                self.asked = 0
                self.lines: list[str] = []

            def send(self, _line: str) -> None:
                """Count the questions."""
                self.asked += 1

            def received(self) -> list[str]:
                """Hand out what is there."""
                lines, self.lines = self.lines, []
                return lines

        fake = Fake()
        clock = iter([0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 2.0, 9.0])
        with unittest.mock.patch.object(live.time, "monotonic", lambda: next(clock)):
            rate = live.Throughput(fake, 0.0)  # type: ignore[arg-type]
            rate.look()
            rate.look()
            self.assertEqual((fake.asked, rate.rate()), (1, None))
            fake.lines = ["stat pages=9 writes=100 vcpus=1 running=1"]
            rate.look()
            self.assertEqual((fake.asked, rate.rate()), (2, None))
            fake.lines = ["stat pages=9 writes=400 vcpus=1 running=1"]
            rate.look()
        self.assertGreater(rate.rate() or 0, 0)
        self.assertGreater(rate.rate(2.0) or 0, 0)
        self.assertIsNone(rate.rate(0.5))


if __name__ == "__main__":
    unittest.main()
