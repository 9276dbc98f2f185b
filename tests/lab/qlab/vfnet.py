# SPDX-License-Identifier: GPL-2.0-or-later
"""A PCI function that is a nested machine's NIC, and one that sends back what arrives.

    as_interfaces(lab, outer, a, b)     two functions under virtio_vdpa: traffic, interrupts, carrier
    nested(lab, qemu, guest, host)      a nested machine on GUEST; numbered frames go round by way of HOST
    tap_on(vf)                          a packet socket on a function under virtio_vdpa
    pinned()                            how much memory a process has pinned

*Limits*: one queue pair; one such NIC at a time.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import l2, vdpa
from .context import Lab
from .netns import namespace, ping, tcp_digest, udp_both_ways
from .outer import Outer
from .vf import Vf, tool, wait_for

ETHERTYPE = 0x88b5  # for local experiments
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
MEM = 192


def as_interfaces(lab: Lab, outer: Outer, one: Vf, other: Vf) -> None:
    """Two functions as interfaces of the host: contents are checked, and what interrupts."""
    with namespace(1, one.interface()) as first, namespace(2, other.interface()) as second:
        ping(lab, first, 2)
        udp_both_ways(lab, first, second)
        lab.figures["tcp_mib_s"] = round(tcp_digest(lab, first, second), 2)
        for vf in (one, other):
            counts = vf.interrupts()
            lab.log(f"{vf.name}: {counts}")
            lab.check(set(counts) == {"0", "1", "2", "config"}, f"vectors: {counts}")
            lab.check(counts["0"] > 0, f"no receive interrupt: {counts}")
        tool("ip", "-n", first, "link", "set", "eth0", "down")
        before = other.interrupts()["config"]
        outer.cmd("set_link", name=f"vf{other.number}", up=False)
        wait_for("carrier to go", lambda: "NO-CARRIER" in tool("ip", "-n", second, "link", "show", "eth0"))
        lab.check(other.interrupts()["config"] > before, "no configuration interrupt")
        outer.cmd("set_link", name=f"vf{other.number}", up=True)


def pinned(status: Path = Path("/proc/self/status")) -> int:
    """KiB that a process has pinned, this one by default."""
    for line in status.read_text("ascii").splitlines():
        if line.startswith("VmPin:"):
            return int(line.split()[1])
    return 0


def tap_on(vf: Vf) -> socket.socket:
    """A packet socket on the VF's interface, for our frames alone."""
    interface = vf.interface()
    tool("ip", "link", "set", interface, "up")
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
    tap.bind((interface, ETHERTYPE))
    tap.settimeout(20)
    return tap


@contextmanager
def echo(vf: Vf) -> Iterator[Callable[[], int]]:
    """All that arrives at the VF's interface goes back as it is; how much that was so far."""
    tap = tap_on(vf)
    for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):  # all that the guest has under way
        tap.setsockopt(socket.SOL_SOCKET, option, 1 << 22)
    shared = mmap.mmap(-1, mmap.PAGESIZE)
    child = os.fork()
    if child == 0:
        try:
            tap.settimeout(None)
            while True:
                data, sender = tap.recvfrom(2048)
                if sender[2] != socket.PACKET_OUTGOING:
                    tap.send(data)
                    struct.pack_into("<Q", shared, 0, struct.unpack_from("<Q", shared)[0] + 1)
        finally:
            os._exit(1)
    try:
        yield lambda: int(struct.unpack_from("<Q", shared)[0])
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        tap.close()


def some_frames(lab: Lab, net: vdpa.Net, what: str, frames: int) -> dict[str, int]:
    """Frames out of the guest and back; the counters then."""
    net.start()
    net.flows(lab, what, frames=frames)
    net.stop()
    return net.settle()


def rounds(lab: Lab, net: vdpa.Net, what: str) -> None:
    """Frames out of the guest and back; none may be missing, twice there or changed."""
    before = net.stat()
    after = some_frames(lab, net, what, 200)
    new = {key: after[key] - before[key]
           for key in ("sent", "received", "lost", "duplicate", "corrupt")}
    lab.figures[what] = new
    lab.check(not new["lost"] and not new["duplicate"] and not new["corrupt"], f"{what}: {new}")


def vhost_node(vf: Vf, mac: str) -> vdpa.Device:
    """The VF's vDPA device, for a nested machine."""
    vf.bind_to("vhost_vdpa")
    node: Path = wait_for("vhost device", lambda: next(vf.vdpa.glob("vhost-vdpa-*"), None))
    device = vdpa.Device(vf.name, Path("/dev", node.name), mac, 1)
    wait_for(str(device.node), device.node.exists)
    return device


def nested(lab: Lab, qemu: Path, guest: Vf, host: Vf, stops: bool = True) -> None:
    """A nested machine has a function; what it sends comes back from the other one.

    STOPS: its vCPUs are stopped and go on, for which the device has to take positions of queues.
    """
    host.add()
    guest.add()
    device = vhost_node(guest, guest.mac)
    with echo(host) as echoed:
        machine = l2.start(lab, vdpa.spec(lab, device, qemu=qemu))
        lab.figures["ready_s"] = round(machine.wait_ready(), 1)
        net = vdpa.Net(machine.payload)
        lab.check(net.up() == guest.mac, "the guest has another MAC address than the function")
        rounds(lab, net, "boot")
        lab.check(echoed() > 0, "the guest's frames did not come by way of the other function")
        kib = pinned(Path("/proc", str(machine.process.pid), "status"))
        lab.figures["pinned_kib"] = kib
        lab.check(kib >= MEM << 10, f"{kib} KiB of the guest's memory are pinned")
        if stops:
            machine.qmp.cmd("stop")
            machine.qmp.cmd("cont")
            rounds(lab, net, "stop and cont")
        net.ask("unload")
        net.ask("load")
        net.ask("rebind")
        # Linux itself drops what is sent before it has seen the carrier.
        some_frames(lab, net, "driver reload", 20)
        rounds(lab, net, "driver reload")
        machine.quit()
    guest.delete()
    host.delete()
