# SPDX-License-Identifier: GPL-2.0-or-later
"""What KVM's reset of dirty rings costs: the kernel's own, our kvm.ko and the livepatch, by turns.

tests/kernel/ringreset has a machine of its own with full rings, or with eight that are empty, and times the ioctl.
Between its runs KVM is unloaded and another one is loaded.  L1's clock counts instructions, two nanoseconds each.
`ns_per_entry` is the reset's time; `calls_per_entry` how often a page's protection was asked for, from a probe, in
runs of their own.

Fails where ours gets worse than it was when this was written: time and calls, as parts of the kernel's own, CASES.

*Limits*: instructions, not time.  build/kvm and build/livepatch have to have the modules (scripts/build-kvm,
scripts/build-kernel --livepatch).
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from qlab import kmod, kvms, probe
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="what a reset of dirty rings costs: the kernel's, ours, the livepatch (figures)",
    time_limit=1800,
    needs=("kvm",),
    suites=(),
    modes=("tdp",),
    icount=True,
    own_binaries=True,
    l1_mem=3072,
)

TOP = Path(__file__).resolve().parents[3]
SOURCE = TOP / "tests/kernel/ringreset/ringreset.c"
GIB_PAGES = str((1 << 30) // 4096)
ROUNDS = "3"

#: Arguments of ringreset, and the most that ours may take, of the kernel's own: time (measured: 0.37, 0.55, 1.00, 0.99,
#: 0.9; wanted: 0.5, 0.5, 1, 1, 0.1), calls.
CASES = {
    "4096 random": (("4096", GIB_PAGES, "random", ROUNDS), 0.5, 0.75),
    "65536 random": (("65536", GIB_PAGES, "random", ROUNDS), 0.6, 0.3),
    "4096 sequential": (("4096", GIB_PAGES, "sequential", ROUNDS), 1.02, 1.0),
    "65536 sequential": (("65536", GIB_PAGES, "sequential", ROUNDS), 1.02, 1.0),
    "8 empty": (("4096", "4096", "empty", "99", "8"), 1.0, 0.0),
}


def measure(program: Path, words: tuple[str, ...]) -> dict[str, int]:
    """What ringreset prints."""
    lines = kmod.tool(str(program), *words).splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def run(lab: Lab) -> None:
    """Every case with each subject."""
    kvms.need(lab, "ours", "livepatch")
    program = lab.tmp / "ringreset"
    subprocess.run(["cc", "-O2", "-o", str(program), str(SOURCE)], check=True)
    found: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in CASES}
    for subject in kvms.SUBJECTS:
        with kvms.loaded(lab, subject):
            for name, (words, _, _) in CASES.items():
                time = measure(program, words)
                calls = probe.Calls()
                measure(program, words)
                asked = calls.end()
                per_run = time["entries"] * (time["rounds"] + 1)
                found[name][subject] = (time["reset_ns"] / max(1, time["entries"]), asked / max(1, per_run))
        lab.log(f"{subject}: {found}")
    for name, subjects in found.items():
        lab.figures[name] = {subject: [round(value, 3) for value in values] for subject, values in subjects.items()}
    for name, (_, most_ns, most_calls) in CASES.items():
        ns, calls_each = found[name]["kernel"]
        for subject in ("ours", "livepatch"):
            took, called = found[name][subject]
            lab.check(took <= most_ns * ns, f"{name}: {subject} takes {took / ns:.2f} of the kernel's time")
            lab.check(called <= most_calls * calls_each, f"{name}: {subject} has {called:.2f} calls per entry")
