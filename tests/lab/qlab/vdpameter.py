# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a simulated device's queues stood still, and what its driver did to it.

Theory of operation
===================

The simulator (kernel/drivers/vdpa/vdpa_sim/vdpa_sim_meter.c) keeps two files of counters for each device
below debugfs.  They say nothing about how a driver works, so they measure any two alike:

    before = vdpameter.read("sim0")
    ...                                         the driver switches to shadow rings
    vdpameter.standstill(before, vdpameter.read("sim0"), queues=2)
    vdpameter.handover(vdpameter.read("sim0"), vdpameter.read("sim1"), queues=2)

`queues` are the data queues, which come first.  Times are L1's CLOCK_MONOTONIC, the same for all
of its devices, so a handover is from the last of the source to the first of the destination.

*Limits*: a queue that runs may still find nothing to do; `silent_ms` has that in it.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

DEBUGFS = Path("/sys/kernel/debug")


class MeterError(Exception):
    """The counters do not say what was asked for; the text says why."""


@dataclass(frozen=True)
class Queue:
    """One queue's line."""

    running: bool
    stops: int
    stopped_ns: int
    silent_ns: int
    since_ns: int


@dataclass(frozen=True)
class Meters:
    """Both files."""

    queues: dict[int, Queue]
    driver: dict[str, int]


def words(line: str) -> dict[str, int]:
    """The numbers of a line of NAME=VALUE."""
    return {key: int(value) for key, _, value in (word.partition("=") for word in line.split())}


def parse(queues: str, driver: str) -> Meters:
    """The files' text."""
    found = {}
    for line in queues.splitlines():
        index, _, rest = line.partition(" ")
        values = words(rest)
        found[int(index)] = Queue(bool(values["running"]), values["stops"], values["stopped_ns"],
                                  values["silent_ns"], values["since_ns"])
    return Meters(found, words(driver))


def mounted() -> None:
    """See to it that debugfs is there."""
    if not any(DEBUGFS.iterdir()):
        subprocess.run(["mount", "-t", "debugfs", "none", str(DEBUGFS)], check=True)


def read(name: str) -> Meters:
    """Of a device that has that name on the vDPA bus."""
    mounted()
    folder = DEBUGFS / "vdpa_sim" / name
    return parse((folder / "queues").read_text("ascii"), (folder / "driver").read_text("ascii"))


def standstill(before: Meters, after: Meters, queues: int) -> dict[str, float]:
    """The longest of the data queues', and what happened meanwhile."""
    still, silent = 0, 0
    for index in range(queues):
        old, new = before.queues.get(index), after.queues.get(index)
        if not old or not new or not old.running or not new.running:
            raise MeterError(f"queue {index} does not run: {old}, {new}")
        if new.stops == old.stops:
            raise MeterError(f"queue {index} did not stop")
        still = max(still, new.stopped_ns - old.stopped_ns)
        silent = max(silent, new.silent_ns - old.silent_ns)
    return {"still_ms": still / 1e6, "silent_ms": silent / 1e6,
            **{key: after.driver[key] - before.driver[key] for key in after.driver}}


def handover(source: Meters, destination: Meters, queues: int) -> float:
    """Milliseconds from the end of the one's data queues to the begin of the other's."""
    longest = 0
    for index in range(queues):
        old, new = source.queues.get(index), destination.queues.get(index)
        if not old or not new or old.running or not new.running:
            raise MeterError(f"queue {index} was not handed over: {old}, {new}")
        longest = max(longest, new.since_ns - old.since_ns)
    if longest <= 0:
        raise MeterError("the destination's queues ran before the source's stopped")
    return longest / 1e6
