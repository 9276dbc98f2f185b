# SPDX-License-Identifier: GPL-2.0-or-later
"""vDPA network devices of L1 that are processes: VDUSE.

Theory of operation
===================

The kernel's module vduse offers a process that speaks its protocol as a vDPA device; our process is
tests/lab/vduse.  The kernel side is Debian's and the ring code is the process's own, so a scenario on it does
not depend on how our modules understand the interface.

The device differs from the simulators: it cannot suspend, its maps do not survive a reset, it has no control
queue, and it sees shared memory only.  It never stops in the middle of a frame, so no frame may be lost but
those that it counts as dropped because it had no receive buffer.

*Limits*: one queue pair; Debian 12's 6.12 kernel, as 6.1 has no vduse.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from . import genl, vdpa
from .context import Lab

CLASS = Path("/sys/class/vduse")
MTU, MAC, STATUS, INDIRECT, EVENT, VERSION_1, PLATFORM = 3, 5, 16, 28, 29, 32, 33
DEFAULT_MTU = 1500


def features(plain: bool) -> int:
    """A device's features; a plain one has only those that stock QEMU can migrate."""
    bits = [MTU, MAC, STATUS, EVENT, VERSION_1, PLATFORM] + ([] if plain else [INDIRECT])
    return sum(1 << bit for bit in bits)


class Processes(vdpa.Devices):
    """Network devices that are processes."""

    suspends = False

    def __init__(self, lab: Lab, queue_size: int = 1024) -> None:
        super().__init__(lab)
        self.queue_size = queue_size
        #: A device was made for stock QEMU, which enables queues after DRIVER_OK.
        self.plain = False
        lab.load("vhost_vdpa", "vduse")
        self.process: dict[str, subprocess.Popen[bytes]] = {}

    def address(self, number: int) -> str:
        """All have the same address, because no control queue could set the guest's."""
        return vdpa.MAC.format(1)

    def log(self, name: str) -> str:
        """What a device has printed."""
        return (self.lab.out / f"{name}.log").read_text("utf-8", "replace")

    def make(self, name: str, mac: str, pairs: int, plain: bool, mtu: int) -> str:
        """Start the process, and give its device to the vDPA bus."""
        if pairs > 1:
            return "it has only one queue pair"
        self.plain = self.plain or plain
        error = self.start(name, mac, mtu or DEFAULT_MTU, features(plain))
        return error or vdpa.new([(vdpa.NAME, genl.text(name)),
                                  (vdpa.MGMT_NAME, genl.text("vduse"))])

    def start(self, name: str, mac: str, mtu: int, bits: int) -> str:
        """Start a process and wait until it has made its device; what went wrong."""
        with (self.lab.out / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(self.lab.guest_dir / "vduse-net"), name, mac, str(mtu), hex(bits),
                 str(self.queue_size)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while "ready" not in self.log(name):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                return self.log(name).strip() or "no answer"
            time.sleep(0.05)
        self.process[name] = process
        return ""

    def set_timeout(self, device: vdpa.Device, seconds: int) -> None:
        """Set how long the kernel waits for the process of a device."""
        (CLASS / device.name / "msg_timeout").write_text(str(seconds), "ascii")

    def kill(self, device: vdpa.Device) -> None:
        """Kill the process."""
        process = self.process[device.name]
        process.kill()
        process.wait(timeout=10)

    def remove(self, device: vdpa.Device) -> None:
        """Take a device away, then end its process."""
        super().remove(device)
        process = self.process[device.name]
        process.terminate()
        process.wait(timeout=10)

    def dropped(self) -> int:
        """Frames that the devices dropped, as of the last reset of each."""
        total = 0
        for device in self.devices:
            words = [line.split() for line in self.log(device.name).splitlines()]
            last = [line for line in words if line[:1] == ["looped"]][-1:]
            total += int(last[0][3]) if last else 0
        return total

    def account(self) -> str:
        """What they have printed."""
        return "".join(self.log(device.name) for device in self.devices)

    def late(self) -> int:
        """How often a driver enabled a queue after DRIVER_OK, so late that the device saw it."""
        return self.account().count("enabled late")

    def verify(self) -> None:
        """No ring had a fault, and the backend under test enables queues in time."""
        for device in self.devices:
            faults = [line for line in self.log(device.name).splitlines() if "fault:" in line]
            self.lab.check(not faults, f"{device.name}: {faults}")
        self.lab.figures["enabled_late"] = self.late()
        self.lab.check(self.plain or not self.late(),
                       f"queues enabled after DRIVER_OK: {self.account()}")
