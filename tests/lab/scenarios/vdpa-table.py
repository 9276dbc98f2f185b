# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest memory in more pieces than the kernel's vhost_vdpa has room for.

vhost_vdpa of Linux 6.12.117 keeps at most `max_iotlb_entries` pieces of memory for an address
space, 2,048 unless told otherwise; a piece is memory that lies in one place in the machine, so pages
of 4 KiB may be one each.  What does not fit fails with EFAULT, as whatever fails there does.  QEMU
has to name the parameter, and the guest runs on with its link down.

*Limits*: Linux 6.12 as Debian 12 has it; our own vhost_vdpa has no such limit.
"""

from qlab import l2, vdpa, vdpaflow
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="vhost-vdpa: more pieces of memory than the kernel's table holds",
    time_limit=120,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=("full", "vdpa"),
    own_binaries=True,
    not_on={"6.1": "our vhost_vdpa has no limit (--kernel 6.12)"},
)


def run(lab: Lab) -> None:
    """A table of four."""
    device = vdpa.Simulators(lab, vhost_vdpa=f"{vdpa.TABLE}=4").add()
    guest = l2.start(lab, vdpa.spec(lab, device))
    guest.wait_ready()
    vdpaflow.wait_error(lab, guest, f"{vdpa.TABLE} is 4")
    guest.payload.ping()
    guest.quit()
