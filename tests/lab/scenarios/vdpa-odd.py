# SPDX-License-Identifier: GPL-2.0-or-later
"""vhost-vdpa on devices that do not behave as the simulator does.

The device is the simulator; a library in the nested QEMU (preload/odd-vdpa.c) makes it odd.

`groups`   its groups are fixed, and the guest's driver has not negotiated multiqueue, so the control
           queue is in the data queues' group: all queues are shadowed, the guest has its network, and
           migrates.
`deaf`     it ignores new ring addresses while it is suspended.  QEMU notices that when the first migration
           begins, and resets it instead, then and later.
`mute`     it never interrupts.  When the guest is stopped and goes on, QEMU interrupts it once, because
           the device may have been stopped before it could interrupt.

*Limits*: for `deaf`, frames that are lost at a reset are not counted.
"""

import time
from dataclasses import dataclass

from qlab import vdpa, vdpaflow
from qlab.scenario import Scenario
from qlab.vdpasteps import (  # noqa: F401
    MIGRATE, SLOW, Boot, Cancel, CheckFlow, CheckFrames, CheckMode, Quit, ReloadDriver, Run,
    StartDestination, StartFrames, StartMigration, Step, Steps, StopFrames, Traffic, run)


class TwoPairs(vdpa.Simulators):
    """Devices with two queue pairs; the guest's driver has one."""

    def make(self, name: str, mac: str, pairs: int, plain: bool, mtu: int) -> str:
        """By netlink."""
        return vdpa.simulate(name, mac, 2, plain, mtu)


@dataclass(frozen=True)
class CheckAllShadowed(Step):
    """The data queues are shadowed because the control queue is in their group."""

    def run(self, on: Run) -> None:
        info = vdpaflow.device_info(on.guest)
        kinds = [queue["kind"] for queue in info["queues"]]
        on.lab.check(info["mode"] == "shadow" and kinds == ["shadow", "shadow", "control"]
                     and not info["control-isolated"], f"queues: {info}")


@dataclass(frozen=True)
class CheckStderr(Step):
    """QEMU has written this on stderr; COUNT times, if that is not 0."""

    words: str
    count: int = 0

    def run(self, on: Run) -> None:
        found = on.guest.stderr().count(self.words)
        on.lab.check(found == self.count if self.count else found > 0,
                     f"'{self.words}' on stderr: {found} times")


@dataclass(frozen=True)
class CheckSwitchResets(Step):
    """Each of SWITCHES switches was a reset; no frame is duplicate or changed."""

    switches: int

    def run(self, on: Run) -> None:
        info = vdpaflow.device_info(on.guest)
        on.lab.figures["device"] = info
        on.lab.check(info["mode"] == "passthrough" and info["switch-resets"] == info["switches"] == self.switches
                     and not info["switches-failed"], f"switches: {info}")
        on.lab.check(not on.frames["duplicate"] and not on.frames["corrupt"], f"frames: {on.frames}")


@dataclass(frozen=True)
class CheckNoInterrupt(Step):
    """Frames are sent and the guest does not see one come back."""

    def run(self, on: Run) -> None:
        on.net.start(rate=10)
        time.sleep(3)
        before = on.net.stat()
        time.sleep(2)
        after = on.net.stat()
        on.lab.check(after["received"] == before["received"] and after["sent"] > before["sent"],
                     f"the device interrupts: {before}, {after}")


@dataclass(frozen=True)
class CheckInterruptAtContinue(Step):
    """The guest is stopped and goes on, and sees frames that came back before."""

    def run(self, on: Run) -> None:
        before = on.net.stat()
        on.guest.qmp.cmd("stop")
        on.guest.qmp.cmd("cont")
        deadline = time.monotonic() + 10
        while (now := on.net.stat())["received"] <= before["received"]:
            on.lab.check(time.monotonic() < deadline, f"no interrupt when the guest went on: {now}")
            time.sleep(0.1)
        on.lab.figures.setdefault("received", []).append(now["received"])
        time.sleep(1)


BEGIN: Steps = (StartDestination(), StartMigration(SLOW), CheckFlow(20))
SWITCH_BY_RESET: Steps = (*BEGIN, CheckMode("shadow"), Cancel(), CheckFlow(20))

SCENARIO = Scenario(
    about="vhost-vdpa: fixed groups, a device deaf while suspended, a lost interrupt",
    time_limit=400,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=("full", "vdpa"),
    own_binaries=True,
    variants={
        "groups": {"steps": (
            Boot(TwoPairs, odd="groups=4"), Traffic("at first"),
            CheckAllShadowed(), CheckStderr("in the data queues' group"),
            ReloadDriver(), Traffic("driver reload"), CheckAllShadowed(),
            StartFrames(), *BEGIN, Cancel(), CheckAllShadowed(), CheckFlow(20),
            *MIGRATE, StopFrames(), CheckFrames(), CheckAllShadowed(), Quit())},
        "deaf": {"steps": (
            Boot(odd="deaf"), Traffic("at first"),
            StartFrames(), *SWITCH_BY_RESET, *SWITCH_BY_RESET, StopFrames(),
            CheckSwitchResets(4), CheckStderr("stay where they are", count=1), Quit())},
        "mute": {"steps": (
            Boot(odd="mute"), CheckNoInterrupt(),
            CheckInterruptAtContinue(), CheckInterruptAtContinue(), CheckInterruptAtContinue(), Quit())},
    },
)
