# SPDX-License-Identifier: GPL-2.0-or-later
"""Find the lines of L1's kernel log that fail a run.

Theory of operation
===================

L1's console carries the whole kernel log.  Any report of the kernel about
itself (WARNING, BUG, Oops, lockdep, KASAN, stalls, hung tasks) fails the
scenario whatever its verdict is, because an oracle on a faulty machine proves
nothing.  HARMLESS lists lines that only look like a report; Debian's kernel
prints each of them on this machine in a healthy boot.

*Limits*: text only; the time limit finds a kernel that dies without a message.
"""

from __future__ import annotations

import re

REPORT = re.compile(
    r"(?<!\w)("
    r"WARNING: |BUG: |Oops|Kernel panic|KASAN|KCSAN|UBSAN|"
    r"BUG \S+ \(|"
    r"pagealloc: (memory corruption|single bit error)|usercopy: Kernel memory|"
    r"general protection fault|unable to handle|stack guard page|"
    r"double fault|invalid opcode: |divide error|"
    r"possible circular locking|possible recursive locking|"
    r"inconsistent lock state|suspicious RCU usage|"
    r"detected stalls|self-detected stall|rcu_\w+ kthread starved|"
    r"soft lockup|hard LOCKUP|blocked for more than|"
    r"csd: Detected non-responsive|"
    r"Bad page state|Bad rss-counter|bad pmd|bad pte|list_(add|del) corruption|"
    r"trying to register non-static key|locking correctness validator|lockdep is turned off|"
    r"kmemleak: .*(disabled|memory pool|Cannot|out of memory)|"
    r"refcount_t: |corrupted stack end|segfault at|traps: .*trap )")

HARMLESS = re.compile(
    r"RETBleed: WARNING: |Spectre V2 : WARNING: |"
    r"WARNING: Spectre v2 mitigation|"
    r"SRSO: WARNING|MDS CPU bug|Transient Scheduler Attacks")


def reports_in(text: str) -> list[str]:
    """The lines of a kernel log that fail the run, in order."""
    return [line.strip() for line in text.splitlines()
            if REPORT.search(line) and not HARMLESS.search(line)]
