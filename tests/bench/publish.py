# SPDX-License-Identifier: GPL-2.0-or-later
"""Instructions that marking a published page costs, with a summary of the log and without one.

    tests/bench/publish

Theory of operation
-------------------
Callgrind counts dirty_ring_mark() and what it calls in the program bench-publish, for pages in a row and for pages
apart from each other.  All chunks are noted already.  The counts repeat exactly.

Limits: instructions, not time; no other thread contends for a cache line.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
TOP = Path(__file__).resolve().parent.parent.parent
FRONT = TOP / "build/meson"
PROGRAM = FRONT / "tests/bench/bench-publish"
COLLECTED = re.compile(r"Collected : (\d+)")
ROUNDS = 4


def counted(order: str, kind: str) -> float:
    """Instructions a page."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--toggle-collect=dirty_ring_mark",
             f"--callgrind-out-file={folder}/out", PROGRAM, order, kind, str(ROUNDS)],
            text=True, capture_output=True, timeout=300, check=True)
    found = COLLECTED.search(done.stderr)
    if not found:
        raise ValueError(f"callgrind has counted nothing: {done.stderr[-300:]}")
    return round(int(found[1]) / int(done.stdout.split()[1]), 1)


def main() -> int:
    """Prints both orders, with and without."""
    subprocess.run(["ninja", "-C", FRONT, "tests/bench/bench-publish"], stdout=subprocess.DEVNULL, check=True)
    print(json.dumps({order: {kind: counted(order, kind) for kind in ("noted", "plain")}
                      for order in ("row", "apart")}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
