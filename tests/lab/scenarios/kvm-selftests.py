# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own tests of KVM's dirty log: with the kernel's KVM, with our kvm.ko and with the livepatch, by turns.

`log` runs dirty_log_test, whose guest writes random pages while its host harvests and checks them, in its three modes,
and memslot_modification_stress_test; it fails if a test fails that passes with the kernel's KVM, or if none passes.
`perf` runs dirty_log_perf_test and demand_paging_test, which say how long their phases take; L1's clock counts
instructions, two nanoseconds each.

dirty_log_test first writes each page once, which takes the first half of its iterations; only then can a page be lost.

*Limits*: the programs are those of the base's 6.1 (scripts/build-selftests); dirty_log_perf_test has no mode for the
ring.  The livepatch changes the ring's reset alone, so only tests of the ring are run with it.  kvm.ko is for 6.1.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from qlab import kvms
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="the kernel's tests of KVM's dirty log, with the kernel's KVM, ours and the livepatch",
    time_limit=2400,
    needs=("kvm",),
    suites=(),
    modes=("tdp",),
    icount=True,
    l1_mem=4096,
    variants={"log": {"group": "log"}, "perf": {"group": "perf"}},
)

BUILT = Path(__file__).resolve().parents[3] / "build/selftests/bin"
SKIPPED = 4  # exit status
ANY_VA_48 = ("-m", "8")  # the one kind of guest that x86 has

CASES = {
    "log": {
        "ring": ("dirty_log_test", "-M", "dirty-ring", *ANY_VA_48, "-i", "24", "-I", "100"),
        "ring, 1,024 entries": ("dirty_log_test", "-M", "dirty-ring", *ANY_VA_48, "-i", "400", "-I", "1", "-c", "1024"),
        "bitmap": ("dirty_log_test", "-M", "dirty-log", *ANY_VA_48, "-i", "40", "-I", "100"),
        "bitmap, cleared apart": ("dirty_log_test", "-M", "clear-log", *ANY_VA_48, "-i", "40", "-I", "100"),
        "slots": ("memslot_modification_stress_test", "-v", "1", "-b", "16M", "-i", "20"),
    },
    "perf": {
        "perf": ("dirty_log_perf_test", *ANY_VA_48, "-v", "1", "-b", "64M", "-i", "3"),
        "perf, not cleared apart": ("dirty_log_perf_test", *ANY_VA_48, "-v", "1", "-b", "64M", "-i", "3", "-g"),
        "demand": ("demand_paging_test", *ANY_VA_48, "-v", "1", "-b", "64M"),
    },
}
PHASE = re.compile(r"^(.+?)(?: time)?: (\d+\.\d+)s$", re.MULTILINE)


def one(lab: Lab, words: tuple[str, ...]) -> tuple[str, dict[str, float]]:
    """How a test ends, and what its phases took in seconds."""
    done = subprocess.run([str(BUILT / words[0]), *words[1:]], text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lab.log(f"{words}: {done.returncode}: {done.stdout}")
    result = {0: "passed", SKIPPED: "skipped"}.get(done.returncode, "failed")
    return result, {name.strip(): float(value) for name, value in PHASE.findall(done.stdout)}


def run(lab: Lab, group: str) -> None:
    """Each test with each KVM."""
    kvms.need(lab, "livepatch")
    if not (BUILT / "dirty_log_test").exists():
        lab.skip("missing: the kernel's tests (scripts/build-selftests)")
    results: dict[str, dict[str, str]] = {}
    phases: dict[str, dict[str, dict[str, float]]] = {}
    for subject in kvms.there(lab):
        with kvms.loaded(lab, subject):
            for name, words in CASES[group].items():
                if subject == "livepatch" and not name.startswith("ring"):
                    continue
                result, took = one(lab, words)
                results.setdefault(name, {})[subject] = result
                if took:
                    phases.setdefault(name, {})[subject] = took
    lab.figures["results"] = results
    if group == "perf":
        lab.figures["phases"] = phases
    for name, found in results.items():
        lab.check(found["kernel"] == "passed", f"{name}: {found['kernel']} with the kernel's KVM")
        for subject, result in found.items():
            lab.check(result == "passed", f"{name}: {result} with {subject}")
