# SPDX-License-Identifier: GPL-2.0-or-later
"""How the kernel's files are compiled for a process.

Theory of operation
===================

STUBS are headers that the kernel's files name and that are nothing here but shim.h.  INTERFACES
are the ones that say what is implemented: they are the base's own, linked to.  Both make up an
include directory below the build directory, so a header that is in neither is an error and not
by accident the host's.

A `Program` is a list of sources, ours or the base's, with a compiler and flags.

*Limits*: everything is compiled anew each time; it takes seconds.
"""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
OUT = TOP / "build/kernel-unit"
BASE = TOP / "build/base/linux"
OURS = TOP / "kernel/drivers/vhost"
KVM = TOP / "kernel/virt/kvm"
VFIO = TOP / "kernel/drivers/vfio"
NEWER = sorted(Path("/usr/src").glob("linux-headers-6.12*-common"))

STUBS = (
    "asm/barrier.h", "linux/bitops.h", "linux/build_bug.h", "linux/bvec.h", "linux/compiler.h",
    "linux/dma-direction.h", "linux/export.h", "linux/highmem.h", "linux/interval_tree_generic.h",
    "linux/kernel.h", "linux/minmax.h", "linux/mm.h", "linux/module.h",
    "linux/printk.h", "linux/ratelimit.h", "linux/sizes.h", "linux/slab.h", "linux/spinlock.h",
    "linux/string.h", "linux/types.h", "linux/uaccess.h", "linux/uio.h", "linux/version.h",
)
INTERFACES = (
    "linux/vhost_iotlb.h", "linux/vringh.h", "linux/virtio_byteorder.h",
    "uapi/linux/virtio_config.h", "uapi/linux/virtio_ring.h", "uapi/linux/virtio_types.h",
)
#: An IOVA is a pointer by the interface, so it may be misaligned, and wrap.
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize=alignment,pointer-overflow",
            "-fno-sanitize-recover=all", "-O1")
#: Aligned, so that a case does not win by where the linker put it.
FAST = ("-O2", "-falign-functions=64", "-falign-loops=32", "-Wno-maybe-uninitialized")
#: What the kernel's own build says of its C.
KERNEL_C = ("-std=gnu11", "-g", "-fno-strict-aliasing", "-fno-strict-overflow", "-Wall",
            "-Wno-unused-function", "-Wno-sign-compare", "-Wno-pointer-sign",
            "-Wno-address-of-packed-member")


class HarnessError(Exception):
    """A program could not be built; the text is the compiler's."""


@dataclass(frozen=True)
class Program:
    """What a program is made of."""

    name: str
    sources: tuple[Path, ...]
    flags: tuple[str, ...] = SANITIZE
    compiler: str = "gcc"
    glib: bool = False
    #: Headers of the newer kernel, with what that adds.
    newer: bool = False


def ours(*patterns: str) -> tuple[Path, ...]:
    """Files below kernel/."""
    return tuple(path for pattern in patterns for path in sorted(OURS.glob(pattern)))


@cache
def include_directory(newer: bool = False) -> Path:
    """The stubs and the interfaces, made if need be."""
    place = OUT / ("include-newer" if newer else "include")
    source = NEWER[-1] if newer else BASE
    for name in STUBS:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('#include "shim.h"\n', encoding="ascii")
    (place / "linux/xarray.h").write_text('#include "sorted-xarray.h"\n', encoding="ascii")
    ring = place / "linux/virtio_ring.h"
    ring.write_text('#include "shim.h"\n#include <uapi/linux/virtio_ring.h>\n', encoding="ascii")
    links = {name: source / "include" / name for name in INTERFACES}
    links["linux/virtio_types.h"] = source / "include/uapi/linux/virtio_types.h"
    for name, target in links.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_symlink() or path.readlink() != target:
            path.unlink(missing_ok=True)
            path.symlink_to(target)
    return place


def glib_flags(what: str) -> list[str]:
    """pkg-config's words for GLib."""
    return subprocess.run(["pkg-config", what, "glib-2.0"], check=True, text=True,
                          capture_output=True).stdout.split()


def compile_one(program: Program, source: Path, target: Path) -> None:
    """One object file."""
    command = [program.compiler, *KERNEL_C, *program.flags, "-I", str(HERE / "shim"),
               "-I", str(include_directory(program.newer)), "-I", str(HERE), "-I", str(KVM),
               "-I", str(VFIO)]
    if program.newer:
        command.append("-DLINUX_VERSION_CODE=KERNEL_VERSION(6,12,0)")
    if program.glib:
        command += glib_flags("--cflags")
    done = subprocess.run([*command, "-c", str(source), "-o", str(target)], text=True,
                          capture_output=True, check=False)
    if done.returncode or "warning:" in done.stderr:
        raise HarnessError(f"{source.name}: {done.stderr.strip()}")


def build(program: Program) -> Path:
    """Compile and link; the program's path."""
    folder = OUT / "obj" / program.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    include_directory(program.newer)
    jobs = [(source, folder / f"{index}-{source.stem}.o")
            for index, source in enumerate((*program.sources, HERE / "shim/shim.c"))]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda job: compile_one(program, *job), jobs))
    target = OUT / program.name
    command = [program.compiler, *program.flags, *(str(path) for _, path in jobs), "-o",
               str(target), *(glib_flags("--libs") if program.glib else [])]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        raise HarnessError(f"{program.name}: {done.stderr.strip()}")
    return target
