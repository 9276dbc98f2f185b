# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps of a scenario with a vDPA network device: the guest boots, migrates, and is checked.

Theory of operation
===================

A variant is a list of steps, which run() executes in their order:

    steps=[Boot(mtu=9000), StartFrames(), *CANCEL, *MIGRATE, *FINISH]

Boot() comes first: it makes two devices and starts a guest on the first.  A step is a frozen dataclass whose
fields are its parameters; its run() gets the `Run`, which has what the steps share: the guest, its network
side and, during a migration, the destination.  A scenario derives steps of its own from `Step`.

MIGRATE moves the guest to the other device.  It sends frames through the shadow rings while the migration is
held up after all of RAM has been sent (vdpaflow.hold_up()), compares RAM of both sides while neither runs,
and lets the guest run at the destination.  FINISH counts the frames, verifies the payload's stamps, ends the
guest, and asks the devices for complaints about their driver.

An MTU of 9,000 makes the frames large: a guest's driver writes into the receive buffers of small frames
itself, behind the frame, and so dirties the page that only the device should have dirtied.

A failure names the step, by its number and with its parameters.  scenario.log has a line for each step.

*Limits*: one guest with one network device; downtimes in an emulated machine are for comparing only.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import l2, migrate as migration, oddvdpa, oracle, vdpa, vdpaflow, vdparefuse
from .context import Failed, Lab

SLOW = 4 << 20  # bytes per second of a migration that is going to be cancelled


@dataclass
class Run:
    """What the steps of one variant share."""

    lab: Lab
    boot: Boot
    devices: vdpa.Devices
    guest: l2.Guest  # during a migration, the source
    net: vdpa.Net
    device: int = 0  # the guest's device, an index of devices.devices
    destination: l2.Guest | None = None
    before: dict[str, Any] = field(default_factory=dict)  # query-vhost-vdpa when the migration started
    frames: dict[str, int] = field(default_factory=dict)  # StopFrames() counted these
    lost_by_stock: int = 0
    hops: int = 0

    @property
    def mac(self) -> str:
        """The guest's address: the first device's."""
        return self.devices.devices[0].mac

    @property
    def is_ours(self) -> bool:
        """Whether our QEMU runs the guest."""
        return self.guest.spec.qemu != self.lab.stock

    @property
    def other(self) -> l2.Guest:
        """The destination of the migration that is under way."""
        assert self.destination, "no step has started a destination"
        return self.destination

    def next_spec(self, qemu: str, own_mac: bool = False) -> l2.GuestSpec:
        """The guest on the other device, with the same address on the command line, or the device's own."""
        device = self.devices.devices[(self.device + 1) % len(self.devices.devices)]
        return self.boot.spec(self.lab, device, device.mac if own_mac else self.boot.mac or self.mac, qemu)

    def arrive(self) -> None:
        """The guest runs at the destination from now on."""
        self.guest, self.destination = self.other, None
        self.net = vdpa.Net(self.guest.payload)
        self.device = (self.device + 1) % len(self.devices.devices)
        self.hops += 1
        self.lab.figures["hops"] = self.hops


@dataclass(frozen=True)
class Step:
    """One step; the fields of a derived class are its parameters."""

    def run(self, on: Run) -> None:
        """Do it; fail through on.lab."""
        raise NotImplementedError


Steps = Sequence[Step]


def run(lab: Lab, steps: Steps) -> None:
    """Boot, then the other steps in order."""
    boot = steps[0]
    assert isinstance(boot, Boot), boot
    on: Run | None = None
    for number, step in enumerate(steps):
        lab.log(f"step {number}: {step}")
        try:
            if on:
                step.run(on)
            else:
                on = boot.start(lab)
        except Failed as err:
            raise Failed(f"step {number}, {step}: {err}") from None


# The guest and its devices.

