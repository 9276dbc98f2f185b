# SPDX-License-Identifier: GPL-2.0-or-later
"""What is done to a guest with a vDPA network device, of whichever kind.

Theory of operation
===================

Frames with numbers go round through the guest's device; each must come back once, unchanged.  They
are sent only once the guest's driver knows of its link: before that, the guest's kernel drops
them by itself (in a failure, `tx` then says fewer than `sent`).

boot() does everything to one guest that may happen to a link.  migrate() lets a guest hop between
two devices: each hop starts a destination on the other device, migrates with frames going through
the shadow rings, compares RAM of both sides byte for byte while neither runs, lets the guest run
there, and looks at every frame: none may come back twice or changed, and none may be missing once
the traffic has settled, but for those that a device says it had no receive buffer for.  The
payload verifies its stamps at the end.

A page that only the device wrote to is one that only the shadow ring can report.  So once all of
RAM has been sent, the payload leaves frames in the pages that the device wrote them to, and looks
at them at the destination; and as a guest's driver writes into most receive buffers itself, behind
the frame, an MTU of 9,000 and frames as large make that of those it only reads.

resets() resets a guest, and once more while it migrates, with the rings shadowed; then that
migration completes.

Between the hops, migrations are cancelled, or their destination is killed at a random moment, or
cannot pin the guest's memory (vdparefuse.py; the hops are then to one that could not at first); after
each, the device must be back in passthrough with traffic flowing.  One that suspends must have come
there without a reset and without a map; one that does not, by one reset a switch.

With `viommu` the guest has an IOMMU (intel-iommu), and its driver uses it for the device, which then
sees the guest's IOVAs: single buffers, mapped and unmapped all the time.

*Limits*: the device stands for the network; downtimes in an emulated machine are for comparing
only.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import l2, migrate as migration, oracle, vdpa, vdparefuse, vduse
from .context import Lab
from .qmpnames import QUERY_VHOST_VDPA

KINDS: dict[str, type[vdpa.Devices]] = {"simulator": vdpa.Simulators, "process": vduse.Processes}

#: A guest's IOMMU, and what its kernel is told: `translates` buffer by buffer, or `passes` all.
VIOMMU_WORDS = ("-machine", "q35", "-device", "intel-iommu,caching-mode=on,intremap=off")
VIOMMU = {"translates": "intel_iommu=on iommu=nopt iommu.strict=1",
          "passes": "intel_iommu=on iommu=pt"}

RATE = 50  # frames a second
ACKNOWLEDGED = "virtio_net_handle_announce"  # a trace event of QEMU's model of the device
FRAMES = 40  # seen while a migration is held up
BEGIN = 1 << 20  # bytes a second, or a guest that hears nothing would arrive before that is known
DOWNTIME_MS = 3000  # more, and all of RAM would be sent while the guest stands still


def make_devices(lab: Lab, kind: str, viommu: str = "") -> vdpa.Devices:
    """Of that kind; where buffers are mapped one by one, such as do not copy all maps each time."""
    if viommu == "translates":
        return vdpa.Simulators(lab, vdpa_sim="batch_mapping=0")
    return KINDS[kind](lab)


def traffic(lab: Lab, devices: vdpa.Devices, net: vdpa.Net, what: str, rate: int = 0) -> None:
    """Some frames; none may be missing."""
    before = net.stat()
    net.start(rate=rate)
    net.flows(lab, what, frames=200)
    net.stop()
    found = net.settle()
    new = {key: found[key] - before[key] for key in ("sent", "received", "duplicate",
                                                       "corrupt", "lost", "tx", "rx",
                                                       "link_changes")}
    lab.figures[what] = new
    if new["lost"]:
        lab.log(f"{before['sent']} sent before; {found}")
        lab.log(devices.account())
        net.start(rate=20)      # what only waits for a notification comes with these
        net.flows(lab, what, frames=5)
        net.stop()
        lab.log(f"with some more: {net.settle()}")
    lab.check(not new["lost"] and not new["duplicate"] and not new["corrupt"],
              f"{what}: {new}")


def boot(lab: Lab, kind: str = "simulator", svq: bool = False, pairs: int = 1, cpus: int = 1,
         reloads: int = 1, qemu: str = "ours", viommu: str = "") -> None:
    """Boot, and everything that may happen to a link."""
    devices = make_devices(lab, kind, viommu)
    device = devices.add(pairs, plain=qemu == "stock")
    binary = {"ours": lab.qemu, "stock": lab.stock}[qemu]
    guest = l2.start(lab, destination(lab, device, device.mac, binary, svq=svq, cpus=cpus,
                                      viommu=viommu))
    lab.figures["ready_s"] = round(guest.wait_ready(120 if viommu else 60), 1)
    net = vdpa.Net(guest.payload)
    mac = net.up()
    lab.check(mac == device.mac, f"MAC address {mac}, not {device.mac}")
    if pairs > 1:
        got = net.ask("queues 0")
        lab.check(got["max"] == str(pairs), f"queue pairs: {got}")
        net.ask(f"queues {pairs}")
    traffic(lab, devices, net, "boot")
    names = ("nic", "n0") if qemu == "ours" else ()     # stock QEMU does not tell the guest
    for name in names:              # of the -device, and of the -netdev
        for state in ("down", "up"):
            guest.qmp.cmd("set_link", {"name": name, "up": state == "up"})
            net.link(state)
        traffic(lab, devices, net, f"link of {name}")
    guest.qmp.cmd("stop")
    guest.qmp.cmd("cont")
    traffic(lab, devices, net, "stop and cont")
    for number in range(reloads):
        net.ask("unload")
        net.ask("load")
        net.ask("rebind")
        traffic(lab, devices, net, f"driver reload {number}")
    lab.log(guest.qmp.hmp("info network"))
    if viommu and qemu == "ours":
        check_viommu(lab, guest, viommu)
    guest.quit()
    devices.verify()


def device_info(guest: l2.Guest) -> dict[str, object]:
    """query-vhost-vdpa of the one device."""
    info: dict[str, object] = guest.qmp.cmd(QUERY_VHOST_VDPA)[0]
    return info


def trouble(lab: Lab, guest: l2.Guest, words: str) -> None:
    """The device is in trouble, for a reason with WORDS in it; the guest runs."""
    deadline = time.monotonic() + 60
    while not (info := device_info(guest)).get("last-error"):
        lab.check(time.monotonic() < deadline, f"nobody complains: {info}")
        time.sleep(0.1)
    lab.log(str(info["last-error"]))
    lab.check(words in str(info["last-error"]) and words in guest.said(),
              f"not '{words}': {info['last-error']}; {guest.said()}")
    lab.check(info["state"] != "driver-ok", f"it runs: {info}")
    lab.check(guest.status() == "running", f"the guest is {guest.status()}")


def check_viommu(lab: Lab, guest: l2.Guest, viommu: str) -> None:
    """Whether the device sees what the guest's IOMMU shows it: some buffers, or all memory."""
    info = device_info(guest)
    lab.log(f"{guest.name}: {info}")
    lab.figures["pinned"] = info["mapped"]
    some = int(str(info["mapped"])) < guest.spec.mem << 19  # half of it
    lab.check(some == (viommu == "translates"), f"the IOMMU is not in use as asked: {info}")


