# SPDX-License-Identifier: GPL-2.0-or-later
"""Each kind of fault that the debug kernel looks for fails a scenario.

Theory of operation
===================

tests/lab/debug/faults is a module that commits one fault when it is loaded.  A variant passes only
if L1's kernel log has the report that is declared for it, by way of the same judge that fails any
other scenario for that report.  `none` loads the module without a fault: nothing may be reported.
The host builds the module before L1 starts.

*Limits*: one fault of a kind; how well KASAN, lockdep and kmemleak find others is theirs to say.
"""

from __future__ import annotations

import subprocess

from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="the debug kernel reports planted faults",
    time_limit=90,
    needs=("debug-kernel",),
    suites=("kernel",),
    l1_mem=1536,
    own_binaries=True,
    variants={name: {"fault": name} for name in (
        "none", "freed", "beyond", "order", "twice", "sleep", "lost")},
    reports={
        "freed": "KASAN: use-after-free in read_byte",
        "beyond": "KASAN: slab-out-of-bounds in read_byte",
        "order": "possible circular locking dependency",
        "twice": "possible recursive locking",
        "sleep": "BUG: sleeping function called from invalid context",
        "lost": "BUG: kmemleak: ",
    },
)


def run(lab: Lab, fault: str) -> None:
    """Load the module, unload it."""
    module = lab.modules.directory / "faults" / "lab_faults.ko"
    subprocess.run(["/sbin/insmod", str(module), f"fault={fault}"], check=True)
    subprocess.run(["/sbin/rmmod", "lab_faults"], check=True)
