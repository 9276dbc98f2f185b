# SPDX-License-Identifier: GPL-2.0-or-later
"""The Intel IFC VF driver on PCI functions that look like one.

Theory of operation
===================

The machine is qlab/vf.py's.  Traffic is made by the VFs themselves: what one sends the other
receives, each under virtio_vdpa, as an interface in a network namespace of its own, behind an IOMMU
that translates.

    net       netlink, probe, interrupts; ping, UDP and TCP with checked contents
    blk       contents through virtio-blk
    vectors   a VF with one and with two vectors
    unplug    unbound, pulled out, deleted: under traffic
    command   pulled out while virtio-net waits for the answer to a control command
    faults    a VF for each lie that a device can tell (hw/virtio/ifcvf-test-faults.c)

*Limits*: what makes virtio-pci wait for ever is not plugged, because the kernel offers a new function
to that first: a capability list that is a loop, a status that never clears.
"""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qlab import vhostvdpa
from qlab.context import Lab
from qlab.genl import Family, text, u64
from qlab.netns import namespace, ping, socket_in, udp_both_ways
from qlab.outer import Outer
from qlab.scenario import DEBUG, Scenario
from qlab.vf import (DEVICES, Vf, disk_keeps, load, mgmt_devices, plugged, run_failing, spare, tool, unplug,
                     wait_for, write)
from qlab.vfnet import as_interfaces

SCENARIO = Scenario(
    about="the Intel IFC VF driver, on a model of the device",
    time_limit=240,
    needs=("kernel-modules", "ifcvf-device"),
    suites=("full", "kernel"),
    own_binaries=True,
    append=f"intel_iommu=on iommu=nopt {DEBUG} iomem=relaxed",
    l1_mem=2048,
    l1_monitor=True,
    l1_devices=DEVICES,
    variants={name: {"part": name}
              for name in ("net", "blk", "vectors", "unplug", "command", "faults")},
)


#: Of <linux/vdpa.h>: commands and attributes, and what the driver cannot do without.
DEV_NEW, MGMT_BUS, MGMT_NAME, DEV_NAME, DEV_FEATURES = 3, 1, 2, 4, 20
NEEDED = vhostvdpa.VERSION_1 | vhostvdpa.ACCESS_PLATFORM


def add_with(vf: Vf, features: int) -> str:
    """Make the vDPA device with these features, which iproute2 6.1 cannot ask for; the errno."""
    with Family("vdpa") as family:
        return family.request(DEV_NEW, [
            (MGMT_BUS, text("pci")), (MGMT_NAME, text(vf.address)), (DEV_NAME, text(vf.name)),
            (DEV_FEATURES, u64(features))]).errno


def provisioned(lab: Lab, vf: Vf) -> None:
    """A device has the features that it was given, and there is one of it."""
    for features in (NEEDED | 1 << 34, NEEDED | 1 << 56, 1 << 5, vhostvdpa.VERSION_1):
        said = add_with(vf, features)
        lab.check(said == "EINVAL", f"dev add with features {features:#x}: {said}")
    lab.log(run_failing("vdpa", "dev", "add", "name", "x", "mgmtdev", f"pci/{vf.address}",
                    "mtu", "1500"))
    said = add_with(vf, NEEDED | 1 << 5)
    lab.check(said == "0", f"dev add with features: {said}")
    lab.log(run_failing("vdpa", "dev", "add", "name", "x", "mgmtdev", f"pci/{vf.address}"))
    bits = (vf.virtio() / "features").read_text("ascii").strip()
    offered = sum(1 << number for number, bit in enumerate(bits) if bit == "1")
    lab.check(offered == NEEDED | 1 << 5, f"features with some provisioned: {offered:#x}")
    vf.delete()
    lab.check(not vf.vdpa.exists(), "the device is there after dev del")


