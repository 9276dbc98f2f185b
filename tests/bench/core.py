# SPDX-License-Identifier: GPL-2.0-or-later
"""Instructions that the ring's core executes for one entry, by callgrind.

Theory of operation
-------------------
bench-core runs the core against the unit tests' fake kernel.  Callgrind writes down how many
instructions each source line cost; those of lines in the core's own files are added up, wherever
they were inlined, and divided by the entries.  Start-up and the fake kernel are in other files and
so do not count.

A callgrind file is read thus: `fl=`, `fi=` and `fe=` lines say which file the cost lines after
them belong to, `(number) name` the first time and `(number)` from then on; a `calls=` line is
followed by one cost line that is the callee's and not counted.  `cfi=` and `cfl=` name the
callee's file, which takes a number too.

Limits: instructions, not time: cache misses and contended locks are not seen.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CORE_FILES = tuple(f"accel/kvm/core/dirty-ring-{part}" for part in (
    "core.h", "internal.h", "harvest.c", "reset.c", "reap.c", "room.c", "full.c", "set.c", "batch.c",
    "suspects.c"))
BATCHES = (1, 64, 1024)
HARVESTS = 400

NAMED = re.compile(r"(fl|fi|fe|cfi|cfl)=\((\d+)\)(?: (.+))?$")
COST = re.compile(r"[+\-*\d]\S* (\d+)")


class CoreError(Exception):
    """The micro-benchmark went wrong; the text says how."""


def cost_by_file(lines: Iterable[str]) -> dict[str, int]:
    """Self cost of each source file in a callgrind output."""
    names: dict[str, str] = {}
    costs: dict[str, int] = {}
    current = ""
    skip = False
    for line in lines:
        named = NAMED.match(line)
        if named:
            kind, number, name = named.groups()
            if name:
                names[number] = name.strip()
            if not kind.startswith("c"):
                current = names.get(number, "?")
        elif line.startswith("calls="):
            skip = True
        elif cost := COST.match(line):
            if not skip:
                costs[current] = costs.get(current, 0) + int(cost[1])
            skip = False
    return costs


def core_cost(costs: dict[str, int]) -> int:
    """What of it is the core's."""
    return sum(cost for name, cost in costs.items() if name.endswith(CORE_FILES))


def measure_case(program: Path, batch: int) -> dict[str, Any]:
    """One batch size."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "callgrind.out"
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", str(program),
             str(batch), str(batch * HARVESTS)], text=True, capture_output=True, timeout=300,
            check=False)
        if done.returncode:
            raise CoreError(f"bench-core {batch}: {done.stderr.strip()[-300:]}")
        entries = int(done.stdout.split()[1])
        cost = core_cost(cost_by_file(out.read_text("utf-8").splitlines()))
    if not cost:
        raise CoreError("callgrind saw no line of the core: is it built with -g?")
    return {"batch": batch, "entries": entries, "instructions": cost,
            "instructions_per_entry": round(cost / entries, 2)}


def measure(program: Path) -> dict[str, Any]:
    """All batch sizes; or why not."""
    if not shutil.which("valgrind"):
        return {"skipped": "valgrind is not installed (apt-get install valgrind)"}
    if not program.exists():
        return {"skipped": f"{program.name} is not built"}
    return {"cases": [measure_case(program, batch) for batch in BATCHES]}
