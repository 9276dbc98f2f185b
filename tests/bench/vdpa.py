#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vdpa: lookups and shadow-ring descriptors, ours against the base's, in one program.

    tests/bench/vdpa.py [--runs N] [--quick] [--output FILE]

Theory of operation
-------------------
The base's own util/iova-tree.c, hw/virtio/vhost-iova-tree.c and vhost-shadow-virtqueue.c are
compiled where they lie (build/base/qemu), with vdpa-stock-shim.h in place of QEMU, and linked with
our core into build/bench/bench-vdpa.  Each measurement is a process of its own, ours and stock's by
turns; a row has the medians, in results.json's form.  Time is the thread's CPU time.

What the shim leaves out makes stock look better than it is: see bench-vdpa-stock.c.

Limits: caches and clock are shared with whatever else runs; compare within one row only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
BASE = TOP / "build/base/qemu"
STOCK = ("util/iova-tree.c", "hw/virtio/vhost-iova-tree.c", "hw/virtio/vhost-shadow-virtqueue.c")
#: Headers of the base that need nothing else, and those that the shim stands for.
HEADERS = {"qemu/iova-tree.h": "include/qemu/iova-tree.h",
           "hw/virtio/vhost-iova-tree.h": "hw/virtio/vhost-iova-tree.h",
           "hw/virtio/vhost-shadow-virtqueue.h": "hw/virtio/vhost-shadow-virtqueue.h"}
EMPTY = ("qemu/osdep.h", "exec/memory.h", "exec/hwaddr.h", "qemu/event_notifier.h",
         "hw/virtio/virtio.h", "standard-headers/linux/vhost_types.h", "qemu/error-report.h",
         "qapi/error.h", "qemu/main-loop.h", "qemu/log.h", "qemu/memalign.h",
         "linux-headers/linux/vhost.h")
CORE = "hw/virtio/vdpa/core"
OURS = (f"{CORE}/vdpa-interval.c", f"{CORE}/vdpa-iova.c", f"{CORE}/vdpa-lookup.c",
        f"{CORE}/vdpa-ring-device.c", f"{CORE}/vdpa-ring-guest.c", f"{CORE}/vdpa-shadow-ring.c",
        "tests/unit/fake-vdpa.c", "tests/bench/bench-vdpa.c")


class VdpaError(Exception):
    """The micro-benchmark went wrong; the text says how."""


@dataclass(frozen=True)
class Row:
    """A measurement: its name, bench-vdpa's arguments, and stock's where fewer must do."""

    name: str
    args: tuple[str, ...]
    stock: tuple[str, ...] | None = None


def lookup_rows() -> list[Row]:
    return [Row(f"iova_find_ns_{maps}", ("find", str(maps), "300000"))
            for maps in (10, 1_000, 100_000)]


ROWS = (*lookup_rows(),
        Row("iova_alloc_ns_1000", ("alloc", "1000")),
        Row("iova_alloc_ns_10000", ("alloc", "10000")),
        Row("shadow_descriptor_ns_1map", ("ring", "1", "1", "3000")),
        Row("shadow_descriptor_ns_4maps", ("ring", "4", "1", "3000")),
        Row("shadow_descriptor_ns_4maps_pairs", ("ring", "4", "2", "3000")),
        Row("shadow_descriptor_ns_64maps", ("ring", "64", "1", "3000")))


def run(command: list[str]) -> str:
    done = subprocess.run(command, text=True, capture_output=True, timeout=300, check=False)
    if done.returncode:
        raise VdpaError(f"{Path(command[0]).name}: {done.stderr.strip()[-400:]}")
    return done.stdout


def make_headers(folder: Path) -> None:
    """What the base's files include."""
    for name in EMPTY:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("", "utf-8")
    for name, path in HEADERS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(BASE / path)


def build() -> Path:
    """build/bench/bench-vdpa."""
    if not BASE.is_dir():
        raise VdpaError("build/base/qemu is not there; ./configure fetches it")
    glib = run(["pkg-config", "--cflags", "--libs", "glib-2.0"]).split()
    program = TOP / "build/bench/bench-vdpa"
    program.parent.mkdir(parents=True, exist_ok=True)
    common = ["cc", "-O2", "-g", f"-I{TOP}", f"-I{TOP}/linux-headers", f"-I{TOP}/tests/unit", f"-I{HERE}", *glib]
    with tempfile.TemporaryDirectory() as scratch:
        headers = Path(scratch) / "include"
        make_headers(headers)
        objects = []
        for source in (*(BASE / name for name in STOCK), HERE / "bench-vdpa-stock.c"):
            objects.append(f"{scratch}/{source.stem}.o")
            run([*common, "-w", "-Werror=implicit-function-declaration", f"-I{headers}",
                 "-include", str(HERE / "vdpa-stock-shim.h"), "-c", str(source),
                 "-o", objects[-1]])
        run([*common, "-Wall", *(str(TOP / name) for name in OURS), *objects, *glib,
             "-o", str(program)])
    return program


def figures(row: Row, values: dict[str, list[float]]) -> dict[str, Any]:
    ours, stock = (statistics.median(values[subject]) for subject in ("ours", "stock"))
    return {"name": row.name, "unit": "ns", "ours": ours, "stock": stock,
            "ratio": round(ours / stock, 5), "n": len(values["ours"]), "better": "lower"}


def measure(program: Path, row: Row, runs: int) -> dict[str, Any]:
    """One row: runs of this branch and of stock by turns."""
    values: dict[str, list[float]] = {"ours": [], "stock": []}
    for _ in range(runs):
        for subject, found in values.items():
            args = row.stock if subject == "stock" and row.stock else row.args
            found.append(float(run([str(program), subject, *args]).split()[0]))
    return figures(row, values)


def measure_all(runs: int) -> Iterator[dict[str, Any]]:
    """All rows, one after another."""
    program = build()
    for row in ROWS:
        yield measure(program, row, runs)


def main() -> int:
    parser = argparse.ArgumentParser(prog="vdpa.py", description="vDPA micro-benchmarks.")
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    parser.add_argument("--quick", action="store_true", help="one run each")
    parser.add_argument("--output", type=Path, default=TOP / "build/bench/vdpa.json")
    args = parser.parse_args()
    try:
        rows = []
        for row in measure_all(1 if args.quick else args.runs):
            rows.append(row)
            print("{name:36} ours {ours:10.1f} stock {stock:12.1f} {unit}  ours/stock {ratio}"
                  .format(**row), flush=True)
    except (VdpaError, OSError, subprocess.TimeoutExpired) as error:
        print(f"vdpa.py: {error}", file=sys.stderr)
        return 1
    args.output.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
