# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest with a vDPA network device is saved and comes back.

Numbered frames go round while it is saved.  Where the migration can be held up, it is held up until some
frames were left in pages that had been saved before (vdpaflow.hold_up()).  When the guest goes on, no frame may
be missing, duplicate or changed, and the payload verifies its stamps.

`file`      migrated to a file while it runs, and back from it on the same device
`paused`    the same, stopped before, as `virsh save` does
`mapped`    with the capability mapped-ram; `mapped-multifd` with multifd, too
`shared`    with x-ignore-shared: memory is a file that both have, and is not saved
`multifd`   to another device through a socket, by several channels
`snapshot`  savevm, more frames, loadvm, twice: the guest forgets what happened after savevm
`refused`   a background snapshot is refused with a reason: QEMU cannot keep the device from writing
            to memory that has to be saved as it was.  The guest runs on.

*Limits*: the file of the snapshot is not a disk of the guest.
"""

import subprocess
from dataclasses import dataclass

from qlab import l2, migrate, vdpaflow
from qlab.context import Lab
from qlab.scenario import Scenario
from qlab.vdpasteps import (  # noqa: F401
    Boot, Capabilities, CheckFlow, CheckFrames, CheckMode, Complete, HoldUp, Quit, ReleaseFrames, Resume,
    Run, StartDestination, StartFrames, StartMigration, Step, Steps, StopFrames, VerifyStamps, WriteMemory,
    run)

SHARED = ("-object", "memory-backend-file,id=shared,size=192M,mem-path={tmp}/shared.ram,share=on",
          "-machine", "memory-backend=shared")
SNAPSHOT = ("-drive", "file={tmp}/snapshot.qcow2,if=none,id=snap,format=qcow2")


@dataclass(frozen=True)
class Assume(Step):
    """QEMU reckons with this bandwidth at the switchover; 0: with the one that it has measured.

    Several channels send much at once, so a migration that is held up may complete at the measured rate.
    """

    bandwidth: int

    def run(self, on: Run) -> None:
        on.guest.qmp.cmd("migrate-set-parameters", {"avail-switchover-bandwidth": self.bandwidth})


@dataclass(frozen=True)
class Stop(Step):
    """The guest is stopped."""

    def run(self, on: Run) -> None:
        on.guest.qmp.cmd("stop")


def saved(on: Run) -> str:
    """Where the guest is saved."""
    return f"file:{on.lab.tmp}/saved"


@dataclass(frozen=True)
class StartSaving(Step):
    """Migrate to a file; slowly, if it is to be held up."""

    capabilities: tuple[str, ...] = ()
    slow: bool = True

    def run(self, on: Run) -> None:
        migrate.enable(self.capabilities, on.guest)
        if self.slow:
            migrate.limits(on.guest, vdpaflow.BEGIN, 1)
        on.guest.qmp.cmd("migrate", {"uri": saved(on)})


@dataclass(frozen=True)
class EndSaving(Step):
    """The file is complete; QEMU ends."""

    def run(self, on: Run) -> None:
        migrate.limits(on.guest, migrate.FAST, vdpaflow.DOWNTIME_MS)
        info = migrate.wait_end(on.guest, 120)
        on.lab.check(info.get("status") == "completed", f"migration: {info}")
        on.guest.quit()


@dataclass(frozen=True)
class Restore(Step):
    """Another QEMU, on the same device, loads the file, and the guest goes on."""

    capabilities: tuple[str, ...] = ()

    def run(self, on: Run) -> None:
        on.destination = l2.start(on.lab, on.next_spec("ours").incoming())
        migrate.enable(self.capabilities, on.other)
        on.other.qmp.cmd("migrate-incoming", {"uri": saved(on)})
        migrate.settled(on.other, 60)
        on.other.qmp.cmd("cont")
        on.other.payload.catch_up()
        on.arrive()


@dataclass(frozen=True)
class SaveSnapshot(Step):
    """savevm."""

    def run(self, on: Run) -> None:
        answer = on.guest.qmp.hmp("savevm one")
        on.lab.check("rror" not in answer, f"savevm: {answer}")


@dataclass(frozen=True)
class LoadSnapshot(Step):
    """loadvm: the guest has sent fewer frames again than before."""

    def run(self, on: Run) -> None:
        later = on.net.stat()
        answer = on.guest.qmp.hmp("loadvm one")
        on.lab.check("rror" not in answer, f"loadvm: {answer}")
        on.guest.payload.catch_up()
        now = on.net.stat()
        on.lab.check(now["sent"] < later["sent"], f"loadvm changed nothing: {later}, {now}")


@dataclass(frozen=True)
class CheckRefused(Step):
    """A background snapshot fails with a reason; the guest runs."""

    def run(self, on: Run) -> None:
        migrate.enable(("background-snapshot",), on.guest)
        on.guest.qmp.cmd("migrate", {"uri": saved(on)})
        info = migrate.wait_end(on.guest, 60)
        on.lab.log(f"{info}")
        on.lab.check(info.get("status") == "failed" and "vhost-vdpa" in info.get("error-desc", ""),
                     f"a background snapshot: {info}")
        on.lab.check(on.guest.status() == "running", f"the guest is {on.guest.status()}")
        on.net.flows(on.lab, "after the refusal")
        migrate.enable(("background-snapshot",), on.guest, state=False)


@dataclass(frozen=True)
class CheckStarted(Step):
    """The device is started."""

    def run(self, on: Run) -> None:
        info = vdpaflow.device_info(on.guest)
        on.lab.check(info["state"] == "driver-ok", f"{info}")


@dataclass(frozen=True)
class BootWithImage(Boot):
    """Boot with an image that snapshots are kept in."""

    def start(self, lab: Lab) -> Run:
        subprocess.run([lab.qemu.parent / "qemu-img", "create", "-q", "-f", "qcow2",
                        lab.tmp / "snapshot.qcow2", "16M"], check=True)
        return super().start(lab)


FINISH: Steps = (ReleaseFrames(), StopFrames(), VerifyStamps(), CheckFrames(), Quit())


def save(*capabilities: str, extra: tuple[str, ...] = ()) -> dict[str, Steps]:
    """Save to a file while the guest runs, and come back from it."""
    hold = not extra  # if memory is not saved, there is nothing to hold up
    return {"steps": (
        Boot(devices=1, mtu=9000, ram="anon" if extra else "file", extra=extra), StartFrames(), WriteMemory(),
        *([Assume(1 << 20)] if hold else []), StartSaving(capabilities, slow=hold),
        *([HoldUp()] if hold else []), Assume(0), EndSaving(), Restore(capabilities), *FINISH)}


SCENARIO = Scenario(
    about="vhost-vdpa: migrated to a file and back, savevm and loadvm, background snapshots",
    time_limit=400,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=("full", "vdpa"),
    own_binaries=True,
    variants={
        "file": save(),
        "paused": {"steps": (
            Boot(devices=1, mtu=9000), StartFrames(), WriteMemory(), Stop(),
            StartSaving(slow=False), EndSaving(), Restore(), *FINISH)},
        "mapped": save("mapped-ram"),
        "mapped-multifd": save("mapped-ram", "multifd"),
        "shared": save("x-ignore-shared", extra=SHARED),
        "multifd": {"steps": (
            Boot(mtu=9000), StartFrames(), WriteMemory(), StartDestination(), Capabilities(("multifd",)),
            Assume(1 << 20), StartMigration(), HoldUp(), Assume(0), Complete(), Resume(quit=True), *FINISH)},
        "snapshot": {"steps": (
            BootWithImage(devices=1, mtu=9000, extra=SNAPSHOT), StartFrames(), WriteMemory(500), SaveSnapshot(),
            *(CheckFlow(40), LoadSnapshot(), CheckFlow(20)) * 2,
            CheckMode("passthrough"), CheckStarted(), *FINISH)},
        "refused": {"steps": (
            Boot(devices=1, mtu=9000, ram="anon"), StartFrames(), WriteMemory(500), CheckRefused(),
            CheckMode("passthrough"), *FINISH)},
    },
    short=("file",),
)
