# SPDX-License-Identifier: GPL-2.0-or-later
"""A device fails during a switch to shadow rings, or back.

The simulator fails one step, once.
`there`     it fails when a migration begins.  The migration has to fail, with the step in its error; the
            guest keeps its network, in passthrough, and the next migration passes.  A migration before it
            has found out whether the device's queues can be moved (vdpa-quirks.c): until that is known, a
            step that fails costs only a reset.
`back`      it fails when a migration is cancelled, and stays in shadow mode until the next migration.
`reset`     it fails to suspend, or to report its ring bases, when a migration begins and when that is
            cancelled.  Both switches succeed, by a reset.
`for-good`  it fails until further notice.  The guest runs on with its link down, query-vhost-vdpa has the
            reason, and when the device works again, `set_link` brings the network back.

No frame may be lost while the link is up: at a reset, the simulator returns the buffers that it has taken.

*Limits*: steps that the simulator can fail (docs/use/vdpa-sim.md); one at a time.
"""

import errno
from dataclasses import dataclass

from qlab import migrate, vdpa, vdpaflow
from qlab.scenario import Scenario
from qlab.simdrive import arm, knob, mount_debugfs
from qlab.vdpasteps import (  # noqa: F401
    MIGRATE, SLOW, Boot, Cancel, CheckFlow, CheckMode, Run, StartDestination, StartFrames, StartMigration,
    Step, Steps, StopFrames, StopWriting, VerifyStamps, Wait, WriteMemory, run)


def strikes(device: vdpa.Device, point: str) -> int:
    """How often the fault has struck."""
    return int(knob(device.name, f"fault/{point}/hits").read_text("ascii"))


@dataclass(frozen=True)
class Arm(Step):
    """The guest's device fails at POINT, so often; -1 is always."""

    point: str
    times: int = 1

    def run(self, on: Run) -> None:
        mount_debugfs()
        arm(on.devices.devices[on.device].name, self.point, error=errno.EIO, times=self.times)


@dataclass(frozen=True)
class FailMigration(Step):
    """A migration begins and fails, with the device's step in its error."""

    def run(self, on: Run) -> None:
        migrate.begin(on.lab, on.guest, on.other, "unix")
        info = migrate.wait_end(on.guest, 60)
        on.lab.log(str(info))
        on.lab.check(info["status"] == "failed", f"migration: {info}")
        on.lab.check("vhost-vdpa n0: " in info.get("error-desc", ""), f"no reason: {info}")
        on.other.kill()


@dataclass(frozen=True)
class WaitMapped(Step):
    """Wait until the device has its memory."""

    def run(self, on: Run) -> None:
        vdpaflow.wait_mapped(on.lab, on.guest, "the switch back")


def check_running(on: Run, mode: str) -> dict[str, object]:
    """Frames flow, and the device is started, in MODE."""
    info = vdpaflow.wait_mapped(on.lab, on.guest, "the fault")
    on.lab.log(str(info))
    on.net.flows(on.lab, "after the fault", frames=20)
    on.lab.check(info["state"] == "driver-ok" and info["mode"] == mode, f"device: {info}")
    return info


@dataclass(frozen=True)
class CheckFailedSwitch(Step):
    """One switch failed; the device works in MODE, for REASON."""

    mode: str
    reason: str

    def run(self, on: Run) -> None:
        info = check_running(on, self.mode)
        on.lab.check(info["reason"] == self.reason, f"the reason is not '{self.reason}': {info}")
        on.lab.check(info["switches-failed"] == 1, f"failed switches: {info}")
        on.lab.check(on.guest.status() == "running", f"the guest is {on.guest.status()}")


@dataclass(frozen=True)
class CheckResets(Step):
    """Two switches succeeded, each by a reset."""

    def run(self, on: Run) -> None:
        info = check_running(on, "passthrough")
        on.lab.check(info["switches"] == info["switch-resets"] == 2
                     and not info["switches-failed"], f"switches: {info}")


@dataclass(frozen=True)
class RepairDevice(Step):
    """The device that could not be started works again, and `set_link` starts it; count frames lost until
    then."""

    point: str

    def run(self, on: Run) -> None:
        vdpaflow.wait_error(on.lab, on.guest, "")
        on.net.stop()
        on.net.link("down")
        arm(on.devices.devices[on.device].name, self.point, times=0)
        on.guest.qmp.cmd("set_link", {"name": "n0", "up": True})
        on.net.link("up")
        on.lab.figures["lost_with_link_down"] = on.net.settle()["lost"]
        on.net.start(rate=vdpaflow.RATE)
        on.net.flows(on.lab, "the device works again")


@dataclass(frozen=True)
class CheckStrikes(Step):
    """The fault struck, and no frame was lost while the link was up."""

    point: str

    def run(self, on: Run) -> None:
        on.lab.check(strikes(on.devices.devices[on.device], self.point) > 0, "the fault did not strike")
        lost = on.lab.figures.get("lost_with_link_down", 0)
        on.lab.check(on.frames["lost"] == lost and not on.frames["duplicate"] and not on.frames["corrupt"],
                     f"frames: {on.frames}, lost with the link down: {lost}")


BEGIN: Steps = (StartDestination(), StartMigration(SLOW), Wait(0.5), CheckMode("shadow"))
FAIL: Steps = (StartDestination(), FailMigration())


def steps(point: str, *fault: Step) -> dict[str, Steps]:
    """Boot, one FAULT at POINT, and then a migration as usual."""
    return {"steps": (
        Boot(), WriteMemory(rate=200), StartFrames(), *fault, StopFrames(), CheckStrikes(point),
        StopWriting(), StartFrames(), *MIGRATE, VerifyStamps())}


def there(point: str) -> dict[str, Steps]:
    """The fault strikes when the second migration begins."""
    return steps(point, *BEGIN, Cancel(), WaitMapped(), Arm(point), *FAIL,
                 CheckFailedSwitch("passthrough", "no migration"))


def back(point: str) -> dict[str, Steps]:
    """The fault strikes when a migration is cancelled."""
    return steps(point, *BEGIN, Arm(point), Cancel(), CheckFailedSwitch("shadow", "the switch back failed"))


def reset(point: str) -> dict[str, Steps]:
    """The fault strikes when a migration begins and when it is cancelled."""
    return steps(point, Arm(point), *BEGIN, Arm(point), Cancel(), CheckResets())


SCENARIO = Scenario(
    about="vhost-vdpa: a device that fails in a switch",
    time_limit=240,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=("full", "vdpa"),
    own_binaries=True,
    variants={
        "there-set_vq_state": there("set_vq_state"),
        "there-resume": there("resume"),
        "back-set_vq_state": back("set_vq_state"),
        "back-resume": back("resume"),
        "reset-suspend": reset("suspend"),
        "reset-get_vq_state": reset("get_vq_state"),
        "for-good": steps("set_vq_state", Arm("set_vq_state", times=-1), *FAIL,
                          RepairDevice("set_vq_state")),
    },
)
