# SPDX-License-Identifier: GPL-2.0-or-later
"""vhost-vdpa on devices that do not behave as the simulator does.

The device is the simulator; a library in the nested QEMU (preload/odd-vdpa.c) makes it odd.

`groups`   its groups are fixed, and the guest's driver has not agreed on multiqueue, so the control
           queue is among the data queues: all queues are shadowed, the guest has its network, and
           migrates.
`deaf`     it passes over what it is told while it is suspended: that is noticed when the first
           migration begins, and it is reset instead, then and later.
`mute`     it never interrupts. A guest that is stopped and goes on is interrupted once by QEMU,
           which has to make up for an interrupt that the device did not get round to.

*Limits*: frames that a reset may cost are not counted for `deaf`.
"""

import time
from dataclasses import replace

from qlab import l2, migrate, oddvdpa, vdpa, vdpaflow
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="vhost-vdpa: fixed groups, a device deaf while suspended, a lost interrupt",
    time_limit=400,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=("full", "vdpa"),
    own_binaries=True,
    variants={"groups": {"how": "groups=4"}, "deaf": {"how": "deaf"}, "mute": {"how": "mute"}},
)

Spec = l2.GuestSpec


def do_groups(lab: Lab, guest: l2.Guest, net: vdpa.Net, simulators: vdpa.Simulators,
              away: Spec) -> None:
    """Shadowed whatever happens; a migration begins, is cancelled, and is done."""
    def shadowed(who: l2.Guest, what: str) -> None:
        info = vdpaflow.device_info(who)
        kinds = [queue["kind"] for queue in info["queues"]]  # type: ignore[attr-defined]
        lab.check(info["mode"] == "shadow" and kinds == ["shadow", "shadow", "control"]
                  and not info["control-isolated"], f"{what}: {info}")

    shadowed(guest, "at first")
    lab.check("in the data queues' group" in guest.said(), "nothing was said of it")
    for what in ("unload", "load", "rebind"):
        net.ask(what)
    vdpaflow.traffic(lab, simulators, net, "driver reload")
    shadowed(guest, "driver reload")
    net.start(rate=vdpaflow.RATE)
    other = l2.start(lab, away.incoming())
    migrate.begin(lab, guest, other, "unix", bandwidth=4 << 20)
    net.flows(lab, "a migration begins")
    migrate.cancel(guest)
    other.kill()
    shadowed(guest, "cancelled")
    net.flows(lab, "cancelled")
    other = vdpaflow.hop(lab, guest, net, away)
    net = vdpa.Net(other.payload)
    other.payload.stop()
    net.release()
    net.flows(lab, "at the destination")
    net.stop()
    vdpaflow.check_frames(lab, net.settle(), 0)
    shadowed(other, "at the destination")
    other.quit()


def do_deaf(lab: Lab, guest: l2.Guest, net: vdpa.Net, simulators: vdpa.Simulators,
            away: Spec) -> None:
    """Switches to and fro, each by a reset."""
    net.start(rate=vdpaflow.RATE)
    for number in range(2):
        other = l2.start(lab, away.incoming())
        migrate.begin(lab, guest, other, "unix", bandwidth=4 << 20)
        net.flows(lab, f"migration {number} begins")
        lab.check(vdpaflow.device_info(guest)["mode"] == "shadow", "not shadowed")
        migrate.cancel(guest)
        other.kill()
        net.flows(lab, f"migration {number} is cancelled")
    net.stop()
    found = net.settle()
    info = vdpaflow.device_info(guest)
    lab.figures["frames"], lab.figures["device"] = found, info
    lab.check(info["mode"] == "passthrough" and info["switch-resets"] == info["switches"] == 4
              and not info["switches-failed"], f"switches: {info}")
    lab.check(not found["duplicate"] and not found["corrupt"], f"frames: {found}")
    lab.check(guest.said().count("stay where they are") == 1, "it was to be said once")


def do_mute(lab: Lab, guest: l2.Guest, net: vdpa.Net, simulators: vdpa.Simulators,
            away: Spec) -> None:
    """Frames come with the interrupt of QEMU only."""
    net.start(rate=10)
    time.sleep(3)
    before = net.stat()
    time.sleep(2)
    after = net.stat()
    lab.check(after["received"] == before["received"] and after["sent"] > before["sent"],
              f"the device is not mute: {before}, {after}")
    for number in range(3):
        guest.qmp.cmd("stop")
        guest.qmp.cmd("cont")
        deadline = time.monotonic() + 10
        while (now := net.stat())["received"] <= after["received"]:
            lab.check(time.monotonic() < deadline,
                      f"no interrupt when the guest went on, {number}: {now}")
            time.sleep(0.1)
        after = now
        lab.figures.setdefault("received", []).append(now["received"])
        time.sleep(1)
    net.stop()


WHAT = {"groups=4": do_groups, "deaf": do_deaf, "mute": do_mute}


def run(lab: Lab, how: str) -> None:
    """Boot, and then what the variant says."""
    simulators = vdpa.Simulators(lab)
    pairs = 2 if how.startswith("groups") else 1
    one, other = (replace(simulators.add(pairs), pairs=1) for _ in range(2))    # no mq=on
    qemu = oddvdpa.binary(lab, how)
    spec, away = (vdpaflow.destination(lab, device, one.mac, qemu, load_mb=32)
                  for device in (one, other))
    guest = l2.start(lab, spec)
    guest.wait_ready(120)
    net = vdpa.Net(guest.payload)
    net.up()
    if how != "mute":
        vdpaflow.traffic(lab, simulators, net, "at first")
    WHAT[how](lab, guest, net, simulators, away)
    if guest.alive():
        guest.quit()
