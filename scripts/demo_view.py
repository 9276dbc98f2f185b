# SPDX-License-Identifier: GPL-2.0-or-later
"""What scripts/demo shows: one progress line while it runs, a table at the end.

Theory of operation
-------------------
Text is made by functions of what QEMU said (query-migrate, query-kvm-dirty-ring) and of the
scenario's report, and is put on the screen by Screen: on a terminal the progress line is rewritten
in place, cut to the terminal's width; elsewhere it is printed as an ordinary line, at most once a
second, so that a log stays readable.  A figure that QEMU did not give is shown as `-`, never as 0.

Limits: English, and decimal points; a terminal that changes its width is noticed with the next
update.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, TextIO

MIB = 1 << 20
PLAIN_EVERY = 1.0

PHASES = {
    "boot": "the guest boots",
    "load": "the guest is up; its load starts",
    "destination": "the destination starts; the load runs",
    "migrate": "migration starts",
    "compare": "both sides stand still; comparing their RAM byte for byte",
    "verify": "the destination runs; the guest verifies every page it wrote",
    "bitmap": "beside it: another guest like it migrates with the dirty bitmap",
}

Row = tuple[str, str]


def count(value: Any) -> str:
    """A number with separators."""
    return "-" if value is None else f"{value:,.0f}"


def mib(value: Any) -> str:
    """Bytes as MiB."""
    return "-" if value is None else f"{value / MIB:,.1f} MiB"


def seconds(ms: Any) -> str:
    """Milliseconds as seconds."""
    return "-" if ms is None else f"{ms / 1000:.2f} s"


def rate(pages: Any, page_size: int = 4096) -> str:
    """Pages a second, and what that is in bytes."""
    return "-" if pages is None else f"{count(pages)} pages/s ({mib(pages * page_size)}/s)"


def progress(item: dict[str, Any]) -> str:
    """The progress line for one sample of the stream."""
    info, ring = item["migrate"], item.get("ring")
    ram = info.get("ram", {})
    parts = [
        f"{seconds(info.get('total-time'))} {info.get('status', '-')}",
        f"remaining {mib(ram.get('remaining'))}",
        f"dirty {count(ram.get('dirty-pages-rate'))} pages/s",
        f"sent {mib(ram.get('transferred'))}",
        f"syncs {count(ram.get('dirty-sync-count'))}",
    ]
    if ring:
        parts += [f"ring full {count(ring['full-exits'])}",
                  f"reaper {count(ring['reaper-wakeups'])}"]
    if info.get("cpu-throttle-percentage"):
        parts.append(f"throttle {info['cpu-throttle-percentage']} %")
    return " | ".join(parts)


def migration_rows(report: dict[str, Any]) -> list[Row]:
    """What query-migrate said last."""
    info = report["migrate"]
    ram = info.get("ram", {})
    limit = "raised, the load is faster than the channel" if report["relaxed"] else "kept"
    return [
        ("total time", seconds(info.get("total-time"))),
        ("downtime", f"{count(info.get('downtime'))} ms"),
        ("set-up", f"{count(info.get('setup-time'))} ms"),
        ("downtime limit", limit),
        ("dirty syncs", count(ram.get("dirty-sync-count"))),
        ("pages sent", count(ram.get("normal"))),
        ("zero pages", count(ram.get("duplicate"))),
        ("transferred", mib(ram.get("transferred"))),
    ]


def slowed(report: dict[str, Any]) -> str:
    """How fast the guest wrote while it migrated, and what part that is of what it wrote before."""
    before, during = report["writes_before"], report["writes_during"]
    share = f", {during / before:.0%} of before" if before and during is not None else ""
    return rate(during) + share


def guest_rows(report: dict[str, Any]) -> list[Row]:
    """How fast the guest wrote; beside it, the one that had the bitmap."""
    rows = [("writes, before", rate(report["writes_before"])), ("writes, migrating", slowed(report))]
    if report.get("bitmap"):
        rows.append(("... with the bitmap", slowed(report["bitmap"])))
    return rows


def ring_rows(ring: dict[str, Any] | None) -> list[Row]:
    """The dirty rings' counters."""
    if not ring:
        return []
    vcpus = ", ".join(f"{count(vcpu['full-exits'])} on vCPU {vcpu['vcpu-id']}"
                      for vcpu in sorted(ring["vcpus"], key=lambda vcpu: vcpu["vcpu-id"]))
    return [
        ("ring size", f"{count(ring['size'])} entries per vCPU"),
        ("pages harvested", count(ring["harvested"])),
        ("pages published", count(ring["published"])),
        ("ring-full exits", f"{count(ring['full-exits'])} ({vcpus})"),
        ("reaper wake-ups", count(ring["reaper-wakeups"])),
        ("resets", f"{count(ring['resets'])}, {count(ring['resets-skipped'])} skipped, "
                   f"{count(ring['resets-incomplete'])} incomplete, "
                   f"{count(ring['resets-failed'])} failed"),
        ("overflows", f"{count(ring['overflows'])}{', BROKEN' if ring['broken'] else ''}"),
    ]


def oracle_rows(report: dict[str, Any]) -> list[Row]:
    """Both oracles' verdicts; one that did not look says so."""
    def verdict(looked: int, wrong: int, what: str) -> str:
        if not looked:
            return "did not get to look"
        return f"{count(looked)} pages {what}, {count(wrong)} wrong"
    return [
        ("oracle: stamps", verdict(report["pages_verified"], report["pages_bad"],
                                   "verified by the guest")),
        ("oracle: RAM", verdict(report["pages_compared"], report["pages_different"],
                                "compared byte for byte")),
    ]


def table(report: dict[str, Any]) -> list[str]:
    """The closing table's lines."""
    groups = [migration_rows(report), guest_rows(report), ring_rows(report["ring"]),
              oracle_rows(report)]
    rule = "-" * 72
    lines = [rule]
    for group in filter(None, groups):
        lines += [f"{name:20}{value}" for name, value in group] + [rule]
    return lines


class Screen:
    """A terminal with a line that is rewritten, or a plain log."""

    def __init__(self, out: TextIO, tty: bool | None = None,
                 width: Callable[[], int] | None = None) -> None:
        self._out = out
        self._tty = out.isatty() if tty is None else tty
        self._width = width or (lambda: os.get_terminal_size(out.fileno()).columns)
        self._open = False  # the cursor stands behind a progress line
        self._last = -PLAIN_EVERY

    def line(self, text: str) -> None:
        """An ordinary line, below whatever was there."""
        self.close()
        self._out.write(text + "\n")
        self._out.flush()

    def progress(self, text: str, now: float | None = None) -> None:
        """Show where things are."""
        if self._tty:
            self._out.write("\r\x1b[K" + text[:max(self._width() - 1, 20)])
            self._out.flush()
            self._open = True
            return
        now = time.monotonic() if now is None else now
        if now >= self._last + PLAIN_EVERY:
            self._last = now
            self.line(text)

    def close(self) -> None:
        """Leave the progress line standing."""
        if self._open:
            self._out.write("\n")
            self._open = False


def show(screen: Screen, item: dict[str, Any]) -> dict[str, Any] | None:
    """Show one item of the stream; the report, if it is that."""
    if item["event"] == "phase":
        screen.line(f"[{item['t']:6.1f} s] {PHASES.get(item['name'], item['name'])}")
    elif item["event"] == "sample":
        screen.progress(progress(item))
    elif item["event"] == "relax":
        screen.line(f"[{item['t']:6.1f} s] not converging: the downtime limit is now "
                    f"{count(item['downtime_ms'])} ms")
    elif item["event"] == "report":
        return item
    return None
