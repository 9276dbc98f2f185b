# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's network device on the vDPA simulator: boot, traffic, reload, link, reset.

What is done, and what has to hold: qlab/vdpaflow.py.

*Limits*: one guest, no migration (vdpa-migrate).
"""

from qlab.scenario import Scenario
from qlab.vdpaflow import boot as run  # noqa: F401

SCENARIO = Scenario(
    about="vhost-vdpa: boot, traffic, driver reload, link down and up",
    time_limit=150,
    needs=("kvm", "guest-linux", "kernel-modules"),
    suites=("full", "vdpa"),
    variants={
        "": {},
        "svq": {"svq": True, "reloads": 5},
        "mq": {"pairs": 2, "cpus": 2},
        "mq-svq": {"pairs": 2, "cpus": 2, "svq": True},
    },
)
