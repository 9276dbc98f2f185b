# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest migrates between two simulated vDPA devices while numbered frames go round.

What is done, and what has to hold: qlab/vdpaflow.py.  The simulators drop nothing as long as their
receive queues have buffers, so no frame may be missing.  `ring`, `pages` and `short` fail if the
device's writes are not reported (seen with a build that did not).  `to-stock` and `from-stock` have
the base's own QEMU at the other end.

`no-pin` migrates to destinations that may not pin the guest's memory: they must not take it, and the
guest must not notice (qlab/vdparefuse.py).  With stock QEMU at the source, frames that are missing before
anybody else had a device are stock's (`lost_by_stock`: 0 and 24 of some 180 in two runs).

`postcopy-offered` migrates with the capability for postcopy, and completes before it is used: the
destination has thrown all of its memory away once, so the device must not have been given it before.
`postcopy` uses it: the guest runs there while its memory still comes; its link stands still until all
of it is there, and then goes on without a frame lost.  Its driver is asked to announce it meanwhile, and
spins until that is acknowledged, which QEMU does while the device waits (vdpaflow.announces()).

*Limits*: those of qlab/vdpaflow.py.
"""

from qlab.scenario import Scenario
from qlab.vdpaflow import migrate as run  # noqa: F401

SCENARIO = Scenario(
    about="vhost-vdpa: live migration, there and back, with traffic",
    time_limit=600,
    needs=("kvm", "guest-linux", "kernel-modules", "ours", "stock"),
    suites=("full", "vdpa"),
    own_binaries=True,
    variants={
        "": {"hops": 4},
        "pages": {"hops": 2, "mtu": 9000},
        "short": {"hops": 1, "mtu": 9000},
        "many": {"hops": 20},
        "svq": {"hops": 2, "svq": True},
        "mq": {"hops": 2, "pairs": 2, "cpus": 2},
        "ring": {"hops": 2, "ring": 4096, "mtu": 9000},
        "cancel": {"hops": 1, "cancels": 5},
        "cancel-many": {"hops": 1, "cancels": 50},
        "killed": {"hops": 1, "kills": 10},
        "no-pin": {"hops": 1, "refused": ("exits", "stays", "return-path", "postcopy", "unused")},
        "no-pin-from-stock": {"hops": 1, "refused": ("exits",), "source": "stock"},
        "postcopy-offered": {"hops": 1, "postcopy": "offered"},
        "postcopy": {"hops": 1, "postcopy": "used"},
        "to-stock": {"hops": 1, "peer": "stock"},
        "from-stock": {"hops": 1, "source": "stock"},
    },
    short=("short",),
)
