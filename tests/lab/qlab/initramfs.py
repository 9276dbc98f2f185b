# SPDX-License-Identifier: GPL-2.0-or-later
"""L1's initramfs: busybox, a dozen modules, one script.

Theory of operation
===================

The initramfs only has to reach the host's root file system: load virtio-pci,
9p and overlay, mount the host's root read-only under a tmpfs overlay, bind
this kernel's modules over /lib/modules, chroot.  From there on L1 has all
that the host has installed, same paths.  The archive is written here in the
kernel's `newc` format, uncompressed (L1 would unpack it at emulated speed),
and cached beside the kernel under a name that changes with its contents.

Modules come from the kernel package and are ordered by its modules.dep;
compressed ones are decompressed here.

*Limits*: busybox must be statically linked (Debian's busybox-static).
"""

from __future__ import annotations

import hashlib
import lzma
import shutil
import stat
import subprocess
from pathlib import Path

MODULES = ("virtio_pci", "9p", "9pnet_virtio", "overlay")

INIT = """#!/bin/busybox sh
# Reach the host's root file system, then hand over to what is there.
b=/bin/busybox
die() { $b echo "lab-init: $*" >/dev/console; $b sleep 1; $b poweroff -f; }
$b mkdir -p /proc /sys /dev /ro /rw /new
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
for module in $($b cat /modules); do
    $b insmod "/$module" || die "insmod $module"
done
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose \\
    root /ro || die "host root"
$b mount -t tmpfs -o size=100% rw /rw
$b mkdir /rw/upper /rw/work
$b mount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work \\
    new /new || die "overlay"
$b mount -t proc proc /new/proc
$b mount -t sysfs sys /new/sys
$b mount -t devtmpfs dev /new/dev
$b mkdir -p /new/dev/pts /new/dev/shm
$b mount -t devpts pts /new/dev/pts
$b mount -t tmpfs -o mode=1777,huge=always shm /new/dev/shm
$b mkdir -p /new/run/lab
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 out /new/run/lab ||
    die "artefacts"
$b mkdir -p /new/lib/modules
for word in $($b cat /proc/cmdline); do
    case $word in
    lab.modules=*) $b mount -o bind "/new${word#*=}" /new/lib/modules ;;
    lab.inside=*) inside=${word#*=} ;;
    esac
done
$b ip link set lo up 2>/dev/null
exec $b chroot /new /usr/bin/python3 "$inside" /run/lab
"""


class InitramfsError(Exception):
    """The initramfs cannot be built; the text says why."""


def entry(name: str, mode: int, data: bytes = b"", number: int = 0) -> bytes:
    """One member of a newc archive."""
    path = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + path
    head += b"\0" * (-len(head) % 4)
    return head + data + b"\0" * (-len(data) % 4)


def module_order(dep_text: str, wanted: tuple[str, ...]) -> list[str]:
    """Paths of WANTED and what they need, dependencies first."""
    needs: dict[str, list[str]] = {}
    by_name: dict[str, str] = {}
    for line in dep_text.splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
        by_name[path.rsplit("/", 1)[-1].split(".ko")[0].replace("-", "_")] = path
    order: list[str] = []

    def add(path: str, trail: tuple[str, ...] = ()) -> None:
        for other in needs.get(path, []):
            # virtio and virtio_ring name each other in some kernels
            if other not in trail:
                add(other, trail + (path,))
        if path not in order:
            order.append(path)

    for name in wanted:
        if name.replace("-", "_") in by_name:  # else it is built in
            add(by_name[name.replace("-", "_")])
    return order


def read_module(path: Path) -> bytes:
    """A module's contents, decompressed."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".zst":
        return subprocess.run(("zstd", "-dc", str(path)), check=True,
                              capture_output=True).stdout
    return data


def busybox() -> bytes:
    """The host's static busybox."""
    path = shutil.which("busybox", path="/usr/bin:/bin:/usr/local/bin")
    if not path:
        raise InitramfsError("busybox is missing: install busybox-static")
    data = Path(path).read_bytes()
    if b"/lib64/ld-linux" in data:
        raise InitramfsError(f"{path} is not static: install busybox-static")
    return data


def archive(modules_dir: Path) -> bytes:
    """The whole initramfs for the kernel whose modules lie in MODULES_DIR."""
    order = module_order((modules_dir / "modules.dep").read_text("utf-8"), MODULES)
    names = [path.rsplit("/", 1)[-1].split(".ko")[0] + ".ko" for path in order]
    parts = [entry("bin", stat.S_IFDIR | 0o755),
             entry("dev", stat.S_IFDIR | 0o755),
             entry("bin/busybox", stat.S_IFREG | 0o755, busybox()),
             entry("init", stat.S_IFREG | 0o755, INIT.encode()),
             entry("modules", stat.S_IFREG | 0o644, "\n".join(names).encode())]
    parts += [entry(name, stat.S_IFREG | 0o644, read_module(modules_dir / path))
              for name, path in zip(names, order)]
    return b"".join(parts) + entry("TRAILER!!!", 0)


def build(kernel_dir: Path) -> Path:
    """The initramfs file for a kernel unpacked by fetch-kernel."""
    release = (kernel_dir / "release").read_text("ascii").strip()
    modules = kernel_dir / "lib" / "modules" / release
    stamp = hashlib.sha256((INIT + release + " ".join(MODULES)).encode())
    target = kernel_dir / f"lab-{stamp.hexdigest()[:12]}.cpio"
    if not target.exists():
        scratch = target.with_suffix(f".{id(stamp)}.new")
        scratch.write_bytes(archive(modules))
        scratch.rename(target)
    return target
