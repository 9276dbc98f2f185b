# SPDX-License-Identifier: GPL-2.0-or-later
"""The --host-kvm leg: scenarios on the machine's own /dev/kvm.

Theory of operation
===================

A machine's /dev/kvm may be a software-only KVM whose dirty ring loses entries,
so it is probed first (kvmprobe.py, in a process of its own with a time limit):
a small unpaged guest dirties pages under a ring of 4,096 entries; a harvest
must never find the ring filled beyond its soft limit, no page that was written
may be missing from what was harvested, and no ring-full exit may come with
nothing to harvest.  Only after that the scenario runs, by the same inside.py,
as an ordinary program.  There is no machine to switch off when its time is
over, so everything that descends from it is ended.

*Limits*: only scenarios that say `host_kvm` and use the 32-bit payload.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from . import machine, scenario


def probe() -> str:
    """Why this machine's /dev/kvm is unfit; empty if it is fit."""
    program = Path(__file__).with_name("kvmprobe.py")
    try:
        done = subprocess.run([sys.executable, str(program)], text=True,
                              capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "the dirty-ring probe did not end in 60 s"
    if done.returncode == 0:
        return ""
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines()
    return lines[-1] if lines else f"the probe ended with {done.returncode}"


def children() -> dict[int, list[int]]:
    """Of every process of this machine."""
    found: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text("utf-8", "replace").rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        found.setdefault(parent, []).append(int(path.parent.name))
    return found


def descendants(pid: int) -> list[int]:
    """A process and all that descends from it."""
    known, found = children(), [pid]
    for one in found:
        found += known.get(one, [])
    return found


def send(pids: list[int], number: signal.Signals) -> None:
    """A signal to each that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def end_tree(pid: int) -> None:
    """End a process and its descendants, who are stopped first so that none starts another."""
    found: list[int] = []
    while found != (now := descendants(pid)):
        found = now
        send(found, signal.SIGSTOP)
    send(found, signal.SIGKILL)


def run_inside(cfg: machine.Settings) -> dict[str, Any]:
    """The scenario, for as long as it may take; its outcome."""
    with subprocess.Popen([sys.executable, str(cfg.inside), "--host", str(cfg.out)]) as process:
        try:
            process.wait(cfg.time_limit)
        except subprocess.TimeoutExpired:
            return {"status": "failed", "reason": f"time limit of {cfg.time_limit:.0f} s"}
        finally:
            if process.poll() is None:
                end_tree(process.pid)
    try:
        outcome: dict[str, Any] = json.loads((cfg.out / "outcome.json").read_text("utf-8"))
    except (OSError, ValueError) as err:
        return {"status": "failed", "reason": f"no outcome: {err}"}
    return outcome


def run(cfg: machine.Settings, case: scenario.Case) -> machine.Outcome:
    """One case on the host's own KVM."""
    start = time.monotonic()
    if not case.scenario.host_kvm:
        return machine.Outcome("skipped", "not declared for --host-kvm", 0.0)
    unfit = probe()
    if unfit:
        return machine.Outcome("skipped", f"/dev/kvm is unfit: {unfit}",
                               time.monotonic() - start)
    machine.prepare(cfg)
    outcome = run_inside(cfg)
    return machine.Outcome(outcome["status"], outcome["reason"],
                           time.monotonic() - start, 0.0,
                           outcome.get("figures", {}))
