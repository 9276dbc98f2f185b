# SPDX-License-Identifier: GPL-2.0-or-later
"""Hotplug, a pinning limit, and a guest reset with a vDPA network device.

`nic`      the device is unplugged and plugged again, the -netdev before the -device and after it; its
           file is free in between, and QEMU has no more descriptors open at the end than after the
           first time.
`memory`   memory is plugged in: a DIMM as usual; one that exceeds the pinning limit, which QEMU reports
           while traffic continues; then one with the limit raised, which must be mapped.
`twice`    a second netdev for the device in use: by its path, by its file descriptor in QEMU, and under
           the same id.  QEMU refuses each, and traffic continues.
`limit`    the guest is started with a pinning limit below its memory: QEMU reports that at once, and once
           more when the driver starts; the link is down, and the guest runs.  With the limit
           raised, set_link brings the link up.
`reset`    the guest is reset, then reset again while a migration is under way, with the rings
           shadowed; then that migration completes.

*Limits*: memory is plugged into a guest in passthrough (while it migrates QEMU refuses that, with
x-svq=on it has not been tried). The guest does not put it to use, so that it is mapped is known
from the kernel's account of pinned pages only.
"""

import os
from pathlib import Path

from qlab import l2, vdpa, vdpaflow, vdparefuse, vdpasteps
from qlab.context import Lab
from qlab.payload import PayloadError
from qlab.qmp import QmpError
from qlab.qmpnames import QUERY_VHOST_VDPA
from qlab.scenario import Scenario
from qlab.vdpasteps import RESET, Boot, Steps, Traffic

SCENARIO = Scenario(
    about="vhost-vdpa: unplugging, memory hotplug, guest reset",
    time_limit=400,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=("full", "vdpa"),
    own_binaries=True,
    variants={
        "nic": {"what": "nic"},
        "twice": {"what": "twice"},
        "memory": {"what": "memory"},
        "limit": {"what": "limit"},
        "reset": {"steps": (Boot(), Traffic("at first"), *RESET)},
    },
)

DIMM = 64 << 20


def devices(guest: l2.Guest) -> list[dict[str, object]]:
    """query-vhost-vdpa."""
    answer: list[dict[str, object]] = guest.qmp.cmd(QUERY_VHOST_VDPA)
    return answer


def descriptors(guest: l2.Guest) -> int:
    """The number of file descriptors that QEMU has open."""
    return len(os.listdir(f"/proc/{guest.process.pid}/fd"))


def unplug(lab: Lab, guest: l2.Guest, device: vdpa.Device, netdev_first: bool) -> None:
    """Remove the NIC and the netdev; then the device's file can be opened."""
    if netdev_first:
        guest.qmp.cmd("netdev_del", {"id": "n0"})
    guest.qmp.cmd("device_del", {"id": "nic"})
    while guest.qmp.wait_event("DEVICE_DELETED", 30)["data"].get("device") != "nic":
        pass
    if not netdev_first:
        guest.qmp.cmd("netdev_del", {"id": "n0"})
    lab.check(not devices(guest), f"it is still there: {devices(guest)}")
    os.close(os.open(device.node, os.O_RDWR))


def plug(guest: l2.Guest, device: vdpa.Device) -> None:
    """As vdpa.words() does on the command line."""
    guest.qmp.cmd("netdev_add", {"type": "vhost-vdpa", "id": "n0", "vhostdev": str(device.node)})
    guest.qmp.cmd("device_add", {"driver": "virtio-net-pci", "netdev": "n0", "id": "nic",
                                 "mac": device.mac, "romfile": "", "disable-legacy": "on"})


def do_nic(lab: Lab, guest: l2.Guest, net: vdpa.Net,
           simulators: vdpa.Simulators) -> None:
    """Unplug and plug."""
    device = simulators.devices[0]
    open_files = []
    for count in range(4):
        unplug(lab, guest, device, bool(count % 2))
        plug(guest, device)
        net.wait_interface(lab)
        vdpaflow.traffic(lab, simulators, net, f"plugged again, {count}")
        open_files.append(descriptors(guest))
    lab.figures["descriptors"] = open_files
    lab.check(open_files[-1] <= open_files[0], f"descriptors: {open_files}")


def descriptor(guest: l2.Guest, device: vdpa.Device) -> int:
    """The number that the device's file has in QEMU."""
    for path in Path(f"/proc/{guest.process.pid}/fd").iterdir():
        if os.readlink(path) == str(device.node):
            return int(path.name)
    raise LookupError(device.node)


