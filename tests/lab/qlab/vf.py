# SPDX-License-Identifier: GPL-2.0-or-later
"""PCI functions in L1 that become vDPA devices: the machine that has them, and what can be done with one.

Theory of operation
===================

L1 is a q35 machine with an Intel IOMMU (Debian's kernel uses it unless told intel_iommu=off) and four
root ports.  Three hold a function from power-on: two network devices, which are ports of one hub, and a block
device; the fourth is for what is plugged by the scenario.  DEVICES are Intel's VFs, one of each product, for
ifcvf; VIRTIO_DEVICES are the emulator's own virtio devices behind the IOMMU, for vp_vdpa.  virtio-pci takes
whatever has virtio's vendor ID, so a function is given to its driver by name (driver_override), as on a real host.

The hub holds a sender back while none of its other ports can take a frame, and nothing wakes it when
that port goes.  So it has one more port, with nothing behind it, that takes all.

*Limits*: network devices have one queue pair.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import vhostvdpa
from .context import Lab
from .outer import Outer

NR_PORTS = 4


def port(number: int) -> tuple[str, ...]:
    """A root port of L1's machine."""
    return ("-device", f"pcie-root-port,id=rp{number},bus=pcie.0,addr={0x10 + number:x}.0,"
            f"chassis={number + 1},slot={number + 1},mem-reserve=4M,pref64-reserve=32M")


def machine(first: str, second: str, block: str) -> tuple[str, ...]:
    """Four root ports, functions in three of them; the network devices are on one hub."""
    return (
        "-machine", "q35", "-device", "intel-iommu",
        *(word for number in range(NR_PORTS) for word in port(number)),
        *(word for number in (0, 1, 3) for word in
          ("-netdev", f"hubport,hubid=0,id=net{number}")),
        "-netdev", "hubport,hubid=0,id=sink",
        "-device", f"{first},id=vf0,bus=rp0,netdev=net0,mac={mac_of(0)}",
        "-device", f"{second},id=vf1,bus=rp1,netdev=net1,mac={mac_of(1)}",
        "-drive", "if=none,id=disk,file=null-co://,snapshot=on",
        "-device", f"{block},id=vf2,bus=rp2,drive=disk",
    )


def mac_of(number: int) -> str:
    """Of the network device in a root port."""
    return f"52:54:00:00:00:{0x10 + number:x}"


DEVICES = machine("x-ifcvf-test-net", "x-ifcvf-test-net,model=c5000x", "x-ifcvf-test-blk")
BEHIND_IOMMU = "iommu_platform=on,disable-legacy=on"
VIRTIO_DEVICES = machine(f"virtio-net-pci,{BEHIND_IOMMU}", f"virtio-net-pci,{BEHIND_IOMMU}",
                         f"virtio-blk-pci,{BEHIND_IOMMU}")

PCI = Path("/sys/bus/pci")


