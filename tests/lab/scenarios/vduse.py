# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's network device on a vDPA device that is a process (vduse), on Debian's own modules.

What vdpa-boot and vdpa-migrate do on the simulator, on a device whose kernel side and whose ring are
not ours (qlab/vduse.py): `boot*`, `migrate*` with `many`, `pages`, `svq`, `cancel*`, `killed`, `*-stock`,
and vdpa-plug's `reset`.  A device that cannot suspend is reset for each switch, and may lose nothing by
it but frames that it counts as dropped; its ring code also says when it is put back to a place where it
had not left off.  `busy` cancels with as many frames under way as the guest can have.  `boot-stock` and
`stock` have the base's own QEMU on the device: what fails there, too, is no fault of the backend.

`narrow`: a device that has no room for the guest's queues must be refused with words.
`private`: guest memory that is not shared does not exist for a process, and the kernel says nothing;
the device must be refused with words that say what to do, and the guest run on with its link down.
`dies`: the process is killed; QEMU has to answer again once the kernel has given the device up, say
so, and leave the guest running.  `limits`: what that kernel refuses.

*Limits*: one queue pair, no control queue: that kernel allows no more.
"""

import time

from qlab import l2, vdpa, vdpaflow, vduse
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="vhost-vdpa on a device in user space: boot, migration, its faults",
    time_limit=600,
    needs=("kvm", "guest-linux", "vduse-net", "ours", "stock"),
    suites=("full", "vdpa"),
    own_binaries=True,
    not_on={"6.1": "has no vduse (--kernel 6.12)"},
    variants={
        "boot": {"flow": "boot"},
        "boot-svq": {"flow": "boot", "svq": True, "reloads": 5},
        "boot-stock": {"flow": "boot", "qemu": "stock"},
        "migrate": {"hops": 4},
        "pages": {"hops": 2, "mtu": 9000},
        "svq": {"hops": 2, "svq": True},
        "ring": {"hops": 2, "ring": 4096, "mtu": 9000},
        "busy": {"hops": 1, "cancels": 5, "rate": 0},
        "cancel": {"hops": 1, "cancels": 5},
        "cancel-many": {"hops": 1, "cancels": 50},
        "killed": {"hops": 1, "kills": 10},
        "to-stock": {"hops": 1, "peer": "stock"},
        "from-stock": {"hops": 1, "source": "stock"},
        "stock": {"hops": 1, "source": "stock", "peer": "stock"},
        "many": {"hops": 20},
        "reset": {"flow": "reset"},
        "private": {"flow": "private"},
        "narrow": {"flow": "narrow"},
        "dies": {"flow": "dies"},
        "limits": {"flow": "limits"},
    },
)

PATIENCE = 2  # seconds that the kernel waits for a process


def private(lab: Lab) -> None:
    """A guest with memory that a process cannot see."""
    device = vduse.Processes(lab).add()
    guest = l2.start(lab, vdpa.spec(lab, device, ram="anon"))
    guest.wait_ready()
    vdpaflow.trouble(lab, guest, "memory-backend-memfd,share=on")
    guest.payload.ping()
    guest.quit()


def narrow(lab: Lab) -> None:
    """A device whose queues are smaller than those that the guest has made."""
    device = vduse.Processes(lab, queue_size=128).add()
    guest = l2.start(lab, vdpa.spec(lab, device))
    guest.wait_ready()
    vdpaflow.trouble(lab, guest, "the device allows 128")
    guest.payload.ping()
    guest.quit()


def dies(lab: Lab) -> None:
    """The process is killed with traffic flowing."""
    devices = vduse.Processes(lab)
    device = devices.add()
    guest = l2.start(lab, vdpa.spec(lab, device, load_mb=32))
    guest.wait_ready()
    net = vdpa.Net(guest.payload)
    net.up()
    net.start(rate=50)
    net.flows(lab, "at first")
    devices.patience(device, PATIENCE)
    devices.kill(device)
    guest.payload.start()
    began = time.monotonic()
    guest.qmp.cmd("stop", timeout=60)
    guest.qmp.cmd("cont", timeout=60)
    lab.figures["blocked_s"] = round(time.monotonic() - began, 1)
    vdpaflow.trouble(lab, guest, "the device")
    net.link("down")
    guest.payload.stop()
    lab.check(guest.payload.verify().clean, "memory")
    guest.quit()


def limits(lab: Lab) -> None:
    """What this kernel refuses to make of a process: see the head of tests/lab/vduse/vduse-net.c."""
    devices = vduse.Processes(lab)
    bits = vduse.features(plain=False)
    for what, wrong in (("a control queue", bits | 1 << 17),
                        ("no VIRTIO_F_ACCESS_PLATFORM", bits & ~(1 << 33))):
        error = devices.start("odd", vdpa.MAC.format(9), 1500, wrong)
        lab.check("Invalid argument" in error, f"{what}: {error or 'made'}")


def reset(lab: Lab) -> None:
    """The guest is reset, and again while it migrates."""
    devices = vduse.Processes(lab)
    guest = l2.start(lab, vdpa.spec(lab, devices.add(), load_mb=32))
    guest.wait_ready(120)
    net = vdpa.Net(guest.payload)
    net.up()
    vdpaflow.traffic(lab, devices, net, "at first")
    vdpaflow.resets(lab, devices, guest)
    devices.verify()


FLOWS = {"boot": vdpaflow.boot, "migrate": vdpaflow.migrate}
OWN = {"private": private, "narrow": narrow, "dies": dies, "limits": limits, "reset": reset}


def run(lab: Lab, flow: str = "migrate", **how: object) -> None:
    """One of the flows, on processes."""
    if flow in OWN:
        OWN[flow](lab)
    else:
        FLOWS[flow](lab, kind="process", **how)  # type: ignore[operator]
