# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmarks' harness: run by turns, reduce, write down.

    tests/bench/bench [OPTION...]           make bench BENCH_ARGS="OPTION..."

Theory of operation
-------------------
For each --load the lab's scenario `bench` starts one L1 and migrates a loaded guest with each subject in turn,
--runs rounds of it; each run arrives here as one event and is printed and written to runs.jsonl at
once, so that a run cut short leaves what it had.  stats.py reduces runs to the rows of
results.json, core.py counts the core's instructions, vdpa.py times the vDPA core beside the base's,
ring_lab.py and vdpa_lab.py measure the ring and vhost-vdpa in the lab (rows of results.json too), report.py makes
report.html.

The exit status is 0 only if every run went well and every row could be made.  Figures are written in any case;
failures are in the report and on the screen.

Limits: the figures are those of an emulated machine on shared cores; compare within one
invocation only.  --quick shows that everything works and is no measurement.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path[:0] = [str(HERE), str(TOP / "tests/lab")]

import core
import labrows
import ring_lab
import stats
import vdpa
import vdpa_lab
from qlab import host, initramfs, machine, modes, scenario, stream

#: Seconds for L1 and the first guest's boot, and for one round of all subjects.
START_LIMIT, ROUND_LIMIT = 200, 300

#: What the guest does, by the name that --load and the rows have for it: fields of live.Load.  Light is slower than
#: the channel.
LOADS: dict[str, dict[str, Any]] = {"random": {"mode": "random"}, "seq": {"mode": "seq"}, "zipf": {"mode": "zipf"},
                                    "light": {"mode": "random", "rate": 2000}}

#: What an invocation leaves, runs.jsonl run by run and the others at its end.
OUTPUT = ("results.json", "core.json", "report.html", "runs.jsonl")


def parse_args(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench", description="Benchmarks of this branch against the ungrafted base.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, metavar="N",
                        help="runs of each subject and load")
    parser.add_argument("--quick", action="store_true",
                        help="one run of each on a small guest: does the harness work?")
    parser.add_argument("--memory", type=int, default=192, metavar="MIB")
    parser.add_argument("--vcpus", type=int, default=1, metavar="N")
    parser.add_argument("--ring", type=int, default=4096, metavar="ENTRIES")
    parser.add_argument("--load", choices=tuple(LOADS), action="append", dest="loads", default=[],
                        help="may be repeated (default: all)")
    parser.add_argument("--downtime-limit", type=int, default=300, metavar="MS")
    parser.add_argument("--bandwidth", type=int, default=64, metavar="MIB",
                        help="MiB a second; 0 is no limit")
    parser.add_argument("--relax-after", type=int, default=10, metavar="S",
                        help="seconds after which the downtime limit is raised to 20 s")
    parser.add_argument("--mode", choices=list(modes.MODES), default=modes.DEFAULT_MODE)
    parser.add_argument("--kernel", choices=host.KERNELS, default=host.KERNELS[0])
    parser.add_argument("--out", type=Path, default=TOP / "build/bench", metavar="DIR")
    parser.add_argument("--no-core", action="store_true",
                        help="leave out the micro-benchmarks")
    parser.add_argument("--no-ring", action="store_true",
                        help="leave out the guest's write rates")
    parser.add_argument("--no-vdpa", action="store_true",
                        help="leave out vhost-vdpa in the lab")
    args = parser.parse_args(argv)
    if args.quick:
        args.runs, args.memory = 1, min(args.memory, 96)
        args.loads = args.loads or ["light"]
    args.loads = args.loads or list(LOADS)
    if args.runs < 1:
        parser.error("--runs is at least 1")
    return args


