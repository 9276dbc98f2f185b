# SPDX-License-Identifier: GPL-2.0-or-later
"""Instructions that the device state of a machine costs while its guest stands still, ours and stock's.

    tests/bench/devices [--nics N]

Theory of operation
-------------------
A machine without a vCPU is migrated to a file, and a second one takes that file.  Valgrind's callgrind counts the
instructions of one function and all that it calls: at the source qemu_savevm_state_complete_precopy_non_iterable(),
which saves the devices and their description; at the destination qemu_loadvm_section_start_full(), which loads a
device.  The counts repeat exactly.

Both QEMUs need symbols, as those of build/ have.

Limits: instructions, not time; memory and what the devices do when they start are not in them.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path[:0] = [str(TOP / "tests/lab")]

from qlab.qmp import Qmp

SAVE, LOAD = "qemu_savevm_state_complete_precopy_non_iterable", "qemu_loadvm_section_start_full"
COLLECTED = re.compile(r"Collected : (\d+)")
LIMIT = 300.0   # seconds for a step, under valgrind


def machine(nics: int) -> list[str]:
    """A PC with virtio devices."""
    devices = [word for number in range(nics) for word in (
        "-netdev", f"user,id=n{number}", "-device", f"virtio-net-pci,netdev=n{number},disable-legacy=on,romfile=")]
    return ["-accel", "qtest", "-machine", "pc", "-m", "64", "-nodefaults", "-no-user-config", "-display", "none",
            "-S", "-L", str(TOP / "build/qemu/pc-bios"), *devices]


def counted(binary: Path, words: list[str], function: str, command: dict[str, str] | None) -> int:
    """Instructions of FUNCTION in a QEMU that migrates, out by COMMAND or in."""
    with tempfile.TemporaryDirectory() as folder:
        qmp, log = Path(folder) / "qmp", Path(folder) / "log"
        with log.open("w", encoding="utf-8") as stderr, subprocess.Popen(
                ["valgrind", "--tool=callgrind", f"--toggle-collect={function}",
                 f"--callgrind-out-file={folder}/out", binary, *words,
                 "-qmp", f"unix:{qmp},server=on,wait=off"], stderr=stderr) as process:
            try:
                end = time.monotonic() + LIMIT
                while not qmp.exists():
                    if process.poll() is not None or time.monotonic() > end:
                        raise OSError(log.read_text("utf-8")[-300:])
                    time.sleep(0.2)
                monitor = Qmp(qmp, timeout=LIMIT)
                if command:
                    monitor.cmd("migrate", command, timeout=LIMIT)
                while monitor.cmd("query-migrate", timeout=LIMIT).get("status") != "completed":
                    if time.monotonic() > end:
                        raise OSError("the migration does not end")
                    time.sleep(0.2)
                monitor.cmd("quit", timeout=LIMIT)
                process.wait(LIMIT)
            finally:
                process.kill()
        found = COLLECTED.search(log.read_text("utf-8"))
        if not found:
            raise OSError("callgrind counted nothing")
        return int(found[1])


def measure(binary: Path, nics: int) -> dict[str, int]:
    """Both counts."""
    with tempfile.TemporaryDirectory() as folder:
        stream = Path(folder) / "stream"
        words = machine(nics)
        return {"save": counted(binary, words, SAVE, {"uri": f"exec:cat >{stream}"}),
                "load": counted(binary, [*words, "-incoming", f"exec:cat {stream}"], LOAD, None)}


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="devices", description="Instructions to save and load device state.")
    parser.add_argument("--nics", type=int, default=1, help="virtio-net devices")
    args = parser.parse_args()
    if not shutil.which("valgrind"):
        print("valgrind is not installed (apt-get install valgrind)", file=sys.stderr)
        return 1
    found = {name: measure(TOP / "build" / folder / "qemu-system-x86_64", args.nics)
             for name, folder in (("ours", "qemu"), ("stock", "stock"))}
    for what in ("save", "load"):
        print(json.dumps({"what": what, **{name: counts[what] for name, counts in found.items()},
                          "ratio": round(found["ours"][what] / found["stock"][what], 3)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
