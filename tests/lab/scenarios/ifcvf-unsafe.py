# SPDX-License-Identifier: GPL-2.0-or-later
"""A VF behind an IOMMU that does not remap interrupts: refused, unless the administrator says otherwise.

*Limits*: what a process could do with such interrupts is not tried.
"""

from __future__ import annotations

import errno
import resource
from pathlib import Path

from qlab.context import Lab
from qlab.scenario import DEBUG, Scenario
from qlab.vf import DEVICES, Vf, load, open_vhost

SCENARIO = Scenario(
    about="vhost-vdpa refuses a VF whose interrupts are not remapped",
    time_limit=120,
    needs=("kernel-modules", "ifcvf-device"),
    suites=("full", "kernel"),
    own_binaries=True,
    append=f"intel_iommu=on iommu=nopt intremap=off {DEBUG} iomem=relaxed",
    l1_mem=2048,
    l1_monitor=True,
    l1_devices=DEVICES,
    not_on={"6.12": "vhost_vdpa is that kernel's own"},
)

PARAMETER = Path("/sys/module/vhost_vdpa/parameters/allow_unsafe_interrupts")


def run(lab: Lab) -> None:
    """All of it."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)
    load(lab)
    vf = Vf(1)
    vf.add()
    for wanted in (False, True, False):
        PARAMETER.write_text("1" if wanted else "0", "ascii")
        try:
            open_vhost(vf).close()
            lab.check(wanted, "the device could be opened")
        except OSError as err:
            lab.check(not wanted and err.errno == errno.EPERM, f"open: {err}")
    vf.delete()
