# SPDX-License-Identifier: GPL-2.0-or-later
"""VFIO in L1: the container module that is loaded, and a mediated device of tests/kernel/mdev.

    device(lab)             a mediated device; its group and name
    container(lab, "ours")  vfio_iommu_type1 of this repository (build/vfio), while the block runs
    give_to_vfio(function)  a PCI function with vfio-pci; its group

modprobe of vfio loads the kernel's own vfio_iommu_type1 after it, which goes when ours comes.

*Limits*: one module at a time, as they have the same name.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import kmod
from .context import Lab
from .vf import Vf

TOP = Path(__file__).resolve().parents[3]
BUILT = TOP / "build/vfio"
MODULE = "vfio_iommu_type1"
MDEV = "vfio_test_mdev"
UUID = "0d4f9a52-7a5e-4bb9-8a7b-2f3c1c6f2b01"
TYPES = Path("/sys/devices/vfio_test/mdev_supported_types")
PROGRAM = TOP / "tests/kernel/vfiotrack/vfiotrack.c"


def require(lab: Lab) -> None:
    """Skip where something was not built."""
    for path, how in ((BUILT / lab.built_for / f"{MODULE}.ko", "scripts/build-kernel --vfio"),
                      (BUILT / "test" / lab.built_for / f"{MDEV}.ko", "make -C tests/kernel/mdev")):
        if not path.exists():
            lab.skip(f"missing: {path.name} for {lab.built_for} ({how})")


def program(lab: Lab) -> Path:
    """vfiotrack, compiled."""
    path = lab.tmp / "vfiotrack"
    subprocess.run(["cc", "-O2", "-I", str(TOP / "tests/kernel/mdev"), "-o", str(path), str(PROGRAM), "-lpthread"],
                   check=True)
    return path


@contextmanager
def container(lab: Lab, subject: str) -> Iterator[None]:
    """The module of SUBJECT, "stock" or "ours"."""
    kmod.tool("/sbin/modprobe", "vfio")
    if kmod.is_loaded(MODULE):
        kmod.tool("/sbin/rmmod", MODULE)
    if subject == "ours":
        kmod.tool("/sbin/insmod", str(BUILT / lab.built_for / f"{MODULE}.ko"))
    else:
        kmod.tool("/sbin/modprobe", MODULE)
    yield
    kmod.tool("/sbin/rmmod", MODULE)


def group_number(device: Path) -> str:
    """Of a device in sysfs."""
    return (device / "iommu_group").resolve().name


def device(lab: Lab) -> tuple[str, str]:
    """A mediated device, made; its group and name."""
    for name in ("vfio", "mdev"):
        kmod.tool("/sbin/modprobe", name)
    kmod.tool("/sbin/insmod", str(BUILT / "test" / lab.built_for / f"{MDEV}.ko"))
    (kind,) = TYPES.iterdir()
    (kind / "create").write_text(UUID + "\n", "ascii")
    return group_number(Path("/sys/bus/mdev/devices", UUID)), UUID


def give_to_vfio(function: Vf) -> str:
    """A PCI function is vfio-pci's; its group."""
    kmod.tool("/sbin/modprobe", "vfio-pci")
    function.bind("vfio-pci")
    return group_number(function.path)
