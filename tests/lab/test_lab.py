# SPDX-License-Identifier: GPL-2.0-or-later
"""Self-check of the lab's own tools; needs no machine and takes no second.

*Limits*: what talks to a QEMU is checked by the scenarios themselves.
"""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import tempfile
import time
import unittest
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))

from qlab import (
    context,
    downtime,
    hostkvm,
    initramfs,
    klog,
    machine,
    modes,
    oracle,
    payload,
    ringfull,
    scenario,
    tsc,
    vdpa,
    vdpameter,
    vdpasteps,
    vduse,
    verdict,
)


class KernelLog(unittest.TestCase):
    """The lines that fail a run."""

    def test_trouble_is_found(self) -> None:
        """Each kind of report is recognised."""
        for line in (
                "[    5.1] WARNING: CPU: 1 PID: 22 at kernel/smp.c:1 f+0x1/0x2",
                "[    5.1] BUG: unable to handle page fault for address: 12",
                "[    5.1] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!",
                "[    5.1] INFO: task qemu:12 blocked for more than 60 seconds.",
                "[    5.1] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
                "[    5.1] Oops: 0000 [#1] PREEMPT SMP",
                "[    5.1] Kernel panic - not syncing: corrupted stack end",
                "[    5.1] BUG: KASAN: slab-out-of-bounds in f",
                "[    5.1] WARNING: possible circular locking dependency detected",
                "[    5.1] pagealloc: memory corruption",
                "[    5.1] general protection fault, probably for non-canonical"):
            self.assertEqual(klog.reports_in("fine\n" + line + "\n"), [line])

    def test_healthy_lines_are_not(self) -> None:
        """What a healthy boot prints does not fail it."""
        for line in (
                "[    0.1] RETBleed: WARNING: Spectre v2 mitigation leaves CPU",
                "[    0.1] debugfs: no debugging of kernel bugs here",
                "[    0.1] DEBUG: all good",
                "[    0.1] kvm: Nested Virtualization enabled"):
            self.assertEqual(klog.reports_in(line + "\n"), [])


class VerdictChannel(unittest.TestCase):
    """What a run's second serial port says."""

    def test_round_trip(self) -> None:
        """Events come back as they were written."""
        text = (verdict.line("up") + verdict.line("figures", boots=3)
                + verdict.line("verdict", status="passed", reason=""))
        got = verdict.parse(text)
        self.assertTrue(got.up and got.complete)
        self.assertEqual((got.status, got.figures), ("passed", {"boots": 3}))

    def test_torn_line_is_no_verdict(self) -> None:
        """L1 died while it wrote."""
        whole = verdict.line("verdict", status="passed", reason="")
        for cut in range(1, len(whole)):
            self.assertFalse(verdict.parse(whole[:-cut]).complete)

    def test_two_verdicts_fail(self) -> None:
        """A second verdict means that something ran twice."""
        one = verdict.line("verdict", status="passed", reason="")
        self.assertEqual(verdict.parse(one + one).status, "failed")

    def test_invalid_lines_fail_or_are_ignored(self) -> None:
        """Noise on the port cannot make a pass."""
        self.assertFalse(verdict.parse("passed\n{}\n[1]\n\n").complete)
        bad = verdict.line("verdict", status="splendid")
        self.assertEqual(verdict.parse(bad).status, "failed")


class Judgement(unittest.TestCase):
    """Verdict, kernel log and the emulator's end, put together."""

    def judge(self, text: str, log: str = "") -> tuple[str, str]:
        """machine.judge on a channel's text."""
        return machine.judge(verdict.parse(text), log, "time limit of 9 s")

    def test_pass_needs_everything(self) -> None:
        """Up, a verdict, and a clean kernel log."""
        up, passed = verdict.line("up"), verdict.line("verdict", status="passed")
        self.assertEqual(self.judge(up + passed)[0], "passed")
        self.assertEqual(self.judge(up), ("failed", "no verdict: time limit of 9 s"))
        self.assertEqual(self.judge("")[0], "failed")
        self.assertEqual(self.judge(up + passed, "[1] WARNING: CPU: 0 at x\n")[0],
                         "failed")