@dataclass(frozen=True)
class Boot(Step):
    """Make devices, boot a guest on the first, bring its interface up."""

    kind: type[vdpa.Devices] = vdpa.Simulators
    devices: int = 2
    pairs: int = 1  # of queues, per device
    cpus: int = 1
    mtu: int = 0  # 0: the device's
    svq: bool = False  # x-svq=on
    ring: int = 0  # entries of the dirty ring; 0: dirty bitmap
    viommu: str = ""  # "translates" or "passes"; see vdpaflow.VIOMMU
    source: str = "ours"  # the QEMU that the guest boots on: "ours" or "stock"
    peer: str = "ours"  # the QEMU that it migrates to
    odd: str = ""  # what preload/odd-vdpa.c does to the devices
    mac: str = ""  # the command line's address; "": the device's
    ram: str = "file"  # or "anon"
    load_mb: int = 32
    extra: tuple[str, ...] = ()  # more arguments of QEMU; {tmp} is the scenario's temporary directory
    #: Without this the guest's kernel would write to the pages that it gives away.
    append: str = "init_on_alloc=0"

    def binary(self, lab: Lab, which: str) -> Path:
        """The QEMU that WHICH names."""
        if self.odd:
            return oddvdpa.binary(lab, self.odd)
        return {"ours": lab.qemu, "stock": lab.stock}[which]

    def spec(self, lab: Lab, device: vdpa.Device, mac: str, which: str) -> l2.GuestSpec:
        """A guest on DEVICE."""
        return vdpaflow.guest_spec(lab, device, mac, self.binary(lab, which), svq=self.svq, mtu=self.mtu,
                                   cpus=self.cpus, ring=self.ring, load_mb=self.load_mb, viommu=self.viommu,
                                   append=self.append, ram=self.ram,
                                   extra=tuple(word.replace("{tmp}", str(lab.tmp)) for word in self.extra))

    def start(self, lab: Lab) -> Run:
        """Boot."""
        made = vdpaflow.make_devices(lab, self.kind, self.viommu)
        for _ in range(self.devices):
            made.add(self.pairs, "stock" in (self.source, self.peer), self.mtu)
        one = made.devices[0]
        guest = l2.start(lab, self.spec(lab, one, self.mac or one.mac, self.source))
        lab.figures["ready_s"] = round(guest.wait_ready(120), 1)
        net = vdpa.Net(guest.payload)
        mac = net.up()
        lab.check(mac == one.mac, f"the guest has the MAC address {mac}, the device {one.mac}")
        if self.pairs > 1:
            got = net.ask("queues 0")
            lab.check(got["max"] == str(self.pairs), f"queue pairs: {got}")
            net.ask(f"queues {self.pairs}")
        return Run(lab, self, made, guest, net)


@dataclass(frozen=True)
class BootOne(Boot):
    """Boot a guest that does not migrate: one device, all of memory stamped, the kernel's defaults."""

    devices: int = 1
    load_mb: int = 0
    append: str = ""


@dataclass(frozen=True)
class Traffic(Step):
    """Send frames and wait until all are back."""

    what: str  # the figures' name

    def run(self, on: Run) -> None:
        vdpaflow.traffic(on.lab, on.devices, on.net, self.what)


@dataclass(frozen=True)
class StartFrames(Step):
    """Send frames from now on."""

    rate: int = vdpaflow.RATE  # per second; 0: as many as possible

    def run(self, on: Run) -> None:
        on.net.start(rate=self.rate)
        on.net.flows(on.lab, "frames")


@dataclass(frozen=True)
class CheckFlow(Step):
    """Frames come back."""

    frames: int = 5

    def run(self, on: Run) -> None:
        on.net.flows(on.lab, "frames", frames=self.frames)


@dataclass(frozen=True)
class StopFrames(Step):
    """Send no more frames, wait for those that are missing, and count."""

    def run(self, on: Run) -> None:
        on.net.stop()
        on.frames = on.net.settle()
        on.lab.figures["frames"] = on.frames


@dataclass(frozen=True)
class SetLink(Step):
    """`set_link` down and up, by the name of the -device or of the -netdev."""

    name: str

    def run(self, on: Run) -> None:
        for state in ("down", "up"):
            on.guest.qmp.cmd("set_link", {"name": self.name, "up": state == "up"})
            on.net.link(state)


@dataclass(frozen=True)
class StopAndContinue(Step):
    """`stop` and `cont`."""

    def run(self, on: Run) -> None:
        on.guest.qmp.cmd("stop")
        on.guest.qmp.cmd("cont")


@dataclass(frozen=True)
class ReloadDriver(Step):
    """The guest unloads its driver and loads it again."""

    def run(self, on: Run) -> None:
        for what in ("unload", "load", "rebind"):
            on.net.ask(what)


