# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own virtio-net and virtio-blk on simulated vDPA devices, moving data that is verified.

The simulated NIC hands back what is sent to its own address, to all or to a group.

net      frames of all sizes, one by one different, through each queue pair; UDP through the stack
blk      a whole disk written, read back and compared, by several processes
events   the device's configuration interrupt is seen by the driver
binding  unbound and bound, at both buses and by driver_override, modules reloaded: traffic each time
removal  the device is deleted while traffic runs: the sender gets an error, nothing hangs
resize   rings change their size under traffic, by queue reset

*Limits*: the simulator has no interrupt of its own a queue, so where interrupts go is not seen here.
"""

import array
import fcntl
import functools
import hashlib
import mmap
import os
import random
import select
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from qlab import genl
from qlab.context import Lab
from qlab.scenario import DEBUG, Scenario

SCENARIO = Scenario(
    about="stock virtio drivers on vDPA devices, data verified",
    time_limit=240,
    needs=("kernel-modules",),
    suites=("full", "kernel"),
    append=DEBUG,
    l1_mem=1536,
    own_binaries=True,
    variants={name: {"part": name}
              for name in ("net", "blk", "events", "binding", "removal", "resize")},
    short=("net",),
    not_on={"6.12": {"resize": "virtio_vdpa is that kernel's own, and cannot reset a single queue"}},
)

DEVICES = Path("/sys/bus/vdpa/devices")
DRIVER = Path("/sys/bus/vdpa/drivers/virtio_vdpa")
DEBUG = Path("/sys/kernel/debug")
MAC = bytes.fromhex("525400123456")
MAC_TEXT = ":".join(f"{byte:02x}" for byte in MAC)
#: Ethernet type for experiments (IEEE 802).
TYPE = 0x88b5
WINDOW = 32
MTU = 1500
SIOCETHTOOL, GRINGPARAM, SRINGPARAM = 0x8946, 0x10, 0x11
#: Attributes of a vDPA device to be made, and the features that a resizable NIC needs.
NEW, NAME, MGMT_NAME, MAC_ATTR, FEATURES = 3, 4, 2, 10, 20
RESIZABLE = sum(1 << bit for bit in (5, 16, 32, 33, 40))


def run_tool(*words: str) -> str:
    """Run a program; what it printed."""
    done = subprocess.run(words, text=True, capture_output=True, check=False, timeout=60)
    if done.returncode:
        raise AssertionError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


def wait_for(what: str, ready: Callable[[], object], seconds: float = 20) -> object:
    """What READY says as soon as that is true."""
    until = time.monotonic() + seconds
    while not (found := ready()):
        if time.monotonic() > until:
            raise AssertionError(f"no {what} within {seconds} s")
        time.sleep(0.05)
    return found


def child(name: str, kind: str) -> str:
    """The netdev or disk of a vDPA device."""
    def look() -> str:
        found = sorted(DEVICES.glob(f"{name}/virtio*/{kind}/*"))
        return found[0].name if found else ""
    return str(wait_for(f"{kind} of {name}", look))


def add(name: str, kind: str, *words: str) -> None:
    """Make a vDPA device."""
    run_tool("vdpa", "dev", "add", "name", name, "mgmtdev", f"vdpasim_{kind}", *words)


def delete(name: str) -> None:
    """And delete it."""
    run_tool("vdpa", "dev", "del", name)


def up(name: str) -> str:
    """The device's netdev, up."""
    link = child(name, "net")
    run_tool("ip", "link", "set", link, "up")
    wait_for("carrier", lambda: Path(f"/sys/class/net/{link}/carrier").read_text("ascii")[0] == "1")
    return link


def frame(serial: int, size: int) -> bytes:
    """A frame to ourselves; what is in it depends on both numbers, and its digest is at the end."""
    head = MAC + MAC + struct.pack("!HIH", TYPE, serial, size)
    body = random.Random(serial << 16 | size).randbytes(size - len(head) - 16)
    return head + body + hashlib.md5(head + body).digest()


def is_whole(data: bytes) -> bool:
    """Whether a frame is what frame() makes."""
    return hashlib.md5(data[:-16]).digest() == data[-16:]


