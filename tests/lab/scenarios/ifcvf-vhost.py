# SPDX-License-Identifier: GPL-2.0-or-later
"""An Intel IFC VF under vhost-vdpa, behind the machine's (emulated) IOMMU.

Theory of operation
===================

The machine is qlab/vf.py's, with the IOMMU in use.  One VF is an interface of L1 under virtio_vdpa.
The other is under vhost-vdpa and driven by qlab/vhostvdpa, whose rings lie at I/O addresses that
only the IOMMU knows.

    traffic   pinning, mapping, both directions, doorbell page, live-migration state
    leave     the VF is unbound, or gone, while it is open and running
    vectors   a VF that cannot have a vector fails, and says so
    bypass    a queue's interrupt is offered for bypassing while the device runs, and only then
    reserved  addresses that the IOMMU reserves cannot be mapped; their neighbours can
    many      65,536 mappings are taken down; others run on that CPU meanwhile
    guest     a nested machine boots with the VF; numbered frames go round by way of the other one;
              stopped and continued, its driver reloaded

*Limits*: what the IOMMU costs is not measured, as it is emulated.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import mmap
import os
import resource
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from qlab import vhostvdpa
from qlab.context import Lab
from qlab.outer import Outer
from qlab.scenario import DEBUG, Scenario
from qlab.vf import DEVICES, Vf, load, open_vhost, plugged, spare, tool, unplug, wait_for
from qlab.vfnet import ETHERTYPE, nested, pinned, tap_on

SCENARIO = Scenario(
    about="an Intel IFC VF under vhost-vdpa, behind an IOMMU",
    time_limit=180,
    needs=("kvm", "guest-linux", "kernel-modules", "ifcvf-device"),
    suites=("full", "kernel"),
    own_binaries=True,
    append=f"intel_iommu=on iommu=nopt {DEBUG} iomem=relaxed",
    l1_mem=2048,
    l1_monitor=True,
    l1_devices=DEVICES,
    variants={
        **{name: {"part": name} for name in ("traffic", "leave", "vectors", "bypass",
                                               "reserved", "many")},
        "guest-stock": {"part": "guest", "which": "stock"},
        "guest-ours": {"part": "guest", "which": "qemu"},
    },
    not_on={"6.12": {name: "vhost_vdpa is that kernel's own, and " + what for name, what in (
        ("bypass", "this looks for a message of this repository's module"),
        ("reserved", "maps reserved addresses"),
        ("many", "limits entries to 2,048"))}},
)

HEADER = 12  # bytes of virtio_net_hdr with VERSION_1
FEATURES = vhostvdpa.VERSION_1 | vhostvdpa.ACCESS_PLATFORM | 1 << 5
RUNNING = 15


def frame(number: int) -> bytes:
    """A broadcast frame with a number and contents that depend on it."""
    head = b"\xff" * 6 + bytes.fromhex("525400000011") + struct.pack(">HI", ETHERTYPE, number)
    return head + hashlib.sha256(str(number).encode()).digest() * 4


def start_vhost(device: vhostvdpa.Device, bases: tuple[int, int] = (0, 0)) -> list[vhostvdpa.Queue]:
    """Both data queues running, receive buffers out."""
    status = device.negotiate(FEATURES)
    assert status & vhostvdpa.FEATURES_OK, f"status {status:#x}"
    device.map()
    queues = [device.queue(index, base=bases[index]) for index in (0, 1)]
    for _ in range(queues[0].size):
        queues[0].add(None)
    status = device.run()
    assert status == RUNNING, f"status {status:#x}"
    queues[0].notify()
    return queues


def send(lab: Lab, queue: vhostvdpa.Queue, tap: socket.socket, count: int, first: int = 0) -> None:
    """Frames out of a vhost queue, and what the other VF makes of them."""
    for number in range(first, first + count):
        queue.add(bytes(HEADER) + frame(number))
        queue.notify()
        queue.wait()
        lab.check(tap.recv(2048) == frame(number), f"frame {number} changed on its way")


def receive(lab: Lab, queue: vhostvdpa.Queue, tap: socket.socket, count: int) -> None:
    """Frames into a vhost queue, more than the ring is long."""
    for number in range(count):
        tap.send(frame(number))
        got = queue.wait()[HEADER:]
        while struct.unpack_from(">H", got, 12)[0] != ETHERTYPE:  # the interface's own
            queue.add(None)
            queue.notify()
            got = queue.wait()[HEADER:]
        lab.check(got == frame(number), f"frame {number} changed on its way")
        queue.add(None)
        queue.notify()


def doorbell_page(lab: Lab, device: vhostvdpa.Device, queue: vhostvdpa.Queue,
                  tap: socket.socket) -> None:
    """Notify by writing to the mapped page instead of the eventfd."""
    offset = queue.index * mmap.PAGESIZE
    with mmap.mmap(device.fd, mmap.PAGESIZE, prot=mmap.PROT_WRITE, offset=offset) as page, \
            memoryview(page).cast("H") as doorbell:
        queue.add(bytes(HEADER) + frame(7))
        doorbell[0] = queue.index
        queue.wait()
        lab.check(tap.recv(2048) == frame(7), "frame by doorbell page")


def part_traffic(lab: Lab) -> None:
    """A VF under vhost-vdpa talks to one under virtio_vdpa."""
    host, guest = Vf(0), Vf(1)
    host.add()
    guest.add()
    with tap_on(host) as tap:
        device = open_vhost(guest)
        before = pinned()
        receiving, sending = start_vhost(device)
        lab.check(pinned() - before == device.size >> 10, f"pinned {pinned() - before} KiB")
        mac = device.config(6)
        lab.check(mac == bytes.fromhex("525400000011"), f"MAC {mac.hex()}")
        send(lab, sending, tap, 40)
        receive(lab, receiving, tap, 40)
        doorbell_page(lab, device, sending, tap)
        lab.check(sending.base() == 41, f"state of the transmit queue: {sending.base()}")
        lab.check(guest.next_avail(1) == 41, f"register: {guest.next_avail(1)}")
        lab.check(guest.next_avail(0) == receiving.base(), "state of the receive queue")
        lab.figures["pinned_kib"] = pinned() - before

        # As a migration's destination would: from where the other stopped.
        device.set_status(0)
        device.close()
        wait_for("unpinning", lambda: pinned() == before)
        device = open_vhost(guest)
        receiving, sending = start_vhost(device, (57, 65530))
        lab.check(sending.base() == 65530, f"restored state: {sending.base()}")
        send(lab, sending, tap, 20, 100)
        lab.check(sending.base() == 14, f"state after the wrap: {sending.base()}")
        receive(lab, receiving, tap, 20)

        # Memory that was taken back is out of the device's reach.
        device.unmap()
        lab.check(pinned() == before, f"still pinned: {pinned()} KiB")
        sending.add(bytes(HEADER) + frame(1))
        sending.notify()
        lab.check(silent(tap), "a frame from memory that is not mapped")
        device.close()
    host.delete()
    guest.delete()


def silent(tap: socket.socket) -> bool:
    """Whether nothing arrives."""
    tap.settimeout(0.5)
    try:
        tap.recv(2048)
        return False
    except TimeoutError:
        return True
    finally:
        tap.settimeout(20)


def part_leave(lab: Lab) -> None:
    """A VF goes while vhost-vdpa has it open and running."""
    outer = Outer()
    for gone in (False, True):
        with spare(outer) as vf:
            vf.bind()
            vf.add()
            device = open_vhost(vf)
            start_vhost(device)
            if gone:
                outer.set("vf3", "gone", True)
                lab.check(device.status() & vhostvdpa.FAILED != 0,
                          f"status of a VF that is gone: {device.status():#x}")
            leaving = threading.Thread(target=vf.unbind, daemon=True)
            leaving.start()
            time.sleep(0.5)
            lab.log(f"unbind with vhost open: {'waits' if leaving.is_alive() else 'is over'}")
            try:
                lab.log(f"status then: {device.status():#x}")
            except OSError as err:
                lab.log(f"status then: {err.strerror}")
            device.close()
            leaving.join(20)
            lab.check(not leaving.is_alive(), "unbind hangs after the last close")
            unplug(outer, "vf3", 3)


def part_guest(lab: Lab, which: str) -> None:
    """A nested machine has the VF; what it sends comes back from the other one."""
    nested(lab, getattr(lab, which), Vf(1), Vf(0))


def part_vectors(lab: Lab) -> None:
    """No vector, no DRIVER_OK: the device says that it failed, and can be let go of."""
    with plugged(Outer(), fault="no-vector") as vf:
        vf.bind()
        vf.add()
        device = open_vhost(vf)
        device.negotiate(FEATURES)
        device.map()
        queue = device.queue(1)
        status = device.run()
        lab.check(status & vhostvdpa.FAILED != 0 and not status & vhostvdpa.DRIVER_OK,
                  f"status {status:#x}")
        lab.check(not vf.interrupts(), f"vectors: {vf.interrupts()}")
        queue.notify()
        device.close()
        vf.delete()


def part_bypass(lab: Lab) -> None:
    """An eventfd can be bypassed for one interrupt; the kernel says so when it is offered a second.

    Nothing in L1 takes up the offer: that needs posted interrupts.  So this is where it can be seen.
    """
    vf = Vf(1)
    vf.add()
    device = open_vhost(vf)
    queues = [device.queue(0), device.queue(1)]
    own = queues[1].call

    def twice() -> int:
        return tool("dmesg").count("queue 1: interrupts are not bypassed: -16")

    for rounds in (1, 2):
        device.negotiate(FEATURES)
        if rounds == 1:
            device.map()
        queues[1].call = queues[0].call
        for queue in queues:
            queue.set_up()
        before = twice()
        device.set_status(RUNNING & ~vhostvdpa.DRIVER_OK)
        lab.check(twice() == before, "offered before DRIVER_OK")
        lab.check(device.set_status(RUNNING) == RUNNING, "the device does not run")
        lab.check(twice() == before + 1, f"offered at DRIVER_OK: {twice() - before}")
        for call, more in ((own, 0), (queues[0].call, 1), (own, 0)):
            before = twice()
            device.ioctl(vhostvdpa.SET_VRING_CALL, struct.pack("<Ii", 1, call))
            lab.check(twice() == before + more, f"another eventfd: {twice() - before}, not {more}")
        # A reset has to withdraw each offer, or the next round's first offer fails as well.
        device.set_status(0)
        lab.check(not vf.interrupts(), f"interrupts after a reset: {vf.interrupts()}")
        lab.check("queue 0: interrupts are not bypassed" not in tool("dmesg"),
                  f"round {rounds}: the first queue's interrupt could not be offered")
    queues[1].call = own
    device.close()
    vf.delete()


MSI_FIRST, MSI_LAST = 0xfee00000, 0xfeefffff
MANY = 65536


def map_page(device: vhostvdpa.Device, iova: int, pages: int = 1) -> int:
    """Map the first pages of the device's memory for reading; 0 or errno."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(device.memory))
    message = struct.pack("<IIQQQBB", vhostvdpa.IOTLB_MSG_V2, 0, iova, pages * mmap.PAGESIZE,
                          address, 1, vhostvdpa.IOTLB_UPDATE)
    try:
        os.write(device.fd, message.ljust(72, b"\0"))
        return 0
    except OSError as err:
        return err.errno or -1