def part_net(lab: Lab) -> None:
    """Two VFs as interfaces of the host, and how they come to be."""
    outer = Outer()
    vfs = [Vf(0), Vf(1)]
    known = mgmt_devices()
    for vf in vfs:
        said = known.get(vf.address)
        lab.check(bool(said), f"{vf.address} is no management device")
        lab.check(said["supported_classes"] == ["net"], f"classes: {said}")
        lab.check(said["max_supported_vqs"] == 3, f"queues: {said}")
    lab.check(known[Vf(2).address]["supported_classes"] == ["block"], "block VF")

    provisioned(lab, vfs[0])

    for vf in vfs:
        vf.add()
        shown = json.loads(tool("vdpa", "-j", "dev", "show", vf.name))["dev"][vf.name]
        lab.check(shown["type"] == "network" and shown["max_vqs"] == 3, f"dev show: {shown}")
    config = json.loads(tool("vdpa", "-j", "dev", "config", "show", "vdpa1"))
    lab.check(config["config"]["vdpa1"]["mac"] == "52:54:00:00:00:11", f"config: {config}")

    as_interfaces(lab, outer, vfs[0], vfs[1])
    for vf in vfs:
        lab.check(vf.next_avail(1) > 0, "live-migration register of the transmit queue")
    for vf in vfs:
        vf.delete()


# Block


def part_blk(lab: Lab) -> None:
    """Contents through virtio-blk on virtio_vdpa, and once more through a new device."""
    disk_keeps(lab, Vf(2))


def part_vectors(lab: Lab) -> None:
    """Short of vectors, queues share; traffic goes on all the same."""
    outer = Outer()
    peer = Vf(0)
    peer.add()
    with namespace(1, peer.interface()) as first:
        for vectors, names in ((1, {"queues"}), (2, {"queues", "config"}),
                               (3, {"queues", "config"}), (4, {"0", "1", "2", "config"})):
            with plugged(outer, vectors=vectors) as vf:
                vf.bind()
                vf.add()
                with namespace(2, vf.interface()) as second:
                    ping(lab, first, 2)
                    udp_both_ways(lab, first, second, 20)
                    counts = vf.interrupts()
                    lab.check(set(counts) == names, f"{vectors} vectors: {counts}")
                    outer.cmd("set_link", name="vf3", up=False)
                    wait_for("carrier to go", lambda name=second: "NO-CARRIER" in tool(
                        "ip", "-n", name, "link", "show", "eth0"))
                    outer.cmd("set_link", name="vf3", up=True)
    peer.delete()


VIRTIO_AUTOPROBE = Path("/sys/bus/virtio/drivers_autoprobe")

#: What is wrong with a VF that the driver can live with; it refuses the others.
LIVES_WITH = ("device-short", "no-vector", "generation")
FAULTS = ("no-common", "no-notify", "no-isr", "no-device", "bar-number", "bar-absent", "cap-len",
          "common-beyond", "common-wraps", "common-short", "common-odd", "isr-empty",
          "device-short", "notify-short", "notify-far", "notify-odd", "notify-off",
          "queues-none", "queues-many", "queue-size-zero", "queue-size-odd", "no-vector",
          "lm-none", "lm-short", "generation")


def live_with(lab: Lab, vf: Vf, fault: str) -> None:
    """Use a VF that has something wrong with it."""
    vf.add()
    start = time.monotonic()
    shown = tool("vdpa", "-j", "dev", "config", "show", vf.name)
    lab.check(time.monotonic() - start < 2, f"{fault}: {time.monotonic() - start:.1f} s to read "
              "the configuration")
    lab.log(f"{fault}: {shown.strip()}")
    vf.delete()


def complaints(vf: Vf) -> list[str]:
    """What the driver said about a function in the kernel's log."""
    return [line for line in tool("dmesg").splitlines() if f"ifcvf {vf.address}: " in line]


def part_faults(lab: Lab) -> None:
    """One VF for each fault: no fault gets further than an error."""
    outer = Outer()
    # virtio-pci gets each of them first.  Its devices are for no driver above it: virtio_net stops the
    # kernel (BUG) at a configuration that is too short.
    write(VIRTIO_AUTOPROBE, "0")
    for fault in FAULTS:
        with plugged(outer, fault=fault) as vf:
            before = complaints(vf)
            try:
                vf.bind()
                taken = True
            except OSError as err:
                said = complaints(vf)
                lab.log(f"{fault}: {err.strerror}: {said[-1:]}")
                lab.check(len(said) > len(before), f"{fault}: refused without a word")
                taken = False
            lab.check(taken == (fault in LIVES_WITH),
                      f"{fault}: {'taken' if taken else 'refused'}")
            if taken:
                live_with(lab, vf, fault)
    write(VIRTIO_AUTOPROBE, "1")
    with plugged(outer) as vf:
        vf.bind()
        vf.add()
        vf.interface()
        vf.delete()
    lab.figures["faults"] = len(FAULTS)


