# SPDX-License-Identifier: GPL-2.0-or-later
"""The MAC address of a vDPA device, of the command line, and of the guest, where they differ.

`boot`    the command line says another address than the device has.  The guest uses the device's, as
          that is what it is shown; so that is what QEMU tells a device at launch, and migrates.
`hop`     the device at the destination has another address, and is told the guest's.
`untold`  so has this one, and the command line agrees with it, but it cannot be told (no
          VIRTIO_NET_F_CTRL_MAC_ADDR): a warning names both addresses.

QEMU writes the command line's address into the device's configuration space; here nothing comes of that
(preload/odd-vdpa.c), as with most devices.

*Limits*: the simulator's frames are broadcast, so what its filter lets in is not seen; what QEMU tells
it is seen as query-rx-filter's main-mac.
"""

from qlab import l2, migrate, oddvdpa, vdpa, vdpaflow
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="vhost-vdpa: MAC addresses of device, command line and guest differ",
    time_limit=300,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=("full", "vdpa"),
    own_binaries=True,
    variants={"boot": {"guests": 0x77}, "hop": {}, "untold": {"told": False}},
)

CTRL_MAC_ADDR = 1 << 23


class Untold(vdpa.Simulators):
    """Devices that cannot be told an address."""

    def make(self, name: str, mac: str, pairs: int, plain: bool, mtu: int) -> str:
        """By netlink."""
        return vdpa.new([(vdpa.NAME, vdpa.genl.text(name)),
                         (vdpa.MGMT_NAME, vdpa.genl.text("vdpasim_net")),
                         (vdpa.DEV_MAC, bytes.fromhex(mac.replace(":", ""))),
                         (vdpa.FEATURES, vdpa.genl.u64(vdpa.PLAIN & ~CTRL_MAC_ADDR))])


def main_mac(guest: l2.Guest) -> str:
    """What QEMU believes to be the guest's address."""
    return str(guest.qmp.cmd("query-rx-filter", {"name": "nic"})[0]["main-mac"])


def run(lab: Lab, guests: int = 0, told: bool = True) -> None:
    """Boot, and migrate to a device with another address."""
    simulators = (vdpa.Simulators if told else Untold)(lab)
    one, two = simulators.add(), simulators.add()
    said = vdpa.MAC.format(guests) if guests else one.mac
    qemu = oddvdpa.binary(lab, "fixed")
    spec = vdpaflow.destination(lab, one, said, qemu, load_mb=32)
    away = vdpaflow.destination(lab, two, said if told else two.mac, qemu, load_mb=32)
    guest = l2.start(lab, spec)
    guest.wait_ready(120)
    net = vdpa.Net(guest.payload)
    mac = net.up()
    lab.check(mac == one.mac, f"the guest has {mac}, the device {one.mac}")
    lab.check(main_mac(guest) == mac, f"the guest has {mac}, QEMU believes {main_mac(guest)}")
    net.ask("unload")
    net.ask("load")
    lab.check(net.ask("rebind")["mac"] == main_mac(guest) == mac, "after a driver reload")
    net.start(rate=vdpaflow.RATE)
    net.flows(lab, "at first")
    other = l2.start(lab, away.incoming())
    migrate.begin(lab, guest, other, "unix")
    net.flows(lab, "the switch")
    info = migrate.finish(guest)
    lab.check(info.get("status") == "completed", f"migration: {info}")
    migrate.settled(other)
    other.qmp.cmd("cont")
    guest.quit()
    net = vdpa.Net(other.payload)
    net.flows(lab, "at the destination")
    net.stop()
    vdpaflow.check_frames(lab, net.settle(), 0)
    lab.check(main_mac(other) == mac, f"the guest has {mac}, QEMU believes {main_mac(other)}")
    log = other.said()
    lab.check(("cannot be told" in log) != told, f"said at the destination: {log}")
    lab.check(told or (mac in log and two.mac in log), f"said at the destination: {log}")
    other.quit()