class TimeLimit(unittest.TestCase):
    """A run ends, whatever its machine does; shell programs stand for the machine."""

    UP = "echo '" + verdict.line("up").strip() + "' >verdict.jsonl; "
    DONE = "echo '" + verdict.line("verdict", status="passed").strip() + "' >>verdict.jsonl; "

    def settings(self, out: Path) -> machine.Settings:
        """Limits of half a second."""
        return machine.Settings(
            outer=Path("unused"), kernel_dir=out, mode=modes.MODES[modes.DEFAULT_MODE],
            out=out, inside=out.parent / "inside.py", request={}, time_limit=0.5, up_limit=0.5)

    @staticmethod
    def gone(pid: str) -> bool:
        """Whether a process has ended; its parent may not have noticed yet."""
        for _ in range(100):
            try:
                if Path("/proc", pid, "stat").read_text("utf-8").rpartition(")")[2].split()[0] == "Z":
                    return True
            except (FileNotFoundError, ProcessLookupError):
                return True
            time.sleep(0.01)
        return False

    def outcome(self, program: str) -> machine.Outcome:
        """What a machine that runs PROGRAM is judged; it must be gone by then."""
        with tempfile.TemporaryDirectory() as name:
            out = Path(name, "run")
            words = ["sh", "-c", f"cd {out}; echo $$ >pid; {program}"]
            with mock.patch.object(machine, "command", return_value=words), \
                    mock.patch.object(machine, "END_LIMIT", 0.5):
                outcome = machine.run(self.settings(out))
            self.assertTrue(self.gone((out / "pid").read_text("ascii").strip()))
        self.assertLess(outcome.seconds, 20)
        return outcome

    def test_machines_that_do_not_end(self) -> None:
        """Silent, deaf to signals, stopped, talkative: each is ended and named."""
        late = "no verdict: time limit of 0 s"
        deaf = "trap '' TERM INT HUP; "
        chat = "while :; do echo '[ 1.0] fine' >>console.log; sleep 0.05; done"
        for program, reason in (
                ("sleep 60", "L1 did not come up: not up after 0 s"),
                (self.UP + "exec sleep 60", late),
                (deaf + self.UP + "while :; do sleep 1; done", late),
                (self.UP + "kill -STOP $$", late),
                (self.UP + chat, late)):
            outcome = self.outcome(program)
            self.assertEqual((outcome.status, outcome.reason), ("failed", reason), program)

    def test_verdict_without_an_end(self) -> None:
        """A machine that has said what there is to say is not waited for."""
        outcome = self.outcome(self.UP + self.DONE + "exec sleep 60")
        self.assertEqual(outcome.status, "passed")

    def test_ended_from_outside(self) -> None:
        """It is not taken for the limit."""
        outcome = self.outcome(self.UP + "exit 0")
        self.assertEqual(outcome.reason, "no verdict: the emulator ended with 0")

    def test_on_this_machines_kvm(self) -> None:
        """Nothing that a scenario started is left, sessions of its own or not."""
        with tempfile.TemporaryDirectory() as name:
            out = Path(name, "run")
            cfg = self.settings(out)
            cfg.inside.write_text(
                "import os, subprocess, time\n"
                f"note = open({str(Path(name, 'pids'))!r}, 'a', buffering=1)\n"
                "if not os.fork():\n"
                "    os.setsid()\n"
                "    child = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
                "    note.write(f'{os.getpid()} {child.pid}\\n')\n"
                "time.sleep(60)\n", "ascii")
            case = mock.Mock(scenario=mock.Mock(host_kvm=True))
            cfg.time_limit = 5.0  # a busy machine needs some of it to start Python
            with mock.patch.object(machine, "command", return_value=[]), \
                    mock.patch.object(hostkvm, "probe", return_value=""):
                outcome = hostkvm.run(cfg, case)
            pids = Path(name, "pids").read_text("ascii").split()
        self.assertEqual(outcome.reason, "time limit of 5 s")
        self.assertEqual(len(pids), 2)
        self.assertEqual([pid for pid in pids if not self.gone(pid)], [])


class ResetGuest(unittest.TestCase):
    """Why a QEMU went away."""

    def test_guests(self) -> None:
        """A guest that reset ended its QEMU with 0; a crash and a kill did not."""
        for command, reset in (("exit 0", True), ("exit 1", False),
                               ("kill -9 $$", False)):
            with subprocess.Popen(["sh", "-c", command]) as process:
                process.wait()
                lab = context.Lab.__new__(context.Lab)
                lab.watched = {"l2-1": process}
                self.assertEqual(bool(lab.reset_guest()), reset, command)


