# SPDX-License-Identifier: GPL-2.0-or-later
"""L1 comes up, with a /dev/kvm that has the dirty ring.

*Limits*: starts no guest.
"""

import fcntl
import os

from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="L1 comes up with nested KVM and the dirty ring",
    time_limit=30,
    suites=("short", "full"),
    modes=("tdp", "shadow", "nonpt"),
    own_binaries=True,
)

KVM_CHECK_EXTENSION = 0xAE03
KVM_CAP_DIRTY_LOG_RING = 192


def run(lab: Lab) -> None:
    """Ask KVM for its ring, and say how long L1 has been up."""
    kvm = os.open("/dev/kvm", os.O_RDWR)
    ring = fcntl.ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING)
    os.close(kvm)
    with open("/proc/uptime", encoding="ascii") as uptime:
        lab.figures["l1_uptime_s"] = float(uptime.read().split()[0])
    lab.figures["ring_entries_max"] = ring // 16
    lab.check(ring > 0, "KVM has no dirty ring")
