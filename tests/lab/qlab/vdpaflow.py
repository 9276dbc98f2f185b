# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks and actions on one guest with a vDPA network device.

Theory of operation
===================

Numbered frames go round through the guest's device, and the guest counts them: each has to come back once,
unchanged.  The guest sends them only after its driver has seen the link come up: before that, its kernel
drops them (a failure's `tx` then counts fewer than `sent`).

vdpasteps.py composes these functions into the steps of a scenario; scenarios with a flow of their own call
them.  A function that checks something fails the scenario with what it expected and what it found.

*Limits*: the device stands for the network.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from . import l2, migrate as migration, vdpa, vduse
from .context import Lab
from .qmpnames import QUERY_VHOST_VDPA

KINDS: dict[str, type[vdpa.Devices]] = {"simulator": vdpa.Simulators, "process": vduse.Processes}

#: QEMU's arguments for a guest's IOMMU, and the guest kernel's parameters: the IOMMU `translates` each
#: buffer, or `passes` all of guest memory; a `virtio` one translates, too.
INTEL = ("-machine", "q35", "-device", "intel-iommu,caching-mode=on,intremap=off")
VIOMMU_WORDS = {"translates": INTEL, "passes": INTEL,
                "virtio": ("-machine", "q35", "-device", "virtio-iommu-pci")}
VIOMMU = {"translates": "intel_iommu=on iommu=nopt iommu.strict=1",
          "passes": "intel_iommu=on iommu=pt", "virtio": "iommu=nopt iommu.strict=1"}

RATE = 50  # frames per second
ACKNOWLEDGED = "virtio_net_handle_announce"  # a trace event of QEMU's virtio-net
FRAMES = 40  # frames to receive while a migration is held up
BEGIN = 1 << 20  # bytes per second: slow, so that the migration is still running when it is held up
DOWNTIME_MS = 3000  # with a higher limit, QEMU would stop the guest at once and then send all of RAM


def make_devices(lab: Lab, kind: type[vdpa.Devices], viommu: str = "") -> vdpa.Devices:
    """Devices of that kind.  Where the guest's IOMMU maps buffer by buffer, the simulator maps in single
    calls, because batch mapping copies all maps each time."""
    if viommu in ("translates", "virtio"):
        return vdpa.Simulators(lab, vdpa_sim="batch_mapping=0")
    return kind(lab)


def traffic(lab: Lab, devices: vdpa.Devices, net: vdpa.Net, what: str, rate: int = 0) -> None:
    """Send frames, wait until they are back, and fail if one is missing, duplicate or changed."""
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
        net.start(rate=20)      # if only a notification is missing, these frames bring the others along
        net.flows(lab, what, frames=5)
        net.stop()
        lab.log(f"with some more: {net.settle()}")
    lab.check(not new["lost"] and not new["duplicate"] and not new["corrupt"],
              f"{what}: {new}")


def device_info(guest: l2.Guest) -> dict[str, Any]:
    """query-vhost-vdpa of the guest's only device."""
    info: dict[str, Any] = guest.qmp.cmd(QUERY_VHOST_VDPA)[0]
    return info


def wait_error(lab: Lab, guest: l2.Guest, words: str) -> None:
    """Wait until the device reports an error, in QMP and on stderr, with WORDS in it; it must not be
    started, and the guest must run."""
    deadline = time.monotonic() + 60
    while not (info := device_info(guest)).get("last-error"):
        lab.check(time.monotonic() < deadline, f"no error is reported: {info}")
        time.sleep(0.1)
    error = str(info["last-error"])
    lab.log(error)
    lab.check(words in error and words in guest.stderr(),
              f"expected an error with '{words}', got '{error}'; {guest.stderr()}")
    lab.check(info["state"] != "driver-ok", f"the device is started: {info}")
    lab.check(guest.status() == "running", f"the guest is {guest.status()}")


def check_viommu(lab: Lab, guest: l2.Guest, viommu: str) -> None:
    """Check that the device sees some buffers if the guest's IOMMU translates, else all of guest memory."""
    info = device_info(guest)
    lab.log(f"{guest.name}: {info}")
    lab.figures["pinned"] = info["mapped"]
    some = int(info["mapped"]) < guest.spec.mem << 19  # half of guest memory
    lab.check(some == (viommu != "passes"), f"the IOMMU does not do what the variant asks for: {info}")


def wait_mapped(lab: Lab, guest: l2.Guest, what: str) -> dict[str, Any]:
    """Wait until the device does not wait for memory to be mapped; query-vhost-vdpa."""
    deadline = time.monotonic() + 20
    while (info := device_info(guest))["waiting"]:
        lab.check(time.monotonic() < deadline, f"{what}: memory is not mapped: {info}")
        time.sleep(0.05)
    return info


def guest_spec(lab: Lab, device: vdpa.Device, mac: str, qemu: Path, **how: Any) -> l2.GuestSpec:
    """A guest on DEVICE whose command line has the address MAC; HOW are Boot's and GuestSpec's fields."""
    svq = bool(how.pop("svq", False))
    mtu = how.pop("mtu", 0)
    viommu = str(how.pop("viommu", ""))
    props = {"host_mtu": str(mtu)} if mtu else {}
    if viommu:
        props["iommu_platform"] = "on"
        how["append"] = f"{how.get('append', '')} {VIOMMU[viommu]}"
    words = tuple(word.replace(device.mac, mac) for word in vdpa.words(device, svq, **props))
    more = tuple(how.pop("extra", ()))
    return vdpa.spec(lab, device, qemu=qemu,
                     extra=(*VIOMMU_WORDS.get(viommu, ()), *words, *more), **how)


def check_passthrough(lab: Lab, guest: l2.Guest, net: vdpa.Net, what: str, suspends: bool) -> dict[str, Any]:
    """After a migration that did not complete: check that the device is back in passthrough, that frames
    flow, and that each switch cost no reset and no map if the device suspends, else one reset."""
    after = wait_mapped(lab, guest, what)
    net.flows(lab, what, frames=5)
    lab.check(after["mode"] == "passthrough" and after["state"] == "driver-ok",
              f"after {what}: {after}")
    resets = 0 if suspends else after["switches"]
    lab.check(after["switch-resets"] == resets and bool(after["switch-messages"]) != suspends,
              f"after {what}: resets or messages during switches: {after}")
    return after


def wait_announced(lab: Lab, guest: l2.Guest) -> None:
    """Wait until QEMU has answered the guest's VIRTIO_NET_CTRL_ANNOUNCE_ACK while the device waits for
    memory.  Until then the guest's driver spins on its only CPU, so the payload answers only afterwards."""
    begin = time.monotonic()
    while ACKNOWLEDGED not in guest.stderr():
        lab.check(time.monotonic() < begin + 20, "the guest's acknowledgement is not answered")
        time.sleep(0.05)
    guest.payload.catch_up()
    vdpa.Net(guest.payload).ask("queues 0")
    lab.figures["announced_s"] = round(time.monotonic() - begin, 1)


def hold_up(lab: Lab, source: l2.Guest, net: vdpa.Net, frames: int = FRAMES) -> None:
    """Hold a migration up after all of RAM has been sent, until FRAMES have come through the shadow rings.

    The payload leaves these frames in the pages that the device wrote them to, and looks at them at the
    destination after Net.release().  Only the shadow ring can report that such a page is dirty.  The guest's
    CPU writes the frames that it sends into pages that are receive buffers next; so nothing is sent
    during two syncs, and what the CPU wrote has been migrated when the device writes there.
    """
    net.flows(lab, "the switch", frames=5)
    net.stop()
    migration.limits(source, 16 << 20, 1)
    lab.check(migration.wait_syncs(source, 3, 90), "the migration ended too early")
    migration.limits(source, 1 << 20, 1)
    net.start(rate=RATE)
    net.hold(lab, frames)


def check_frames(lab: Lab, found: dict[str, int], dropped: int) -> None:
    """Check that no frame came twice or changed, and that none is missing but what the devices DROPPED
    because they had no receive buffer."""
    lab.figures["frames"] = found
    lab.figures["dropped"] = dropped
    lab.check(not found["duplicate"] and not found["corrupt"], f"frames: {found}")
    lab.check(found["lost"] <= dropped, f"frames lost: {found}, dropped by devices: {dropped}")