@dataclass(frozen=True)
class ResetGuest(Step):
    """`system_reset`, until the guest has booted and its interface is up."""

    def run(self, on: Run) -> None:
        on.guest.qmp.cmd("set-action", {"reboot": "reset"})
        on.guest.qmp.cmd("system_reset")
        on.guest.payload.wait_ready(240)
        on.net = vdpa.Net(on.guest.payload)
        on.net.up()


@dataclass(frozen=True)
class WriteMemory(Step):
    """The payload stamps pages from now on."""

    rate: int = 0  # pages per second; 0: as many as possible

    def run(self, on: Run) -> None:
        on.guest.payload.start(rate=self.rate)


@dataclass(frozen=True)
class StopWriting(Step):
    """The payload stops stamping pages."""

    def run(self, on: Run) -> None:
        on.guest.payload.stop()


# A migration.

@dataclass(frozen=True)
class StartDestination(Step):
    """Start the QEMU that the guest is going to migrate to, on the other device."""

    qemu: str = ""  # "ours" or "stock"; "": Boot's peer
    own_mac: bool = False  # its command line has the other device's address, not the guest's
    memlock: int = 0  # MiB; it may not pin more until it has failed to. 0: no limit

    def run(self, on: Run) -> None:
        spec = on.next_spec(self.qemu or on.boot.peer, self.own_mac)
        on.destination = l2.start(on.lab, spec.incoming(memlock=self.memlock))
        if self.memlock:
            vdparefuse.raise_limit(on.lab, on.other)


@dataclass(frozen=True)
class Capabilities(Step):
    """Enable migration capabilities at both ends."""

    names: tuple[str, ...]

    def run(self, on: Run) -> None:
        migration.enable(self.names, on.guest, on.other)


@dataclass(frozen=True)
class StartMigration(Step):
    """Start a migration that does not complete before Complete()."""

    bandwidth: int = vdpaflow.BEGIN  # bytes per second

    def run(self, on: Run) -> None:
        on.before = vdpaflow.device_info(on.guest) if on.is_ours else {}
        migration.begin(on.lab, on.guest, on.other, "unix", bandwidth=self.bandwidth)


@dataclass(frozen=True)
class Wait(Step):
    """Let time pass."""

    seconds: float

    def run(self, on: Run) -> None:
        time.sleep(self.seconds)


@dataclass(frozen=True)
class WaitSyncs(Step):
    """Wait until the dirty bitmap has been synced so often; then send slowly."""

    syncs: int

    def run(self, on: Run) -> None:
        on.lab.check(migration.wait_syncs(on.guest, self.syncs, 60), "the migration ended too early")
        migration.limits(on.guest, 1 << 20, 1)


@dataclass(frozen=True)
class HoldUp(Step):
    """Keep the migration from completing until frames have come through the shadow rings."""

    def run(self, on: Run) -> None:
        vdpaflow.hold_up(on.lab, on.guest, on.net)


@dataclass(frozen=True)
class Complete(Step):
    """Let the migration complete; both ends are paused then."""

    downtime_ms: int = vdpaflow.DOWNTIME_MS

    def run(self, on: Run) -> None:
        migration.limits(on.guest, migration.FAST, self.downtime_ms)
        info = migration.wait_end(on.guest, 120)
        on.lab.check(info.get("status") == "completed", f"migration: {info}")
        migration.settled(on.other)
        on.lab.figures.setdefault("downtime_ms", []).append(info.get("downtime"))


@dataclass(frozen=True)
class CompareRam(Step):
    """Compare both ends' RAM byte for byte."""

    def run(self, on: Run) -> None:
        compared = oracle.compare(on.guest, on.other)
        on.lab.check(compared.same, f"RAM: {compared}")


@dataclass(frozen=True)
class Resume(Step):
    """The guest runs at the destination; the source ends."""

    quit: bool = False  # by `quit`, which has to work; else by SIGKILL

    def run(self, on: Run) -> None:
        on.other.qmp.cmd("cont")
        on.other.payload.catch_up()
        if self.quit:
            on.guest.quit()
        else:
            on.guest.kill()
        on.arrive()


