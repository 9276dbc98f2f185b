# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens between a source's last frame and its destination's first, from trace events of both QEMUs.

Theory of operation
===================

Both QEMUs write trace events with times to files of their own (`words()`), on the clock of L1, so the lines of both
are one sequence.  The base has events for every step of a migration that any QEMU since 8.2 has: the VM stops
(vm_state_notify), each device's state is saved and loaded (vmstate_downtime_save and _load, in microseconds), the
checkpoints of the rest (vmstate_downtime_checkpoint).  What a vDPA device is told is in its backend's own events.

    words(path)                     for each QEMU's command line
    events(source, destination)     the lines of both, in the order of time
    of_day(stopped_ns)              where a simulated device's time (vdpameter.py) is among them

*Limits*: writing a line takes time, of the thread that is measured, and backends trace more or less.  At midnight a
run's lines are out of order.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

#: What the base traces, in 10.0 and in 11.1.
BASE = ("vm_state_notify", "vmstate_downtime_*", "migration_bitmap_sync_*", "migrate_set_state", "savevm_section_*",
        "virtio_set_status", "qemu_announce_self_iter", "virtio_net_announce_notify", "virtio_net_handle_announce")
#: What a backend traces, ours and others'.
BACKEND = ("vdpa_*", "vhost_vdpa_*")

LINE = re.compile(r"(?:\d+@(?P<at>\d+\.\d+):|(?P<day>\d+-\d+-\d+)T(?P<h>\d+):(?P<min>\d+):(?P<s>[\d.]+)Z )"
                  r"(?P<event>\w+) ?(?P<text>.*)")
DAY = 86400.0


@dataclass(frozen=True)
class Event:
    """One line."""

    at: float   # seconds of the day
    side: str   # of the migration
    event: str
    text: str


def words(path: Path) -> tuple[str, ...]:
    """QEMU's arguments that have events written to PATH."""
    return ("-msg", "timestamp=on", "-D", str(path),
            *(word for event in (*BASE, *BACKEND) for word in ("-trace", event)))


def parse(text: str, side: str) -> list[Event]:
    """The lines of a file."""
    found = []
    for line in text.splitlines():
        match = LINE.match(line)
        if match:
            at = (float(match["at"]) % DAY if match["at"] else
                  3600 * int(match["h"]) + 60 * int(match["min"]) + float(match["s"]))
            found.append(Event(at, side, match["event"], match["text"]))
    return found


def events(source: Path, destination: Path) -> list[Event]:
    """Lines of both, in the order of time."""
    return sorted((event for path, side in ((source, "source"), (destination, "destination"))
                   for event in parse(path.read_text("ascii", "replace"), side)), key=lambda event: event.at)


def of_day(monotonic_ns: int) -> float:
    """Seconds of the day of a time of CLOCK_MONOTONIC."""
    return ((monotonic_ns + time.time_ns() - time.monotonic_ns()) / 1e9) % DAY
