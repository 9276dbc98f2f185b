# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest with an IOMMU of its own uses it for its vDPA network device.

What is done, and what has to hold: qlab/vdpaflow.py.  The guest's IOMMU is intel-iommu with
caching-mode=on, on a q35 machine.  In the variants that say nothing else it translates each buffer
(`iommu.strict=1`), so the guest maps and unmaps while frames go round, and the device must see
little of guest memory; with `pt` the guest's kernel lets the device see all of it.

Stock QEMU 10.0 is not compared: it refuses shadow rings behind an IOMMU, the control queue's too ("SVQ can
not work while IOMMU enable"), falls back on a device without a network, and the guest hears nothing.

*Limits*: virtio-iommu is not tried, as Debian's kernels for x86 have no driver for it.
"""

from qlab import vdpaflow
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="vhost-vdpa behind the guest's IOMMU: boot, reload, migration, cancel",
    time_limit=500,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=("full", "vdpa"),
    own_binaries=True,
    variants={
        "": {},
        "svq": {"svq": True},
        "pt": {"viommu": "passes"},
        "migrate": {"hops": 2, "cancels": 3, "mtu": 9000},
        "migrate-svq": {"hops": 1, "svq": True},
        "migrate-pt": {"hops": 1, "cancels": 1, "viommu": "passes"},
    },
)


def run(lab: Lab, hops: int = 0, viommu: str = "translates", **how: object) -> None:
    """Boot and reload, or migrate."""
    if hops:
        vdpaflow.migrate(lab, hops, viommu=viommu, **how)  # type: ignore[arg-type]
    else:
        vdpaflow.boot(lab, viommu=viommu, **how)  # type: ignore[arg-type]
