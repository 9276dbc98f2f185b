# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames a second through vhost-vdpa, ours and stock by turns in one L1: qlab/vdparate.py.

`shadow` has x-svq=on, `passthrough` has not; `migrating` is as passthrough, with a migration under way,
`migrating-tx` with x-svq-tx=on besides; `away` and what begins so has frames that do not come back.  L1's clock counts
instructions, two nanoseconds each, so what else the host does changes nothing.

*Limits*: instructions, not time.  L1's two CPUs take turns, so pps has everything in it that is done for
a frame: the guest makes and looks at it, and the simulator serves it in a thread of its own.  main_us
is what limits a shadow ring where these have CPUs of their own.  Compare within a run.  The device has
no indirect descriptors (vdpa.PLAIN).
"""

from qlab.scenario import Scenario
from qlab.vdparate import run  # noqa: F401

SCENARIO = Scenario(
    about="vhost-vdpa: packet rates, ours and stock by turns (figures)",
    time_limit=900,
    needs=("kvm", "guest-linux", "kernel-modules", "ours", "stock"),
    suites=(),
    own_binaries=True,
    icount=True,
    l1_mem=4096,
    variants={"shadow": {"svq": True}, "passthrough": {"svq": False}, "migrating": {"svq": False, "held": True},
              "migrating-tx": {"svq": False, "held": True, "tx": True},
              "away": {"svq": False, "away": True},
              "away-migrating": {"svq": False, "held": True, "away": True},
              "away-migrating-tx": {"svq": False, "held": True, "tx": True, "away": True}},
)
