# SPDX-License-Identifier: GPL-2.0-or-later
"""What the suites leave behind: SUITE.jsonl, one JSON object per case.

Theory of operation
-------------------
A line has at least ``name``, ``status`` (passed, failed or skipped), ``seconds`` and ``reason``
(empty when passed).  A suite appends each line as soon as the case is over, so a suite that dies
leaves what it had.

A result belongs to a run.  scripts/check gives its run a folder of its own, names it to the suites in
QEMU_LIVE_RESULTS, and copies each suite's files to build/results when the suite has ended.  A suite
or a scenario that was started by hand appends to build/results/by-hand, which scripts/summary never
counts.

Beside it, SUITE.run.json says which version ran on which machine, for docs/results (result-pages).

Limits: one writer per suite and run; readers take a line that is no such object for a failure.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent
#: The environment variable that names the folder of a run.
RUN = "QEMU_LIVE_RESULTS"
STATUSES = ("passed", "failed", "skipped")


def results_folder(build: Path = TOP / "build") -> Path:
    """The folder of the run that this process belongs to."""
    return Path(os.environ.get(RUN) or build / "results/by-hand")


def results_file(suite: str, folder: Path | None = None) -> Path:
    return (folder or results_folder()) / f"{suite}.jsonl"


def setting() -> dict[str, str]:
    """Which version of this repository runs, and on what machine."""
    done = subprocess.run([TOP / "scripts/version", "--commit"], text=True, capture_output=True, check=False)
    return {"version": done.stdout.strip() or "unknown",
            "machine": f"{os.cpu_count()}-CPU {platform.machine()}, Linux {platform.release().partition('-')[0]}"}


def read_setting(path: Path) -> dict[str, str]:
    """The setting of the run that left this file of results; empty if none was noted."""
    try:
        read: dict[str, str] = json.loads(path.with_suffix(".run.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return read


class Recorder:
    """Writes one suite's results and counts them."""

    def __init__(self, suite: str, path: Path | None = None) -> None:
        self.path = path or results_file(suite)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.with_suffix(".run.json").write_text(json.dumps(setting()) + "\n", "utf-8")
        self.counts = dict.fromkeys(STATUSES, 0)
        self._since = time.monotonic()

    def add(self, name: str, status: str, reason: str = "", seconds: float | None = None) -> None:
        """Note one case; without seconds, the time since the one before."""
        if status not in STATUSES:
            raise ValueError(f"{status} is not one of {STATUSES}")
        now = time.monotonic()
        row = {"name": name, "status": status, "reason": " ".join(reason.split()),
               "seconds": round(now - self._since if seconds is None else seconds, 3)}
        self._since = now
        self.counts[status] += 1
        with self.path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")

    def exit_status(self) -> int:
        """Failure also when nothing ran: silence is no success."""
        return 1 if self.counts["failed"] or not sum(self.counts.values()) else 0


def read(suite: str, folder: Path | None = None) -> list[dict[str, Any]]:
    """A suite's cases.  No file, an empty one or a line that is none is a failed case."""
    path = results_file(suite, folder)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return [_failure(suite, f"left no {path.name}")]
    return [_row(suite, line) for line in lines] or [_failure(suite, f"{path.name} is empty")]


def _row(suite: str, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if isinstance(row, dict) and row.get("status") in STATUSES and row.get("name"):
        return row
    return _failure(suite, f"not a result: {line[:80]}")


def _failure(name: str, reason: str) -> dict[str, Any]:
    return {"name": name, "status": "failed", "seconds": 0.0, "reason": reason}
