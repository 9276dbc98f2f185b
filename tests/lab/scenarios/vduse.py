# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's network device on a vDPA device that is a process (vduse), on Debian's own modules.

What vdpa-boot, vdpa-migrate and vdpa-plug/reset do on the simulator, on a device whose kernel side and rings
are not ours (qlab/vduse.py).  The device cannot suspend, so each switch resets it; it may lose no frames but
those that it counts as dropped.  Its ring code also reports a ring that continues at another index than the
one where it stopped.  `busy` cancels with as many frames under way as the guest can have.  `boot-stock` and
`stock` have the base's own QEMU on the device: what fails there, too, is no fault of the backend.

`narrow`: QEMU must refuse a device whose queues are smaller than the guest's, and say so.
`private`: a process cannot see guest memory that is not shared, and the kernel does not report that; QEMU
must refuse the device and say what to do, and the guest runs on with its link down.
`dies`: the process is killed; QEMU has to answer again after the kernel has given the device up, report it,
and leave the guest running.  `limits`: what that kernel refuses.

*Limits*: one queue pair, no control queue: that kernel allows no more.
"""

import time
from collections.abc import Callable

from qlab import l2, vdpa, vdpaflow, vdpasteps, vduse
from qlab.context import Lab
from qlab.scenario import Scenario
from qlab.vdpasteps import (
    CANCEL, MIGRATE, MIGRATE_FROM_STOCK, RESET, Boot, BootOne, CheckPassthrough, Steps, Traffic, boot_steps,
    kill_steps, repeat, with_frames)
from qlab.vduse import Processes

TIMEOUT = 2  # seconds that the kernel waits for a process
CANCELLED = (*CANCEL, CheckPassthrough(rings_mapped=True))


def private(lab: Lab) -> None:
    """The guest has memory that a process cannot see."""
    device = vduse.Processes(lab).add()
    guest = l2.start(lab, vdpa.spec(lab, device, ram="anon"))
    guest.wait_ready()
    vdpaflow.wait_error(lab, guest, "memory-backend-memfd,share=on")
    guest.payload.ping()
    guest.quit()


def narrow(lab: Lab) -> None:
    """The device's queues are smaller than those that the guest has made."""
    device = vduse.Processes(lab, queue_size=128).add()
    guest = l2.start(lab, vdpa.spec(lab, device))
    guest.wait_ready()
    vdpaflow.wait_error(lab, guest, "the device allows 128")
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
    devices.set_timeout(device, TIMEOUT)
    devices.kill(device)
    guest.payload.start()
    began = time.monotonic()
    guest.qmp.cmd("stop", timeout=60)
    guest.qmp.cmd("cont", timeout=60)
    lab.figures["blocked_s"] = round(time.monotonic() - began, 1)
    vdpaflow.wait_error(lab, guest, "the device")
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
        lab.check("Invalid argument" in error, f"{what}: {error or 'no error'}")


PROCESSES = Boot(Processes)

SCENARIO = Scenario(
    about="vhost-vdpa on a device in user space: boot, migration, its faults",
    time_limit=600,
    needs=("kvm", "guest-linux", "vduse-net", "ours", "stock"),
    suites=("full", "vdpa"),
    own_binaries=True,
    not_on={"6.1": "has no vduse (--kernel 6.12)"},
    variants={
        "boot": boot_steps(BootOne(Processes)),
        "boot-svq": boot_steps(BootOne(Processes, svq=True), reloads=5),
        "boot-stock": boot_steps(BootOne(Processes, source="stock"), links=()),
        "migrate": with_frames(PROCESSES, repeat(4, MIGRATE)),
        "pages": with_frames(Boot(Processes, mtu=9000), repeat(2, MIGRATE)),
        "svq": with_frames(Boot(Processes, svq=True), repeat(2, MIGRATE)),
        "ring": with_frames(Boot(Processes, ring=4096, mtu=9000), repeat(2, MIGRATE)),
        "busy": with_frames(PROCESSES, repeat(5, CANCELLED), MIGRATE, rate=0),
        "cancel": with_frames(PROCESSES, repeat(5, CANCELLED), MIGRATE),
        "cancel-many": with_frames(PROCESSES, repeat(50, CANCELLED), MIGRATE),
        "killed": with_frames(PROCESSES, kill_steps(10), MIGRATE),
        "to-stock": with_frames(Boot(Processes, peer="stock"), MIGRATE),
        "from-stock": with_frames(Boot(Processes, source="stock"), MIGRATE_FROM_STOCK),
        "stock": with_frames(Boot(Processes, source="stock", peer="stock"), MIGRATE_FROM_STOCK),
        "many": with_frames(PROCESSES, repeat(20, MIGRATE)),
        "reset": {"steps": (Boot(Processes), Traffic("at first"), *RESET)},
        "private": {"flow": private},
        "narrow": {"flow": narrow},
        "dies": {"flow": dies},
        "limits": {"flow": limits},
    },
)


def run(lab: Lab, steps: Steps = (), flow: Callable[[Lab], None] | None = None) -> None:
    """The variant's steps, or its own flow."""
    if flow:
        flow(lab)
    else:
        vdpasteps.run(lab, steps)