def awake(lab: Lab, guest: l2.Guest, what: str) -> dict[str, object]:
    """query-vhost-vdpa, once the device does not wait for memory to be mapped."""
    deadline = time.monotonic() + 20
    while (info := device_info(guest))["waiting"]:
        lab.check(time.monotonic() < deadline, f"{what}: memory is not mapped: {info}")
        time.sleep(0.05)
    return info


def destination(lab: Lab, device: vdpa.Device, mac: str, qemu: Path,
                **how: Any) -> l2.GuestSpec:
    """A guest for another device, with the address that the guest knows."""
    svq = bool(how.pop("svq", False))
    mtu = how.pop("mtu", 0)
    viommu = str(how.pop("viommu", ""))
    props = {"host_mtu": str(mtu)} if mtu else {}
    if viommu:
        props["iommu_platform"] = "on"
        how["append"] = f"{how.get('append', '')} {VIOMMU[viommu]}"
    words = tuple(word.replace(device.mac, mac) for word in vdpa.words(device, svq, **props))
    return vdpa.spec(lab, device, qemu=qemu, extra=(*(VIOMMU_WORDS if viommu else ()), *words),
                     **how)


def in_passthrough(lab: Lab, guest: l2.Guest, net: vdpa.Net, what: str, suspends: bool) -> None:
    """After a migration that did not happen."""
    after = awake(lab, guest, what)
    net.flows(lab, what, frames=5)
    lab.check(after["mode"] == "passthrough" and after["state"] == "driver-ok",
              f"after {what}: {after}")
    resets = 0 if suspends else after["switches"]
    lab.check(after["switch-resets"] == resets and bool(after["switch-messages"]) != suspends,
              f"after {what}: what switches cost: {after}")


