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

from dataclasses import dataclass

from qlab import l2, migrate, vdpa
from qlab.scenario import Scenario
from qlab.vdpasteps import (  # noqa: F401
    Boot, CheckFlow, CheckFrames, Complete, Quit, ReloadDriver, Resume, Run, StartDestination, StartFrames,
    StartMigration, Step, StopFrames, run)

CTRL_MAC_ADDR = 1 << 23


class NoControlMac(vdpa.Simulators):
    """Devices without VIRTIO_NET_F_CTRL_MAC_ADDR."""

    def make(self, name: str, mac: str, pairs: int, plain: bool, mtu: int) -> str:
        """By netlink."""
        return vdpa.new([(vdpa.NAME, vdpa.genl.text(name)),
                         (vdpa.MGMT_NAME, vdpa.genl.text("vdpasim_net")),
                         (vdpa.DEV_MAC, bytes.fromhex(mac.replace(":", ""))),
                         (vdpa.FEATURES, vdpa.genl.u64(vdpa.PLAIN & ~CTRL_MAC_ADDR))])


def main_mac(guest: l2.Guest) -> str:
    """The guest's address as QEMU knows it."""
    return str(guest.qmp.cmd("query-rx-filter", {"name": "nic"})[0]["main-mac"])


@dataclass(frozen=True)
class CheckMac(Step):
    """QEMU knows the guest's address, which is that of the first device."""

    def run(self, on: Run) -> None:
        found = main_mac(on.guest)
        on.lab.check(found == on.mac, f"the guest has {on.mac}, QEMU's model has {found}")


@dataclass(frozen=True)
class CheckGuestMac(Step):
    """After a driver reload the guest has its address."""

    def run(self, on: Run) -> None:
        found = on.net.ask("rebind")["mac"]
        on.lab.check(found == on.mac, f"after a driver reload the guest has {found}, not {on.mac}")


@dataclass(frozen=True)
class CheckWarning(Step):
    """QEMU warned, or did not warn, that the device has another address than the guest."""

    warned: bool

    def run(self, on: Run) -> None:
        log = on.guest.stderr()
        own = on.devices.devices[on.device].mac
        on.lab.check(("cannot be told" in log) == self.warned, f"stderr at the destination: {log}")
        on.lab.check(not self.warned or (on.mac in log and own in log), f"stderr at the destination: {log}")


def steps(boot: Boot, own_mac: bool = False) -> dict[str, tuple[Step, ...]]:
    """Boot, reload the driver, and migrate to a device with another address."""
    return {"steps": (
        boot, CheckMac(), ReloadDriver(), CheckGuestMac(), CheckMac(), StartFrames(),
        StartDestination(own_mac=own_mac), StartMigration(migrate.SLOW), CheckFlow(20), Complete(60000),
        Resume(quit=True), CheckFlow(20), StopFrames(), CheckMac(), CheckWarning(own_mac),
        Quit(), CheckFrames())}


SCENARIO = Scenario(
    about="vhost-vdpa: MAC addresses of device, command line and guest differ",
    time_limit=300,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=("full", "vdpa"),
    own_binaries=True,
    variants={
        "boot": steps(Boot(odd="fixed", mac=vdpa.MAC.format(0x77))),
        "hop": steps(Boot(odd="fixed")),
        "untold": steps(Boot(NoControlMac, odd="fixed"), own_mac=True),
    },
)
