# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that fails in the middle of a switch to shadow rings, or back.

The simulator is told to fail at one step, once.  `there`: the migration has to fail, with the step in
its error; the guest runs and keeps its network, in passthrough, and the next migration passes.  A migration
before it has found out whether the device's queues move (vdpa-quirks.h): a step that fails there costs a
reset only.
`back`: it fails when a migration is cancelled, and stays in shadow mode until the next.  `reset`: it fails
to suspend, or to say where its queues are, when a migration begins and when that is cancelled; both
switches succeed, by a reset.  `for-good`:
the device fails whatever is tried; the guest runs on with its link down, query-vhost-vdpa says why, and
once the device works again `set_link` brings the network back.

No frame may be lost while the link is up: the simulator gives back what it has taken before it is reset.

*Limits*: steps that the simulator can fail (docs/use/vdpa-sim.md); one at a time.
"""

import errno
import time

from qlab import l2, migrate, vdpa, vdpaflow
from qlab.context import Lab
from qlab.scenario import Scenario
from qlab.simdrive import arm, knob, mount_debugfs

SCENARIO = Scenario(
    about="vhost-vdpa: a device that fails in a switch",
    time_limit=240,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=("full", "vdpa"),
    own_binaries=True,
    variants={
        **{f"there-{point}": {"when": "there", "point": point}
           for point in ("set_vq_state", "resume")},
        **{f"back-{point}": {"when": "back", "point": point}
           for point in ("set_vq_state", "resume")},
        **{f"reset-{point}": {"when": "reset", "point": point}
           for point in ("suspend", "get_vq_state")},
        "for-good": {"when": "for-good", "point": "set_vq_state"},
    },
)

RATE = 50  # frames a second


def hits(device: vdpa.Device, point: str) -> int:
    """How often the fault has struck."""
    return int(knob(device.name, f"fault/{point}/hits").read_text("ascii"))


def failed(lab: Lab, guest: l2.Guest, net: vdpa.Net, away: l2.GuestSpec) -> None:
    """A migration that fails where it begins."""
    other = l2.start(lab, away.incoming())
    migrate.begin(lab, guest, other, "unix")
    info = migrate.wait_end(guest, 60)
    lab.log(str(info))
    lab.check(info["status"] == "failed", f"migration: {info}")
    lab.check("vhost-vdpa n0: " in info.get("error-desc", ""), f"no reason: {info}")
    other.kill()


def cancelled(lab: Lab, guest: l2.Guest, away: l2.GuestSpec, device: vdpa.Device, point: str = "",
              times: int = 1) -> None:
    """A migration that is cancelled; the fault at POINT, if any, strikes then."""
    other = l2.start(lab, away.incoming())
    migrate.begin(lab, guest, other, "unix", bandwidth=4 << 20)
    time.sleep(0.5)
    lab.check(vdpaflow.device_info(guest)["mode"] == "shadow", "not in shadow mode")
    if point:
        arm(device.name, point, error=errno.EIO, times=times)
    migrate.cancel(guest)
    other.kill()


def survives(lab: Lab, guest: l2.Guest, net: vdpa.Net, away: l2.GuestSpec, device: vdpa.Device,
             point: str) -> None:
    """There and back; each switch is a reset."""
    arm(device.name, point, error=errno.EIO, times=1)
    cancelled(lab, guest, away, device, point)
    info = vdpaflow.awake(lab, guest, "cancelled")
    lab.log(str(info))
    net.flows(lab, "after the faults", frames=20)
    lab.check(info["state"] == "driver-ok" and info["mode"] == "passthrough", f"device: {info}")
    lab.check(info["switches"] == info["switch-resets"] == 2
              and not info["switches-failed"], f"switches: {info}")


def works(lab: Lab, guest: l2.Guest, net: vdpa.Net, mode: str, why: str) -> None:
    """The guest runs and has its network."""
    info = vdpaflow.awake(lab, guest, "the fault")
    lab.log(str(info))
    net.flows(lab, "after the fault", frames=20)
    lab.check(info["state"] == "driver-ok" and info["mode"] == mode, f"device: {info}")
    lab.check(info["reason"] == why, f"not for '{why}': {info}")
    lab.check(info["switches-failed"] == 1, f"failed switches: {info}")
    lab.check(guest.status() == "running", f"the guest is {guest.status()}")


def run(lab: Lab, when: str, point: str) -> None:
    """One fault; then a migration as usual."""
    devices = vdpa.Simulators(lab)
    mount_debugfs()
    one, two = devices.add(), devices.add()
    how = {"load_mb": 32}
    guest = l2.start(lab, vdpaflow.destination(lab, one, one.mac, lab.qemu, **how))
    away = vdpaflow.destination(lab, two, one.mac, lab.qemu, **how)
    guest.wait_ready()
    guest.payload.start(rate=200)
    net = vdpa.Net(guest.payload)
    net.up()
    net.start(rate=RATE)
    net.flows(lab, "at first")
    dropped = 0
    if when == "there":
        cancelled(lab, guest, away, one)
        vdpaflow.awake(lab, guest, "cancelled")
        arm(one.name, point, error=errno.EIO, times=1)
        failed(lab, guest, net, away)
        works(lab, guest, net, "passthrough", "no migration")
    elif when == "back":
        cancelled(lab, guest, away, one, point)
        works(lab, guest, net, "shadow", "the switch back failed")
    elif when == "reset":
        survives(lab, guest, net, away, one, point)
    else:
        dropped = broken(lab, guest, net, away, one, point)
    lab.check(hits(one, point) > 0, "the fault did not strike")
    net.stop()
    found = net.settle()
    lab.figures["frames"] = found
    lab.check(found["lost"] == dropped and not found["duplicate"] and not found["corrupt"],
              f"frames: {found}, dropped {dropped}")
    guest.payload.stop()
    net.start(rate=RATE)
    guest = vdpaflow.hop(lab, guest, net, away)
    guest.payload.stop()
    lab.check(guest.payload.verify().clean, "memory")


def broken(lab: Lab, guest: l2.Guest, net: vdpa.Net, away: l2.GuestSpec, device: vdpa.Device,
           point: str) -> int:
    """It cannot be launched again either; until it works again.  Frames lost with the link down."""
    arm(device.name, point, error=errno.EIO, times=-1)
    failed(lab, guest, net, away)
    vdpaflow.trouble(lab, guest, "")
    net.stop()
    net.link("down")
    arm(device.name, point, times=0)
    guest.qmp.cmd("set_link", {"name": "n0", "up": True})
    net.link("up")
    dropped = net.settle()["lost"]
    net.start(rate=RATE)
    net.flows(lab, "the device works again")
    return dropped