def cancel(lab: Lab, guest: l2.Guest, net: vdpa.Net, spec: l2.GuestSpec, number: int,
           suspends: bool, ahead: bool = True) -> None:
    """Begin a migration, cancel it, and look at the device; AHEAD: its rings are mapped before."""
    other = l2.start(lab, spec.incoming())
    before = device_info(guest)
    migration.begin(lab, guest, other, "unix", bandwidth=4 << 20)
    time.sleep(0.5)
    during = device_info(guest)
    net.flows(lab, f"migration {number}", frames=5)
    migration.cancel(guest)
    other.kill()
    lab.check(during["mode"] == "shadow", f"while migrating: {during}")
    in_passthrough(lab, guest, net, f"cancel {number}", suspends)
    after = device_info(guest)
    lab.check(not suspends or not ahead or after["host-buf-maps"] == before["host-buf-maps"],
              f"cancel {number}: rings were mapped in a switch: {before}, {after}")


def kill(lab: Lab, guest: l2.Guest, net: vdpa.Net, spec: l2.GuestSpec, number: int,
         suspends: bool) -> str:
    """Begin a migration and kill the destination at some moment of it; how the source saw it.

    Every other migration is one that can complete, so the moment may be in the switchover, or
    after it: then the source is let go on by hand, as whoever lost a destination would.
    """
    guest.payload.start(rate=200)
    other = l2.start(lab, spec.incoming())
    migration.begin(lab, guest, other, "unix")
    if number % 2:
        migration.limits(guest, migration.SLOW, DOWNTIME_MS)
    time.sleep(random.uniform(0.0, 2.5))
    other.kill()
    status = str(migration.wait_end(guest, 60)["status"])
    lab.check(status in ("failed", "completed"), f"kill {number}: migration {status}")
    if status == "completed":
        guest.qmp.cmd("cont")
    lab.check(guest.status() == "running", f"kill {number}: the source is {guest.status()}")
    in_passthrough(lab, guest, net, f"kill {number}", suspends)
    guest.payload.stop()
    verified = guest.payload.verify()
    lab.check(verified.clean, f"kill {number}: memory: {verified}")
    return status


def announces(lab: Lab, guest: l2.Guest) -> None:
    """The guest acknowledges the announcement of its migration while its device waits for memory.

    Its driver spins until it has the answer, with the lock that network configuration needs, on its
    only CPU; so the payload answers only after that.
    """
    begin = time.monotonic()
    while ACKNOWLEDGED not in guest.said():
        lab.check(time.monotonic() < begin + 20, "the guest's acknowledgement is not answered")
        time.sleep(0.05)
    guest.payload.catch_up()
    vdpa.Net(guest.payload).ask("queues 0")
    lab.figures["announced_s"] = round(time.monotonic() - begin, 1)


