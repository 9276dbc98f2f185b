# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers of VFIO: our vfio_iommu_type1 beside the kernel's, call by call.

Theory of operation
===================

A mediated device of our own (tests/kernel/mdev) pins, unpins, reads and writes what it is told.
tests/kernel/vfiotrack makes some thousand random calls of the container's interface and of the device and prints
each answer: errno, size, bits of bitmaps, locked memory.  It does that with the kernel's module, then with ours;
the two must print the same.

    random    a container with the mediated device
    iommu     the same, and a PCI function behind the machine's IOMMU comes and goes meanwhile
    promises  what ours does where the kernel's has a fault: bitmaps that cannot be written, writes that
              fault after some pages, a device that does not unpin, threads that unmap at the same time;
              --param subject=stock --param only=NAME shows the fault (NAME: vfiotrack.c)

On the debug kernel ours makes the calls alone, and the kernel's watchers judge: lockdep reports a circle of the
kernel's own module (docs/upstream/vfio-type1.md), and watches no further then.

*Limits*: the PCI function does not move data here.
"""

from __future__ import annotations

import difflib
import subprocess
from pathlib import Path

from qlab import vf, vfio
from qlab.context import Lab
from qlab.scenario import DEBUG, Scenario

SCENARIO = Scenario(
    about="VFIO containers, our vfio_iommu_type1 beside the kernel's",
    time_limit=300,
    suites=("full", "kernel"),
    needs=("ifcvf-device",),
    own_binaries=True,
    append=f"intel_iommu=on {DEBUG}",
    l1_mem=1536,
    l1_devices=vf.DEVICES,
    variants={
        "random": {"real": False, "seeds": 12, "subject": "", "only": ""},
        "iommu": {"real": True, "seeds": 12, "subject": "", "only": ""},
        "promises": {"real": False, "seeds": 0, "subject": "ours", "only": ""},
    },
    not_on={"6.12": {name: "vfio_iommu_type1 is for 6.1" for name in ("random", "iommu", "promises")}},
)

STEPS = "1500"
#: Of the answers that differ, so many lines are shown.
SHOWN = 20


def answers(program: Path, words: list[str]) -> list[str]:
    """What vfiotrack prints."""
    done = subprocess.run([str(program), *words], text=True, capture_output=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode:
        raise RuntimeError(f"vfiotrack {words[0]}: {done.returncode}: {lines[-1:]} {done.stderr}")
    return lines


def compare(lab: Lab, program: Path, target: list[str], real: list[str], seeds: int) -> None:
    """The same calls with both modules; on the debug kernel with ours alone."""
    said: dict[str, list[list[str]]] = {}
    for subject in ("ours",) if lab.debug else ("stock", "ours"):
        with vfio.container(lab, subject):
            said[subject] = [answers(program, ["random", *target, str(seed), STEPS, *real])
                             for seed in range(1, seeds + 1)]
    for seed, (stock, ours) in enumerate(zip(said.get("stock", said["ours"]), said["ours"], strict=True), 1):
        differ = list(difflib.unified_diff(stock, ours, "stock", "ours", lineterm="", n=0))
        for line in differ[:SHOWN]:
            lab.log(line[:300])
        lab.check(not differ, f"seed {seed}: {len(differ)} lines differ")
    everything = [line for lines in said["ours"] for line in lines]
    lab.figures["calls"] = len(everything)
    lab.figures["bitmaps"] = sum(":" in line.partition(" locked ")[0].partition(": 0")[2] for line in everything
                                 if " get " in line or " unmap " in line)
    lab.figures["attached"] = sum(" attach: done" in line for line in everything)
    lab.check(lab.figures["bitmaps"] >= seeds * 20, "hardly a bitmap had a bit")
    lab.check(not real or lab.figures["attached"] >= seeds, "the PCI function was hardly ever attached")


def run(lab: Lab, real: bool, seeds: int, subject: str, only: str) -> None:
    """The variant."""
    vfio.require(lab)
    program = vfio.program(lab)
    target = list(vfio.device(lab))
    if seeds:
        compare(lab, program, target, [vfio.give_to_vfio(vf.Vf(0))] if real else [], seeds)
        return
    with vfio.container(lab, subject):
        words = ["promises", *target, *([only] if only else [])]
        lab.check(answers(program, words)[-1] == "kept", "a promise is not kept")