class Tsc(unittest.TestCase):
    """L1 is told how fast its clock is."""

    def test_frequency(self) -> None:
        """Two measurements agree to a thousandth, and look like a CPU's."""
        first = tsc.khz()
        tsc.khz.cache_clear()
        second = tsc.khz()
        self.assertGreater(first, 500_000)
        self.assertLess(first, 8_000_000)
        self.assertLess(abs(first - second) * 1000, first)

    def test_uninterrupted_try_counts(self) -> None:
        """Of several tries, the one that took the least time."""
        slow = iter(range(100))

        def read() -> int:
            number = next(slow)
            if number != 7:
                time.sleep(0.002)
            return number
        self.assertEqual(tsc.moment(read)[0], 7)


class Initramfs(unittest.TestCase):
    """The archive writer and module order."""

    def test_entry_is_aligned(self) -> None:
        """newc wants names and data on four bytes."""
        for size in range(6):
            got = initramfs.entry("n" * (size + 1), 0o100644, b"x" * size)
            self.assertEqual(len(got) % 4, 0)
            self.assertEqual(got[:6], b"070701")

    def test_order_puts_dependencies_first(self) -> None:
        """Also when two modules name each other."""
        dep = "a/x.ko: a/y.ko a/z.ko\na/y.ko: a/z.ko\na/z.ko: a/y.ko\n"
        order = initramfs.module_order(dep, ("x", "absent"))
        self.assertEqual(order[-1], "a/x.ko")
        self.assertEqual(sorted(order), ["a/x.ko", "a/y.ko", "a/z.ko"])


