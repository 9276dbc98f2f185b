# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's network device on the vDPA simulator: boot, traffic, reload, link, reset.

Frames with numbers go round through the simulator; each must come back once, unchanged.  They
are sent only once the guest's driver knows of its link: before that, the guest's kernel drops
them by itself (in a failure, `tx` then says fewer than `sent`).

*Limits*: one guest, no migration (vdpa-migrate).
"""

from qlab import l2, vdpa
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="vhost-vdpa: boot, traffic, driver reload, link down and up",
    time_limit=150,
    needs=("kvm", "guest-linux", "kernel-modules"),
    suites=("full",),
    variants={
        "": {},
        "svq": {"svq": True, "reloads": 5},
        "mq": {"pairs": 2, "cpus": 2},
        "mq-svq": {"pairs": 2, "cpus": 2, "svq": True},
    },
)


def traffic(lab: Lab, net: vdpa.Net, what: str, rate: int = 0) -> None:
    """Some frames; none may be missing."""
    before = net.stat()
    net.start(rate=rate)
    net.flows(lab, what, frames=200)
    net.stop()
    found = net.settle()
    new = {key: found[key] - before[key] for key in ("sent", "received", "duplicate",
                                                       "corrupt", "lost", "tx", "rx")}
    lab.figures[what] = new
    lab.check(not new["lost"] and not new["duplicate"] and not new["corrupt"],
              f"{what}: {new}")


def run(lab: Lab, svq: bool = False, pairs: int = 1, cpus: int = 1, reloads: int = 1) -> None:
    """Boot, and everything that may happen to a link."""
    device = vdpa.Simulators(lab).add(pairs)
    guest = l2.start(lab, vdpa.spec(lab, device, svq, cpus=cpus))
    lab.figures["ready_s"] = round(guest.wait_ready(), 1)
    net = vdpa.Net(guest.payload)
    mac = net.up()
    lab.check(mac == device.mac, f"MAC address {mac}, not {device.mac}")
    if pairs > 1:
        got = net.ask("queues 0")
        lab.check(got["max"] == str(pairs), f"queue pairs: {got}")
        net.ask(f"queues {pairs}")
    traffic(lab, net, "boot")
    for name in ("nic", "n0"):      # of the -device, and of the -netdev
        for state in ("down", "up"):
            guest.qmp.cmd("set_link", {"name": name, "up": state == "up"})
            net.link(state)
        traffic(lab, net, f"link of {name}")
    guest.qmp.cmd("stop")
    guest.qmp.cmd("cont")
    traffic(lab, net, "stop and cont")
    for number in range(reloads):
        net.ask("unload")
        net.ask("load")
        net.ask("rebind")
        traffic(lab, net, f"driver reload {number}")
    lab.log(guest.qmp.hmp("info network"))
    guest.quit()
