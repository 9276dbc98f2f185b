# SPDX-License-Identifier: GPL-2.0-or-later
"""vDPA devices of L1, and nested guests that use them.

Theory of operation
===================

L1 gets the kernel modules of the lab (kmod.py) and network devices bound to vhost_vdpa: simulated
ones here, processes in vduse.py; each is a character device /dev/vhost-vdpa-N.  A nested Linux guest
gets the drivers it needs for one in a second initramfs, appended to the first, and drives numbered
frames through it (tests/lab/guest/net.h).

    devices = vdpa.Simulators(lab)
    one, two = devices.add(), devices.add()
    guest = l2.start(lab, vdpa.spec(lab, one))
    net = vdpa.Net(guest.payload)
    net.up(); net.start(rate=200); ...; net.stop(); net.check(lab)

*Limits*: the simulator loops broadcast frames back; nothing else is on its network.
"""

from __future__ import annotations

import stat
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from . import genl, initramfs, l2
from .context import Lab
from .kmod import tool
from .payload import Payload, PayloadError, fields

#: In this order; Debian's 6.1 has no driver for virtio-iommu.
GUEST_MODULES = ("virtio_pci", "virtio_iommu", "virtio_net")
MAC = "52:54:00:12:34:{:02x}"

# uapi/linux/vdpa.h
NEW, MGMT_NAME, NAME, DEV_MAC, MAX_VQP, MTU, FEATURES = 3, 2, 4, 10, 12, 13, 20

#: The simulator's features, without indirect descriptors: the base does not migrate those.
PLAIN = sum(1 << bit for bit in (0, 1, 2, 3, 5, 16, 17, 18, 19, 20, 23, 27, 29, 32, 33))
MQ = 1 << 22

#: A parameter of vhost_vdpa in Linux 6.12.117.  Its default, 2,048 pieces of memory that are not next
#: to each other, may be 8 MiB.
TABLE, TABLE_SIZE = "max_iotlb_entries", 1 << 20


def drivers(lab: Lab, more: tuple[str, ...]) -> bytes:
    """An initramfs with the guest kernel's virtio drivers and MORE modules, to be loaded in name order."""
    kernel = lab.vmlinux.resolve().parent
    release = (kernel / "release").read_text("ascii").strip()
    modules = kernel / "lib" / "modules" / release
    dep = (modules / "modules.dep").read_text("utf-8")
    parts = [initramfs.entry("modules", stat.S_IFDIR | 0o755)]
    for number, path in enumerate(initramfs.module_order(dep, GUEST_MODULES + more)):
        name = path.rsplit("/", 1)[-1].split(".ko")[0]
        parts.append(initramfs.entry(f"modules/{number:02d}-{name}.ko",
                                     stat.S_IFREG | 0o644,
                                     initramfs.read_module(modules / path)))
    return b"".join(parts) + initramfs.entry("TRAILER!!!", 0)


def initrd(lab: Lab, more: tuple[str, ...] = ()) -> Path:
    """The payload with the drivers behind it, and MORE modules."""
    target = lab.tmp / f"payload-{'-'.join(('net', *more))}.img"
    if not target.exists():
        first = (lab.guest_dir / "init.cpio.gz").read_bytes()
        target.write_bytes(first + b"\0" * (-len(first) % 4) + drivers(lab, more))
    return target


@dataclass(frozen=True)
class Device:
    """One vDPA device that is bound to vhost_vdpa."""

    name: str
    node: Path
    mac: str
    pairs: int


def has_table_limit(lab: Lab) -> bool:
    """Whether the kernel's own vhost_vdpa is used, and maps only so many pieces of memory."""
    return not lab.modules.is_ours("vhost_vdpa") and TABLE in tool(
        "/sbin/modinfo", "-F", "parm", "vhost_vdpa")


def simulate(name: str, mac: str, pairs: int, plain: bool, mtu: int) -> str:
    """Make a simulated device; what went wrong.  The vdpa tool cannot say features."""
    attributes = [(NAME, genl.text(name)), (MGMT_NAME, genl.text("vdpasim_net")),
                  (DEV_MAC, bytes.fromhex(mac.replace(":", "")))]
    if pairs > 1:
        attributes.append((MAX_VQP, genl.u16(pairs)))
    if mtu:
        attributes.append((MTU, genl.u16(mtu)))
    if plain:
        attributes.append((FEATURES, genl.u64(PLAIN | (MQ if pairs > 1 else 0))))
    return new(attributes)


def new(attributes: list[genl.Attribute]) -> str:
    """A device of those attributes; what went wrong."""
    with genl.Family("vdpa") as family:
        answer = family.request(NEW, attributes)
    return f"{answer.errno}: {answer.message}" if answer.error else ""


class Devices:
    """Network devices of one kind, made and removed."""

    #: Whether a device can be stopped and go on; else a reset is what stops it.
    suspends = True

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.devices: list[Device] = []

    def make(self, name: str, mac: str, pairs: int, plain: bool, mtu: int) -> str:
        """Make a device; what went wrong."""
        raise NotImplementedError

    def address(self, number: int) -> str:
        """The MAC address of the device of that number, from 0."""
        return MAC.format(number + 1)

    def add(self, pairs: int = 1, plain: bool = False, mtu: int = 0) -> Device:
        """One more device; a plain one has what stock QEMU can migrate."""
        number = len(self.devices)
        name, mac = f"vdpa{number}", self.address(number)
        before = set(Path("/dev").glob("vhost-vdpa-*"))
        error = self.make(name, mac, pairs, plain, mtu)
        self.lab.check(not error, f"{name}: {error}")
        deadline = time.monotonic() + 5
        while not (new := set(Path("/dev").glob("vhost-vdpa-*")) - before):
            self.lab.check(time.monotonic() < deadline, f"{name}: no character device")
            time.sleep(0.05)
        device = Device(name, new.pop(), mac, pairs)
        self.devices.append(device)
        self.lab.defer(lambda: self.remove(device))
        return device

    def remove(self, device: Device) -> None:
        """Take a device away."""
        subprocess.run(["vdpa", "dev", "del", device.name], text=True,
                       capture_output=True, check=False)

    def dropped(self) -> int:
        """Frames that the devices had no receive buffer for, as far as they tell."""
        return 0

    def account(self) -> str:
        """What the devices have to say, for the log of a failure."""
        return ""

    def verify(self) -> None:
        """Fail if a device has complained about its driver."""


