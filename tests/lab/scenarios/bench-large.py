# SPDX-License-Identifier: GPL-2.0-or-later
"""As `bench`, with a guest of 4 GiB whose load is light: qlab/benchruns.py.

Its channel has no limit, and a quarter of its memory was written once, so most of a migration's time is spent
sending.  Ten minutes; L1 has 14 GiB.
"""

import subprocess
from typing import Any

from qlab import benchruns
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="migrations of a large guest under light load, this branch and stock by turns (figures)",
    time_limit=3600,
    needs=("kvm", "guest-linux", "ours", "stock"),
    suites=(),
    own_binaries=True,
    icount=True,
    l1_mem=14336,
    variants={"": {"memory": 4096, "load_mb": 1024, "rounds": 2, "load": {"mode": "random", "rate": 2000},
                   "plan": {"limit": 300.0}}},
)


def run(lab: Lab, **params: Any) -> None:
    """With room for both guests, whose memory is in files."""
    subprocess.run(["mount", "-o", "remount,size=12G", "/dev/shm"], check=True)
    benchruns.run(lab, **params)
