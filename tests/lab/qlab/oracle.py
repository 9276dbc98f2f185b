# SPDX-License-Identifier: GPL-2.0-or-later
"""The second oracle: the memory of source and destination, byte by byte.

Theory of operation
===================

After a migration the source is stopped for good and a destination that was
started with -S has not run yet, so the guest RAM of both must be the same to
the last byte.  Both keep it in a file on tmpfs, mapped shared; the files are
compared here without asking either QEMU.

The first oracle, the payload's own `verify`, knows what was written; this one
knows nothing and therefore misses nothing, not even a page that the payload
does not use.

*Limits*: guests with file-backed RAM; device state is not compared.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

from .l2 import Guest

PAGE = 4096
CHUNK = 1 << 20


@dataclass(frozen=True)
class Compared:
    """Result of a comparison."""

    pages: int
    different: tuple[int, ...]

    @property
    def clean(self) -> bool:
        """Whether something was compared and nothing differs."""
        return self.pages > 0 and not self.different

    def __str__(self) -> str:
        if not self.different:
            return f"{self.pages} pages, the same"
        first = ", ".join(f"{page:#x}" for page in self.different[:8])
        return f"{len(self.different)} of {self.pages} pages differ: {first}"


def differing_pages(one: bytes, two: bytes, first_page: int) -> list[int]:
    """Numbers of the pages in which two chunks differ."""
    return [first_page + at // PAGE for at in range(0, len(one), PAGE)
            if one[at:at + PAGE] != two[at:at + PAGE]]


def compare_files(one: Path, two: Path) -> Compared:
    """Compare two RAM files; a difference in size is every page's."""
    size = one.stat().st_size
    if size == 0 or size != two.stat().st_size:
        raise ValueError(f"{one} and {two} are not the RAM of one guest")
    different: list[int] = []
    with one.open("rb") as a, two.open("rb") as b, \
            mmap.mmap(a.fileno(), 0, prot=mmap.PROT_READ) as left, \
            mmap.mmap(b.fileno(), 0, prot=mmap.PROT_READ) as right:
        for at in range(0, size, CHUNK):
            chunk, other = left[at:at + CHUNK], right[at:at + CHUNK]
            if chunk != other:
                different += differing_pages(chunk, other, at // PAGE)
    return Compared(size // PAGE, tuple(different))


def compare(source: Guest, destination: Guest) -> Compared:
    """Compare the RAM of two guests, neither of which may run."""
    for guest in (source, destination):
        if guest.status() == "running":
            raise ValueError(f"{guest.name} runs; its memory cannot be compared")
    assert source.ram_file and destination.ram_file, "needs file-backed RAM"
    return compare_files(source.ram_file, destination.ram_file)