def packet_socket(link: str, kind: int) -> socket.socket:
    """A raw socket on a netdev."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(kind))
    raw.bind((link, kind))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    return raw


def loop_frames(link: str, count: int, first: int = 0) -> int:
    """Send frames, get each of them back; bytes that came."""
    total = 0
    with packet_socket(link, TYPE) as raw:
        raw.settimeout(10)
        for start in range(first, first + count, WINDOW):
            serials = range(start, min(start + WINDOW, first + count))
            sent = {frame(serial, 60 + serial * 37 % (MTU - 46 + 1)) for serial in serials}
            for data in sent:
                raw.send(data)
            while sent:
                data = raw.recv(MTU + 100)
                if not is_whole(data):
                    raise AssertionError(f"a frame of {len(data)} bytes is not what was sent")
                if data not in sent:
                    raise AssertionError("a frame came twice, or was never sent")
                sent.remove(data)
                total += len(data)
    return total


def loop_datagrams(link: str, count: int) -> None:
    """UDP from the stack, with its checksum left to the device, back into a raw socket."""
    run_tool("ip", "address", "add", "10.9.8.1/24", "dev", link)
    run_tool("ip", "neighbour", "replace", "10.9.8.2", "lladdr", MAC_TEXT, "dev", link)
    with packet_socket(link, 0x800) as raw, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        raw.settimeout(10)
        for serial in range(count):
            data = random.Random(serial).randbytes(1 + serial * 31 % 1400)
            udp.sendto(data, ("10.9.8.2", 7777))
            while True:
                packet = raw.recv(MTU + 100)
                if packet[23] == socket.IPPROTO_UDP and packet[36:38] == struct.pack("!H", 7777):
                    break
            length = struct.unpack("!H", packet[38:40])[0] - 8
            if packet[42:42 + length] != data:
                raise AssertionError(f"datagram {serial} differs")


def packets(name: str, queue: int) -> int:
    """What the device has counted."""
    import json
    shown = run_tool("vdpa", "-j", "dev", "vstats", "show", name, "qidx", str(queue))
    return int(json.loads(shown)["vstats"][name]["packets"])


def net(lab: Lab) -> None:
    """Frames through each queue pair, datagrams through the stack."""
    cpus = sorted(os.sched_getaffinity(0))
    add("nic", "net", "mac", MAC_TEXT, "max_vqp", str(len(cpus)), "mtu", str(MTU))
    link = up("nic")
    lab.check(Path(f"/sys/class/net/{link}/address").read_text("ascii").strip() == MAC_TEXT,
              "the driver has another MAC address than the device")
    total = 0
    for index, cpu in enumerate(cpus):
        before = packets("nic", 2 * index + 1)
        os.sched_setaffinity(0, {cpu})      # which queue a frame goes to depends on the CPU
        total += loop_frames(link, 1000, 100000 * cpu)
        through = packets("nic", 2 * index + 1) - before
        lab.check(through >= 900, f"{through} of 1000 frames went through queue pair {index}")
    os.sched_setaffinity(0, set(cpus))
    lab.figures["bytes"] = total
    loop_datagrams(link, 300)
    delete("nic")


def pattern(block: int, size: int) -> bytes:
    """What is in a block."""
    return hashlib.sha256(str(block).encode()).digest() * (size // 32)


def disk_part(path: str, first: int, blocks: int, size: int) -> None:
    """Write a part of the disk without cache, read it back."""
    import mmap
    area = mmap.mmap(-1, size)      # page-aligned, as direct I/O wants it
    disk = os.open(path, os.O_RDWR | os.O_DIRECT)
    order = list(range(first, first + blocks))
    random.Random(first).shuffle(order)
    for block in order:
        area[:] = pattern(block, size)
        if os.pwritev(disk, [area], block * size) != size:
            raise AssertionError(f"block {block} was not written")
    os.fsync(disk)
    for block in order:
        area[:] = bytes(size)
        if os.preadv(disk, [area], block * size) != size or area[:] != pattern(block, size):
            raise AssertionError(f"block {block} is not what was written")
    os.close(disk)


def children(acts: list[Callable[[], None]]) -> list[int]:
    """Run them at once, each in a process; their process IDs."""
    pids = []
    for act in acts:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                act()
                status = 0
            except BaseException as err:  # pylint: disable=broad-except
                print(f"child: {type(err).__name__}: {err}", flush=True)
            finally:
                os._exit(status)
        pids.append(pid)
    return pids


def in_children(acts: list[Callable[[], None]]) -> list[int]:
    """Run them at once; their exit statuses."""
    return [os.waitpid(pid, 0)[1] for pid in children(acts)]


def disk_of(name: str) -> tuple[str, int]:
    """The device's disk and its size in bytes."""
    disk = child(name, "block")
    size = 512 * int(Path(f"/sys/block/{disk}/size").read_text("ascii"))
    return f"/dev/{disk}", size


