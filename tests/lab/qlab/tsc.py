# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast this machine's time stamp counter counts.

Theory of operation
===================

Under software emulation L1's TSC is the host's.  L1's kernel finds out how fast
it is by the emulated PIT, in a few milliseconds of its boot; if the emulator's
threads are not run just then, the result is wrong (22 MHz for 2.6 GHz was
seen), and from then on L1's clock runs a hundred times too fast: stalls and
lockups are reported that are none.  So L1 is told (`tsc_early_khz=`).

There is no file that says it, so it is measured: RDTSC by a few bytes of machine
code, next to the kernel's own clock, twice.  Of several tries at each end the one
that took the least time counts, as it was not interrupted.

*Limits*: x86-64 with a constant TSC.  0 where it cannot be measured; L1 then
finds out by itself.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import time
from collections.abc import Callable
from functools import cache

#: rdtsc; shl rdx, 32; or rax, rdx; ret
RDTSC = bytes.fromhex("0f31 48c1e220 4809d0 c3")
SPAN_S = 0.1
TRIES = 20


def moment(read: Callable[[], int]) -> tuple[int, int]:
    """The counter, and nanoseconds of the clock, at the same time."""
    best = (1 << 62, 0, 0)
    for _ in range(TRIES):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        ticks = read()
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        best = min(best, (after - before, ticks, (before + after) // 2))
    return best[1], best[2]


@cache
def khz() -> int:
    """The counter's frequency in kHz; 0 if unknown."""
    if platform.machine() != "x86_64":
        return 0
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE,
                         prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return 0
    page.write(RDTSC)
    buffer = (ctypes.c_char * mmap.PAGESIZE).from_buffer(page)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(buffer))
    ticks, clock = moment(read)
    time.sleep(SPAN_S)
    ticks_later, clock_later = moment(read)
    return (ticks_later - ticks) * 1_000_000 // (clock_later - clock)
