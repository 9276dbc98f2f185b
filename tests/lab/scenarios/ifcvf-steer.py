# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the interrupts of an Intel IFC VF's queues go, under the stock virtio drivers.

Theory of operation
===================

virtio_vdpa is told by virtio drivers which CPUs belong to which queue, asks the device for that
queue's interrupt, and tells the kernel.  Both ways of a driver are here:

    blk     virtio-blk lets find_vqs spread its queues: a disk of two queues on three CPUs.  Three,
            because with two the block layer's own mapping would be the same.  Requests made on a CPU
            have to come back on one of the CPUs of its queue.
    net     virtio-net names CPUs for its queues, and others when CPUs come and go

What the kernel was told is /proc/irq/N/affinity_hint; a hint that is still there when an interrupt
is freed is a kernel warning.

*Limits*: one queue pair.  A CPU's hot-plug is the kernel's, not the machine's.
"""

from __future__ import annotations

import mmap
import os
import re
from pathlib import Path

from qlab.context import Lab
from qlab.outer import Outer
from qlab.scenario import DEBUG, Scenario
from qlab.vf import DEVICES, Vf, load, spare_disk, unplug, wait_for, write

SCENARIO = Scenario(
    about="interrupts of an Intel IFC VF go to the CPUs of their queues",
    time_limit=240,
    needs=("kernel-modules", "ifcvf-device"),
    suites=("full", "kernel"),
    own_binaries=True,
    append=f"intel_iommu=off {DEBUG}",
    l1_mem=2048,
    l1_cpus=3,
    l1_monitor=True,
    l1_devices=DEVICES,
    variants={"blk": {"part": "blk"}, "net": {"part": "net"}},
    not_on={"6.12": "virtio_vdpa is that kernel's own, and leaves interrupts to a driver's set_vq_affinity"},
)

READS = 64
#: Interrupts that may be on their way to another CPU when a queue is steered.
STRAY = 2


def lines(vf: Vf) -> dict[str, tuple[int, list[int]]]:
    """A VF's interrupts: number, and how often on each CPU, by what they are for."""
    found = {}
    cpus = os.cpu_count() or 0
    for line in Path("/proc/interrupts").read_text("ascii").splitlines():
        if f"ifcvf-{vf.address}" in line:
            words = line.split()
            found[words[-1].rsplit("-", 1)[1]] = (int(words[0].rstrip(":")),
                                                  [int(word) for word in words[1:1 + cpus]])
    return found


def cpu_set(text: str) -> set[int]:
    """CPUs of a mask in hexadecimal."""
    mask = int(text.replace(",", ""), 16)
    return {cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1}


def told(vf: Vf) -> dict[str, set[int]]:
    """The CPUs that each interrupt was told, none for one that was told nothing."""
    return {name: cpu_set(Path("/proc/irq", str(irq), "affinity_hint").read_text("ascii"))
            for name, (irq, _) in lines(vf).items()}


def allowed(vf: Vf, name: str) -> set[int]:
    """Where an interrupt may go."""
    return cpu_set(Path("/proc/irq", str(lines(vf)[name][0]), "smp_affinity").read_text("ascii"))


def read_disk(path: Path, count: int) -> None:
    """Direct reads, one by one."""
    disk = os.open(path, os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, 4096) as page:
        for number in range(count):
            os.preadv(disk, [page], number * 4096)
    os.close(disk)


def part_blk(lab: Lab) -> None:
    """Two queues, three CPUs."""
    outer = Outer()
    with spare_disk(outer, queues=2) as vf:
        vf.bind()
        vf.add()
        disk = wait_for("disk", lambda: next(vf.virtio().glob("block/*"), None))
        node = Path("/dev", disk.name)
        wait_for(str(node), node.exists)
        owned = {path.parent.name: {int(cpu) for cpu in re.findall(r"\d+", path.read_text("ascii"))}
                 for path in (disk / "mq").glob("*/cpu_list")}
        lab.figures["queues"] = {name: sorted(cpus) for name, cpus in owned.items()}
        lab.check(owned == {"0": {0, 1}, "1": {2}}, f"the block layer's queues: {owned}")
        hints = told(vf)
        lab.check(hints == {**owned, "config": set()}, f"interrupts were told {hints}")
        for name, cpus in owned.items():
            lab.check(allowed(vf, name) == cpus, f"queue {name} may go to {allowed(vf, name)}")
            for cpu in cpus:
                os.sched_setaffinity(0, {cpu})
                before = lines(vf)
                read_disk(node, READS)
                after = lines(vf)
                new = {other: [now - then for now, then in zip(after[other][1], before[other][1])]
                       for other in owned}
                lab.log(f"{READS} reads on CPU {cpu}: {new}")
                here = sum(new[name][own] for own in cpus)
                lab.check(here >= READS // 2, f"reads on CPU {cpu}: interrupts {new}")
                lab.check(sum(map(sum, new.values())) - here <= STRAY,
                          f"reads on CPU {cpu}: interrupts elsewhere, {new}")
        os.sched_setaffinity(0, set(range(os.cpu_count() or 1)))
        vf.delete()
        unplug(outer, "vf3", 3)


def part_net(lab: Lab) -> None:
    """One queue pair, for all CPUs that are there."""
    vf = Vf(0)
    cpus = set(range(os.cpu_count() or 1))
    for _ in range(2):
        vf.add()
        vf.interface()
        wait_for("interrupts", lambda: lines(vf))
        for there in (cpus, cpus - {2}, cpus - {1}, cpus):
            for cpu in cpus - {0}:
                online = Path(f"/sys/devices/system/cpu/cpu{cpu}/online")
                if int(online.read_text("ascii")) != (cpu in there):
                    write(online, str(int(cpu in there)))
            hints = told(vf)
            want = {"0": there, "1": there, "2": set(), "config": set()}
            lab.check(hints == want, f"CPUs {there}: interrupts were told {hints}")
        vf.delete()


def run(lab: Lab, part: str) -> None:
    """One part; the VFs are given back at the end."""
    load(lab)
    {"blk": part_blk, "net": part_net}[part](lab)
    for number in range(3):
        Vf(number).unbind()
    lab.unload("ifcvf")
