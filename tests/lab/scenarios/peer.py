# SPDX-License-Identifier: GPL-2.0-or-later
"""The base's own migration-test inside L1, on nested KVM, ours against stock.

scripts/peer does the work, in L1 as on the host; with KVM there, the program has
its tests of the dirty ring and of the dirty limit.  `make check-peer` starts this
scenario after its own leg and takes the results of the single tests from
peer.jsonl.

*Limits*: slow; a test that the stock QEMU fails in L1 has nothing to be compared
with and is a skip.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="the base's migration-test on nested KVM, ours against stock",
    time_limit=6000,
    needs=("kvm", "ours", "stock"),
    suites=("full",),
    own_binaries=True,
    variants={
        "quick": {"full": False},
        "ring": {"full": True, "only": ("*dirty_ring*", "*dirty_limit*")},
        "full": {"full": True},
    },
)

TOP = Path(__file__).resolve().parent.parent.parent.parent
TEST_LIMIT_S = 900
PROGRAM = TOP / "build/stock/tests/qtest/migration-test"


def run(lab: Lab, full: bool, only: tuple[str, ...] = ()) -> None:
    """Run scripts/peer; fail if ours fails where stock passes."""
    if not PROGRAM.exists():
        lab.skip("build/stock has no migration-test: make check-peer builds it")
    left = lab.out / "peer.jsonl"
    left.write_text("", "utf-8")
    words = [str(TOP / "build/venv/bin/python3"), str(TOP / "scripts/peer"), "--accel", "kvm",
             "--time-limit", str(TEST_LIMIT_S), "--results", str(left),
             *(["--full"] if full else [])]
    for pattern in only:
        words += ["--only", pattern]
    done = subprocess.run(words, timeout=SCENARIO.time_limit - 60, check=False)
    rows = [json.loads(line) for line in left.read_text("utf-8").splitlines()]
    for status in ("passed", "failed", "skipped"):
        lab.figures[status] = sum(row["status"] == status for row in rows)
    failed = [row["name"] for row in rows if row["status"] == "failed"]
    lab.check(not failed, f"failed: {', '.join(failed)}")
    lab.check(done.returncode == 0, f"scripts/peer ended with {done.returncode}")
    lab.check(lab.figures["passed"] > 0, "nothing could be compared")
