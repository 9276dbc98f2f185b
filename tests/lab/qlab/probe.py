# SPDX-License-Identifier: GPL-2.0-or-later
"""Probes and livepatches of L1's kernel.

*Limits*: one probe at a time.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from . import kmod
from .context import Lab

TRACING = Path("/sys/kernel/tracing")
LIVEPATCHES = Path("/sys/kernel/livepatch")
PROTECT = "kvm_arch_mmu_enable_log_dirty_pt_masked"
#: Seconds until every task has left the old function.
TRANSITION_S = 60


class Calls:
    """Counts calls of a function of the kernel, from now on."""

    def __init__(self, function: str = PROTECT) -> None:
        if not TRACING.is_mount():
            subprocess.run(["mount", "-t", "tracefs", "none", str(TRACING)], check=True)
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


def wait_for_livepatch(lab: Lab, name: str) -> None:
    """Every task uses what was chosen."""
    state, end = LIVEPATCHES / name, time.monotonic() + TRANSITION_S
    while state.exists() and (state / "transition").read_text("ascii").strip() != "0":
        lab.check(time.monotonic() < end, "the livepatch's transition does not end")
        time.sleep(0.1)


def remove_livepatch(lab: Lab, name: str) -> None:
    """Disable it and unload it."""
    (LIVEPATCHES / name / "enabled").write_text("0", "ascii")
    wait_for_livepatch(lab, name)
    kmod.tool("/sbin/rmmod", name)
