# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a sync takes, by the size of the guest's memory: no nested machine, no guest code.

    tests/bench/sync [--sizes 16,64,256,960] [--dirty 1000,all] [--own GIB] [--also odd,rate,snapshot]
                     [--peer QEMU] [--accel kvm|tcg] [--rounds N]

Theory of operation
-------------------
A guest is started whose firmware is one instruction, HLT, with little memory of its own and a virtio-mem device of
many GiB of which nothing is plugged in.  Its RAM block is as large as that of a guest with so much memory, and so are
the bitmaps over it; but migration has nothing to send of it, and the host needs no memory for it.

It migrates to a socket that this program reads and throws away, with the capability switchover-ack; the
acknowledgement never comes, so when all is sent migration goes on: a sync, a search for dirty pages, a sync...

first_ms     the first sync, from the trace events migration_bitmap_sync_start and _end
idle_us      one such iteration while nothing is dirty: time divided by syncs (dirty-sync-count of query-migrate)
dirty_us_N   the sync that finds N pages dirty, beside each other, the least of the rounds, from trace events; a
             single command (qtest's memset) dirties them, and no sync comes in between.  The least, since a sync that
             releases the big QEMU lock may wait for that very command.  "all": the guest's own memory (--own), all but
             the first 16 MiB
odd_us       one iteration of a guest with 16 modules of 8 MiB and 4 KiB besides: no multiple of 64 pages
odd_clears   how often KVM was asked to clear a part of its log in one such iteration
rate_ms      the longest answer of the monitor while calc-dirty-rate measures for a second, without a migration
snapshot_ms  a background snapshot of the guest, from the command to its completion

Subjects take turns, size by size.  The table says ours / stock's bitmap, 10.0 and the peer's.

Limits: the clock of the machine: on the host, run it on a quiet one; the lab's scenario sync-cost runs it on the clock
that counts instructions.  Medians of --rounds but where said.  An iteration is more than a sync: it
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path[:0] = [str(HERE), str(TOP / "tests/lab")]

from qlab.qmp import Qmp

GIB = 1 << 30

#: GiB that the guest has besides, and from where on pages are dirtied; its memory beyond LOW GiB is at 4 GiB.
OWN, DIRTY_FROM, LOW = 2, 1 << 24, 3

#: Memory modules of an odd size, KiB.
ODD, ODD_KIB = 16, 8 * 1024 + 4

#: Seconds that idle syncs are counted; that anything may take.
COUNTED, LIMIT = 2.0, 120.0

#: Seconds after which pages were found by two syncs; how often they are dirtied at most.
SHARED, ATTEMPTS = 10.0, 5

#: A version that all subjects have; the newest QEMU waits for the acknowledgement with such a one only.
MACHINE = "pc-i440fx-10.0"

EVENTS = ("migration_bitmap_sync_start", "migration_bitmap_sync_end")
CLEAR = "kvm_clear_dirty_log"

#: Firmware: at the reset vector CLI, HLT, and back to it.
FIRMWARE = bytes(0xfff0) + b"\xfa\xf4\xeb\xfd" + bytes(12)

#: A line of the trace, with seconds since 1970 or, from 11 on, the time of day.
EVENT = re.compile(r"(?:@(?P<at>\d+\.\d+):|T(?P<h>\d+):(?P<min>\d+):(?P<s>[\d.]+)Z )"
                   r"migration_bitmap_sync_(?:start|end dirty_pages (?P<pages>\d+))")


@dataclass(frozen=True)
class Subject:
    """A QEMU and its guest."""

    binary: str
    accel: str
    gib: int            # of the large RAM block
    own: int = OWN      # GiB of memory besides
    odd: int = 0        # modules of an odd size


def arguments(subject: Subject, folder: Path) -> list[str]:
    """The command line of an idle guest."""
    modules: list[str] = []
    for number in range(subject.odd):
        path = folder / f"odd-{number}"     # anonymous memory would have to be a multiple of 2 MiB
        modules += ["-object", f"memory-backend-file,id=o{number},size={ODD_KIB}k,mem-path={path},share=on",
                    "-device", f"pc-dimm,memdev=o{number}"]
    most = subject.own + subject.gib + 4 + subject.odd
    return [
        subject.binary, "-accel", subject.accel, "-M", MACHINE, "-bios", str(folder / "bios"), "-nodefaults",
        "-display", "none", "-m", f"{subject.own}G,maxmem={most}G,slots={1 + subject.odd}",
        *modules,
        "-object", f"memory-backend-ram,id=big,size={subject.gib}G,reserve=off",
        "-device", "virtio-mem-pci,memdev=big,requested-size=0",
        "-qmp", f"unix:{folder / 'qmp'},server=on,wait=off", "-qtest", f"unix:{folder / 'qtest'},server=on,wait=off",
        "-qtest-log", "none", "-msg", "timestamp=on", "-D", str(folder / "log"),
        *(word for event in EVENTS for word in ("-trace", event))]


def dirty_range(pages: int, own: int) -> tuple[int, int]:
    """Where PAGES pages are dirtied, and the bytes; as many as there are beside each other if PAGES is 0."""
    low = (min(own, LOW) << 30) - DIRTY_FROM
    high = (own - LOW << 30) if own > LOW else 0
    size = pages * 4096 or max(low, high)
    if size > max(low, high):
        raise ValueError(f"{pages} pages are more than the guest has beside each other: --own")
    return (DIRTY_FROM if size <= low else 4 << 30), size


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

    def __init__(self, subject: Subject, folder: Path) -> None:
        self.subject, self.folder = subject, folder
        (folder / "bios").write_bytes(FIRMWARE)
        self.process = subprocess.Popen(arguments(subject, folder))
        self.qmp = Qmp(folder / "qmp", timeout=LIMIT)
        self.qtest = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.qtest.settimeout(LIMIT)
        self.qtest.connect(str(folder / "qtest"))

    def end(self) -> None:
        """Stop it, whatever it does."""
        self.process.kill()
        self.process.wait()

    def trace(self, on: bool, *events: str) -> None:
        """Write trace events, those of syncs or others, or not."""
        for event in events or EVENTS:
            self.qmp.cmd("trace-event-set-state", {"name": event, "enable": on})

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

    def begin(self, *capabilities: str) -> None:
        """Begin a migration."""
        Sink(self.folder / "sink").start()
        self.qmp.cmd("migrate-set-capabilities", {"capabilities": [
            {"capability": name, "state": True} for name in capabilities]})
        self.qmp.cmd("migrate-set-parameters", {"max-bandwidth": 64 * GIB})
        self.qmp.cmd("migrate", {"uri": f"unix:{self.folder / 'sink'}"}, timeout=LIMIT)

    def migrate(self) -> None:
        """Begin the migration that stays, and wait until nothing is left to send."""
        self.begin("return-path", "switchover-ack")
        self.settle()

    def idle_us(self) -> float:
        """One iteration, while nothing is dirty."""
        first, begun = self.ram()["dirty-sync-count"], time.monotonic()
        time.sleep(COUNTED)
        last, ended = self.ram()["dirty-sync-count"], time.monotonic()
        return 1e6 * (ended - begun) / max(1, last - first)

    def idle_clears(self) -> float:
        """How often KVM was asked to clear a part of its log, per iteration."""
        first = self.ram()["dirty-sync-count"]
        self.trace(True, CLEAR)
        time.sleep(COUNTED / 4)
        self.trace(False, CLEAR)
        last = self.ram()["dirty-sync-count"]
        return (self.folder / "log").read_text("ascii", "replace").count(CLEAR) / max(1, last - first)

    def rate_ms(self) -> float:
        """The longest answer of the monitor while the dirty rate is measured."""
        mode = "dirty-ring" if "ring" in self.subject.accel else "dirty-bitmap"
        self.qmp.cmd("calc-dirty-rate", {"calc-time": 1, "mode": mode})
        longest, status = 0.0, ""
        while status != "measured":
            asked = time.monotonic()
            status = self.qmp.cmd("query-dirty-rate", timeout=LIMIT)["status"]
            longest = max(longest, time.monotonic() - asked)
        return 1000 * longest

    def snapshot_ms(self) -> float:
        """A background snapshot."""
        self.begin("background-snapshot")
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            state = self.qmp.cmd("query-migrate")
            if state["status"] == "completed":
                return float(state["total-time"])
            if state["status"] == "failed":
                raise RuntimeError(f"the snapshot failed: {state.get('error-desc', 'no reason')}")
            time.sleep(0.01)
        raise RuntimeError("the snapshot takes too long")

    def dirty_us(self, pages: int) -> float:
        """The sync that found PAGES pages dirty; 0 for all.

        Two syncs may share them, as one that releases the big QEMU lock: then they are dirtied again.
        """
        at, size = dirty_range(pages, self.subject.own)
        for _ in range(ATTEMPTS):
            took = self.once_dirty(at, size)
            self.settle()
            if took:
                return took[0]
        raise RuntimeError(f"no sync found {size // 4096} pages in {ATTEMPTS} attempts")

    def once_dirty(self, at: int, size: int) -> list[float]:
        """Dirty the pages; microseconds of each sync that found them all."""
        known, end = len(self.syncs()) + 1, time.monotonic() + LIMIT
        self.trace(True)
        while len(self.syncs()) <= known:   # the count before, to compare with
            if time.monotonic() > end:
                raise RuntimeError("no syncs")
            time.sleep(0.01)
        self.qtest.sendall(f"memset {at:#x} {size:#x} 1\n".encode())
        self.qtest.recv(4096)
        took: list[float] = []
        end = time.monotonic() + SHARED
        while not took and time.monotonic() < end:
            time.sleep(0.02)
            took = [1000 * ms for ms, found in self.syncs()[known:] if found >= size // 4096]
        self.trace(False)
        return took


@contextmanager
def guest(subject: Subject) -> Iterator[Guest]:
    """A guest for a while."""
    with tempfile.TemporaryDirectory(prefix="sync-") as folder:
        running = Guest(subject, Path(folder))
        try:
            yield running
        finally:
            running.end()


def measure(subject: Subject, dirty: list[int], rounds: int) -> dict[str, float]:
    """The figures of syncs of one subject."""
    with guest(subject) as running:
        running.migrate()
        running.trace(False)
        row = {"first_ms": running.syncs()[0][0]}
        row["idle_us"] = statistics.median(running.idle_us() for _ in range(rounds))
        for pages in dirty:
            row[f"dirty_us_{pages or 'all'}"] = min(running.dirty_us(pages) for _ in range(rounds))
        return row


def measure_odd(subject: Subject, rounds: int) -> dict[str, float]:
    """With modules of an odd size."""
    with guest(replace(subject, odd=ODD)) as running:
        running.migrate()
        running.trace(False)
        row = {"odd_us": statistics.median(running.idle_us() for _ in range(rounds))}
        if subject.accel != "tcg":
            row["odd_clears"] = running.idle_clears()
        return row


def measure_rate(subject: Subject, rounds: int) -> dict[str, float]:
    """The dirty rate."""
    with guest(subject) as running:
        return {"rate_ms": statistics.median(running.rate_ms() for _ in range(rounds))}


def measure_snapshot(subject: Subject, rounds: int) -> dict[str, float]:
    """Background snapshots, each of another guest."""
    took = []
    for _ in range(rounds):
        with guest(subject) as running:
            took.append(running.snapshot_ms())
    return {"snapshot_ms": statistics.median(took)}


ALSO = {"odd": measure_odd, "rate": measure_rate, "snapshot": measure_snapshot}


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="sync", description="How long a sync takes, by the size of memory.")
    parser.add_argument("--build", type=Path, default=TOP / "build")
    parser.add_argument("--sizes", default="16,64,256,960", help="GiB")
    parser.add_argument("--dirty", default="1000,100000", help="pages, or all; empty for none")
    parser.add_argument("--own", type=int, default=OWN, help="GiB of memory besides")
    parser.add_argument("--also", default="", help="more figures: " + ",".join(ALSO))
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
    dirty = [0 if pages == "all" else int(pages) for pages in args.dirty.split(",") if pages]
    also = [ALSO[name] for name in args.also.split(",") if name]
    rows = []
    for gib in map(int, args.sizes.split(",")):
        for name, binary in programs.items():
            for kind, accel in kinds.items():
                subject = Subject(binary, accel, gib, args.own)
                row = {"gib": gib, "subject": f"{name}-{kind}", **measure(subject, dirty, args.rounds)}
                for more in also:
                    row |= more(subject, args.rounds)
                rows.append(row)
                print(json.dumps(row), flush=True)
    out = args.out or args.build / "bench/sync.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1) + "\n", "ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