class Oracle(unittest.TestCase):
    """The byte-for-byte comparison."""

    def test_one_flipped_byte_is_found(self) -> None:
        """Wherever it is, and only its page is named."""
        with tempfile.TemporaryDirectory() as name:
            one, two = Path(name, "one"), Path(name, "two")
            data = bytearray(b"\x5a" * (3 * oracle.CHUNK))
            one.write_bytes(data)
            for at in (0, 4095, 4096, len(data) - 1):
                data[at] ^= 1
                two.write_bytes(data)
                data[at] ^= 1
                got = oracle.compare_files(one, two)
                self.assertEqual(got.pages, (at // 4096,))
                self.assertFalse(got.same)
            two.write_bytes(data)
            self.assertTrue(oracle.compare_files(one, two).same)

    def test_wall_clock_is_told_from_a_lost_page(self) -> None:
        """KVM's own twelve bytes, after a few updates, on one page."""
        def page(version: int, rest: bytes = b"") -> bytes:
            return (version.to_bytes(4, "little") + bytes([version]) * 8
                    + rest).ljust(oracle.PAGE, b"\0")
        cases = (
            ("one update", (page(2), page(9)), (page(4), page(9)), ()),
            ("two updates", (page(2),), (page(6),), ()),
            ("an update backwards", (page(4),), (page(2),), (0,)),
            ("too many updates", (page(2),), (page(20),), (0,)),
            ("an update that is under way", (page(3),), (page(5),), (0,)),
            ("a byte behind it", (page(2),), (page(4, b"x"),), (0,)),
            ("two pages", (page(2), page(2)), (page(4), page(4)), (1,)))
        with tempfile.TemporaryDirectory() as name:
            one, two = Path(name, "one"), Path(name, "two")
            for what, before, after, wrong in cases:
                one.write_bytes(b"".join(before))
                two.write_bytes(b"".join(after))
                self.assertEqual(oracle.compare_files(one, two).pages, wrong, what)

    def test_different_sizes_are_an_error(self) -> None:
        """Never a comparison of a part."""
        with tempfile.TemporaryDirectory() as name:
            one, two = Path(name, "one"), Path(name, "two")
            one.write_bytes(bytes(8192))
            two.write_bytes(bytes(4096))
            with self.assertRaises(ValueError):
                oracle.compare_files(one, two)

    def test_nothing_looked_at_is_not_clean(self) -> None:
        """Zero pages are no success."""
        self.assertFalse(payload.Verified(0, 0, "-").clean)
        self.assertFalse(oracle.Compared(0, ()).same)


def called(module: ModuleType, func: ast.expr) -> FunctionType | type | None:
    """What a call in a module calls: a function or a class of the lab's, by a global name."""
    dotted = ast.unparse(func).split(".")
    found = getattr(module, dotted[0], None) if all(map(str.isidentifier, dotted)) else None
    for name in dotted[1:]:
        found = getattr(found, name, None) if isinstance(found, ModuleType) else None
    if not isinstance(found, FunctionType | type) or (
            isinstance(found, type) and issubclass(found, Exception)):
        return None
    return found if found.__module__.startswith(("qlab", "scenario_")) else None


def is_missing(module: ModuleType, node: ast.AST) -> bool:
    """Whether it names something in a module of the lab's that is not there."""
    if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
        return False
    owner = getattr(module, node.value.id, None)
    return (isinstance(owner, ModuleType) and owner.__name__.startswith("qlab.")
            and not hasattr(owner, node.attr))


def misfits(module: ModuleType, text: str) -> list[str]:
    """Calls whose arguments are not those of what they call, and names that are nowhere."""
    wrong = []
    for node in ast.walk(ast.parse(text)):
        if is_missing(module, node):
            wrong.append(f"{module.__name__}: there is no {ast.unparse(node)}")
        if not isinstance(node, ast.Call) or not (target := called(module, node.func)):
            continue
        if any(isinstance(word, ast.Starred) for word in node.args) or \
                any(word.arg is None for word in node.keywords):
            continue
        try:
            inspect.signature(target).bind(*node.args, **{str(word.arg): word.value
                                                          for word in node.keywords})
        except TypeError as err:
            wrong.append(f"{module.__name__}:{node.lineno}: {ast.unparse(node)}: {err}")
    return wrong


class DowntimeTraces(unittest.TestCase):
    """Trace events of QEMU 10.0 and of 11.1."""

    def test_both_formats(self) -> None:
        source = "7@1764500000.250000:vm_state_notify running 0 reason 7 (finish-migrate)\nnoise\n"
        destination = "2025-11-30T10:53:20.500000Z vdpa_launch 0x5: waiting for memory 0\n"
        found = downtime.parse(destination, "destination") + downtime.parse(source, "source")
        self.assertEqual([(event.side, event.event) for event in found],
                         [("destination", "vdpa_launch"), ("source", "vm_state_notify")])
        self.assertEqual(found[0].text, "0x5: waiting for memory 0")
        self.assertAlmostEqual(found[0].at - found[1].at, 0.25, places=5)

    def test_order_is_that_of_time(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            source, destination = Path(folder) / "source", Path(folder) / "destination"
            source.write_text("1@10.500000:b \n1@12.000000:d \n", "ascii")
            destination.write_text("2@10.000000:a \n2@11.000000:c \n", "ascii")
            self.assertEqual([event.event for event in downtime.events(source, destination)], ["a", "b", "c", "d"])


class Scenarios(unittest.TestCase):
    """All declarations can be read."""

    def test_all_load(self) -> None:
        """Every file declares a SCENARIO with sound data."""
        cases = scenario.load_all()
        self.assertGreater(len(cases), 10)
        self.assertEqual(len({case.name for case in cases}), len(cases))
        for case in cases:
            self.assertTrue(set(case.scenario.modes) <= set(modes.MODES), case.name)
            self.assertGreater(case.scenario.time_limit, 0)

    def test_calls_fit(self) -> None:
        """What a scenario calls of the lab's takes the arguments that it gives."""
        scenario.load_all()
        modules = [module for name, module in sorted(sys.modules.items())
                   if name.startswith(("qlab.", "scenario_"))]
        self.assertGreater(len(modules), 40)
        wrong = [line for module in modules
                 for line in misfits(module, Path(str(module.__file__)).read_text("utf-8"))]
        self.assertEqual(wrong, [])
        odd = ModuleType("scenario_odd")
        odd.payload = payload  # type: ignore[attr-defined]
        self.assertEqual(len(misfits(odd, "payload.Verified(1, 2, '-')\n"
                                     "payload.Verified(1, 2)\npayload.fields()\n"
                                     "payload.gone(1)")), 3)

    def test_unknown_name_is_an_error(self) -> None:
        """A misspelt scenario must not pass as nothing to do."""
        with self.assertRaises(LookupError):
            scenario.select(scenario.load_all(), ["no-such-scenario"])


class Readme(unittest.TestCase):
    """README.md teaches how to write a scenario."""

    def blocks(self) -> list[str]:
        """Its Python code."""
        text = Path(__file__).with_name("README.md").read_text("utf-8")
        return [block.partition("```")[0] for block in text.split("```python\n")[1:]]

    def test_example_is_the_file(self) -> None:
        """The example that readers copy is the one that runs."""
        text = (scenario.SCENARIO_DIR / "example.py").read_text("utf-8")
        self.assertEqual("# SPDX-License-Identifier: GPL-2.0-or-later\n" + self.blocks()[0], text)

    def test_steps_can_be_used(self) -> None:
        """The list of steps names steps that there are, and begins with a boot."""
        names: dict[str, Any] = {}
        exec(self.blocks()[1], names)  # pylint: disable=exec-used
        for variant in names["VARIANTS"].values():
            self.assertIsInstance(variant["steps"][0], vdpasteps.Boot)


class StepRunner(unittest.TestCase):
    """Steps run in order, and a failure names its step."""

    def run_steps(self, *results: bool) -> tuple[list[int], str]:
        """Steps that pass or fail; the numbers of those that ran, and the reason."""
        ran: list[int] = []

        @dataclass(frozen=True)
        class Numbered(vdpasteps.Step):
            number: int
            good: bool

            def run(self, on: vdpasteps.Run) -> None:
                ran.append(self.number)
                if not self.good:
                    raise context.Failed("as the test wants")

        steps = [vdpasteps.Boot(), *(Numbered(number, good) for number, good in enumerate(results))]
        with mock.patch.object(vdpasteps.Boot, "start", return_value=mock.Mock()):
            try:
                vdpasteps.run(mock.Mock(), steps)
            except context.Failed as err:
                return ran, str(err)
        return ran, ""

    def test_order_and_failure(self) -> None:
        """A failed step is the last."""
        self.assertEqual(self.run_steps(True, True, True), ([0, 1, 2], ""))
        ran, reason = self.run_steps(True, False, True)
        self.assertEqual(ran, [0, 1])
        self.assertIn("step 2, ", reason)
        self.assertIn("Numbered(number=1, good=False): as the test wants", reason)

    def test_all_variants_boot_first(self) -> None:
        """Each list of steps in the scenarios begins with Boot(), the only one."""
        for case in scenario.load_all():
            steps = case.params.get("steps", ())
            self.assertEqual([number for number, step in enumerate(steps)
                              if isinstance(step, vdpasteps.Boot)], [0] if steps else [], case.name)


TRACE = """\
# tracer: nop
       CPU 0/KVM-812     [001] .....   123.000100: kvm_userspace_exit: reason KVM_EXIT_DIRTY_RING_FULL (31)
       CPU 1/KVM-813     [000] .....   123.000200: kvm_userspace_exit: reason KVM_EXIT_DIRTY_RING_FULL (31)
       CPU 0/KVM-812     [001] .....   123.000300: sys_ioctl(fd: 1b, cmd: ae80, arg: 0)
       CPU 1/KVM-813     [001] .....   123.001200: sys_ioctl(fd: 1c, cmd: ae80, arg: 0)
       CPU 1/KVM-813     [001] .....   123.002000: sys_ioctl(fd: 1c, cmd: ae80, arg: 0)
       CPU 0/KVM-812     [001] .....   124.000000: kvm_userspace_exit: reason KVM_EXIT_DIRTY_RING_FULL (31)
"""


class RingFull(unittest.TestCase):
    """Stalls in a trace (ringfull.py)."""

    def test_stalls_are_matched_by_thread(self) -> None:
        """From the exit to the next KVM_RUN; one that the trace does not see the end of is none."""
        self.assertEqual([round(stall * 1e6) for stall in ringfull.stalls(TRACE.splitlines())], [200, 1000])

    def test_summary(self) -> None:
        """Quantiles are values that were measured; none of none."""
        found = ringfull.summary([number / 1e6 for number in range(100, 0, -1)])
        self.assertEqual((found["stall-median-us"], found["stall-p99-us"], found["stall-max-us"]), (51, 100, 100))
        self.assertEqual(ringfull.summary([])["stalls"], 0)


class Processes(unittest.TestCase):
    """What is made of what a device in user space has printed."""

    START = "driver: features 0x1\nqueue 0: size 8, from 0\n"

    def devices(self, text: str, plain: bool = False) -> vduse.Processes:
        """One device that has printed TEXT."""
        devices = vduse.Processes.__new__(vduse.Processes)
        devices.lab = mock.Mock(figures={}, check=context.Lab.check.__get__(mock.Mock()))
        devices.devices = [vdpa.Device("vdpa0", Path("none"), "", 1)]
        devices.plain = plain
        devices.log = lambda name: text  # type: ignore[method-assign]
        return devices

    def test_faults_fail(self) -> None:
        """A ring's fault, and a queue that was enabled late unless stock QEMU may have been it."""
        late = self.START.replace("0x1", "0x1, enabled late")
        for text, plain, good in ((self.START, False, True), (late, True, True),
                                  (late, False, False), (late + self.START, False, False),
                                  (self.START + "fault: queue 1: a loop\n", True, False)):
            devices = self.devices(text, plain)
            if good:
                devices.verify()
                continue
            with self.assertRaises(context.Failed):
                devices.verify()

    def test_dropped(self) -> None:
        """Counters go on from reset to reset: the last line has all."""
        devices = self.devices("looped 1 dropped 2 gone 0\nlooped 7 dropped 3 gone 0\n")
        self.assertEqual(devices.dropped(), 3)
        self.assertEqual(self.devices("").dropped(), 0)


class DeviceMeters(unittest.TestCase):
    """What is made of a simulator's counters."""

    DRIVER = "resets=1 suspends=2 resumes=2 map_calls=7 mapped=4096 unmapped=0\n"

    def meters(self, *queues: tuple[int, ...], driver: str = DRIVER) -> vdpameter.Meters:
        """Both files; a queue is running, stops, still, silent, since."""
        names = ("running", "stops", "stopped_ns", "silent_ns", "since_ns")
        return vdpameter.parse("".join(
            f"{index} " + " ".join(f"{name}={value}" for name, value in zip(names, values)) + "\n"
            for index, values in enumerate(queues)), driver)

    def test_standstill(self) -> None:
        """The longest of the data queues' counts, and nothing that was before."""
        before = self.meters((1, 3, 5_000_000, 6_000_000, 1), (1, 3, 0, 0, 1), (1, 0, 0, 0, 1))
        after = self.meters((1, 4, 7_000_000, 9_000_000, 2), (1, 4, 2_500_000, 4_000_000, 2),
                            (1, 1, 80_000_000, 0, 2),
                            driver=self.DRIVER.replace("resets=1", "resets=2"))
        self.assertEqual(
            vdpameter.standstill(before, after, 2),
            {"still_ms": 2.5, "silent_ms": 4.0, "resets": 1, "suspends": 0, "resumes": 0,
             "map_calls": 0, "mapped": 0, "unmapped": 0})

    def test_no_standstill(self) -> None:
        """A queue that did not stop, or does not run, is no measurement."""
        runs, runs_again = (1, 3, 5, 5, 1), (1, 4, 9, 9, 2)
        for before, after in (((runs,), (runs,)), ((runs,), ((0, *runs_again[1:]),)),
                              (((0, *runs[1:]),), (runs_again,)), ((), (runs,))):
            with self.assertRaises(vdpameter.MeterError):
                vdpameter.standstill(self.meters(*before), self.meters(*after), 1)

    def test_handover(self) -> None:
        """From the source's end to the destination's begin."""
        source = self.meters((0, 1, 0, 0, 10_000_000), (0, 1, 0, 0, 12_000_000))
        peer = self.meters((1, 0, 0, 0, 40_000_000), (1, 5, 9, 9, 45_000_000))
        self.assertEqual(vdpameter.handover(source, peer, 2), 33.0)
        runs_on = self.meters((1, 1, 0, 0, 10_000_000), (1, 1, 0, 0, 12_000_000))
        for one, other in ((peer, source), (source, source), (peer, peer), (runs_on, peer),
                           (source, self.meters((1, 0, 0, 0, 1), (1, 0, 0, 0, 1)))):
            with self.assertRaises(vdpameter.MeterError):
                vdpameter.handover(one, other, 2)

if __name__ == "__main__":
    unittest.main()