def late(lab: Lab, source: l2.Guest, other: l2.Guest) -> None:
    """Go on at the destination while memory still comes; to the end of the migration."""
    source.qmp.cmd("migrate-set-parameters", {"max-postcopy-bandwidth": 1 << 20})
    source.qmp.cmd("migrate-start-postcopy")
    migration.settled(other, 60)
    other.qmp.cmd("trace-event-set-state", {"name": ACKNOWLEDGED, "enable": True})
    other.qmp.cmd("cont")
    announces(lab, other)
    waits = bool(device_info(other)["waiting"])
    comes = migration.query(source)["status"]
    lab.check(comes == "postcopy-active", f"the migration is {comes}")
    lab.check(waits, f"with memory still to come: {device_info(other)}")
    source.qmp.cmd("migrate-set-parameters", {"max-postcopy-bandwidth": 0})
    info = migration.wait_end(source, 90)
    lab.check(info.get("status") == "completed", f"migration: {info}")
    lab.figures["postcopy_requests"] = info.get("ram", {}).get("postcopy-requests")


def hold_up(lab: Lab, source: l2.Guest, net: vdpa.Net) -> None:
    """Hold a migration up once all of RAM has been sent, until frames have come through the shadow
    rings.  They are left where they are, for the payload to look at later: Net.release().

    The guest's CPU writes the frames it sends into pages that are receive buffers next.  Nothing is
    sent during two passes, so what it wrote has been migrated when the device writes there.
    """
    net.flows(lab, "the switch", frames=5)
    net.stop()
    migration.limits(source, 16 << 20, 1)
    lab.check(migration.wait_syncs(source, 3, 90), "the migration ended too early")
    migration.limits(source, 1 << 20, 1)
    net.start(rate=RATE)
    net.hold(lab, FRAMES)


def hop(lab: Lab, source: l2.Guest, net: vdpa.Net, spec: l2.GuestSpec,
        postcopy: str = "") -> l2.Guest:
    """Migrate; the guest runs at the destination, whose payload looks at frames of the source."""
    other = l2.start(lab, spec.incoming())
    if spec.memlock:
        vdparefuse.raised(lab, other)
    if postcopy:
        migration.enable(("postcopy-ram",), source, other)
    source.payload.start()
    migration.begin(lab, source, other, "unix", bandwidth=BEGIN)
    hold_up(lab, source, net)
    if postcopy == "used":
        late(lab, source, other)
        other.payload.catch_up()
        source.kill()
        return other
    migration.limits(source, migration.FAST, DOWNTIME_MS)
    info = migration.wait_end(source, 90)
    lab.check(info.get("status") == "completed", f"migration: {info}")
    migration.settled(other)
    compared = oracle.compare(source, other)
    lab.check(compared.same, f"RAM: {compared}")
    lab.figures.setdefault("downtime_ms", []).append(info.get("downtime"))
    other.qmp.cmd("cont")
    other.payload.catch_up()
    source.kill()
    return other


def reboot(guest: l2.Guest) -> vdpa.Net:
    """Reset the guest and wait for it."""
    guest.qmp.cmd("system_reset")
    guest.payload.wait_ready(240)
    net = vdpa.Net(guest.payload)
    net.up()
    return net


def resets(lab: Lab, made: vdpa.Devices, guest: l2.Guest) -> None:
    """Reset a guest on the first device, then again on its way to another one."""
    guest.qmp.cmd("set-action", {"reboot": "reset"})
    net = reboot(guest)
    traffic(lab, made, net, "after a reset")
    second = made.add()
    spec = destination(lab, second, made.devices[0].mac, lab.qemu, load_mb=32)
    other = l2.start(lab, spec.incoming())
    guest.payload.start(rate=2000)
    migration.begin(lab, guest, other, "unix")
    migration.wait_syncs(guest, 2, 60)
    migration.limits(guest, 1 << 20, 1)
    lab.check(device_info(guest)["mode"] == "shadow", f"migrating: {device_info(guest)}")
    net = reboot(guest)
    lab.check(device_info(guest)["mode"] == "shadow", f"after a reset: {device_info(guest)}")
    traffic(lab, made, net, "after a reset while migrating")
    guest.payload.start(rate=2000)
    info = migration.finish(guest)
    lab.check(info.get("status") == "completed", f"migration: {info}")
    migration.settled(other)
    compared = oracle.compare(guest, other)
    lab.check(compared.same, f"RAM: {compared}")
    other.qmp.cmd("cont")
    other.payload.catch_up()
    guest.kill()
    other.payload.stop()
    traffic(lab, made, vdpa.Net(other.payload), "at the destination")
    verified = other.payload.verify()
    lab.check(verified.clean, f"memory: {verified}")
    other.quit()


