# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest migrates between two vDPA devices while numbered frames go round.

Each hop starts a destination on the other device, migrates with frames going through the
shadow rings, compares RAM of both sides byte for byte while neither runs, lets the guest run
there, and looks at every frame: none may come back twice or changed, and none may be missing once
the traffic has settled; the simulator drops nothing as long as its receive queue has buffers.  The
payload verifies its stamps at the end.

A page that only the device wrote to is one that only the shadow ring can report.  So once all of
RAM has been sent, the payload leaves frames in the pages that the device wrote them to, and looks
at them at the destination; and as a guest's driver writes into most receive buffers itself, behind
the frame, `ring`, `pages` and `short` have an MTU of 9,000 and frames as large: of those it only reads.
They fail if the device's writes are not reported (seen with a build that did not).

`cancel` cancels again and again, `killed` kills the destination at a random moment; after each
time the device must be back in passthrough, without a reset, with traffic flowing.  `to-stock`
and `from-stock` have the base's own QEMU at the other end.

*Limits*: the simulator stands for the network; downtimes in an emulated machine are for
comparing only.
"""

import random
import time
from pathlib import Path

from qlab import l2, migrate, oracle, vdpa
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="vhost-vdpa: live migration, there and back, with traffic",
    time_limit=600,
    needs=("kvm", "guest-linux", "kernel-modules", "ours", "stock"),
    suites=("full",),
    own_binaries=True,
    variants={
        "": {"hops": 4},
        "pages": {"hops": 2, "mtu": 9000},
        "short": {"hops": 1, "mtu": 9000},
        "many": {"hops": 20},
        "svq": {"hops": 2, "svq": True},
        "mq": {"hops": 2, "pairs": 2, "cpus": 2},
        "ring": {"hops": 2, "ring": 4096, "mtu": 9000},
        "cancel": {"hops": 1, "cancels": 5},
        "cancel-many": {"hops": 1, "cancels": 50},
        "killed": {"hops": 1, "kills": 10},
        "to-stock": {"hops": 1, "peer": "stock"},
        "from-stock": {"hops": 1, "source": "stock"},
    },
    short=("short",),
)

RATE = 50  # frames a second
FRAMES = 40  # seen while a migration is held up
DOWNTIME_MS = 3000  # more, and all of RAM would be sent while the guest stands still


def device_info(guest: l2.Guest) -> dict[str, object]:
    """query-vhost-vdpa of the one device."""
    info: dict[str, object] = guest.qmp.cmd("query-vhost-vdpa")[0]
    return info


def destination(lab: Lab, device: vdpa.Device, mac: str, qemu: Path,
                **how: object) -> l2.GuestSpec:
    """A guest for another device, with the address that the guest knows."""
    svq = bool(how.pop("svq", False))
    mtu = how.pop("mtu", 0)
    props = {"host_mtu": str(mtu)} if mtu else {}
    words = tuple(word.replace(device.mac, mac) for word in vdpa.words(device, svq, **props))
    return vdpa.spec(lab, device, qemu=qemu, extra=words, **how)


def in_passthrough(lab: Lab, guest: l2.Guest, net: vdpa.Net, what: str) -> None:
    """After a migration that did not happen."""
    net.flows(lab, what, frames=5)
    after = device_info(guest)
    lab.check(after["mode"] == "passthrough", f"after {what}: {after}")
    lab.check(not after["switch-resets"] and not after["switch-messages"],
              f"after {what}: a switch cost resets or maps: {after}")


def cancel(lab: Lab, guest: l2.Guest, net: vdpa.Net, spec: l2.GuestSpec, number: int) -> None:
    """Begin a migration, cancel it, and look at the device."""
    other = l2.start(lab, spec.incoming())
    migrate.begin(lab, guest, other, "unix", bandwidth=4 << 20)
    time.sleep(0.5)
    during = device_info(guest)
    net.flows(lab, f"migration {number}", frames=5)
    migrate.cancel(guest)
    other.kill()
    lab.check(during["mode"] == "shadow", f"while migrating: {during}")
    in_passthrough(lab, guest, net, f"cancel {number}")


def kill(lab: Lab, guest: l2.Guest, net: vdpa.Net, spec: l2.GuestSpec, number: int) -> str:
    """Begin a migration and kill the destination at some moment of it; how the source saw it.

    Every other migration is one that can complete, so the moment may be in the switchover, or
    after it: then the source is let go on by hand, as whoever lost a destination would.
    """
    guest.payload.start(rate=200)
    other = l2.start(lab, spec.incoming())
    migrate.begin(lab, guest, other, "unix")
    if number % 2:
        migrate.limits(guest, migrate.SLOW, DOWNTIME_MS)
    time.sleep(random.uniform(0.0, 2.5))
    other.kill()
    status = str(migrate.wait_end(guest, 60)["status"])
    lab.check(status in ("failed", "completed"), f"kill {number}: migration {status}")
    if status == "completed":
        guest.qmp.cmd("cont")
    lab.check(guest.status() == "running", f"kill {number}: the source is {guest.status()}")
    in_passthrough(lab, guest, net, f"kill {number}")
    guest.payload.stop()
    verified = guest.payload.verify()
    lab.check(verified.clean, f"kill {number}: memory: {verified}")
    return status


def hop(lab: Lab, source: l2.Guest, net: vdpa.Net, spec: l2.GuestSpec) -> l2.Guest:
    """Migrate; the guest runs at the destination.

    It is held up once all of RAM has been sent, until frames have come through the shadow rings.
    The destination's payload looks at these.

    The guest's CPU writes the frames it sends into pages that are receive buffers next.  Nothing is
    sent during two passes, so what it wrote has been migrated when the device writes there.
    """
    other = l2.start(lab, spec.incoming())
    source.payload.start()
    migrate.begin(lab, source, other, "unix", bandwidth=16 << 20)
    net.flows(lab, "the switch", frames=5)
    net.stop()
    lab.check(migrate.wait_syncs(source, 3, 90), "the migration ended too early")
    migrate.limits(source, 1 << 20, 1)
    net.start(rate=RATE)
    net.hold(lab, FRAMES)
    migrate.limits(source, migrate.FAST, DOWNTIME_MS)
    info = migrate.wait_end(source, 90)
    lab.check(info.get("status") == "completed", f"migration: {info}")
    migrate.settled(other)
    compared = oracle.compare(source, other)
    lab.check(compared.same, f"RAM: {compared}")
    lab.figures.setdefault("downtime_ms", []).append(info.get("downtime"))
    other.qmp.cmd("cont")
    other.payload.catch_up()
    source.kill()
    return other


def run(lab: Lab, hops: int, svq: bool = False, pairs: int = 1, cpus: int = 1, ring: int = 0,
        cancels: int = 0, kills: int = 0, mtu: int = 0, source: str = "ours",
        peer: str = "ours") -> None:
    """Hop to and fro."""
    binary = {"ours": lab.qemu, "stock": lab.stock}
    simulators = vdpa.Simulators(lab)
    plain = "stock" in (source, peer)
    devices = [simulators.add(pairs, plain, mtu) for _ in range(2)]
    mac = devices[0].mac
    how = {"svq": svq, "mtu": mtu, "cpus": cpus, "ring": ring, "load_mb": 32,
           "append": "init_on_alloc=0"}  # the kernel is not to write to pages that it gives away
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
    for number in range(kills):
        ended = kill(lab, guest, net, destination(lab, devices[1], mac, lab.qemu, **how), number)
        lab.figures.setdefault("killed", []).append(ended)
    for number in range(hops):
        spec = destination(lab, devices[(number + 1) % 2], mac, binary[peer], **how)
        guest = hop(lab, guest, net, spec)
        net = vdpa.Net(guest.payload)
        guest.payload.stop()
        net.release()
        net.flows(lab, f"hop {number}")
        lab.figures["hops"] = number + 1
    net.stop()
    found = net.settle()
    lab.figures["frames"] = found
    lab.check(not found["duplicate"] and not found["corrupt"], f"frames: {found}")
    lab.check(not found["lost"], f"frames lost: {found}")
    verified = guest.payload.verify()
    lab.check(verified.clean, f"memory: {verified}")
    guest.quit()
