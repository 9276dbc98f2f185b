# SPDX-License-Identifier: GPL-2.0-or-later
"""Each fault that the simulator can inject gives its error, once as often as asked, and heals.

The ioctls are made from here, on a device without any ring: the test checks that the error arrives where it was
put and that the same call works when the fault is used up.

*Limits*: faults of the data path are seen by the vdpa tool's statistics in vdpa-sim-net. Those of maps
are looked at with our vhost_vdpa only: 6.12's own makes EFAULT of all.
"""

import errno
import fcntl
import mmap
import os
import struct
import time
from collections.abc import Callable

from qlab import simdrive
from qlab.context import Lab
from qlab.scenario import DEBUG, Scenario

SCENARIO = Scenario(
    about="each fault injected into the simulator gives its error and heals",
    time_limit=120,
    needs=("kernel-modules",),
    suites=("full", "kernel"),
    append=DEBUG,
    l1_mem=1536,
    own_binaries=True,
    variants={"tree": {"batch": "1"}, "pieces": {"batch": "0"}},
    short=("tree",),
)

PAGE = 4096


def ior(nr: int, size: int, direction: int) -> int:
    """An ioctl number of vhost's."""
    return direction << 30 | size << 16 | 0xAF << 8 | nr


SET_OWNER = ior(0x01, 0, 0)
GET_FEATURES = ior(0x00, 8, 2)
SET_FEATURES = ior(0x00, 8, 1)
GET_BACKEND = ior(0x26, 8, 2)
SET_BACKEND = ior(0x25, 8, 1)
SET_BASE = ior(0x12, 8, 1)
GET_BASE = ior(0x12, 8, 3)
GET_STATUS = ior(0x71, 1, 2)
SET_STATUS = ior(0x72, 1, 1)
GET_CONFIG = ior(0x73, 8, 2)
SUSPEND = ior(0x7D, 0, 0)
RESUME = ior(0x7E, 0, 0)
UPDATE, INVALIDATE, BEGIN, END = 2, 3, 5, 6
OK_STATUS = 1 | 2 | 8 | 4