# Unplug


@contextmanager
def traffic(name: str, target: int) -> Iterator[None]:
    """Datagrams without end, from before the body to after it."""
    over = threading.Event()

    def send_on() -> None:
        with socket_in(name, socket.SOCK_DGRAM) as out:
            while not over.is_set():
                try:
                    out.sendto(bytes(1000), (f"10.9.0.{target}", 9))
                except OSError:  # the interface has gone, or its queue is full
                    time.sleep(0.01)

    thread = threading.Thread(target=send_on)
    thread.start()
    try:
        time.sleep(0.3)
        yield
    finally:
        over.set()
        thread.join()


def in_time(lab: Lab, what: str, action: Callable[[], Any], seconds: float = 20.0) -> None:
    """Do something that must not hang; what it raises is raised."""
    raised: list[Exception] = []

    def attempt() -> None:
        try:
            action()
        except Exception as err:  # pylint: disable=broad-except
            raised.append(err)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    hangs = thread.is_alive()
    if hangs:
        for request in ("w", "l"):  # the kernel's log shows who is blocked, and what runs on each CPU
            Path("/proc/sysrq-trigger").write_text(request, "ascii")
    lab.check(not hangs, f"{what}: hangs")
    if raised:
        raise raised[0]


def leave_under_traffic(lab: Lab, peer: Vf, vf: Vf, how: Callable[[], Any], what: str) -> None:
    """A VF that goes while it carries traffic."""
    vf.bind()
    vf.add()
    with namespace(1, peer.interface()) as first, namespace(2, vf.interface()) as second, \
            traffic(first, 2), traffic(second, 1):
        ping(lab, first, 2, 5)
        in_time(lab, what, how)
        wait_for(f"{what}: the vDPA device to go", lambda: not vf.vdpa.exists())
    # Namespaces give their interfaces back; it must be the same one again.
    peer.interface()


def pull_out(outer: Outer, device: str, number: int) -> None:
    """First the hardware is gone, then the host hears of it."""
    outer.set(device, "gone", True)
    time.sleep(0.3)
    unplug(outer, device, number)


def pull_out_in_command(outer: Outer, device: str, number: int) -> None:
    """Between the two, virtio-net sends a control command, which no device answers.

    It spins meanwhile.  CPU 0 has to be free: ACPI handles the event of the device that goes on that CPU only, so
    a driver cannot hear of it otherwise.
    """
    outer.set(device, "gone", True)
    threading.Thread(target=lambda: subprocess.run(
        ["taskset", "-c", "1", "ip", "-n", "ns2", "link", "set", "eth0", "promisc", "on"], check=False),
        daemon=True).start()
    time.sleep(0.5)
    unplug(outer, device, number)


def part_unplug(lab: Lab) -> None:
    """Unbound, deleted, pulled out: under traffic and held open."""
    outer = Outer()
    peer = Vf(0)
    peer.add()
    vf = Vf(1)
    for _ in range(3):
        leave_under_traffic(lab, peer, vf, vf.unbind, "unbind")
    leave_under_traffic(lab, peer, vf, vf.delete, "dev del")
    for gone in (False, True):
        with spare(outer) as third:
            how = pull_out if gone else unplug
            leave_under_traffic(lab, peer, third, lambda h=how: h(outer, "vf3", 3),
                                "pulled out" if gone else "unplugged")
    peer.delete()
    vf.bind()
    vf.add()
    vf.delete()


def part_command(lab: Lab) -> None:
    """Pulled out while a control command waits for its answer."""
    outer = Outer()
    peer = Vf(0)
    peer.add()
    with spare(outer) as third:
        leave_under_traffic(lab, peer, third, lambda: pull_out_in_command(outer, "vf3", 3),
                            "pulled out in a command")
    peer.delete()


PARTS = {"net": part_net, "blk": part_blk, "vectors": part_vectors, "unplug": part_unplug,
         "command": part_command, "faults": part_faults}


def run(lab: Lab, part: str) -> None:
    """One part, on VFs that are bound to the driver."""
    load(lab)
    PARTS[part](lab)
