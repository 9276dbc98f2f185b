# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that a process gives to a simulated device: how long it takes, which pages, what it allocates.

    stalled   a mapping of a file whose data never comes: the device can be deleted meanwhile
    argument  ioctls whose arguments lie in such a file: the same
    readonly  private memory that was mapped for reading before it was first written
    noio      a disk's worker allocates without starting I/O, and its workqueue has a rescuer

*Limits*: what a platform IOMMU adds is in ifcvf-vhost.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import struct
import subprocess
import threading
import time
from pathlib import Path

from qlab import simdrive, vhostvdpa
from qlab.context import Lab
from qlab.scenario import DEBUG, Scenario
from qlab.stalledfs import StalledFile

SCENARIO = Scenario(
    about="vhost-vdpa: memory that stalls, memory that is only read, allocations of a disk",
    time_limit=120,
    needs=("kernel-modules",),
    suites=("full", "kernel"),
    append=DEBUG,
    l1_mem=1536,
    own_binaries=True,
    variants={name: {"part": name} for name in ("stalled", "argument", "readonly", "noio")},
    not_on={"6.12": "vhost_vdpa is that kernel's own",
            "6.1-debug": {"noio": "the debug kernel has no tracing"}},
)

DELETE_S = 5
OTHER_IOVA = 0x7_8000_0000
READ_ONLY = 1
HEADER = 12  # bytes of virtio_net_hdr with VERSION_1
RUNNING = 15
#: ioctls by what they do with their argument: read, read and written, of variable size, vhost.ko's own.
ARGUMENTS = {"set-vring-num": 0x4008AF10, "get-vring-base": 0xC008AF12, "get-config": 0x8008AF73,
             "set-vring-kick": 0x4008AF20, "set-mem-table": 0x4008AF03}
TRACING = Path("/sys/kernel/tracing")


def pinned() -> int:
    """KiB that this process has pinned."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmPin:"):
            return int(line.split()[1])
    return 0


def update(device: vhostvdpa.Device, memory: mmap.mmap, iova: int, perm: int) -> None:
    """Map MEMORY."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    message = struct.pack("<IIQQQBB", vhostvdpa.IOTLB_MSG_V2, 0, iova, len(memory), address, perm,
                          vhostvdpa.IOTLB_UPDATE)
    os.write(device.fd, message.ljust(72, b"\0"))


class Mapper(threading.Thread):
    """A thread that maps memory; what became of it."""

    def __init__(self, device: vhostvdpa.Device, memory: mmap.mmap) -> None:
        super().__init__(daemon=True)
        self.device, self.memory = device, memory
        self.error = -1

    def run(self) -> None:
        try:
            update(self.device, self.memory, OTHER_IOVA, 3)
            self.error = 0
        except OSError as err:
            self.error = err.errno or -1


def part_stalled(lab: Lab) -> None:
    """`vdpa dev del` does not wait for the file; the message then fails with ENODEV."""
    subprocess.run(["/sbin/modprobe", "fuse"], check=True)  # stays: the mapping is in use to the end
    stalled = StalledFile(lab.tmp / "stalled", 1 << 20)
    sim = simdrive.Sim(lab)
    sim.add("net0")
    device = vhostvdpa.Device(sim.node("net0"))
    device.negotiate(vhostvdpa.VERSION_1 | vhostvdpa.ACCESS_PLATFORM)
    device.map()
    file = os.open(stalled.path, os.O_RDWR)
    mapper = Mapper(device, mmap.mmap(file, stalled.size))
    mapper.start()
    lab.check(stalled.wait_asked(20), "nothing was read from the file")

    start = time.monotonic()
    deletion = subprocess.Popen(["/usr/sbin/vdpa", "dev", "del", "net0"])
    try:
        status = deletion.wait(DELETE_S)
        lab.figures["delete_s"] = round(time.monotonic() - start, 2)
        lab.check(status == 0, f"exit status {status}")
        lab.check(mapper.is_alive(), f"the mapping did not wait: {mapper.error}")
    except subprocess.TimeoutExpired:
        lab.fail(f"the device was not deleted within {DELETE_S} s")
    finally:
        stalled.fail()
        mapper.join(20)
        deletion.wait(20)
    lab.check(mapper.error == errno.ENODEV, f"the mapping ended with {mapper.error}")
    lab.check(pinned() == 0, f"{pinned()} KiB are still pinned")
    device.close()


