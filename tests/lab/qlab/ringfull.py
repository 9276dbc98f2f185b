# SPDX-License-Identifier: GPL-2.0-or-later
"""How long vCPUs are away when their rings are full, and how often reapers wake: any QEMU, from outside.

Theory of operation
===================

KVM's tracepoint kvm_userspace_exit says that a vCPU has left KVM_RUN, and why; reason 31 is a full ring.
The same thread's next ioctl KVM_RUN ends the stall.  Both are traced into an instance of its own, and matched
by thread.  The kernel's part of an entry, and an exit that is followed by another at once, count as they are:
each exit is one stall.

A reaper is the thread that is called kvm-reaper, in this branch and in the base; what it wakes for is in its
status, as voluntary context switches.

*Limits*: L1's kernel must have syscall tracing, as Debian's has.  Tracing costs the guest some instructions, so
write rates are measured without it.
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

TRACING = Path("/sys/kernel/tracing")
BUFFER_KIB = 16384  # for each CPU
KVM_RUN, RING_FULL = 0xAE80, 31
EVENTS = {"kvm/kvm_userspace_exit": f"reason == {RING_FULL}",
          "syscalls/sys_enter_ioctl": f"cmd == {KVM_RUN}"}
LINE = re.compile(r"-(\d+)\s+\[\d+\]\s+\S+\s+(\d+\.\d+): (\w+)")


def stalls(lines: list[str]) -> list[float]:
    """Seconds of each stall in a trace."""
    left: dict[str, float] = {}
    found = []
    for line in lines:
        match = LINE.search(line)
        if not match:
            continue
        thread, when, event = match[1], float(match[2]), match[3]
        if event == "kvm_userspace_exit":
            left[thread] = when
        elif thread in left:
            found.append(when - left.pop(thread))
    return found


def quantile(values: list[float], share: float) -> float:
    """The least value that SHARE of VALUES do not exceed; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def summary(seconds: list[float]) -> dict[str, object]:
    """Figures, in microseconds."""
    return {"stalls": len(seconds), "stall-sum-us": round(sum(seconds) * 1e6),
            "stall-median-us": round(quantile(seconds, 0.5) * 1e6),
            "stall-p99-us": round(quantile(seconds, 0.99) * 1e6),
            "stall-max-us": round(quantile(seconds, 1.0) * 1e6)}


class Trace:
    """A trace of ring-full exits between start() and figures(), of all guests; it needs no monitor."""

    def __init__(self, _monitor: Path) -> None:
        if not TRACING.is_mount():
            subprocess.run(["mount", "-t", "tracefs", "none", str(TRACING)], check=True)
        self.instance = TRACING / "instances" / "ring-full"

    def start(self) -> None:
        """Begin with an empty trace."""
        self.instance.mkdir()
        self._set("buffer_size_kb", str(BUFFER_KIB))
        self._set("trace_clock", "mono")
        for event, condition in EVENTS.items():
            self._set(f"events/{event}/filter", condition)
            self._set(f"events/{event}/enable", "1")

    def figures(self) -> dict[str, object]:
        """End the trace; one that overflowed is an error."""
        for event in EVENTS:
            self._set(f"events/{event}/enable", "0")
        lost = sum(int(line.split()[1]) for cpu in self.instance.glob("per_cpu/cpu*/stats")
                   for line in cpu.read_text("ascii").splitlines() if line.startswith("overrun:"))
        found = stalls((self.instance / "trace").read_text("ascii", "replace").splitlines())
        self.instance.rmdir()
        if lost:
            raise RuntimeError(f"{lost} events of the trace are lost")
        return summary(found)

    def _set(self, name: str, value: str) -> None:
        """Write one of the instance's files."""
        (self.instance / name).write_text(value, "ascii")


def reaper_wakeups(pid: int, seconds: float) -> float:
    """How often a second the reaper of a QEMU wakes, over some time; an error if it has none."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text("ascii").strip() == "kvm-reaper":
            break
    else:
        raise LookupError(f"no reaper in {pid}")
    before, begun = _switches(task), time.monotonic()
    time.sleep(seconds)
    return (_switches(task) - before) / (time.monotonic() - begun)


def _switches(task: Path) -> int:
    """Voluntary context switches of a thread."""
    text = (task / "status").read_text("ascii")
    return int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0])
