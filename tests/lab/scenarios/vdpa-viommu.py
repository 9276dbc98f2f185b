# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest with an IOMMU of its own uses it for its vDPA network device.

The steps and what they check: qlab/vdpasteps.py.  The guest's IOMMU is intel-iommu with caching-mode=on, on
a q35 machine.  It translates each buffer (`iommu.strict=1`), so the guest maps and unmaps while frames go
round, and the device must see little of guest memory; in the variants with `pt` the guest's kernel lets the
device see all of it.

Stock QEMU 10.0 is not compared: it refuses shadow rings behind an IOMMU, those of the control queue too
("SVQ can not work while IOMMU enable"), falls back on a device without a network, and does not tell the guest.

*Limits*: virtio-iommu is in vdpa-viommu-reset only: Debian's 6.1 has no driver for it.
"""

from qlab.scenario import Scenario
from qlab.vdpasteps import (  # noqa: F401
    CANCEL, MIGRATE, Boot, BootOne, CheckIommu, CheckPassthrough, boot_steps, repeat, run, with_frames)

CANCELLED = (*CANCEL, CheckPassthrough())
CHECK = (CheckIommu(),)

SCENARIO = Scenario(
    about="vhost-vdpa behind the guest's IOMMU: boot, reload, migration, cancel",
    time_limit=500,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=("full", "vdpa"),
    own_binaries=True,
    variants={
        "": boot_steps(BootOne(viommu="translates")),
        "svq": boot_steps(BootOne(viommu="translates", svq=True)),
        "pt": boot_steps(BootOne(viommu="passes")),
        "migrate": with_frames(Boot(viommu="translates", mtu=9000), repeat(3, CANCELLED),
                               repeat(2, MIGRATE), CHECK),
        "migrate-svq": with_frames(Boot(viommu="translates", svq=True), MIGRATE, CHECK),
        "migrate-pt": with_frames(Boot(viommu="passes"), CANCELLED, MIGRATE, CHECK),
    },
)