class Caller(threading.Thread):
    """A thread that makes an ioctl with its argument in MEMORY; what became of it."""

    def __init__(self, device: vhostvdpa.Device, request: int, memory: mmap.mmap) -> None:
        super().__init__(daemon=True)
        self.device, self.request, self.memory = device, request, memory
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self.error = -1

    def run(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        done = libc.ioctl(self.device.fd, ctypes.c_ulong(self.request), ctypes.c_void_p(self.address))
        self.error = ctypes.get_errno() if done else 0


def part_argument(lab: Lab) -> None:
    """`vdpa dev del` does not wait for the argument, of our handlers or of vhost.ko's; EFAULT or ENODEV."""
    subprocess.run(["/sbin/modprobe", "fuse"], check=True)  # stays: the mapping is in use to the end
    sim = simdrive.Sim(lab)
    for name, request in ARGUMENTS.items():
        stalled = StalledFile(lab.tmp / name, 1 << 12)
        sim.add("net0")
        device = vhostvdpa.Device(sim.node("net0"))
        device.negotiate(vhostvdpa.VERSION_1 | vhostvdpa.ACCESS_PLATFORM)
        caller = Caller(device, request, mmap.mmap(os.open(stalled.path, os.O_RDWR), stalled.size))
        caller.start()
        lab.check(stalled.wait_asked(20), f"{name}: nothing was read from the file; {caller.error}")
        deletion = subprocess.Popen(["/usr/sbin/vdpa", "dev", "del", "net0"])
        try:
            lab.check(deletion.wait(DELETE_S) == 0, f"{name}: exit status {deletion.returncode}")
            lab.check(caller.is_alive(), f"{name}: the ioctl did not wait: {caller.error}")
        except subprocess.TimeoutExpired:
            lab.fail(f"{name}: the device was not deleted within {DELETE_S} s")
        finally:
            stalled.fail()
            caller.join(20)
            deletion.wait(20)
        lab.check(caller.error in (errno.EFAULT, errno.ENODEV), f"{name}: the ioctl ended with {caller.error}")
        device.close()


def part_readonly(lab: Lab) -> None:
    """What the process writes after the mapping is what the device reads."""
    sim = simdrive.Sim(lab)
    sim.add("net0")
    lab.defer(lambda: sim.delete("net0"))
    device = vhostvdpa.Device(sim.node("net0"))
    device.negotiate(vhostvdpa.VERSION_1 | vhostvdpa.ACCESS_PLATFORM)
    device.map()
    private = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    update(device, private, OTHER_IOVA, READ_ONLY)
    receiving, sending = device.queue(0), device.queue(1)
    receiving.add(None)
    status = device.run()
    lab.check(status == RUNNING, f"status {status:#x}")
    receiving.notify()
    frame = b"\xff" * 6 + b"\x52\x54\x00\x00\x00\x11\x88\xb5" + bytes(range(1, 200))
    private[:HEADER + len(frame)] = bytes(HEADER) + frame
    sending.add(bytes(HEADER + len(frame)), iova=OTHER_IOVA)
    sending.notify()
    try:
        got = receiving.wait(10)
        lab.check(got[HEADER:] == frame, f"the device read {got[HEADER:HEADER + 8].hex()}...")
    except TimeoutError:
        lab.fail("the device did not read the frame that was written after the mapping")
    device.close()


def trace(lab: Lab, node: Path) -> list[str]:
    """Lines of the kernel's trace while a disk is written to."""
    if not TRACING.is_mount():
        subprocess.run(["mount", "-t", "tracefs", "none", str(TRACING)], check=True)
    (TRACING / "buffer_size_kb").write_text("32768", "ascii")
    events = [TRACING / "events" / name / "enable" for name in (
        "kmem/mm_page_alloc", "workqueue/workqueue_execute_start",
        "workqueue/workqueue_execute_end")]
    for event in events:
        event.write_text("1", "ascii")
    simdrive.run(lab, "blk", node, "random", 500, 2)
    for event in events:
        event.write_text("0", "ascii")
    return (TRACING / "trace").read_text("ascii", "replace").splitlines()


def allocations(lines: list[str]) -> list[str]:
    """What the simulator's workers allocated: gfp flags."""
    working: set[str] = set()
    found = []
    for line in lines:
        task = line[:24].strip()
        if "workqueue_execute_start:" in line:
            if "function vdpa_sim_unit_work" in line:
                working.add(task)
            else:
                working.discard(task)
        elif "workqueue_execute_end:" in line:
            working.discard(task)
        elif "mm_page_alloc:" in line and task in working:
            found.append(line.rsplit("gfp_flags=", 1)[1].strip())
    return found


def part_noio(lab: Lab) -> None:
    """A disk that is written to allocates pages; none of that may start I/O."""
    sim = simdrive.Sim(lab, "blk")
    sim.add("disk0")
    lab.defer(lambda: sim.delete("disk0"))
    found = allocations(trace(lab, sim.node("disk0")))
    lab.figures["allocations"] = len(found)
    lab.check(len(found) > 100, f"only {len(found)} allocations were seen")
    wrong = [flags for flags in found if "GFP_KERNEL" in flags or "__GFP_IO" in flags]
    lab.check(not wrong, f"{len(wrong)} of {len(found)} may start I/O: {sorted(set(wrong))}")
    names = {path.read_text("ascii", "replace").strip() for path in Path("/proc").glob("[0-9]*/comm")}
    lab.check("vdpa_sim" in names, "the workqueue has no rescuer")


PARTS = {"stalled": part_stalled, "argument": part_argument, "readonly": part_readonly, "noio": part_noio}


def run(lab: Lab, part: str) -> None:
    """One part."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)
    PARTS[part](lab)
