# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrations of this branch and of stock by turns, in one L1 (tests/bench): qlab/benchruns.py.

L1's clock counts instructions, two nanoseconds each, so what else the host does changes nothing.
"""

from qlab.benchruns import run  # noqa: F401
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="make bench: migrations of this branch and of stock by turns",
    time_limit=300,  # for one round; tests/bench multiplies
    needs=("kvm", "guest-linux", "ours", "stock"),
    suites=(),
    own_binaries=True,
    icount=True,
)