@dataclass(frozen=True)
class CompleteByPostcopy(Step):
    """Switch to postcopy, resume at the destination while memory still comes, and wait for the end.

    The device must wait for memory, and the guest's announcement must be answered meanwhile.
    """

    def run(self, on: Run) -> None:
        lab, source, other = on.lab, on.guest, on.other
        source.qmp.cmd("migrate-set-parameters", {"max-postcopy-bandwidth": 1 << 20})
        source.qmp.cmd("migrate-start-postcopy")
        migration.settled(other, 60)
        other.qmp.cmd("trace-event-set-state", {"name": vdpaflow.ACKNOWLEDGED, "enable": True})
        other.qmp.cmd("cont")
        vdpaflow.wait_announced(lab, other)
        waits = bool(vdpaflow.device_info(other)["waiting"])
        status = migration.query(source)["status"]
        lab.check(status == "postcopy-active", f"the migration is {status}")
        lab.check(waits, f"with memory still to come: {vdpaflow.device_info(other)}")
        source.qmp.cmd("migrate-set-parameters", {"max-postcopy-bandwidth": 0})
        info = migration.wait_end(source, 90)
        lab.check(info.get("status") == "completed", f"migration: {info}")
        lab.figures["postcopy_requests"] = info.get("ram", {}).get("postcopy-requests")
        other.payload.catch_up()
        source.kill()
        on.arrive()


@dataclass(frozen=True)
class ReleaseFrames(Step):
    """The payload looks at the frames that HoldUp() left in place; frames flow at the destination."""

    def run(self, on: Run) -> None:
        on.guest.payload.stop()
        on.net.release()
        on.net.flows(on.lab, "at the destination")


# Migrations that do not complete.

@dataclass(frozen=True)
class Cancel(Step):
    """Cancel the migration and end the destination."""

    def run(self, on: Run) -> None:
        migration.cancel(on.guest)
        on.other.kill()
        on.lab.figures["cancelled"] = on.lab.figures.get("cancelled", 0) + 1


@dataclass(frozen=True)
class KillDestination(Step):
    """Kill the destination at a random moment; the source has to run then.

    If the migration may complete, the moment may be in the switchover or after it.  After it, `cont` lets
    the source run, as an operator who lost the destination would do.
    """

    may_complete: bool

    def run(self, on: Run) -> None:
        if self.may_complete:
            migration.limits(on.guest, migration.SLOW, vdpaflow.DOWNTIME_MS)
        time.sleep(random.uniform(0.0, 2.5))
        on.other.kill()
        status = str(migration.wait_end(on.guest, 60)["status"])
        on.lab.check(status in ("failed", "completed"), f"migration {status}")
        if status == "completed":
            on.guest.qmp.cmd("cont")
        on.lab.check(on.guest.status() == "running", f"the source is {on.guest.status()}")
        on.lab.figures.setdefault("killed", []).append(status)


@dataclass(frozen=True)
class Refuse(Step):
    """Migrate to a destination that may not pin the guest's memory: see vdparefuse.py for HOW."""

    how: str

    def run(self, on: Run) -> None:
        vdparefuse.refuse(on.lab, on.guest, on.net, on.next_spec("ours"), self.how, vdpaflow.RATE)
        on.net.flows(on.lab, "refused", frames=5)
        on.lab.figures.setdefault("refused", []).append(self.how)


@dataclass(frozen=True)
class CountLost(Step):
    """Count frames that stock QEMU has lost so far; CheckFrames() does not expect them."""

    def run(self, on: Run) -> None:
        on.net.stop()
        on.lost_by_stock = on.net.settle()["lost"]
        on.lab.figures["lost_by_stock"] = on.lost_by_stock
        on.net.start(rate=vdpaflow.RATE)


# Checks.

@dataclass(frozen=True)
class CheckMode(Step):
    """The device is in this mode."""

    mode: str

    def run(self, on: Run) -> None:
        info = vdpaflow.device_info(on.guest)
        on.lab.check(info["mode"] == self.mode, f"the device is not in {self.mode} mode: {info}")


@dataclass(frozen=True)
class CheckPassthrough(Step):
    """The device is back in passthrough, and switches cost what they may: see vdpaflow.py."""

    #: Rings were mapped before the migration started, so no switch maps any.  With a vIOMMU, switches do.
    rings_mapped: bool = False

    def run(self, on: Run) -> None:
        after = vdpaflow.check_passthrough(on.lab, on.guest, on.net, "the migration", on.devices.suspends)
        if self.rings_mapped and on.devices.suspends:
            on.lab.check(after["host-buf-maps"] == on.before["host-buf-maps"],
                         f"rings were mapped in a switch: {on.before}, {after}")


