# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that uses an IOMMU for its vDPA network device is reset, or switches itself off.

The guest is reset while frames go round.  It also switches itself off: its kernel then disables the IOMMU
while the device runs, so all is unmapped at once, and the device sees the guest's own addresses; QEMU
resets the guest afterwards.  Each time the reset machine is held before its first instruction: nothing of what
the guest's IOMMU had mapped may be left.  Then the guest boots, and all frames have to go round.

*Limits*: one queue pair, no migration (vdpa-viommu).
"""

import time

from qlab import l2, vdpa, vdpaflow
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="vhost-vdpa behind the guest's IOMMU: the guest is reset, and switches itself off",
    time_limit=500,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=("full", "vdpa"),
    own_binaries=True,
    variants={
        "": {"viommu": "translates"},
        "svq": {"viommu": "translates", "svq": True},
        "pt": {"viommu": "passes"},
        "virtio": {"viommu": "virtio"},
    },
    not_on={"6.1": {"virtio": "the guest's kernel has no driver for virtio-iommu"}},
)

RESETS = 2
RATE = 20  # frames per second: each is mapped and unmapped


def reset(guest: l2.Guest) -> None:
    """From outside, while the guest runs."""
    guest.qmp.cmd("set-action", {"reboot": "reset"})
    guest.qmp.cmd("stop")
    guest.qmp.cmd("system_reset")


def switch_off(lab: Lab, guest: l2.Guest) -> None:
    """By the guest's kernel, with the device running; then from outside."""
    guest.qmp.cmd("set-action", {"shutdown": "pause"})
    guest.payload.ask("poweroff", "ok")
    deadline = time.monotonic() + 60
    while guest.status() != "shutdown":
        lab.check(time.monotonic() < deadline, f"the guest is {guest.status()}")
        time.sleep(0.1)
    guest.qmp.cmd("system_reset")


def wait_unmapped(lab: Lab, guest: l2.Guest, what: str) -> None:
    """Wait until no guest memory is mapped."""
    deadline = time.monotonic() + 20
    while (info := vdpaflow.device_info(guest))["state"] != "reset" or info["mapped"] or info["ranges"]:
        lab.check(time.monotonic() < deadline, f"{what}: memory is mapped: {info}")
        time.sleep(0.1)


def frames(lab: Lab, net: vdpa.Net, what: str) -> None:
    """Some go round, and none is missing."""
    before = net.stat()["lost"]
    net.start(rate=RATE)
    net.flows(lab, what, frames=20, timeout=120)
    net.stop()
    found = net.settle(20)
    lab.check(found["lost"] == before and not found["duplicate"] and not found["corrupt"],
              f"{what}: {found}")


def run(lab: Lab, viommu: str, svq: bool = False) -> None:
    """Reset the guest and its IOMMU in each way."""
    devices = vdpaflow.make_devices(lab, vdpa.Simulators, viommu)
    device = devices.add()
    guest = l2.start(lab, vdpaflow.guest_spec(lab, device, device.mac, lab.qemu, svq=svq,
                                              viommu=viommu))
    guest.wait_ready(120)
    net = vdpa.Net(guest.payload)
    net.up()
    frames(lab, net, "boot")
    for number in range(RESETS):
        for what in ("reset", "switched off"):
            net.start(rate=RATE)
            net.flows(lab, f"before it is {what}", frames=5, timeout=120)
            lab.check(vdpaflow.device_info(guest)["mapped"] > 0, "nothing is mapped before the reset")
            if what == "reset":
                reset(guest)
            else:
                switch_off(lab, guest)
            wait_unmapped(lab, guest, what)
            guest.qmp.cmd("cont")
            guest.payload.wait_ready(240)
            net = vdpa.Net(guest.payload)
            net.up()
            info = vdpaflow.wait_mapped(lab, guest, what)
            lab.check(info["state"] == "driver-ok", f"{what}: {info}")
            frames(lab, net, f"{what} {number}")
    vdpaflow.check_viommu(lab, guest, viommu)
    lab.check("vhost-vdpa" not in guest.stderr(), f"QEMU says: {guest.stderr()}")
    guest.quit()
    devices.verify()