def do_twice(lab: Lab, guest: l2.Guest, net: vdpa.Net,
             simulators: vdpa.Simulators) -> None:
    """A device in use is refused."""
    device, number = simulators.devices[0], descriptor(guest, simulators.devices[0])
    second = simulators.add()
    for text, arguments in (
            ("busy", {"id": "n1", "vhostdev": str(device.node)}),
            ("already", {"id": "n1", "vhostfd": str(number)}),
            ("n0", {"id": "n0", "vhostdev": str(second.node)})):
        try:
            guest.qmp.cmd("netdev_add", {"type": "vhost-vdpa", **arguments})
        except QmpError as error:
            reason = str(error)
        else:
            lab.fail(f"{arguments}: not refused")
        lab.log(f"{arguments}: {reason}")
        file = Path(f"/proc/{guest.process.pid}/fd/{number}")
        lab.check(file.is_symlink() and os.readlink(file) == str(device.node),
                  f"{arguments}: the device's file is closed")
        lab.check(text in reason, f"{arguments}: {reason}")
        vdpaflow.traffic(lab, simulators, net, f"refused: {arguments['id']} {text}")
    os.close(os.open(second.node, os.O_RDWR))


def add_memory(guest: l2.Guest, index: int) -> None:
    """One DIMM more."""
    guest.qmp.cmd("object-add", {"qom-type": "memory-backend-ram", "id": f"m{index}",
                                 "size": DIMM})
    guest.qmp.cmd("device_add", {"driver": "pc-dimm", "id": f"dimm{index}",
                                 "memdev": f"m{index}"})


def do_memory(lab: Lab, guest: l2.Guest, net: vdpa.Net,
              simulators: vdpa.Simulators) -> None:
    """Plug memory in, with a limit in the way of some of it."""
    first = guest.pinned()
    add_memory(guest, 0)
    lab.check(guest.pinned() == first + DIMM, f"pinned: {first}, then {guest.pinned()}")
    vdpaflow.traffic(lab, simulators, net, "more memory")
    before = guest.stderr()
    guest.allow_pinning(guest.pinned() + DIMM // 4)
    add_memory(guest, 1)
    lab.check("RLIMIT_MEMLOCK" in guest.stderr()[len(before):], "stderr does not name RLIMIT_MEMLOCK")
    vdpaflow.traffic(lab, simulators, net, "memory that was not mapped")
    guest.allow_pinning()
    second = guest.pinned()
    add_memory(guest, 2)
    lab.check(guest.pinned() == second + DIMM,
              f"with the limit raised: pinned {second}, then {guest.pinned()}")
    vdpaflow.traffic(lab, simulators, net, "memory after that")
    net.ask("unload")
    net.ask("load")
    net.wait_interface(lab)
    vdpaflow.traffic(lab, simulators, net, "all of it")
    lab.figures["pinned"] = [first, second, guest.pinned()]
    lab.check(guest.pinned() == first + 3 * DIMM,
              f"after a reset of the device: pinned {guest.pinned()}, at first {first}")


def do_limit(lab: Lab, guest: l2.Guest, net: vdpa.Net, simulators: vdpa.Simulators) -> None:
    """Memory cannot be pinned from the start."""
    vdpaflow.wait_error(lab, guest, vdparefuse.REASON)
    lab.check(guest.stderr().count(vdparefuse.REASON) >= 2, f"stderr names the limit less than twice: {guest.stderr()}")
    try:
        net.up()
    except PayloadError as error:
        lab.log(f"expected: {error}")
    else:
        lab.fail("the link is up")
    guest.allow_pinning()
    guest.qmp.cmd("set_link", {"name": "n0", "up": True})
    net.up()
    vdpaflow.traffic(lab, simulators, net, "with the limit raised")


WHAT = {"nic": do_nic, "twice": do_twice, "memory": do_memory, "limit": do_limit}


def run(lab: Lab, what: str = "", steps: Steps = ()) -> None:
    """The variant's steps; or boot, and then what the variant says."""
    if steps:
        vdpasteps.run(lab, steps)
        return
    simulators = vdpa.Simulators(lab)
    device = simulators.add()
    more = ("-m", "192M,slots=3,maxmem=1G") if what == "memory" else ()
    guest = l2.start(lab, vdpa.spec(lab, device, load_mb=32,
                                    memlock=vdparefuse.MEMLOCK if what == "limit" else 0,
                                    extra=vdpa.words(device) + more))
    guest.wait_ready(120)
    net = vdpa.Net(guest.payload)
    if what != "limit":
        net.up()
        vdpaflow.traffic(lab, simulators, net, "at first")
    WHAT[what](lab, guest, net, simulators)
    if guest.alive():
        guest.quit()
