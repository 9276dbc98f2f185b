# SPDX-License-Identifier: GPL-2.0-or-later
"""The --host-kvm probe finds L1's KVM fit.

A probe that never says yes would skip for ever; here it must.

*Limits*: that it says no to an unfit KVM is seen on machines that have one.
"""

import subprocess
import sys
from pathlib import Path

from qlab import hostkvm
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="the dirty-ring probe of --host-kvm finds L1's KVM fit",
    time_limit=60,
    suites=("short", "full"),
    modes=("tdp", "shadow"),
    own_binaries=True,
)


def run(lab: Lab) -> None:
    """Run the probe as --host-kvm does."""
    program = Path(hostkvm.__file__).with_name("kvmprobe.py")
    done = subprocess.run([sys.executable, str(program)], text=True,
                          capture_output=True, check=False)
    said = (done.stdout + done.stderr).strip()
    lab.figures["said"] = said.splitlines()[-1] if said else ""
    lab.check(done.returncode == 0, f"the probe: {said[-200:]}")
