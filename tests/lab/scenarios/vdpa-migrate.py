# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest migrates between two vDPA devices while numbered frames go round.

Each hop starts a destination on the other device, migrates, lets the guest run there, and
looks at every frame: none may come back twice or changed, and none may be missing once the
traffic has settled; the simulator drops nothing as long as its receive queue has buffers.
The memory oracle is on.  `cancel` cancels again and again; after each time the device must be
back in passthrough, without a reset, with traffic flowing.  `to-stock` and `from-stock` have
the base's own QEMU at the other end.

*Limits*: the simulator stands for the network; downtimes in an emulated machine are for
comparing only.
"""

import time
from pathlib import Path

from qlab import l2, migrate, vdpa
from qlab.context import Lab
from qlab.qmp import QmpError
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="vhost-vdpa: live migration, there and back, with traffic",
    time_limit=600,
    needs=("kvm", "guest-linux", "kernel-modules", "ours", "stock"),
    suites=("full",),
    own_binaries=True,
    variants={
        "": {"hops": 4},
        "many": {"hops": 20},
        "svq": {"hops": 2, "svq": True},
        "mq": {"hops": 2, "pairs": 2, "cpus": 2},
        "ring": {"hops": 2, "ring": 4096},
        "cancel": {"hops": 1, "cancels": 5},
        "cancel-many": {"hops": 1, "cancels": 50},
        "to-stock": {"hops": 1, "peer": "stock"},
        "from-stock": {"hops": 1, "source": "stock"},
    },
)

RATE = 50  # frames a second
DOWNTIME_MS = 1000  # more, and all of RAM would be sent while the guest stands still


def device_info(guest: l2.Guest) -> dict[str, object]:
    """query-vhost-vdpa of the one device."""
    info: dict[str, object] = guest.qmp.cmd("query-vhost-vdpa")[0]
    return info


def destination(lab: Lab, device: vdpa.Device, mac: str, qemu: Path,
                **how: object) -> l2.GuestSpec:
    """A guest for another device, with the address that the guest knows."""
    svq = bool(how.pop("svq", False))
    words = tuple(word.replace(device.mac, mac) for word in vdpa.words(device, svq))
    return vdpa.spec(lab, device, qemu=qemu, extra=words, **how)


def cancel(lab: Lab, guest: l2.Guest, net: vdpa.Net, spec: l2.GuestSpec, number: int) -> None:
    """Begin a migration, cancel it, and look at the device."""
    other = l2.start(lab, spec.incoming())
    migrate.begin(lab, guest, other, "unix", bandwidth=4 << 20)
    time.sleep(0.5)
    during = device_info(guest)
    net.flows(lab, f"migration {number}", frames=5)
    migrate.cancel(guest)
    other.kill()
    after = device_info(guest)
    net.flows(lab, f"cancel {number}", frames=5)
    lab.check(during["mode"] == "shadow", f"while migrating: {during}")
    lab.check(after["mode"] == "passthrough", f"after cancel: {after}")
    lab.check(not after["switch-resets"] and not after["switch-messages"],
              f"a switch cost resets or maps: {after}")


def hop(lab: Lab, source: l2.Guest, spec: l2.GuestSpec) -> l2.Guest:
    """Migrate; the guest runs at the destination."""
    other = l2.start(lab, spec.incoming())
    where = migrate.address(lab, "unix")
    other.qmp.cmd("migrate-incoming", migrate.channel(where))
    migrate.limits(source, migrate.FAST, DOWNTIME_MS)
    try:
        source.qmp.cmd("migrate", migrate.channel(where))
    except QmpError as err:
        if source.spec.qemu == lab.stock and "SVQ Invalid device feature" in str(err):
            lab.skip(f"the base cannot migrate this device: {err}")
        raise
    info = migrate.wait_end(source, 90)
    lab.check(info.get("status") == "completed", f"migration: {info}")
    migrate.settled(other)
    lab.figures.setdefault("downtime_ms", []).append(info.get("downtime"))
    other.qmp.cmd("cont")
    other.payload.catch_up()
    source.kill()
    return other


def run(lab: Lab, hops: int, svq: bool = False, pairs: int = 1, cpus: int = 1, ring: int = 0,
        cancels: int = 0, source: str = "ours", peer: str = "ours") -> None:
    """Hop to and fro."""
    binary = {"ours": lab.qemu, "stock": lab.stock}
    simulators = vdpa.Simulators(lab)
    devices = [simulators.add(pairs), simulators.add(pairs)]
    mac = devices[0].mac
    how = {"svq": svq, "cpus": cpus, "ring": ring, "load_mb": 32}
    guest = l2.start(lab, destination(lab, devices[0], mac, binary[source], **how))
    guest.wait_ready(120)
    net = vdpa.Net(guest.payload)
    net.up()
    if pairs > 1:
        net.ask(f"queues {pairs}")
    net.start(rate=RATE)
    net.flows(lab, "at first")
    for number in range(cancels):
        cancel(lab, guest, net, destination(lab, devices[1], mac, lab.qemu, **how), number)
        lab.figures["cancelled"] = number + 1
    guest.payload.start(rate=200)
    for number in range(hops):
        spec = destination(lab, devices[(number + 1) % 2], mac, binary[peer], **how)
        guest = hop(lab, guest, spec)
        net = vdpa.Net(guest.payload)
        net.flows(lab, f"hop {number}")
        lab.figures["hops"] = number + 1
    net.stop()
    guest.payload.stop()
    found = net.settle()
    lab.figures["frames"] = found
    lab.check(not found["duplicate"] and not found["corrupt"], f"frames: {found}")
    lab.check(not found["lost"], f"frames lost: {found}")
    verified = guest.payload.verify()
    lab.check(verified.clean, f"memory: {verified}")
    guest.quit()
