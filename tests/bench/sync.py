# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a sync takes, by the size of the guest's memory: no nested machine, no guest code.

    tests/bench/sync [--sizes 16,64,256,960] [--peer QEMU] [--accel kvm|tcg] [--rounds N]

Theory of operation
-------------------
A guest is started whose firmware is one instruction, HLT, with little memory of its own and a virtio-mem device of
many GiB of which nothing is plugged in.  Its RAM block is as large as that of a guest with so much memory, and so are
the bitmaps over it; but migration has nothing to send of it, and the host needs no memory for it.

It migrates to a socket that this program reads and throws away, with the capability switchover-ack; the
acknowledgement never comes, so when all is sent migration goes on: a sync, a search for dirty pages, a sync...

first_ms     the first sync, from the trace events migration_bitmap_sync_start and _end
idle_us      one such iteration while nothing is dirty: time divided by syncs (dirty-sync-count of query-migrate)
dirty_us_N   the sync that finds N pages dirty, beside each other, median of the rounds, from trace events; a
             single command (qtest's memset) dirties them, and no sync comes in between

Subjects take turns, size by size.  The table says ours / stock's bitmap, 10.0 and the peer's.

Limits: the host's clock, so run it on a quiet machine; medians of --rounds.  An iteration is more than a sync: it
sends some bytes and looks through migration's bitmap once.  The vCPU sleeps, so its ring has no entries.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path[:0] = [str(HERE), str(TOP / "tests/lab")]

from qlab.qmp import Qmp

GIB = 1 << 30

#: GiB that the guest has besides, and from where on pages are dirtied.
OWN, DIRTY_FROM = 2, 1 << 24

#: Seconds that idle syncs are counted; that anything may take.
COUNTED, LIMIT = 2.0, 120.0

#: A version that all subjects have; the newest QEMU waits for the acknowledgement with such a one only.
MACHINE = "pc-i440fx-10.0"

#: Firmware: at the reset vector CLI, HLT, and back to it.
FIRMWARE = bytes(0xfff0) + b"\xfa\xf4\xeb\xfd" + bytes(12)

#: A line of the trace, with seconds since 1970 or, from 11 on, the time of day.
EVENT = re.compile(r"(?:@(?P<at>\d+\.\d+):|T(?P<h>\d+):(?P<min>\d+):(?P<s>[\d.]+)Z )"
                   r"migration_bitmap_sync_(?:start|end dirty_pages (?P<pages>\d+))")


def arguments(binary: str, accel: str, gib: int, folder: Path) -> list[str]:
    """The command line of an idle guest with a RAM block of GIB GiB."""
    return [
        binary, "-accel", accel, "-M", MACHINE, "-bios", str(folder / "bios"), "-nodefaults", "-display", "none",
        "-m", f"{OWN}G,maxmem={OWN + gib + 4}G,slots=1",
        "-object", f"memory-backend-ram,id=big,size={gib}G,reserve=off",
        "-device", "virtio-mem-pci,memdev=big,requested-size=0",
        "-qmp", f"unix:{folder / 'qmp'},server=on,wait=off", "-qtest", f"unix:{folder / 'qtest'},server=on,wait=off",
        "-qtest-log", "none", "-msg", "timestamp=on", "-D", str(folder / "log"),
        "-trace", "migration_bitmap_sync_start", "-trace", "migration_bitmap_sync_end"]


def seconds(event: re.Match[str]) -> float:
    """When an event was."""
    if event["at"]:
        return float(event["at"])
    return 3600 * int(event["h"]) + 60 * int(event["min"]) + float(event["s"])


class Sink(threading.Thread):
    """A destination that reads the stream, and never says a word."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(path))
        self.server.listen(1)

    def run(self) -> None:
        """Read to the end."""
        with self.server, self.server.accept()[0] as channel:
            while channel.recv(1 << 20):
                pass


class Guest:
    """A guest that migrates and does not get there."""

    def __init__(self, binary: str, accel: str, gib: int, folder: Path) -> None:
        self.folder = folder
        (folder / "bios").write_bytes(FIRMWARE)
        self.process = subprocess.Popen(arguments(binary, accel, gib, folder))
        self.qmp = Qmp(folder / "qmp", timeout=LIMIT)
        self.qtest = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.qtest.settimeout(LIMIT)
        self.qtest.connect(str(folder / "qtest"))

    def end(self) -> None:
        """Stop it, whatever it does."""
        self.process.kill()
        self.process.wait()

    def trace(self, on: bool) -> None:
        """Write trace events, or not."""
        for event in ("start", "end"):
            self.qmp.cmd("trace-event-set-state", {"name": f"migration_bitmap_sync_{event}", "enable": on})

    def syncs(self) -> list[tuple[float, int]]:
        """Of each sync that was traced so far: milliseconds, and pages that came over."""
        found: list[tuple[float, int]] = []
        begun, last = 0.0, 0
        for match in EVENT.finditer((self.folder / "log").read_text("ascii", "replace")):
            if match["pages"] is None:
                begun = seconds(match)
                continue
            pages = int(match["pages"])     # of this second, this sync's included
            if begun:
                found.append((1000 * (seconds(match) - begun), pages - last if pages >= last else pages))
            begun, last = 0.0, pages
        return found

    def ram(self) -> dict[str, Any]:
        """What query-migrate says of memory."""
        state = self.qmp.cmd("query-migrate")
        if state["status"] not in ("setup", "active"):
            raise RuntimeError(f"the migration is {state['status']}: {state.get('error-desc', 'no reason')}")
        found: dict[str, Any] = state.get("ram", {})
        return found

    def settle(self) -> None:
        """Wait until all is sent."""
        end = time.monotonic() + LIMIT
        while True:
            ram = self.ram()
            if ram and ram["remaining"] == 0 and ram["dirty-sync-count"] > 3:
                return
            if time.monotonic() > end:
                raise RuntimeError("the migration sends for too long")
            time.sleep(0.05)

    def migrate(self) -> None:
        """Begin the migration that stays."""
        Sink(self.folder / "sink").start()
        self.qmp.cmd("migrate-set-capabilities", {"capabilities": [
            {"capability": name, "state": True} for name in ("return-path", "switchover-ack")]})
        self.qmp.cmd("migrate-set-parameters", {"max-bandwidth": 64 * GIB})
        self.qmp.cmd("migrate", {"uri": f"unix:{self.folder / 'sink'}"}, timeout=LIMIT)
        self.settle()

    def idle_us(self) -> float:
        """One iteration, while nothing is dirty."""
        first, begun = self.ram()["dirty-sync-count"], time.monotonic()
        time.sleep(COUNTED)
        last, ended = self.ram()["dirty-sync-count"], time.monotonic()
        return 1e6 * (ended - begun) / max(1, last - first)

    def dirty_us(self, pages: int) -> float:
        """The sync that found PAGES pages dirty."""
        known, end = len(self.syncs()) + 1, time.monotonic() + LIMIT
        self.trace(True)
        while len(self.syncs()) <= known:   # the count before, to compare with
            time.sleep(0.01)
        self.qtest.sendall(f"memset {DIRTY_FROM:#x} {pages * 4096:#x} 1\n".encode())
        self.qtest.recv(4096)
        took: list[float] = []
        while not took:
            if time.monotonic() > end:
                raise RuntimeError(f"no sync found {pages} pages")
            time.sleep(0.02)
            took = [1000 * ms for ms, found in self.syncs()[known:] if found >= pages]
        self.trace(False)
        self.settle()
        return took[0]


@contextmanager
def guest(binary: str, accel: str, gib: int) -> Iterator[Guest]:
    """A guest for a while."""
    with tempfile.TemporaryDirectory(prefix="sync-") as folder:
        running = Guest(binary, accel, gib, Path(folder))
        try:
            yield running
        finally:
            running.end()


def measure(binary: str, accel: str, gib: int, dirty: list[int], rounds: int) -> dict[str, float]:
    """All figures of one subject at one size."""
    with guest(binary, accel, gib) as running:
        running.migrate()
        running.trace(False)
        row = {"first_ms": running.syncs()[0][0]}
        row["idle_us"] = statistics.median(running.idle_us() for _ in range(rounds))
        for pages in dirty:
            row[f"dirty_us_{pages}"] = statistics.median(running.dirty_us(pages) for _ in range(rounds))
        return row


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="sync", description="How long a sync takes, by the size of memory.")
    parser.add_argument("--build", type=Path, default=TOP / "build")
    parser.add_argument("--sizes", default="16,64,256,960", help="GiB")
    parser.add_argument("--dirty", default="1000,100000", help="pages; empty for none")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--accel", default="kvm", choices=("kvm", "tcg"))
    parser.add_argument("--ring", type=int, default=4096, help="entries")
    parser.add_argument("--peer", help="another QEMU")
    parser.add_argument("--out", type=Path, help="where the figures go (default: BUILD/bench/sync.json)")
    args = parser.parse_args()
    programs = {"ours": str(args.build / "qemu/qemu-system-x86_64"),
                "stock": str(args.build / "stock/qemu-system-x86_64")}
    if args.peer:
        programs["peer"] = args.peer
    ring = f"kvm,dirty-ring-size={args.ring}"
    kinds = {"ring": ring, "bitmap": "kvm"} if args.accel == "kvm" else {"tcg": "tcg"}
    dirty = [int(pages) for pages in args.dirty.split(",") if pages]
    rows = []
    for gib in map(int, args.sizes.split(",")):
        for name, binary in programs.items():
            for kind, accel in kinds.items():
                row = {"gib": gib, "subject": f"{name}-{kind}",
                       **measure(binary, accel, gib, dirty, args.rounds)}
                rows.append(row)
                print(json.dumps(row), flush=True)
    out = args.out or args.build / "bench/sync.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1) + "\n", "ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
