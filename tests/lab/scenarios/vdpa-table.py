# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest memory in more ranges than the table of the kernel's vhost_vdpa holds.

vhost_vdpa of Linux 6.12.117 keeps at most `max_iotlb_entries` ranges of memory for an address space, 2,048 by
default.  A range is consecutive in host-physical memory, so each page of 4 KiB may be one.  The map that
exceeds the limit fails with EFAULT.  QEMU has to name the parameter, and the guest runs on with its link
down.

*Limits*: Linux 6.12 as Debian 12 has it; our own vhost_vdpa has no such limit.
"""

from qlab import l2, vdpa, vdpaflow
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="vhost-vdpa: more ranges of memory than the kernel's table holds",
    time_limit=120,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=("full", "vdpa"),
    own_binaries=True,
    not_on={"6.1": "our vhost_vdpa has no limit (--kernel 6.12)"},
)


def run(lab: Lab) -> None:
    """Limit the table to four entries."""
    device = vdpa.Simulators(lab, vhost_vdpa=f"{vdpa.TABLE}=4").add()
    guest = l2.start(lab, vdpa.spec(lab, device))
    guest.wait_ready()
    vdpaflow.wait_error(lab, guest, f"{vdpa.TABLE} is 4")
    guest.payload.ping()
    guest.quit()
