# SPDX-License-Identifier: GPL-2.0-or-later
"""What it costs to track a million pinned pages of a container of 960 GiB: the kernel's module and ours, by turns.

tests/kernel/vfiotrack maps 256 MiB of memory 3,840 times and has a mediated device pin 1,000,320 pages: "far", 251
pages apart, so that each has a word of the bitmap to itself, and "near", 1,042 side by side in each GiB.  Timed are
start, two bitmaps of the whole, and stop; and pinning and unpinning, page by page.  "whole" is a bitmap of 16 GiB in 64
mappings with a PCI function behind the machine's IOMMU, all of it dirty.  L1's clock counts instructions, two
nanoseconds each.  The bitmap's memory is there before.

Fails where ours gets worse than it was when this was written, as parts of the kernel's own (MOST).

*Limits*: instructions, not time: cache misses of a walk from page to page are not counted.  The memory has what the
test's device needs to remember its pins in it, the same for both.
"""

from __future__ import annotations

import subprocess

from qlab import vf, vfio
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="what dirty tracking of VFIO's pinned pages costs: the kernel's, ours (figures)",
    time_limit=1800,
    suites=(),
    needs=("ifcvf-device",),
    append="intel_iommu=on",
    l1_devices=vf.DEVICES,
    icount=True,
    own_binaries=True,
    l1_mem=3072,
    not_on={"6.12": "vfio_iommu_type1 is for 6.1"},
)

#: The most that ours may take, of the kernel's own (wanted: start 0.01, get 0.1).
MOST = {
    "far": {"start_ns": 0.01, "get_ns": 1.4, "again_ns": 1.4, "stop_ns": 1.0, "pin_ns": 1.2, "unpin_ns": 1.25,
            "slab_kib": 1.05},
    "near": {"start_ns": 0.01, "get_ns": 0.1, "again_ns": 0.1, "stop_ns": 1.0, "pin_ns": 1.1, "unpin_ns": 1.25,
             "slab_kib": 0.5},
    "whole": {"get_ns": 1.0},
}
#: Those of them that are bitmaps.
GETS = ("get_ns", "again_ns")
#: How many pages are dirty.
PAGES = {"far": 960 * 1042, "near": 960 * 1042, "whole": 16 << 18}


def measure(lab: Lab, subject: str, words: list[str]) -> dict[str, int]:
    """What vfiotrack prints."""
    with vfio.container(lab, subject):
        done = subprocess.run(words, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"vfiotrack: {done.stdout[-300:]} {done.stderr}")
    return {name: int(value) for name, value in (line.split() for line in done.stdout.splitlines())}


def run(lab: Lab) -> None:
    """Both, and the ratios."""
    vfio.require(lab)
    words = [str(vfio.program(lab)), "cost", *vfio.device(lab), vfio.give_to_vfio(vf.Vf(0))]
    found = {subject: measure(lab, subject, words) for subject in ("stock", "ours")}
    lab.figures.update(found)
    for where, most in MOST.items():
        for subject, values in found.items():
            pages = {values[f"{where}_{name.removesuffix('_ns')}_pages"] for name in most if name in GETS}
            lab.check(pages == {PAGES[where]}, f"{subject}, {where}: {pages} pages")
        ratios = {what: found["ours"][f"{where}_{what}"] / found["stock"][f"{where}_{what}"] for what in most}
        lab.figures[f"ratios, {where}"] = {what: round(ratio, 5) for what, ratio in ratios.items()}
        for what, ratio in ratios.items():
            lab.check(ratio <= most[what], f"{where} {what}: {ratio:.3f} of the kernel's, {most[what]} wanted")
