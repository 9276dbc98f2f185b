# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's command line: list, run, shell.

Theory of operation
===================

`lab run` turns names or a suite into cases, checks what each needs before a
machine is started (a skip says what is missing), runs them one after another
through machine.py, prints one line per case and appends one JSON line per case to
lab.jsonl in the folder of the run (scripts/results.py).  The exit status is 1 if anything failed; skips are
counted and printed, never hidden in a green line.  A lock in the build
directory keeps two L1s from sharing the machine's CPUs.

*Limits*: cases run one at a time; L1 is started anew for each.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import debugkernel, hostkvm, initramfs, machine, modes, scenario

LAB = Path(__file__).resolve().parent.parent
TOP = LAB.parent.parent
KERNELS = ("6.1", "6.12", "7.3", "6.1-debug")


def parse_args(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="lab", description="Run scenarios in the nested machine.")
    parser.add_argument("--build", type=Path, default=TOP / "build",
                        help="build directory (default: build)")
    parser.add_argument("--scenarios", type=Path, default=scenario.SCENARIO_DIR,
                        help="directory of scenarios (default: the lab's own)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list scenarios and modes")
    runner = commands.add_parser("run", help="run scenarios")
    runner.add_argument("names", nargs="*", help="scenario, scenario/variant or pattern")
    runner.add_argument("--suite", choices=scenario.SUITES)
    runner.add_argument("--count", type=int, help="repetitions, where a scenario counts")
    runner.add_argument("--host-kvm", action="store_true",
                        help="run on this machine's /dev/kvm, if it is fit")
    runner.add_argument("--keep", action="store_true",
                        help="keep the artefacts of scenarios that passed, too, "
                        "under a name that later runs do not overwrite")
    runner.add_argument("--param", action="append", default=[], metavar="K=JSON",
                        help="override a parameter of the scenario")
    runner.add_argument("--no-lock", action="store_true",
                        help="do not wait for another run to end")
    runner.add_argument("--time-factor", type=float, default=1.0,
                        help="multiply every time limit")
    shell = commands.add_parser("shell", help="a prompt inside L1")
    for sub in (runner, shell):
        sub.add_argument("--stock", action="store_true",
                         help="use the ungrafted QEMU in L1")
        sub.add_argument("--qemu", type=Path, help="use this QEMU in L1")
        sub.add_argument("--outer", type=Path, help="outer emulator")
        sub.add_argument("--kernel", choices=KERNELS, default="6.1")
        sub.add_argument("--mode", action="append", choices=list(modes.MODES),
                         help="L1 settings; may be repeated")
        sub.add_argument("--guest", type=Path, help="directory of the guest payloads")
        sub.add_argument("--modules", type=Path, metavar="DIR",
                         help="our kernel modules (default: build/kernel); see build-kernel --out")
        sub.add_argument("--kvm", type=Path, metavar="FILE", help="L1 loads this kvm.ko (scripts/build-kvm)")
        sub.add_argument("--cpu", help="outer CPU model instead of the mode's")
    return parser.parse_args(argv)


