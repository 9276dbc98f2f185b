# SPDX-License-Identifier: GPL-2.0-or-later
"""The Intel IFC VF driver on PCI functions that look like one.

Theory of operation
===================

The machine is qlab/vf.py's.

    blk       contents through virtio-blk on virtio_vdpa, and again through a new device
    faults    a VF for each of some lies that a device can tell about its capabilities

*Limits*: not all of hw/virtio/ifcvf-test-faults.c: the kernel offers a new function to virtio-pci
first, and that never comes back from a capability list that is a loop.  Without an IOMMU.
"""

from __future__ import annotations

import mmap
import os
import random
from pathlib import Path

from qlab.context import Lab
from qlab.outer import Outer
from qlab.scenario import Scenario
from qlab.vf import DEVICES, Vf, load, plugged, tool, wait_for

SCENARIO = Scenario(
    about="the Intel IFC VF driver, on a model of the device",
    time_limit=240,
    needs=("kernel-modules", "ifcvf-device"),
    suites=("full", "kernel"),
    own_binaries=True,
    append="slub_debug=FZPU",
    l1_mem=2048,
    l1_monitor=True,
    l1_devices=DEVICES,
    variants={name: {"part": name} for name in ("blk", "faults")},
)


def part_blk(lab: Lab) -> None:
    """Contents through virtio-blk on virtio_vdpa, and once more through a new device."""
    vf = Vf(2)
    data = random.randbytes(8 << 20)
    for again in (False, True):
        vf.add()
        node = Path("/dev", wait_for("disk", lambda: next(vf.virtio().glob("block/*"), None)).name)
        wait_for(str(node), node.exists)
        fd = os.open(node, os.O_RDWR | os.O_DIRECT)
        with mmap.mmap(-1, len(data)) as buffer:
            if not again:
                buffer[:] = data
                lab.check(os.pwrite(fd, buffer, 1 << 20) == len(data), "short write")
            buffer[:] = bytes(len(data))
            lab.check(os.preadv(fd, [buffer], 1 << 20) == len(data), "short read")
            lab.check(buffer[:] == data, "the disk's contents changed")
        os.fsync(fd)
        os.close(fd)
        vf.delete()


#: What is wrong with a VF that the driver refuses.
FAULTS = ("no-common", "no-notify", "no-isr", "no-device", "bar-number", "bar-absent", "cap-len")


def complaints(vf: Vf) -> list[str]:
    """What the driver said about a function in the kernel's log."""
    return [line for line in tool("dmesg").splitlines() if f"ifcvf {vf.address}: " in line]


def part_faults(lab: Lab) -> None:
    """One VF for each fault: no fault gets further than an error."""
    outer = Outer()
    for fault in FAULTS:
        with plugged(outer, fault=fault) as vf:
            before = complaints(vf)
            try:
                vf.bind()
                taken = True
            except OSError as err:
                said = complaints(vf)
                lab.log(f"{fault}: {err.strerror}: {said[-1:]}")
                lab.check(len(said) > len(before), f"{fault}: refused without a word")
                taken = False
            lab.check(not taken, f"{fault}: taken")
    lab.figures["faults"] = len(FAULTS)


PARTS = {"blk": part_blk, "faults": part_faults}


def run(lab: Lab, part: str) -> None:
    """One part, on VFs that are bound to the driver."""
    load(lab)
    PARTS[part](lab)
