# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's network device on the vDPA simulator: boot, traffic, link down and up, stop, driver reload.

The steps and what they check: qlab/vdpasteps.py.

*Limits*: one guest, no migration (vdpa-migrate).
"""

from qlab.scenario import Scenario
from qlab.vdpasteps import BootOne, boot_steps, run  # noqa: F401

SCENARIO = Scenario(
    about="vhost-vdpa: boot, traffic, driver reload, link down and up",
    time_limit=150,
    needs=("kvm", "guest-linux", "kernel-modules"),
    suites=("full", "vdpa"),
    variants={
        "": boot_steps(BootOne()),
        "svq": boot_steps(BootOne(svq=True), reloads=5),
        "mq": boot_steps(BootOne(pairs=2, cpus=2)),
        "mq-svq": boot_steps(BootOne(pairs=2, cpus=2, svq=True)),
    },
)
