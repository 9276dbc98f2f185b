# SPDX-License-Identifier: GPL-2.0-or-later
"""Simulated vDPA devices in L1, and the userspace drivers of tests/kernel/simdrive on them.

Theory of operation
===================

A device is added by the stock `vdpa` tool to one of the simulator's management devices, and bound
to vhost_vdpa, which makes /dev/vhost-vdpa-N of it.  The drivers are compiled in L1 when they are
first wanted, unless tests/kernel/simdrive/build has done so.  A driver prints `name value` lines,
which are figures, and ends with OK.

*Limits*: devices are named by the caller; deleting them is the caller's, or Sim.device()'s.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from .context import Lab

SOURCES = Path(__file__).resolve().parents[2] / "kernel/simdrive"
BUILT = Path(__file__).resolve().parents[3] / "build/simdrive"
DEBUGFS = Path("/sys/kernel/debug")
FILES = {"net": ("drive.c", "net.c", "net_ctrl.c"), "blk": ("drive.c", "blk.c"),
         "hostile": ("drive.c", "hostile.c")}


def tool(*args: str) -> subprocess.CompletedProcess[str]:
    """Run the vdpa tool."""
    return subprocess.run(["/usr/sbin/vdpa", *args], text=True, capture_output=True, check=False)


def answer(*args: str) -> Any:
    """What the vdpa tool prints as JSON."""
    done = tool("-j", *args)
    if done.returncode:
        raise OSError(f"vdpa {' '.join(args)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def mount_debugfs() -> None:
    """Make the simulator's knobs visible."""
    if not DEBUGFS.is_mount():
        subprocess.run(["mount", "-t", "debugfs", "none", str(DEBUGFS)], check=True)


def knob(device: str, path: str) -> Path:
    """A file of a simulated device below debugfs."""
    return DEBUGFS / "vdpa_sim" / device / path


def arm(device: str, point: str, **values: int) -> None:
    """Arm a fault of a simulated device: times=, error=, delay_ms=, skip=."""
    for key in sorted(values, key="times".__eq__):
        knob(device, f"fault/{point}/{key}").write_text(str(values[key]), "ascii")


class Sim:
    """The simulator's modules, loaded; one kind of device."""

    def __init__(self, lab: Lab, kind: str = "net", driver: str = "vhost_vdpa", **params: str) -> None:
        self.lab = lab
        self.kind = kind
        modules = [f"vdpa_sim_{kind}"] + ([driver] if driver else [])
        lab.load(*modules, **params)
        lab.defer(lab.modules.unload_all)
        mount_debugfs()

    def add(self, name: str, *options: str) -> None:
        """Add a device, which has to work."""
        done = tool("dev", "add", "name", name, "mgmtdev", f"vdpasim_{self.kind}", *options)
        self.lab.check(done.returncode == 0, f"add {name} {options}: {done.stderr.strip()}")

    def delete(self, name: str) -> None:
        """Delete a device, which has to work."""
        done = tool("dev", "del", name)
        self.lab.check(done.returncode == 0, f"del {name}: {done.stderr.strip()}")

    def node(self, name: str) -> Path:
        """/dev/vhost-vdpa-N of a device."""
        for _ in range(100):
            found = list(Path("/sys/bus/vdpa/devices", name).glob("vhost-vdpa-*"))
            if found and Path("/dev", found[0].name).exists():
                return Path("/dev", found[0].name)
            if found:
                self._make_node(found[0])
            time.sleep(0.05)
        self.lab.fail(f"{name} has no /dev/vhost-vdpa-N")
        raise AssertionError

    @staticmethod
    def _make_node(entry: Path) -> None:
        """There is no udev in L1: what devtmpfs did not make is made here."""
        numbers = list(entry.glob("dev")) + list(entry.glob("*/dev"))
        if numbers:
            major, minor = numbers[0].read_text("ascii").strip().split(":")
            subprocess.run(["mknod", f"/dev/{entry.name}", "c", major, minor], check=False)

    def knob(self, device: str, path: str) -> Path:
        """A file of a device below debugfs."""
        return knob(device, path)

    def fault(self, device: str, point: str, **values: int) -> None:
        """Arm a fault: times=, error=, delay_ms=, skip=."""
        arm(device, point, **values)


def compiled(lab: Lab, program: str) -> Path:
    """A driver: what simdrive/build made, if that is up to date; else compiled, once per run."""
    sources = [str(SOURCES / name) for name in FILES[program]]
    built = BUILT / f"simdrive-{program}"
    newest = max(path.stat().st_mtime for path in SOURCES.glob("*.[ch]"))
    if built.exists() and built.stat().st_mtime >= newest:
        return built
    binary = lab.tmp / built.name
    if not binary.exists():
        subprocess.run(["cc", "-O2", "-Wall", "-o", str(binary), *sources], check=True)
    return binary


def run(lab: Lab, program: str, node: Path, *args: object, limit: float = 120) -> dict[str, float]:
    """Run a driver to its end; its figures."""
    command = [str(compiled(lab, program)), str(node), *map(str, args)]
    try:
        done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        lab.fail(f"{' '.join(command)}: not done after {limit:.0f} s")
        raise
    lab.log(f"{' '.join(command)}: {done.stdout.strip()} {done.stderr.strip()}")
    lab.check(done.returncode == 0 and done.stdout.endswith("OK\n"),
              f"{' '.join(command[2:])}: {(done.stdout + done.stderr).strip()[-300:]} "
              f"(exit status {done.returncode})")
    words = (line.split() for line in done.stdout.splitlines())
    return {pair[0]: float(pair[1]) for pair in words if len(pair) == 2}