class Host:
    """Paths and choices of one invocation."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.build: Path = args.build.resolve()

    def binary(self, directory: str) -> Path:
        """The emulator of a build directory."""
        return self.build / directory / "qemu-system-x86_64"

    def inner(self) -> Path:
        """The QEMU under test."""
        if self.args.qemu:
            return Path(self.args.qemu).resolve()
        return self.binary("stock" if self.args.stock else "qemu")

    def outer(self) -> Path:
        """The emulator that is L1's machine."""
        if self.args.outer:
            return Path(self.args.outer).resolve()
        ours = self.binary("qemu")
        return ours if ours.exists() else self.binary("stock")

    def guest_dir(self) -> Path:
        """Where the guest payloads are."""
        return Path(self.args.guest or self.build / "guest").resolve()

    def modules_dir(self) -> Path:
        """Where our modules for L1's kernel are."""
        return Path(self.args.modules or self.build / "kernel").resolve() / self.args.kernel

    def no_modules(self) -> str:
        """Why our modules cannot be loaded into L1's kernel; empty if they can."""
        built = self.modules_dir() / "release"
        if not any(self.modules_dir().glob("*.ko")) or not built.exists():
            return f"missing: {scenario.NEEDS['kernel-modules']}"
        ours, theirs = (path.read_text("ascii").strip()
                        for path in (built, self.kernel_dir() / "release"))
        return "" if ours == theirs else f"modules are for {ours}, L1's kernel is {theirs}"

    def no_debug_kernel(self) -> str:
        """Why a scenario that wants the debug kernel cannot run; its planted faults are built here."""
        if not debugkernel.is_debug(self.args.kernel):
            return f"missing: {scenario.NEEDS['debug-kernel']}"
        subprocess.run(["make", "-s", "-C", str(LAB / "debug/faults"),
                        f"OUT={self.modules_dir() / 'faults'}",
                        f"HEADERS={self.kernel_dir() / 'headers'}"], check=True)
        return ""

    def outer_has(self, device: str) -> bool:
        """Whether the outer emulator knows a device."""
        return subprocess.run([str(self.outer()), "-device", f"{device},help"], check=False,
                              capture_output=True).returncode == 0

    def kernel_of(self, version: str) -> Path:
        """A kernel's folder, fetched or built if need be.

        No link: L1 mounts a part of it before it has the host's root for its own.
        """
        path = self.build / "kernels" / version
        if not machine.image(path).exists():
            program = (["build-debug-kernel"] if debugkernel.is_debug(version) else
                       ["fetch-kernel", version])
            subprocess.run([str(TOP / "scripts" / program[0]), "--build", str(self.build),
                            *program[1:]], check=True)
        return path.resolve()

    def kernel_dir(self) -> Path:
        """L1's kernel."""
        return self.kernel_of(self.args.kernel)

    def missing(self, case: scenario.Case, mode: str) -> str:
        """Why CASE cannot be run in MODE; empty if it can."""
        guest = self.guest_dir()
        there = {
            "kvm": True,
            "guest-linux": (guest / "init.cpio.gz").exists(),
            "vduse-net": (guest / "vduse-net").exists(),
            "guest-payload32": (guest / "payload32.rom").exists(),
            "ours": self.binary("qemu").exists(),
            "stock": self.binary("stock").exists(),
            "fault": self.binary("qemu-fault").exists(),
        }
        if "kernel-modules" in case.scenario.needs and self.no_modules():
            return self.no_modules()
        for need in case.scenario.needs:
            if need == "kernel-modules":
                continue
            if need == "debug-kernel":
                if self.no_debug_kernel():
                    return self.no_debug_kernel()
                continue
            if need == "ifcvf-device":
                if not self.outer_has("x-ifcvf-test-net"):
                    return f"missing: {scenario.NEEDS[need]}"
                continue
            if not there[need]:
                return f"missing: {scenario.NEEDS[need]}"
            excluded = modes.MODES[mode].excluded.get(need.removeprefix("guest-"))
            if need.startswith("guest-") and excluded:
                return f"excluded in mode {mode}: {excluded}"
        if not case.scenario.own_binaries and not self.inner().exists():
            return f"missing: {self.inner()}"
        return (case.not_on(self.args.kernel)
                or case.not_on(debugkernel.base(self.args.kernel))
                or case.scenario.not_in.get(mode, ""))

    def label(self, case: scenario.Case, mode: str) -> str:
        """Name of a run's directory."""
        extras = [mode] if mode != modes.DEFAULT_MODE else []
        extras += ["stock"] if self.args.stock else []
        extras += ["kvm"] if self.args.kvm else []
        extras += [self.args.kernel] if self.args.kernel != KERNELS[0] else []
        name = case.name.replace("/", ".")
        if getattr(self.args, "keep", False):
            extras.append(time.strftime("%m%d-%H%M%S"))
        return "@".join([name, "+".join(extras)]) if extras else name

    def request(self, case: scenario.Case | None, mode: str) -> dict[str, Any]:
        """What inside.py is told."""
        settings = modes.MODES[mode]
        params = dict(pair.split("=", 1) for pair in getattr(self.args, "param", []))
        return {
            "scenario": case.scenario_name if case else "",
            "scenarios": str(self.args.scenarios.resolve()),
            "variant": case.variant if case else "",
            "params": {key: json.loads(value) for key, value in params.items()},
            "kvm_ko": str(self.args.kvm.resolve()) if self.args.kvm else "",
            "mode": mode, "kvm": settings.kvm, "kvm_amd": settings.kvm_amd,
            "kernel": debugkernel.base(self.args.kernel), "built_for": self.args.kernel,
            "debug": debugkernel.is_debug(self.args.kernel),
            "headers": str(self.kernel_dir() / "headers"),
            "count": getattr(self.args, "count", None),
            "qemu": str(self.inner()), "stock": str(self.binary("stock")),
            "fault": str(self.binary("qemu-fault")),
            "guest": str(self.guest_dir()), "ko": str(self.modules_dir()),
            "vmlinux": str(self.kernel_of(debugkernel.base(self.args.kernel)) / "vmlinux"),
            "shell": case is None,
        }

    def settings(self, case: scenario.Case | None, mode: str) -> machine.Settings:
        """L1 for CASE, or for a shell."""
        name = self.label(case, mode) if case else "shell"
        declared = case.scenario if case else scenario.Scenario("", 0)
        factor = getattr(self.args, "time_factor", 1)
        memory, end, append = declared.l1_mem, 0, declared.append
        if debugkernel.is_debug(self.args.kernel):
            factor *= debugkernel.SLOWER
            memory += debugkernel.MORE_MEMORY
            end = debugkernel.END
            append = debugkernel.append(append)
        return machine.Settings(
            outer=self.outer(), kernel_dir=self.kernel_dir(),
            mode=modes.MODES[mode], out=self.build / "lab" / name,
            inside=LAB / "qlab" / "inside.py",
            request=self.request(case, mode), memory=memory,
            cpus=declared.l1_cpus, cpu=self.args.cpu,
            time_limit=declared.time_limit * factor + end, up_limit=machine.UP_LIMIT * factor,
            append=append, extra=declared.l1_devices,
            monitor=declared.l1_monitor, icount=declared.icount,
            interactive=case is None, report=case.report if case else "")