def disk_readable(path: str, size: int, block: int = 65536) -> None:
    """The whole disk still has its pattern."""
    run_tool("sh", "-c", "echo 3 > /proc/sys/vm/drop_caches")
    with open(path, "rb", buffering=0) as disk:
        for number in range(size // block):
            if disk.read(block) != pattern(number, block):
                raise AssertionError(f"block {number} is lost")


def blk(lab: Lab) -> None:
    """A whole disk, four writers; the data outlive the driver."""
    add("disk", "blk")
    path, size = disk_of("disk")
    lab.figures["disk_bytes"] = size
    part = size // 65536 // 4
    ended = in_children([lambda first=first: disk_part(path, first * part, part, 65536)
                         for first in range(4)])
    lab.check(not any(ended), f"writers ended with {ended}")
    disk_readable(path, part * 4 * 65536)
    (DRIVER / "unbind").write_text("disk", "ascii")
    (DRIVER / "bind").write_text("disk", "ascii")
    disk_readable(disk_of("disk")[0], part * 4 * 65536)
    delete("disk")


def events(lab: Lab) -> None:
    """Link down and up by the device; the driver hears of it by interrupt only."""
    if not (DEBUG / "vdpa_sim").exists():
        run_tool("mount", "-t", "debugfs", "none", str(DEBUG))
    add("nic", "net", "mac", MAC_TEXT)
    link = up("nic")
    carrier = Path(f"/sys/class/net/{link}/carrier")
    for _ in range(20):
        for state in "01":
            (DEBUG / "vdpa_sim/nic/link").write_text(state, "ascii")
            wait_for(f"carrier {state}", lambda state=state: carrier.read_text("ascii")[0] == state)
    lab.log(f"{loop_frames(link, 100)} bytes after it")
    delete("nic")


def binding(lab: Lab) -> None:
    """Each way to lose and find a driver."""
    add("nic", "net", "mac", MAC_TEXT)
    override = DEVICES / "nic/driver_override"
    for serial in range(8):
        link = up("nic")
        loop_frames(link, 64, 1000 * serial)
        virtio = next((DEVICES / "nic").glob("virtio*"))
        (virtio / "driver/unbind").write_text(virtio.name, "ascii")     # the virtio driver
        Path("/sys/bus/virtio/drivers/virtio_net/bind").write_text(virtio.name, "ascii")
        loop_frames(up("nic"), 64, 1000 * serial)
        (DRIVER / "unbind").write_text("nic", "ascii")                  # the vDPA driver
        lab.check(not list((DEVICES / "nic").glob("virtio*")), "a virtio device without a driver")
        override.write_text("absent", "ascii")
        lab.check(override.read_text("ascii") == "absent\n", "driver_override reads differently")
        try:
            (DRIVER / "bind").write_text("nic", "ascii")
            lab.fail("bound in spite of driver_override")
        except OSError as err:
            lab.check(err.errno == 19, f"bind against driver_override: {err}")
        override.write_text("virtio_vdpa\n" if serial % 2 else "\n", "ascii")
        (DRIVER / "bind").write_text("nic", "ascii")
    try:
        override.write_text("n" * mmap.PAGESIZE, "ascii")
        lab.fail("an overlong driver_override was taken")
    except OSError as err:
        lab.check(err.errno == 22, f"overlong driver_override: {err}")
    for serial in range(5):
        lab.unload("virtio_vdpa")
        lab.load("virtio_vdpa")
        loop_frames(up("nic"), 64, 1000 * serial)
    lab.unload("vdpa_sim_net")      # with its device bound and up
    lab.check(not list(DEVICES.iterdir()), "devices outlived their module")


def send_for_ever(link: str, begun: Callable[[], object] = lambda: None) -> None:
    """Send until there is no way to send any more; BEGUN is called before the first frame."""
    with packet_socket(link, TYPE) as raw:
        begun()
        serial = 0
        while True:
            try:
                raw.send(frame(serial, 60 + serial % 1400))
                select.select([raw], [], [], 0)
            except OSError as err:
                if err.errno in (6, 19, 100):    # ENXIO, ENODEV, ENETDOWN
                    return
                if err.errno != 105:        # ENOBUFS: the ring is full
                    raise
            serial += 1


def write_for_ever(path: str, size: int, begun: Callable[[], object]) -> None:
    """Write until the disk has gone; BEGUN is called before the first write."""
    import mmap
    area = mmap.mmap(-1, 65536)
    disk = os.open(path, os.O_RDWR | os.O_DIRECT)
    begun()
    serial = 0
    while True:
        try:
            if not os.pwritev(disk, [area], serial * 65536 % size):
                return
        except OSError as err:
            if err.errno in (5, 6, 19, 28):     # EIO, ENXIO, ENODEV, ENOSPC: its size is zero now
                return
            raise
        serial += 1


def removal(lab: Lab) -> None:
    """Deletion, unbinding and unloading under traffic."""
    def deleted() -> None:
        delete("nic")
        delete("disk")

    def unbound() -> None:
        for name in ("nic", "disk"):
            (DRIVER / "unbind").write_text(name, "ascii")
        deleted()

    ways = [deleted, unbound, lambda: lab.unload("vdpa_sim_net", "vdpa_sim_blk")]
    for serial in range(9):
        lab.load("vdpa_sim_net", "vdpa_sim_blk")
        add("nic", "net", "mac", MAC_TEXT, "max_vqp", "2")
        add("disk", "blk")
        link = up("nic")
        path, size = disk_of("disk")
        reader, writer = os.pipe()
        begun = functools.partial(os.write, writer, b".")
        pids = children([lambda: send_for_ever(link, begun), lambda: send_for_ever(link, begun),
                         lambda: write_for_ever(path, size, begun)])
        os.close(writer)
        for _ in pids:      # on a slow machine they take longer to begin than the traffic lasts
            os.read(reader, 1)
        os.close(reader)
        time.sleep(0.3 + 0.1 * (serial % 3))
        ways[serial % len(ways)]()
        ended = [end_of(pid) for pid in pids]
        lab.check(not any(ended), f"round {serial}: traffic ended with {ended}")
        lab.check(not list(DEVICES.iterdir()), f"round {serial}: devices are left")


def end_of(pid: int) -> int:
    """How a child ended, which it has to do soon."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError(f"process {pid} goes on without its device")


def ring_sizes(link: str, change: tuple[int, int] | None = None) -> tuple[int, int]:
    """Sizes of the receive and transmit rings; CHANGE them first if asked to (ethtool -G)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        def call(values: array.array) -> None:
            request = struct.pack("16sP16x", link.encode(), values.buffer_info()[0])
            fcntl.ioctl(any_socket, SIOCETHTOOL, request)

        values = array.array("I", [GRINGPARAM] + [0] * 8)
        call(values)
        if change:
            values[0], values[5], values[8] = SRINGPARAM, *change
            call(values)
            values[0] = GRINGPARAM
            call(values)
        return values[5], values[8]


def resize(lab: Lab) -> None:
    """Rings of other sizes, one queue reset each, with traffic before and after."""
    with genl.Family("vdpa") as family:
        answer = family.request(NEW, [
            (NAME, genl.text("nic")), (MGMT_NAME, genl.text("vdpasim_net")), (MAC_ATTR, MAC),
            (FEATURES, genl.u64(RESIZABLE))])
    lab.check(not answer.error, f"a NIC with queue reset: {answer.errno} {answer.message}")
    link = up("nic")
    largest = ring_sizes(link)
    for serial in range(12):
        wanted = (max(32, largest[0] >> serial % 4), max(32, largest[1] >> (serial + 2) % 4))
        lab.check(ring_sizes(link, wanted) == wanted, f"rings of {ring_sizes(link)}, not {wanted}")
        loop_frames(link, 256, 1000 * serial)
    sender = os.fork()
    if sender == 0:
        try:
            send_for_ever(link)
        finally:
            os._exit(0)
    for serial in range(12):
        ring_sizes(link, (largest[0] >> serial % 2, largest[1] >> serial % 3))
        time.sleep(0.05)
    delete("nic")
    end_of(sender)


PARTS = {"net": net, "blk": blk, "events": events, "binding": binding, "removal": removal,
         "resize": resize}


def run(lab: Lab, part: str) -> None:
    """One of the parts, and then everything is unloaded."""
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1", "ascii")
    lab.load("virtio_net", "virtio_blk", "virtio_vdpa", "vdpa_sim_net", "vdpa_sim_blk")
    PARTS[part](lab)
    lab.modules.unload_all()