def part_reserved(lab: Lab) -> None:
    """The window of message signalled interrupts: EINVAL, and the range offered has it all the same."""
    vf = Vf(1)
    vf.add()
    device = open_vhost(vf)
    device.negotiate(FEATURES)
    first, last = struct.unpack("<QQ", device.ioctl(vhostvdpa.GET_IOVA_RANGE, bytes(16)))
    lab.check(first < MSI_FIRST and last > MSI_LAST, f"range {first:#x} to {last:#x}")
    page = mmap.PAGESIZE
    for iova, pages, wanted in (
            (MSI_FIRST, 1, errno.EINVAL), (MSI_LAST + 1 - page, 1, errno.EINVAL),
            (MSI_FIRST + 0x80000, 1, errno.EINVAL), (MSI_FIRST - page, 2, errno.EINVAL),
            (MSI_LAST + 1 - page, 2, errno.EINVAL),
            (MSI_FIRST - page, 1, 0), (MSI_LAST + 1, 1, 0)):
        got = map_page(device, iova, pages)
        lab.check(got == wanted, f"{pages} pages at {iova:#x}: {got}, not {wanted}")
    lab.check(pinned() == 2 * page >> 10, f"pinned {pinned()} KiB")
    device.close()
    vf.delete()


@contextmanager
def gaps(device: vhostvdpa.Device) -> Iterator[Callable[[], float]]:
    """A process on this CPU that wants to run all the time; the longest that it had to wait, in s."""
    shared = mmap.mmap(-1, mmap.PAGESIZE)
    child = os.fork()
    if child == 0:
        os.close(device.fd)  # or the last close is this process's
        before, longest = time.monotonic(), 0.0
        while True:
            time.sleep(0.005)
            now = time.monotonic()
            longest = max(longest, now - before)
            before = now
            struct.pack_into("<d", shared, 0, longest)
    try:
        yield lambda: float(struct.unpack_from("<d", shared)[0])
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def part_many(lab: Lab) -> None:
    """As many entries as there are pages: taking them down neither locks up nor hogs the CPU."""
    Path("/proc/sys/kernel/watchdog_thresh").write_text("2", "ascii")
    vf = Vf(1)
    vf.add()
    os.sched_setaffinity(0, {0})
    for unmap in (False, True):
        device = open_vhost(vf)
        device.negotiate(FEATURES)
        for number in range(MANY):
            lab.check(map_page(device, (number + 1) << 13) == 0, f"mapping {number}")
        lab.check(pinned() == MANY * mmap.PAGESIZE >> 10, f"pinned {pinned()} KiB")
        with gaps(device) as longest:
            time.sleep(0.2)
            start = time.monotonic()
            if unmap:
                message = struct.pack("<IIQQQBB", vhostvdpa.IOTLB_MSG_V2, 0, 0, 1 << 40, 0, 0,
                                      vhostvdpa.IOTLB_INVALIDATE)
                os.write(device.fd, message.ljust(72, b"\0"))
            else:
                device.close()
            took = time.monotonic() - start
            time.sleep(0.1)
            waited = longest()
        what = "unmap" if unmap else "close"
        lab.figures[what] = {"took_s": round(took, 2), "waited_s": round(waited, 2)}
        lab.check(pinned() == 0, f"{what}: still pinned: {pinned()} KiB")
        lab.check(waited < max(took / 2, 0.1), f"{what}: of {took:.2f} s, another process waited {waited:.2f}")
        if unmap:
            device.close()
    vf.delete()


PARTS = {"traffic": part_traffic, "leave": part_leave, "vectors": part_vectors,
         "bypass": part_bypass, "reserved": part_reserved, "many": part_many, "guest": part_guest}


def run(lab: Lab, part: str, **more: str) -> None:
    """One part, on VFs that are bound to the driver."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)
    load(lab)
    PARTS[part](lab, **more)