class Device:
    """An open /dev/vhost-vdpa-N, started, with no ring."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.memory = mmap.mmap(-1, 16 * PAGE)
        self.memory[:1] = b"x"
        self.addr = self._address()
        fcntl.ioctl(self.fd, SET_OWNER)
        features = fcntl.ioctl(self.fd, GET_BACKEND, bytes(8))
        fcntl.ioctl(self.fd, SET_BACKEND, features)
        self.start()

    def _address(self) -> int:
        import ctypes
        return ctypes.addressof(ctypes.c_char.from_buffer(self.memory))

    def start(self) -> None:
        """Up to DRIVER_OK."""
        for status in (1, 3):
            self.set_status(status)
        fcntl.ioctl(self.fd, SET_FEATURES, fcntl.ioctl(self.fd, GET_FEATURES, bytes(8)))
        for status in (11, 15):
            self.set_status(status)

    def set_status(self, status: int) -> None:
        """0 is a reset."""
        fcntl.ioctl(self.fd, SET_STATUS, bytes([status]))

    def status(self) -> int:
        """As the device says."""
        return fcntl.ioctl(self.fd, GET_STATUS, b"\0")[0]

    def message(self, kind: int, page: int = 0) -> None:
        """An IOTLB message about one page in address space 0."""
        os.write(self.fd, struct.pack("=IIQQQBB22x4x", 2, 0, 0x1000000 + page * PAGE, PAGE,
                                      self.addr + page * PAGE, 3, kind)[:72].ljust(72, b"\0"))

    def map(self, page: int = 0) -> None:
        """One page."""
        self.message(UPDATE, page)

    def unmap(self, page: int = 0) -> None:
        """One page."""
        self.message(INVALIDATE, page)

    def map_batch(self) -> None:
        """A batch of two pages."""
        self.message(BEGIN)
        try:
            self.message(UPDATE, 4)
            self.message(UPDATE, 5)
        finally:
            self.message(END)

    def empty_batch(self) -> None:
        """Tells the device what a failed batch left."""
        self.message(BEGIN)
        self.message(END)

    def base(self) -> int:
        """Position of queue 0."""
        answer = fcntl.ioctl(self.fd, GET_BASE, struct.pack("=II", 0, 0))
        return struct.unpack("=II", answer)[1]

    def set_base(self) -> None:
        """Position of queue 0."""
        fcntl.ioctl(self.fd, SET_BASE, struct.pack("=II", 0, 7))

    def config(self) -> bytes:
        """The MAC address."""
        answer = bytearray(struct.pack("=II6x", 0, 6))
        fcntl.ioctl(self.fd, GET_CONFIG, answer)
        return bytes(answer[8:])


def attempt(call: Callable[[], object]) -> int:
    """0, or the errno."""
    try:
        call()
    except OSError as err:
        return err.errno or -1
    return 0


def check_point(lab: Lab, sim: simdrive.Sim, point: str, call: Callable[[], object],
                undo: Callable[[], object] = lambda: None) -> None:
    """Twice, then healed; for ever, then switched off; skipped; delayed."""
    def tried(what: str, *expected: int) -> None:
        for number, code in enumerate(expected):
            got = attempt(call)
            lab.check(got == code, f"{point}, {what}, call {number}: errno {got}, should be {code}")
            if not got:
                undo()
    tried("off", 0)
    sim.fault("net0", point, error=errno.ENOSPC, times=2)
    tried("twice", errno.ENOSPC, errno.ENOSPC, 0, 0)
    sim.fault("net0", point, error=errno.EIO, times=-1)
    tried("always", *[errno.EIO] * 5)
    sim.fault("net0", point, times=0)
    tried("healed", 0)
    sim.fault("net0", point, error=errno.ENOMEM, skip=1, times=1)
    tried("second", 0, errno.ENOMEM, 0)
    sim.fault("net0", point, error=0, delay_ms=300, times=1)
    start = time.monotonic()
    tried("delayed", 0)
    took = time.monotonic() - start
    # The delay is counted in ticks, and L1's clock in cycles: on a busy host they drift apart.
    lab.check(took >= 0.2, f"{point}: no delay: {took:.3f} s")
    sim.fault("net0", point, delay_ms=0, times=0)
    hits = int(sim.knob("net0", f"fault/{point}/hits").read_text("ascii"))
    lab.check(hits == 9, f"{point}: {hits} hits")


def check_map_tree(lab: Lab, sim: simdrive.Sim, dev: Device) -> None:
    """set_map: undoing a mapping and taking back a failed one are calls of it, too."""
    for times, error, expected in ((1, errno.ENOSPC, (errno.ENOSPC, 0)),
                                   (-1, errno.EIO, (errno.EIO, errno.EIO, errno.EIO))):
        sim.fault("net0", "map", error=error, times=times)
        got = tuple(attempt(dev.map) for _ in expected)
        lab.check(got == expected, f"map, times {times}: {got}, should be {expected}")
        sim.fault("net0", "map", times=0)
        if not got[-1]:
            dev.unmap()
    lab.check(attempt(dev.map) == 0, "map: not healed")


def check_config(lab: Lab, sim: simdrive.Sim, dev: Device) -> None:
    """It cannot fail: it reads as ones."""
    mac = dev.config()
    sim.fault("net0", "config", times=1)
    lab.check(dev.config() == b"\xff" * 6, "config: not all ones")
    lab.check(dev.config() == mac, "config: not healed")


def run(lab: Lab, batch: str) -> None:
    """Every point."""
    sim = simdrive.Sim(lab, "net", vdpa_sim=f"batch_mapping={batch}")
    sim.add("net0")
    lab.defer(lambda: sim.delete("net0"))
    dev = Device(str(sim.node("net0")))
    lab.defer(lambda: os.close(dev.fd))
    ours = lab.kernel == "6.1"  # else a map's error is that kernel's vhost_vdpa's to tell: EFAULT
    if ours and batch == "1":
        check_map_tree(lab, sim, dev)
    elif ours:
        check_point(lab, sim, "map", dev.map, dev.unmap)
    check_point(lab, sim, "suspend", lambda: fcntl.ioctl(dev.fd, SUSPEND),
                lambda: fcntl.ioctl(dev.fd, RESUME))
    fcntl.ioctl(dev.fd, SUSPEND)
    check_point(lab, sim, "resume", lambda: fcntl.ioctl(dev.fd, RESUME),
                lambda: fcntl.ioctl(dev.fd, SUSPEND))
    check_point(lab, sim, "get_vq_state", dev.base)
    check_point(lab, sim, "set_vq_state", dev.set_base)
    check_config(lab, sim, dev)
    check_point(lab, sim, "reset", lambda: dev.set_status(0), dev.start)
    lab.figures["points"] = 7 if ours else 6
    if not ours:
        return
    sim.fault("net0", "map", error=errno.ENOSPC, times=-1)
    got = attempt(dev.map_batch)
    lab.check(got == errno.ENOSPC, f"a batch: errno {got}")
    sim.fault("net0", "map", times=0)
    lab.check(attempt(dev.empty_batch) == 0, "a batch after a failed one")
    lab.check(attempt(lambda: dev.map(9)) == 0, "after a failed batch: map")