@dataclass(frozen=True)
class CheckIommu(Step):
    """The device sees what the guest's IOMMU lets it see."""

    def run(self, on: Run) -> None:
        vdpaflow.check_viommu(on.lab, on.guest, on.boot.viommu)


@dataclass(frozen=True)
class VerifyStamps(Step):
    """The payload verifies all stamps."""

    def run(self, on: Run) -> None:
        verified = on.guest.payload.verify()
        on.lab.check(verified.clean, f"memory: {verified}")


@dataclass(frozen=True)
class Quit(Step):
    """End the guest; fail if a device has complained about its driver."""

    def run(self, on: Run) -> None:
        on.lab.log(on.guest.qmp.hmp("info network"))
        on.guest.quit()
        on.devices.verify()


@dataclass(frozen=True)
class CheckFrames(Step):
    """No frame is missing, but for those that a device or stock QEMU has dropped; see StopFrames()."""

    def run(self, on: Run) -> None:
        vdpaflow.check_frames(on.lab, on.frames, on.devices.dropped() + on.lost_by_stock)


# Steps that often follow one another.

def repeat(times: int, steps: Steps) -> tuple[Step, ...]:
    """The steps, so often."""
    return tuple(steps) * times


def with_frames(boot: Boot, *between: Steps, rate: int = vdpaflow.RATE) -> dict[str, Steps]:
    """A variant: boot, let frames go round, do what is BETWEEN, and finish."""
    return {"steps": (boot, StartFrames(rate), *(step for some in between for step in some), *FINISH)}


def boot_steps(boot: Boot, reloads: int = 1, links: tuple[str, ...] = ("nic", "n0")) -> dict[str, Steps]:
    """A variant: what can happen to the device of a guest that does not migrate.  Stock QEMU does not tell
    the guest of its link's state (links=())."""
    return {"steps": (
        boot, Traffic("boot"),
        *(step for name in links for step in (SetLink(name), Traffic(f"link of {name}"))),
        StopAndContinue(), Traffic("stop and cont"),
        *(step for number in range(reloads)
          for step in (ReloadDriver(), Traffic(f"driver reload {number}"))),
        *([CheckIommu()] if boot.viommu else []), Quit())}


def kill_steps(times: int) -> tuple[Step, ...]:
    """Kill the destination so often; every second migration may complete."""
    return tuple(step for number in range(times) for step in (
        WriteMemory(rate=200), StartDestination("ours"), StartMigration(migration.SLOW),
        KillDestination(may_complete=bool(number % 2)), CheckPassthrough(), StopWriting(), VerifyStamps()))


#: Up to the point where the guest can be let go: frames have come through the shadow rings.
START_MIGRATION: Steps = (WriteMemory(), StartMigration(), HoldUp())
#: To the destination, with the memory oracle.
END_MIGRATION: Steps = (Complete(), CompareRam(), Resume(), ReleaseFrames())
MIGRATE: Steps = (StartDestination(), *START_MIGRATION, *END_MIGRATION)
#: From stock QEMU, which resets the device when a migration begins and may lose frames then.  They are counted before
#: HoldUp(), which has the guest leave frames where they are.
MIGRATE_FROM_STOCK: Steps = (StartDestination(), WriteMemory(), StartMigration(), CountLost(), HoldUp(), *END_MIGRATION)
#: A migration that is cancelled when the device is in shadow mode.
CANCEL: Steps = (StartDestination("ours"), StartMigration(SLOW), Wait(0.5), CheckMode("shadow"), CheckFlow(),
                 Cancel())
FINISH: Steps = (StopFrames(), VerifyStamps(), Quit(), CheckFrames())
#: The guest is reset, and once more while it migrates, with its rings shadowed; that migration completes.
RESET: Steps = (
    ResetGuest(), Traffic("after a reset"),
    StartDestination(), WriteMemory(2000), StartMigration(migration.SLOW), WaitSyncs(2), CheckMode("shadow"),
    ResetGuest(), CheckMode("shadow"), Traffic("after a reset while migrating"),
    WriteMemory(2000), Complete(downtime_ms=60000), CompareRam(), Resume(), StopWriting(),
    Traffic("at the destination"), VerifyStamps(), Quit())