def lab_args(args: argparse.Namespace, load: str) -> argparse.Namespace:
    """The same in the lab's words, for one load."""
    params = {"rounds": args.runs, "memory": args.memory, "vcpus": args.vcpus,
              "ring": args.ring, "load": LOADS[load],
              "plan": {"downtime_ms": args.downtime_limit, "bandwidth": args.bandwidth << 20,
                       "relax_after": args.relax_after}}
    limit = START_LIMIT + ROUND_LIMIT * args.runs
    factor = limit / scenario.load_file(scenario.SCENARIO_DIR / "bench.py")[0].scenario.time_limit
    words = ["run", "bench", "--mode", args.mode, "--kernel", args.kernel,
             "--time-factor", str(factor)]
    return host.parse_args(words + [
        word for key, value in params.items()
        for word in ("--param", f"{key}={json.dumps(value)}")])


def describe(run: stats.Run) -> str:
    """One line for one run."""
    head = f"{run['load']:8}round {run['round'] + 1}  {run['subject']:14}"
    if run["reason"] or not run["report"]:
        return f"{head}FAILED: {run['reason'] or 'no report'}"
    shown = []
    for name, metric in stats.METRICS.items():
        value = metric.read(run["report"])
        shown.append(f"{name} {'-' if value is None else f'{value:,.4g}'} {metric.unit}")
    return head + "  ".join(shown)


class Collector(threading.Thread):
    """Takes the runs as they come."""

    def __init__(self, source: Path, target: Path, load: str) -> None:
        super().__init__(daemon=True)
        self._follower = stream.Follower(source)
        self._target = target.open("a", buffering=1, encoding="utf-8")
        self._load = load
        self._over = threading.Event()
        self.runs: list[stats.Run] = []

    def run(self) -> None:
        """Until finish()."""
        while not self._over.wait(0.2):
            self._drain()

    def _drain(self) -> None:
        """What has come."""
        for item in self._follower.new():
            if item["event"] == "run":
                item["load"] = self._load
                self.runs.append(item)
                self._target.write(json.dumps(item) + "\n")
                print(describe(item), flush=True)

    def finish(self) -> list[stats.Run]:
        """All runs there will be."""
        self._over.set()
        self.join()
        self._drain()
        self._target.close()
        return self.runs


def migrations_of(args: argparse.Namespace, load: str) -> tuple[list[stats.Run], machine.Outcome]:
    """Run the scenario with one load."""
    lab = host.Host(lab_args(args, load))
    case = scenario.load_file(scenario.SCENARIO_DIR / "bench.py")[0]
    out = lab.build / "lab" / lab.label(case, args.mode)
    (out / stream.NAME).unlink(missing_ok=True)
    collector = Collector(out, args.out / "runs.jsonl", load)
    collector.start()
    try:
        outcome = host.run_case(lab, case, args.mode)
    finally:
        runs = collector.finish()
    return runs, outcome


def migrations(args: argparse.Namespace) -> tuple[list[stats.Run], machine.Outcome]:
    """All runs; the outcome of the first load that did not pass, or of the last."""
    runs: list[stats.Run] = []
    outcome = machine.Outcome("passed", "", 0.0)
    for load in args.loads:
        more, latest = migrations_of(args, load)
        runs += more
        outcome = latest if outcome.status == "passed" else outcome
    return runs, outcome


def core_figures(args: argparse.Namespace) -> dict[str, Any]:
    """The micro-benchmark, built first."""
    if args.no_core:
        return {"skipped": "--no-core"}
    front = TOP / "build/meson"
    built = subprocess.run(["ninja", "-C", str(front), "tests/bench/bench-core"], text=True,
                           capture_output=True, check=False)
    if built.returncode:
        raise core.CoreError(f"bench-core does not build: {built.stdout.strip()[-300:]}")
    return core.measure(front / "tests/bench/bench-core")


