# SPDX-License-Identifier: GPL-2.0-or-later
"""The seeds of the fuzz targets.

Theory of operation
-------------------
Each target reads its input as a program (see the top of its C file).  The seeds are programs with correct
traffic, some with one thing spoilt.  They are generated for each run, so a change of the input format is a
change here, and no binary file is kept.

Limits: the numbers of the operations are copied by hand from the tables in the C files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

OFFER, REAP, FORWARD, COMPLETE, TAKE, RETURN = range(6)
GUEST_SCRIBBLES, GUEST_SPOILS, DEVICE_SCRIBBLES, RESTART, FOREIGN_STATE = range(6, 11)
EVENT_IDX, INDIRECT, NOT_RAM = 0x20, 0x40, 0x80

ADD, _, ALLOC, REMOVE, RANGE = range(5)
DIRTY, _, MOVE, SEND, CLEAR = range(5)


def offer(segments: int, table: bool, at: int = 0, length: int = 100) -> bytes:
    """A chain of segments, the last of which the device writes."""
    words = b"".join((length << 16 | (at + i * 512) << 1 | (i == segments - 1)).to_bytes(4, "big")
                     for i in range(segments))
    return bytes([OFFER, segments - 1, table]) + words


def round_trip(segments: int, table: bool) -> bytes:
    """A chain is offered, forwarded, taken, returned, completed and reaped."""
    return (offer(segments, table) + bytes([FORWARD, 0, TAKE, RETURN, 0, 0, 20, COMPLETE, 0, REAP]))


def shadow_ring() -> Iterator[bytes]:
    """Programs for fuzz-vdpa-shadow-ring."""
    for how in (4, 2, 0, 4 | EVENT_IDX, 3 | INDIRECT, 4 | INDIRECT | EVENT_IDX,
                4 | INDIRECT | NOT_RAM):
        for device in (0, 2, 4, 5):
            head = bytes([how, device])
            table = bool(how & INDIRECT)
            yield head + round_trip(1, False) * 20
            yield head + round_trip(3, table) * 6
            yield head + offer(2, table) * 6 + bytes([FORWARD, 0] + [TAKE] * 6
                                                     + [RETURN, 3, 0, 1] * 3
                                                     + [COMPLETE, 0, RESTART, 0, FORWARD, 0])
            yield head + offer(2, table) * 4 + bytes([FORWARD, 0, TAKE, TAKE, RETURN, 1, 0, 1,
                                                      COMPLETE, 1, RESTART, 1, FORWARD, 2])
            for what in range(16):
                yield (head + offer(2, table)
                       + bytes([GUEST_SPOILS, what, 255, 255, 255, 255, 0, 0, 0, 0, FORWARD, 0]))
            for at in range(0, 14):
                yield (head + offer(2, table)
                       + bytes([FORWARD, 0, TAKE, RETURN, 0, 0, 1, DEVICE_SCRIBBLES, at, 255,
                                COMPLETE, 0, COMPLETE, 0]))
            yield head + bytes([FOREIGN_STATE, 0xff, 0xfe, 2, 2, 0, 1, 2, 3, FORWARD, 0, TAKE])


def iova() -> Iterator[bytes]:
    """Programs for fuzz-vdpa-iova."""
    def mapped(page: int, pages: int, hva: int, kind: int = 0) -> bytes:
        return bytes([pages - 1, kind, page, kind, hva, kind, page])

    for kind in (0, 150):
        adds = b"".join(bytes([ADD]) + mapped(i * 4, 2, i * 2, kind) for i in range(20))
        removes = b"".join(bytes([REMOVE, kind, i * 8]) for i in range(10))
        allocs = b"".join(bytes([ALLOC]) + mapped(0, 3, i, kind) + bytes([kind, 0, kind, 255, 1, i])
                          for i in range(10))
        ranges = b"".join(bytes([RANGE, kind, i * 7, 0, i % 4]) for i in range(20))
        yield adds + ranges + removes + ranges + allocs + ranges
        yield adds + bytes([ALLOC, 0xc0]) + b"\xff" * 40


def dirty_summary() -> Iterator[bytes]:
    """Programs for fuzz-dirty-summary: pages are dirtied, moved, sent."""
    everything = bytes([255, 0, 0, 0, 0, 255, 0, 1, 0x7f, 0xff])
    for kind in (0, 1, 2, 17, 18, 26):
        for at in range(0, 60, 7):
            dirty = bytes([DIRTY, kind, at, at])
            yield dirty * 3 + bytes([MOVE]) + everything + bytes([SEND, 255, 0, 0, 0, at, 255, 0, 1, 0, 0, 7])
            yield (dirty + bytes([MOVE, 0, at, 2, at + 1]) + dirty + bytes([CLEAR, 1, at, 1, at + 2])
                   + bytes([MOVE]) + everything + bytes([SEND, kind, at, 255, 0, 1, 0, 0, 3]) * 3)


def write(target: str, folder: Path) -> int:
    """The target's seeds, one file each; how many."""
    seeds = {"vdpa-shadow-ring": shadow_ring, "vdpa-iova": iova, "dirty-summary": dirty_summary}[target]
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for count, seed in enumerate(seeds(), 1):
        (folder / f"seed-{count:04}").write_bytes(seed)
    return count
