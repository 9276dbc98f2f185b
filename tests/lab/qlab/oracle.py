# SPDX-License-Identifier: GPL-2.0-or-later
"""The second oracle: guest RAM of source and destination, byte for byte.

Theory of operation
===================

After a migration the source is stopped in postmigrate and the destination,
started with -S, has not run yet: their RAM must be the same.  With shared RAM
files both are mapped and compared directly; otherwise each QEMU writes its RAM
out with pmemsave.  Every byte is compared: device state is not RAM, and no device
of the lab's guests writes RAM while it is loaded.

KVM does, in one place.  Restoring MSR_KVM_WALL_CLOCK makes it write the guest's
struct pvclock_wall_clock (u32 version, sec, nsec) anew, so by design those twelve
bytes are not the source's.  One page per guest may differ in nothing but that, with
a version that grew by the two of each update (loading the CPU state can set the
MSR more than once: four was seen); it is counted, in Compared.clocks.

The first oracle is the guest's own: the payload verifies its stamps.

*Limits*: RAM below the hole only (guests are smaller than 3 GiB), so guest
physical address and file offset are the same; firmware and ROMs are not compared.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .l2 import Guest

PAGE = 4096
CHUNK = 1 << 20


@dataclass(frozen=True)
class Compared:
    """What a comparison found."""

    bytes: int
    pages: tuple[int, ...]  # page frame numbers that differ
    clocks: int = 0  # pages that differ as is_wall_clock() says
    first: str = ""  # where the first of `pages` differs

    @property
    def same(self) -> bool:
        """Whether something was compared and all of it is the same."""
        return self.bytes > 0 and not self.pages

    def __str__(self) -> str:
        shown = ", ".join(f"{page:#x}" for page in self.pages[:8])
        more = ", ..." if len(self.pages) > 8 else ""
        return (f"{len(self.pages)} of {self.bytes // PAGE} pages differ"
                + (f": {shown}{more}; {self.first}" if self.pages else ""))


def differing_pages(one: bytes, two: bytes, first_page: int) -> Iterator[int]:
    """Page numbers at which two equally long chunks differ."""
    for offset in range(0, len(one), PAGE):
        if one[offset:offset + PAGE] != two[offset:offset + PAGE]:
            yield first_page + offset // PAGE


def is_wall_clock(source: bytes, destination: bytes) -> bool:
    """Whether two pages differ only as KVM's update of its wall clock has it."""
    before, after = (int.from_bytes(page[:4], "little")
                     for page in (source, destination))
    return (before % 2 == 0 and after % 2 == 0 and before < after <= before + 8
            and source[12:] == destination[12:])


def describe(source: bytes, destination: bytes) -> str:
    """Where two pages differ, and some bytes of both."""
    places = [at for at in range(PAGE) if source[at] != destination[at]]
    start = places[0] & ~15
    left, right = (page[start:start + 32].hex(" ", 8)
                   for page in (source, destination))
    return (f"{len(places)} bytes from {places[0]:#x} to {places[-1]:#x}, "
            f"at {start:#x} {left} became {right}")


def judge_pages(a: mmap.mmap, b: mmap.mmap, pages: list[int]) -> Compared:
    """Separate pages that were lost from the one that KVM wrote itself."""
    wrong: list[int] = []
    clocks = 0
    first = ""
    for page in pages:
        at = slice(page * PAGE, page * PAGE + PAGE)
        if not clocks and is_wall_clock(a[at], b[at]):
            clocks += 1
            continue
        first = first or describe(a[at], b[at])
        wrong.append(page)
    return Compared(len(a), tuple(wrong), clocks, first)


def compare_files(one: Path, two: Path) -> Compared:
    """Compare two RAM images."""
    size = one.stat().st_size
    if size != two.stat().st_size or size % PAGE:
        raise ValueError(f"{one.name} has {size} bytes, {two.name} has "
                         f"{two.stat().st_size}")
    pages: list[int] = []
    with one.open("rb") as first, two.open("rb") as second, \
            mmap.mmap(first.fileno(), 0, prot=mmap.PROT_READ) as a, \
            mmap.mmap(second.fileno(), 0, prot=mmap.PROT_READ) as b:
        for start in range(0, size, CHUNK):
            left, right = a[start:start + CHUNK], b[start:start + CHUNK]
            if left != right:
                pages += differing_pages(left, right, start // PAGE)
        return judge_pages(a, b, pages)


@contextmanager
def image(guest: Guest) -> Iterator[Path]:
    """A file with the guest's RAM in it."""
    if guest.ram_file:
        yield guest.ram_file
        return
    path = guest.lab.tmp / f"{guest.name}.pmem"
    try:
        guest.qmp.cmd("pmemsave", {"val": 0, "size": guest.spec.mem << 20,
                                   "filename": str(path)}, timeout=120)
        yield path
    finally:
        path.unlink(missing_ok=True)


def compare(source: Guest, destination: Guest) -> Compared:
    """Compare two guests' RAM; neither may be running."""
    for guest in (source, destination):
        if guest.status() == "running":
            raise ValueError(f"{guest.name} is running: nothing to compare")
    with image(source) as one, image(destination) as two:
        return compare_files(one, two)