class Simulators(Devices):
    """Simulated network devices."""

    def __init__(self, lab: Lab, **params: str) -> None:
        super().__init__(lab)
        if has_table_limit(lab):
            params.setdefault("vhost_vdpa", f"{TABLE}={TABLE_SIZE}")
        lab.load("vhost_vdpa", "vdpa_sim_net", **params)

    def make(self, name: str, mac: str, pairs: int, plain: bool, mtu: int) -> str:
        """By netlink."""
        return simulate(name, mac, pairs, plain, mtu)

    def account(self) -> str:
        """Each queue's statistics: drops are frames without a receive buffer."""
        queues = [(device.name, str(index)) for device in self.devices
                  for index in range(2 * device.pairs)]
        return "".join(subprocess.run(["vdpa", "dev", "vstats", "show", name, "qidx", index],
                                      text=True, capture_output=True, check=False).stdout
                       for name, index in queues)


def words(device: Device, svq: bool = False, **props: str) -> tuple[str, ...]:
    """QEMU's arguments for a guest's network device."""
    netdev = f"vhost-vdpa,id=n0,vhostdev={device.node}" + (",x-svq=on" if svq else "")
    extra = "".join(f",{key}={value}" for key, value in props.items())
    multi = f",mq=on,vectors={2 * device.pairs + 2}" if device.pairs > 1 else ""
    return ("-netdev", netdev, "-device",
            f"virtio-net-pci,netdev=n0,id=nic,mac={device.mac},romfile=,"
            f"disable-legacy=on{multi}{extra}")


def spec(lab: Lab, device: Device, svq: bool = False, qemu: Path | None = None,
         **changes: object) -> l2.GuestSpec:
    """A Linux guest with that device."""
    base = l2.GuestSpec(qemu or lab.qemu, initrd=initrd(lab),
                        extra=words(device, svq))
    return replace(base, **changes)  # type: ignore[arg-type]


class Net:
    """The network side of a payload."""

    def __init__(self, payload: Payload) -> None:
        self.payload = payload

    def ask(self, line: str, timeout: float = 20.0) -> Mapping[str, str]:
        """A command of the payload's network side; its answer's fields."""
        return fields(self.payload.ask(f"net {line}", "net ", timeout))

    def up(self) -> str:
        """Bring the interface up; its MAC address."""
        return self.ask("up")["mac"]

    def wait_interface(self, lab: Lab, timeout: float = 30.0) -> None:
        """Wait until the guest has found its interface."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.ask("rebind")
                return
            except PayloadError as error:
                lab.check(time.monotonic() < deadline, f"no interface: {error}")
                time.sleep(0.2)

    def widen(self, pairs: int, filters: int, vlans: int) -> None:
        """Have the device serve so many queue pairs, addresses besides its own, and VLANs."""
        if pairs > 1:
            self.ask(f"queues {pairs}")
        if filters:
            self.ask(f"filters {filters}")
        if vlans:
            self.ask(f"vlans {vlans}", timeout=300)

    def link(self, state: str) -> None:
        """Wait until the guest's driver has seen its link go `up` or `down`."""
        self.ask(f"link {state}")

    def start(self, rate: int = 0, size: int = 0, away: bool = False) -> None:
        """Let frames go round, or to an address that is not there."""
        self.ask(f"start rate={rate} size={size}" + (" away=1" if away else ""))

    def hold(self, lab: Lab, frames: int, timeout: float = 30.0) -> None:
        """Leave frames where the device writes them, until there are some; see release()."""
        self.ask("hold 1")
        first = self.stat()["rx"]
        deadline = time.monotonic() + timeout
        while self.stat()["rx"] < first + frames:
            lab.check(time.monotonic() < deadline, f"nothing is received: {self.stat()}")
            time.sleep(0.05)

    def release(self) -> None:
        """Look at what was held."""
        self.ask("hold 0")

    def stop(self) -> None:
        """Stop sending."""
        self.ask("stop")

    def stat(self) -> dict[str, int]:
        """Counters so far."""
        return {key: int(value) for key, value in self.ask("stat").items()}

    def settle(self, quiet: float = 8.0) -> dict[str, int]:
        """Counters, once nothing is missing or nothing has come for QUIET seconds."""
        found = self.stat()
        deadline = time.monotonic() + quiet
        while found["lost"] and time.monotonic() < deadline:
            time.sleep(0.1)
            now = self.stat()
            if now["received"] != found["received"]:
                deadline = time.monotonic() + quiet
            found = now
        return found

    def flows(self, lab: Lab, what: str, frames: int = 20, timeout: float = 30.0) -> None:
        """Fail unless frames come back now."""
        first = self.stat()["received"]
        deadline = time.monotonic() + timeout
        while self.stat()["received"] < first + frames:
            lab.check(time.monotonic() < deadline,
                      f"{what}: traffic stands still: {self.stat()}")
            time.sleep(0.05)
