# SPDX-License-Identifier: GPL-2.0-or-later
"""A real guest loads its driver while QEMU is out of file descriptors.

The guest has sent frames and unloads its driver.  QEMU may then open N more files, and the guest loads
the driver: for a small N the device cannot be started.  The device has to be reset, the guest has to
see a link that is down, and its control queue has to be answered; query-vhost-vdpa has the reason.
With the limit lifted, `set_link` brings the frames back, or the next load of the driver does.

tests/avocado/startfail.py tries the same with every N, without KVM and without frames.

*Limits*: one queue pair; a device that fails for other reasons is tried there only.
"""

import os
import resource
import subprocess

from qlab import l2, vdpa, vdpaflow
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="vhost-vdpa: the guest's driver is loaded while QEMU has no file descriptors left",
    time_limit=300,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=("full", "vdpa"),
    own_binaries=True,
    variants={"link": {"by_link": True}, "reload": {"by_link": False}},
)

#: How many more files QEMU may open; the last ones are enough for the start.
LEFT = (0, 3, 6, 7, 8, 9, 10, 12, 64)


def limit(guest: l2.Guest, left: int) -> None:
    """Let QEMU open LEFT more files: the limit is about numbers, and some lower ones are free."""
    taken = {int(name) for name in os.listdir(f"/proc/{guest.process.pid}/fd")}
    number = 0
    while left or number in taken:
        left -= number not in taken
        number += 1
    hard = resource.prlimit(guest.process.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(guest.process.pid, resource.RLIMIT_NOFILE, (number, hard))


def unlimit(guest: l2.Guest) -> None:
    """As many as the hard limit says."""
    hard = resource.prlimit(guest.process.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(guest.process.pid, resource.RLIMIT_NOFILE, (hard, hard))


def check_down(lab: Lab, guest: l2.Guest, net: vdpa.Net, left: int) -> None:
    """What the guest and the user see of a start that failed."""
    info = vdpaflow.device_info(guest)
    reason = str(info.get("last-error"))
    lab.check(info["state"] == "reset"
              and ("file descriptors" in reason or "Too many open files" in reason),
              f"{left} left: {info}")
    net.link("down")
    for answer in ("promisc 1", "promisc 0"):       # the control queue
        net.ask(answer)
    net.link("down")


def run(lab: Lab, by_link: bool) -> None:
    """Load the driver again and again, with more and more descriptors."""
    simulators = vdpa.Simulators(lab)
    guest = l2.start(lab, vdpa.spec(lab, simulators.add()))
    guest.wait_ready()
    net = vdpa.Net(guest.payload)
    net.up()
    vdpaflow.traffic(lab, simulators, net, "boot")
    failed = []
    for left in LEFT:
        net.ask("unload")
        limit(guest, left)
        net.ask("load")
        fails = vdpaflow.device_info(guest)["state"] != "driver-ok"
        if fails:
            failed.append(left)
            check_down(lab, guest, net, left)
        unlimit(guest)
        if fails and by_link:
            guest.qmp.cmd("set_link", {"name": "n0", "up": True})
        elif fails:
            net.ask("unload")
            net.ask("load")
        net.ask("rebind")
        vdpaflow.traffic(lab, simulators, net, f"{left} left")
    lab.figures["failed"] = failed
    lab.check(failed[:2] == [0, 3] and 64 not in failed, f"the start failed with {failed} left")
    log = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
    # The kernel says something of this repository's vringh when it is loaded.
    complaints = [line for line in log.splitlines() if "vringh:" in line and "module" not in line]
    lab.check(not complaints, f"the device complains about a ring: {complaints[:3]}")
    guest.quit()
    simulators.verify()