def lost_so_far(net: vdpa.Net, rate: int) -> int:
    """Frames that are missing for good, while traffic pauses."""
    net.stop()
    lost = net.settle()["lost"]
    net.start(rate=rate)
    return lost


def check_frames(lab: Lab, found: dict[str, int], dropped: int) -> None:
    """None twice, none changed, none missing but what the devices had no buffer for."""
    lab.figures["frames"] = found
    lab.figures["dropped"] = dropped
    lab.check(not found["duplicate"] and not found["corrupt"], f"frames: {found}")
    lab.check(found["lost"] <= dropped, f"frames lost: {found}, dropped by devices: {dropped}")


def migrate(lab: Lab, hops: int, kind: str = "simulator", svq: bool = False, pairs: int = 1,
            cpus: int = 1, ring: int = 0, cancels: int = 0, kills: int = 0, mtu: int = 0,
            source: str = "ours", peer: str = "ours", rate: int = RATE,
             postcopy: str = "", viommu: str = "", refused: tuple[str, ...] = ()) -> None:
    """Hop to and fro."""
    binary = {"ours": lab.qemu, "stock": lab.stock}
    made = make_devices(lab, kind, viommu)
    devices = [made.add(pairs, "stock" in (source, peer), mtu) for _ in range(2)]
    mac = devices[0].mac
    by_stock = 0
    how = {"svq": svq, "mtu": mtu, "cpus": cpus, "ring": ring, "load_mb": 32, "viommu": viommu,
           "append": "init_on_alloc=0"}  # the kernel is not to write to pages that it gives away
    guest = l2.start(lab, destination(lab, devices[0], mac, binary[source], **how))
    guest.wait_ready(120)
    net = vdpa.Net(guest.payload)
    net.up()
    if pairs > 1:
        net.ask(f"queues {pairs}")
    net.start(rate=rate)
    net.flows(lab, "at first")
    away = destination(lab, devices[1], mac, lab.qemu, **how)
    for number in range(cancels):
        cancel(lab, guest, net, away, number, made.suspends, ahead=not viommu)
        lab.figures["cancelled"] = number + 1
    for number in range(kills):
        ended = kill(lab, guest, net, away, number, made.suspends)
        lab.figures.setdefault("killed", []).append(ended)
    for kind_of in refused:
        vdparefuse.refuse(lab, guest, net, away, kind_of, rate)
        net.flows(lab, f"refused, {kind_of}", frames=5)
        if source == "ours":
            in_passthrough(lab, guest, net, f"refused, {kind_of}", made.suspends)
        else:
            by_stock = lost_so_far(net, rate)
            lab.figures["lost_by_stock"] = by_stock
        lab.figures.setdefault("refused", []).append(kind_of)
    for number in range(hops):
        spec = destination(lab, devices[(number + 1) % 2], mac, binary[peer], **how)
        if refused:
            spec = replace(spec, memlock=vdparefuse.MEMLOCK)
        guest = hop(lab, guest, net, spec, postcopy)
        net = vdpa.Net(guest.payload)
        guest.payload.stop()
        net.release()
        net.flows(lab, f"hop {number}")
        lab.figures["hops"] = number + 1
    net.stop()
    found = net.settle()
    verified = guest.payload.verify()
    lab.check(verified.clean, f"memory: {verified}")
    if viommu and peer == "ours":
        check_viommu(lab, guest, viommu)
    guest.quit()
    made.verify()
    check_frames(lab, found, made.dropped() + by_stock)
