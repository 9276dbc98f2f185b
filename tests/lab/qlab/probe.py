# SPDX-License-Identifier: GPL-2.0-or-later
"""A probe in L1's kernel, its trace events, and our livepatch of it.

*Limits*: one probe, and one system of events, at a time.
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

from . import kmod
from .context import Lab

TRACING = Path("/sys/kernel/tracing")
#: A line of the trace: the time, the event, its text.
EVENT = re.compile(r"[0-9]\.[0-9]+: (\w+): (.*)")
NUMBER = re.compile(r"(\w+)=(-?(?:0x[0-9a-f]+|[0-9]+))")
#: Our livepatch of kvm.ko.
LIVEPATCH = "kvm_dirty_ring_livepatch"
BUILT = Path(__file__).resolve().parents[3] / "build/livepatch"
STATE = Path("/sys/kernel/livepatch", LIVEPATCH)
PROTECT = "kvm_arch_mmu_enable_log_dirty_pt_masked"
#: Seconds until every task has left the old function.
TRANSITION_S = 60


def mount() -> None:
    """See to it that tracefs is there."""
    if not TRACING.is_mount():
        subprocess.run(["mount", "-t", "tracefs", "none", str(TRACING)], check=True)


class Events:
    """What the trace events of a system report, from now on."""

    def __init__(self, system: str) -> None:
        mount()
        (TRACING / "trace").write_text("", "ascii")
        self.enable = TRACING / "events" / system / "enable"
        self.enable.write_text("1", "ascii")

    def take(self) -> list[tuple[str, dict[str, int]]]:
        """Since the last call of this: each one's name, and its numbers of the form NAME=NUMBER."""
        found = []
        for line in (TRACING / "trace").read_text("ascii").splitlines():
            match = EVENT.search(line)
            if match and not line.startswith("#"):
                found.append((match[1], {key: int(value, 0) for key, value in NUMBER.findall(match[2])}))
        (TRACING / "trace").write_text("", "ascii")
        return found

    def end(self) -> None:
        """No more."""
        self.enable.write_text("0", "ascii")


class Calls:
    """Counts calls of a function of the kernel, from now on."""

    def __init__(self, function: str = PROTECT) -> None:
        mount()
        (TRACING / "kprobe_events").write_text(f"p:counted {function}\n", "ascii")
        self._enable("1")
        self.before = self._hits()

    def _enable(self, value: str) -> None:
        (TRACING / "events/kprobes/counted/enable").write_text(value, "ascii")

    def _hits(self) -> int:
        for line in (TRACING / "kprobe_profile").read_text("ascii").splitlines():
            if line.split()[0] == "counted":
                return int(line.split()[1])
        return 0

    def since(self) -> int:
        """Since the last call of this."""
        now = self._hits()
        calls, self.before = now - self.before, now
        return calls

    def end(self) -> int:
        """The same, and the probe is gone."""
        calls = self.since()
        self._enable("0")
        (TRACING / "kprobe_events").write_text("", "ascii")
        return calls


def load_livepatch(lab: Lab) -> None:
    """Load it, and wait until every task uses it."""
    module = BUILT / lab.built_for / f"{LIVEPATCH}.ko"
    if not module.exists():
        lab.skip(f"missing: {module.name} for {lab.built_for} (scripts/build-kernel --livepatch)")
    kmod.tool("/sbin/insmod", str(module))
    _wait_for_transition(lab)
    lab.check((STATE / "enabled").read_text("ascii").strip() == "1", "the livepatch is not enabled")


def remove_livepatch(lab: Lab) -> None:
    """Disable it, wait until no task uses it, and unload it."""
    (STATE / "enabled").write_text("0", "ascii")
    _wait_for_transition(lab)
    kmod.tool("/sbin/rmmod", LIVEPATCH)


def _wait_for_transition(lab: Lab) -> None:
    end = time.monotonic() + TRANSITION_S
    while STATE.exists() and (STATE / "transition").read_text("ascii").strip() != "0":
        lab.check(time.monotonic() < end, "the livepatch's transition does not end")
        time.sleep(0.1)