def record(host: Host, case: scenario.Case, mode: str,
           outcome: machine.Outcome) -> None:
    """One line for people, one for programs."""
    shown = f"{outcome.status.upper():8}{case.name} [{mode}] {outcome.seconds:.1f} s"
    print(shown + (f": {outcome.reason}" if outcome.reason else ""), flush=True)
    for key, value in outcome.figures.items():
        print(f"          {key}: {value}", flush=True)
    results = Path(os.environ.get("QEMU_LIVE_RESULTS") or host.build / "results/by-hand")
    results.mkdir(parents=True, exist_ok=True)
    version = subprocess.run([TOP / "scripts/version", "--commit"], text=True, capture_output=True,
                             check=False).stdout.strip()
    with (results / "lab.jsonl").open("a", encoding="utf-8") as out:
        out.write(json.dumps({
            "name": case.name, "status": outcome.status,
            "seconds": round(outcome.seconds, 2), "reason": outcome.reason,
            "mode": mode, "kernel": host.args.kernel, "qemu": str(host.inner().parent.name),
            "up_seconds": outcome.up_seconds and round(outcome.up_seconds, 2),
            "ended": time.strftime("%Y-%m-%d %H:%M", time.gmtime()), "version": version,
            "figures": outcome.figures}) + "\n")


@contextmanager
def one_at_a_time(build: Path) -> Iterator[None]:
    """Hold the machine's one L1 place."""
    build.mkdir(parents=True, exist_ok=True)
    with (build / "lab.lock").open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("lab: waiting for another run", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run_case(host: Host, case: scenario.Case, mode: str) -> machine.Outcome:
    """One case in one mode."""
    missing = host.missing(case, mode)
    if missing:
        return machine.Outcome("skipped", missing, 0.0)
    if host.args.host_kvm:
        return hostkvm.run(host.settings(case, mode), case)
    if not host.outer().exists():
        return machine.Outcome("failed", f"no outer emulator: {host.outer()}", 0.0)
    if host.args.no_lock:
        return machine.run(host.settings(case, mode))
    with one_at_a_time(host.build):
        return machine.run(host.settings(case, mode))


def run(host: Host) -> int:
    """`lab run`."""
    cases = scenario.load_all(host.args.scenarios)
    chosen = scenario.select(cases, host.args.names)
    if host.args.suite:
        chosen += [case for case in cases
                   if case.in_suite(host.args.suite) and case not in chosen]
    if not chosen:
        print("lab: nothing to run: name a scenario or a suite", file=sys.stderr)
        return 2
    tally = {"passed": 0, "failed": 0, "skipped": 0}
    boots: dict[str, list[int]] = {}
    for case in chosen:
        for mode in host.args.mode or case.scenario.modes:
            outcome = run_case(host, case, mode)
            record(host, case, mode, outcome)
            tally[outcome.status] += 1
            if "boots" in outcome.figures:
                sums = boots.setdefault(mode, [0, 0])
                sums[0] += outcome.figures["boots"]
                sums[1] += outcome.figures["failures"]
    for mode, (number, failures) in boots.items():
        print(f"lab: mode {mode}: {failures} failures in {number} nested boots")
    print(f"lab: {tally['passed']} passed, {tally['failed']} failed, "
          f"{tally['skipped']} skipped")
    return 1 if tally["failed"] else 0


def show_list(directory: Path) -> int:
    """`lab list`."""
    for case in scenario.load_all(directory):
        suites = [suite for suite in scenario.SUITES if case.in_suite(suite)]
        print(f"{case.name:36} {','.join(suites):20} {case.scenario.about}")
    print("\nmodes:")
    for name, mode in modes.MODES.items():
        print(f"{name:10} -cpu {mode.cpu:8} {mode.kvm} {mode.kvm_amd}: {mode.about}")
        for kind, reason in mode.excluded.items():
            print(f"{'':10} not with {kind}: {reason}")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Entry."""
    args = parse_args(sys.argv[1:] if argv is None else argv)
    host = Host(args)
    try:
        if args.command == "list":
            return show_list(args.scenarios)
        if args.command == "shell":
            mode = (args.mode or [modes.DEFAULT_MODE])[0]
            return machine.interact(host.settings(None, mode))
        return run(host)
    except (LookupError, initramfs.InitramfsError, subprocess.CalledProcessError) as err:
        print(f"lab: {err}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
