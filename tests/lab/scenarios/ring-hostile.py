# SPDX-License-Identifier: GPL-2.0-or-later
"""A process that scribbles over its machine's dirty rings, with our kvm.ko and with the livepatch.

tests/kernel/ringreset/ringhostile.c says what it does.  Passes if it ends by itself, L1's kernel reports nothing, and
no reset takes longer than LIMIT_US.

The kernel's own KVM, 6.1.192, does not pass: its reset goes past the entries that vCPUs have made if the process says
so, and then kvm_dirty_ring_push() warns of a full ring (`--param subjects='["kernel"]' --mode shadow`, one run).

*Limits*: what a hostile process does to its own memory is not looked at.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from qlab import kvms
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="a process scribbles over its dirty rings while they are reset",
    time_limit=300,
    needs=("kvm",),
    suites=(),
    modes=("tdp", "shadow"),
    l1_mem=2048,
)

SOURCE = Path(__file__).resolve().parents[3] / "tests/kernel/ringreset/ringhostile.c"
LIMIT_US = 10_000_000


def run(lab: Lab, seconds: int = 15, entries: int = 4096, vcpus: int = 2,
        subjects: Sequence[str] = ("ours", "livepatch")) -> None:
    """One process with each KVM."""
    kvms.need(lab, *subjects)
    program = lab.tmp / "ringhostile"
    subprocess.run(["cc", "-O2", "-pthread", "-o", str(program), str(SOURCE)], check=True)
    for seed, subject in enumerate(subjects, 1):
        with kvms.loaded(lab, subject):
            done = subprocess.run([str(program), str(entries), str(vcpus), str(seconds), str(seed)], text=True,
                                  timeout=seconds + 60, capture_output=True, check=False)
        lab.check(not done.returncode, f"{subject}: {done.stderr.strip()}")
        found = {name: int(value) for name, value in map(str.split, done.stdout.splitlines())}
        lab.figures[subject] = found
        lab.check(found["resets"] > 0 and found["full"] > 0 and found["changes"] > 0, f"{subject}: {found}")
        lab.check(found["longest_us"] < LIMIT_US, f"{subject}: a reset took {found['longest_us']} us")