def vdpa_figures(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of the vDPA core."""
    return [] if args.no_core else list(vdpa.measure_all(1 if args.quick else args.runs))


def ring_figures(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of what a guest pays for dirty tracking, in the lab."""
    cases = ring_lab.QUICK if args.quick else ring_lab.CASES
    return [] if args.no_ring else list(ring_lab.measure(ring_lab.RUNS, cases, args.mode))


def vdpa_migrations(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of vhost-vdpa in the lab."""
    cases = vdpa_lab.QUICK if args.quick else tuple(vdpa_lab.CASES)
    runs = min(args.runs, vdpa_lab.RUNS)
    return [] if args.no_vdpa else list(vdpa_lab.measure(runs, cases, args.mode))


def setting(args: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """What the figures are figures of."""
    commit = subprocess.run(["git", "-C", str(TOP), "describe", "--always", "--dirty"],
                            text=True, capture_output=True, check=False).stdout.strip()
    return {"when": time.strftime("%Y-%m-%d %H:%M"), "commit": commit or "unknown",
            "guest": f"{args.vcpus} vCPU, {args.memory} MiB, loads: {', '.join(args.loads)}",
            "ring": f"{args.ring} entries", "downtime limit": f"{args.downtime_limit} ms",
            "bandwidth": f"{args.bandwidth} MiB/s" if args.bandwidth else "no limit",
            "lab": f"mode {args.mode}, kernel {args.kernel}", "runs": args.runs,
            "took": f"{seconds:.0f} s"}


def clear(out: Path) -> None:
    """Remove an earlier invocation's figures, so that all files are of this one."""
    out.mkdir(parents=True, exist_ok=True)
    for name in OUTPUT:
        (out / name).unlink(missing_ok=True)


def write(args: argparse.Namespace, runs: list[stats.Run], measured: dict[str, Any],
          more: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """results.json, core.json and the report."""
    import report
    rows = stats.results(runs) + more
    for name, data in (("results.json", rows), ("core.json", measured)):
        (args.out / name).write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    page = report.page(setting(args, seconds), runs, measured)
    (args.out / "report.html").write_text(page, "utf-8")
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """The rows, for people."""
    print(f"\n{'row':40}{'ours':>12}{'stock':>12}{'ratio':>8}{'n':>4}  unit")
    for row in rows:
        print(f"{row['name']:40}{row['ours']:12,.4g}{row['stock']:12,.4g}{row['ratio']:8.3f}"
              f"{row['n']:4}  {row['unit']} ({row['better']} is better)")


def complaints(args: argparse.Namespace, runs: list[stats.Run], outcome: machine.Outcome,
               measured: dict[str, Any]) -> list[str]:
    """Why the exit status is not 0."""
    found = stats.failures(runs)
    found += [f"{name}: not measured" for name in stats.lacking(runs)]
    if outcome.status != "passed" and not stats.failures(runs):
        found.append(f"the lab: {outcome.status}: {outcome.reason}")
    if "error" in measured:
        found.append(f"core: {measured['error']}")
    subjects = {subject for row in stats.ROWS for subject in (row.ours, row.stock)}
    expected = args.runs * len(args.loads) * len(subjects)
    if len(runs) < expected:
        found.append(f"{len(runs)} runs of {expected} came out")
    return found


def main() -> int:
    """Entry."""
    args = parse_args(sys.argv[1:])
    clear(args.out)
    start = time.monotonic()
    try:
        runs, outcome = migrations(args)
    except initramfs.InitramfsError as err:
        print(f"bench: {err}", file=sys.stderr)
        return 1
    try:
        measured = core_figures(args)
    except (core.CoreError, OSError, subprocess.TimeoutExpired) as err:
        measured = {"skipped": str(err), "error": str(err)}
    rows: list[dict[str, Any]] = []
    failed = []
    for name, part in (("ring", ring_figures), ("vdpa", vdpa_figures), ("vdpa", vdpa_migrations)):
        try:
            rows += part(args)
        except (vdpa.VdpaError, labrows.LabError, OSError, subprocess.TimeoutExpired) as err:
            failed.append(f"{name}: {err}")
    show(write(args, runs, measured, rows, time.monotonic() - start))
    for case in measured.get("cases", []):
        print(f"core: {case['instructions_per_entry']:.1f} instructions an entry in harvests "
              f"of {case['batch']}")
    if "skipped" in measured:
        print(f"core: not measured: {measured['skipped']}")
    found = complaints(args, runs, outcome, measured) + failed
    for line in found:
        print(f"bench: FAILED: {line}")
    print(f"bench: {args.out / 'results.json'} and report.html are written")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
