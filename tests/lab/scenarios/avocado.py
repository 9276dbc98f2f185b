# SPDX-License-Identifier: GPL-2.0-or-later
"""The avocado tests (tests/avocado) inside L1, on nested KVM.

The same files as on the host, run by the same program: L1 has the host's root
file system, so build/venv is there too.  `make check-avocado` starts this
scenario and takes the results of the single tests from avocado.jsonl.

*Limits*: what is not installed in build/venv yet cannot be fetched here.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="the avocado tests, on nested KVM",
    time_limit=1800,
    needs=("kvm", "guest-payload32"),
    suites=("full",),
)

TOP = Path(__file__).resolve().parent.parent.parent.parent


def run(lab: Lab, only: tuple[str, ...] = ()) -> None:
    """Run them all, or those that match ONLY; fail if one fails."""
    python = TOP / "build/venv/bin/python3"
    if subprocess.run([str(python), "-c", "import avocado"], check=False,
                      stderr=subprocess.DEVNULL).returncode:
        lab.skip("build/venv has no avocado: make check-avocado installs it")
    left = lab.out / "avocado.jsonl"
    words = [str(python), str(TOP / "tests/avocado/run"), "--leg", "here",
             "--accel", "kvm", "--qemu", str(lab.qemu), "--time-factor", "4",
             "--results", str(left), "--out", str(lab.out / "avocado")]
    for pattern in only:
        words += ["--only", pattern]
    done = subprocess.run(words, timeout=lab_limit(), check=False,
                          env={**os.environ, "QEMU_LIVE_GUEST": str(lab.guest_dir)})
    rows = [json.loads(line) for line in left.read_text("utf-8").splitlines()]
    for status in ("passed", "failed", "skipped"):
        lab.figures[status] = sum(row["status"] == status for row in rows)
    failed = [row["name"] for row in rows if row["status"] == "failed"]
    lab.check(not failed, f"failed: {', '.join(failed)}")
    lab.check(done.returncode == 0, f"ended with {done.returncode}")


def lab_limit() -> float:
    """A little less than the lab's own limit, so that the list of tests run is complete."""
    return SCENARIO.time_limit - 30