def tool(*words: str) -> str:
    """Run a program that has to work; what it printed."""
    done = subprocess.run(words, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def run_failing(*words: str) -> str:
    """Run a program that has to fail; what it said."""
    done = subprocess.run(words, text=True, capture_output=True, check=False)
    if not done.returncode:
        raise RuntimeError(f"{' '.join(words)} worked, and should not")
    return done.stderr.strip()


def write(path: Path, text: str) -> None:
    """Write a file of the kernel's."""
    path.write_text(text, "ascii")


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until CONDITION gives something; what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {seconds} s")
        time.sleep(0.02)


class Vf:
    """The function in one root port."""

    #: The driver that makes it a vDPA device.
    parent = "ifcvf"

    def __init__(self, number: int) -> None:
        self.number = number
        self.mac = mac_of(number)
        below = PCI / "devices" / f"0000:00:{0x10 + number:x}.0"
        self.path: Path = wait_for(f"VF {number}", lambda: next(
            (path.parent for path in below.glob("0000:??:??.?/driver_override")), None))
        self.address = self.path.name
        self.name = f"vdpa{number}"

    def driver(self) -> str:
        """The driver that has it, or nothing."""
        link = self.path / "driver"
        return link.resolve().name if link.exists() else ""

    def unbind(self) -> None:
        """Take it from its driver."""
        if self.driver():
            write(self.path / "driver" / "unbind", self.address)

    def bind(self, driver: str = "") -> None:
        """Give it to a driver, its parent by default; an OSError if that does not want it."""
        driver = driver or self.parent
        self.unbind()
        write(self.path / "driver_override", driver)
        write(PCI / "drivers" / driver / "bind", self.address)

    def add(self, *words: str) -> None:
        """Make the vDPA device."""
        tool("vdpa", "dev", "add", "name", self.name, "mgmtdev", f"pci/{self.address}", *words)

    def delete(self) -> None:
        """End the vDPA device."""
        tool("vdpa", "dev", "del", self.name)

    @property
    def vdpa(self) -> Path:
        """The vDPA device in sysfs."""
        return Path("/sys/bus/vdpa/devices", self.name)

    def bind_to(self, driver: str) -> None:
        """Put the vDPA device under a driver of the vDPA bus."""
        if (self.vdpa / "driver").exists():
            write(self.vdpa / "driver/unbind", self.name)
        if driver:
            write(self.vdpa / "driver_override", driver)
            write(Path("/sys/bus/vdpa/drivers", driver, "bind"), self.name)

    def virtio(self) -> Path:
        """The virtio device that virtio_vdpa made of it, a child of what does the DMA."""
        found: Path = wait_for(f"virtio device of {self.name}",
                               lambda: next(self.path.glob("virtio*"), None))
        return found

    def interface(self) -> str:
        """Name of its network interface."""
        found: Path = wait_for(f"interface of {self.name}",
                               lambda: next(self.virtio().glob("net/*"), None))
        return found.name

    def interrupts(self) -> dict[str, int]:
        """How often each of its vectors was used."""
        counts = {}
        for line in Path("/proc/interrupts").read_text("ascii").splitlines():
            if f"{self.parent}-{self.address}" in line:
                words = line.split()
                counts[words[-1].rsplit("-", 1)[1]] = sum(
                    int(word) for word in words[1:] if word.isdigit() and len(word) < 12)
        return counts

    def next_avail(self, queue: int) -> int:
        """The live-migration register of a queue, read past the driver."""
        with (self.path / "resource4").open("r+b") as file, \
                mmap.mmap(file.fileno(), 4096) as area:
            at = 0x20 + queue // 2 * 0x40 + queue % 2 * 4
            return int(struct.unpack_from("<H", area, at)[0])


class Function(Vf):
    """One that vp_vdpa takes."""

    parent = "vp_vdpa"


def load(lab: Lab, kind: type[Vf] = Vf) -> None:
    """All modules; the functions that are there are taken from virtio-pci, before virtio-net sees them."""
    lab.load("vdpa", "virtio_vdpa", "vhost_vdpa", kind.parent, "af_packet")
    for number in range(3):
        kind(number).bind()
    lab.load("virtio_net", "virtio_blk")


def mgmt_devices() -> dict[str, Any]:
    """What `vdpa mgmtdev show` says, by PCI address."""
    shown = json.loads(tool("vdpa", "-j", "mgmtdev", "show"))["mgmtdev"]
    return {name.split("/")[-1]: value for name, value in shown.items()}


def disk_keeps(lab: Lab, vf: Vf) -> None:
    """A block device keeps what is written, by virtio-blk on virtio_vdpa, and once more through a new vDPA device."""
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


def open_vhost(vf: Vf) -> vhostvdpa.Device:
    """The VF's vDPA device as a vhost device."""
    vf.bind_to("vhost_vdpa")
    node: Path = wait_for(f"vhost device of {vf.name}",
                          lambda: next(vf.vdpa.glob("vhost-vdpa-*"), None))
    path = Path("/dev", node.name)
    wait_for(str(path), path.exists)
    return vhostvdpa.Device(path)


# VFs that are plugged


@contextmanager
def plugged(outer: Outer, **properties: Any) -> Iterator[Vf]:
    """A VF in the fourth root port, under whatever driver took it."""
    with spare(outer, **properties) as vf:
        try:
            yield vf
        finally:
            unplug(outer, "vf3", 3)


def unplug(outer: Outer, device: str, number: int) -> None:
    """Pull a device, and wait until neither L1 nor the emulator knows it any more."""
    outer.cmd("device_del", id=device)
    path = PCI / "devices" / f"0000:00:{0x10 + number:x}.0"
    wait_for(f"{device} to go", lambda: not list(path.glob("0000:??:??.?")))
    wait_for(f"{device} to be ejected", lambda: device not in {
        child["name"] for child in outer.cmd("qom-list", path="/machine/peripheral")})


def wait_probed(vf: Vf, maybe_refused: bool = False) -> Vf:
    """Wait until the kernel has tried its drivers, which it does some time after the files are there.

    A function that no driver may want gives no sign of it.
    """
    if maybe_refused:
        time.sleep(1)
    else:
        wait_for(f"a driver for {vf.address}", vf.driver)
    return vf


@contextmanager
def spare(outer: Outer, **properties: Any) -> Iterator[Vf]:
    """The same, but the body takes it out itself."""
    outer.cmd("device_add", driver="x-ifcvf-test-net", id="vf3", bus="rp3", netdev="net3",
              mac="52:54:00:00:00:13", **properties)
    yield wait_probed(Vf(3), "fault" in properties)


@contextmanager
def spare_disk(outer: Outer, queues: int, size: int = 1 << 20) -> Iterator[Vf]:
    """A block VF in the fourth root port, on a disk of zeroes; the body takes it out."""
    outer.cmd("blockdev-add", driver="null-co", size=size, **{"node-name": "zeroes",
                                                              "read-zeroes": True})
    outer.cmd("device_add", driver="x-ifcvf-test-blk", id="vf3", bus="rp3", drive="zeroes",
              **{"num-queues": queues})
    yield wait_probed(Vf(3))
