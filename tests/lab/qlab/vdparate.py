# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames a second through vhost-vdpa, ours and stock by turns in one L1.

Theory of operation
===================

Two guests run beside each other, one under our QEMU and one under stock's, each with a device of its
own.  By turns each of them lets small frames go round as fast as it can for SECONDS, while the other
does nothing; a turn gives

    pps       frames a second that came back
    main_us   CPU time of QEMU's main thread a frame, where the shadow rings are served
    qemu_us   of all of QEMU's threads but the vCPU's
    exits     how often the vCPU left the guest, a frame

With `held` each guest has a migration under way meanwhile, which is held up: its data queues are as they are
while a guest migrates.  With `tx` ours shadows its transmit queues then, too.  With `away` frames go to an
address that is not there: the device takes them and drops them, and pps is what it took.

Both vCPUs are on one CPU, and all else, the simulator's workers among it, on the other (`pinned`).  Left to itself
L1's scheduler now and then puts all of it on one CPU and leaves the other idle: a worker that a kick has woken
preempts the vCPU then, there is a wake-up for each frame, and a turn has a third of the rate of the turn before.

*Limits*: meant for an L1 whose clock counts instructions; two guests at most have CPUs of their own.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from . import l2, migrate, vdpa, vdpaflow, vdpameter
from .context import Lab

SECONDS = 0.5
WARM_UP = 0.2
SIZE = 60  # bytes of a frame
HELD = 256 << 10  # bytes a second of a migration that is held up
WORKERS = Path("/sys/devices/virtual/workqueue/cpumask")  # of those that are bound to no CPU


def cpu_ns(pid: int) -> dict[str, int]:
    """CPU time of a process's threads: the first one's, and all but the vCPUs'."""
    spent = {"main": 0, "qemu": 0}
    for task in Path(f"/proc/{pid}/task").iterdir():
        used = int((task / "schedstat").read_text("ascii").split()[0])
        if "/KVM" not in (task / "comm").read_text("utf-8"):
            spent["qemu"] += used
        if task.name == str(pid):
            spent["main"] = used
    return spent


def exits(pid: int) -> int:
    """How often the vCPUs of a process have left the guest."""
    vdpameter.mounted()
    return sum(int((folder / "exits").read_text("ascii"))
               for folder in (vdpameter.DEBUGFS / "kvm").glob(f"{pid}-*"))


def turn(lab: Lab, guest: l2.Guest, net: vdpa.Net, seconds: float, away: bool) -> dict[str, float]:
    """One guest's frames, as many as can be."""
    net.start(size=SIZE, away=away)
    counter = "tx" if away else "received"
    time.sleep(WARM_UP)
    pid = guest.process.pid
    first, spent, left, began = net.stat(), cpu_ns(pid), exits(pid), time.monotonic()
    time.sleep(seconds)
    last, now, left, ended = net.stat(), cpu_ns(pid), exits(pid) - left, time.monotonic()
    net.stop()
    settled = net.settle()
    lab.check(not settled["duplicate"] and not settled["corrupt"], f"frames: {settled}")
    frames = last[counter] - first[counter]
    lab.check(frames > 0, f"no frame in {seconds} s: {last}")
    return {"pps": frames / (ended - began), "lost": settled["lost"],
            "main_us": (now["main"] - spent["main"]) / frames / 1000,
            "qemu_us": (now["qemu"] - spent["qemu"]) / frames / 1000,
            "exits": left / frames}


def boot(lab: Lab, device: vdpa.Device, qemu: Path, svq: bool, netdev: str = "") -> tuple[l2.Guest, vdpa.Net]:
    """A guest whose network is up; NETDEV: more options."""
    extra = vdpa.words(device, svq)
    guest = l2.start(lab, vdpa.spec(lab, device, svq, qemu=qemu, load_mb=32,
                                    extra=(extra[0], extra[1] + netdev, *extra[2:])))
    guest.wait_ready(120)
    net = vdpa.Net(guest.payload)
    net.up()
    return guest, net


def pin(pids: list[int]) -> None:
    """Give the vCPUs CPU 1, and CPU 0 to all else."""
    WORKERS.write_text("1", "ascii")
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            vcpu = "/KVM" in (task / "comm").read_text("utf-8")
            os.sched_setaffinity(int(task.name), {1 if vcpu else 0})


def hold_up(guest: l2.Guest) -> None:
    """Begin a migration that lasts."""
    guest.qmp.cmd("migrate-set-parameters", {"max-bandwidth": HELD, "downtime-limit": 1})
    guest.qmp.cmd("migrate", {"uri": "exec:cat >/dev/null"})
    deadline = time.monotonic() + 30
    while migrate.query(guest)["status"] != "active":
        if time.monotonic() > deadline:
            raise TimeoutError("the migration does not begin")
        time.sleep(0.05)


def run(lab: Lab, svq: bool, kind: str = "simulator", rounds: int = 5,
        seconds: float = SECONDS, held: bool = False, tx: bool = False, pinned: bool = True,
        away: bool = False) -> None:
    """Turns of both; which is first changes with every round."""
    devices = vdpaflow.KINDS[kind](lab)
    guests = {name: boot(lab, devices.add(plain=True), qemu, svq, netdev)
              for name, qemu, netdev in (("ours", lab.qemu, ",x-svq-tx=on" if tx else ""), ("stock", lab.stock, ""))}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in guests}
    for guest, _ in guests.values() if held else ():
        hold_up(guest)
    if pinned:
        pin([guest.process.pid for guest, _ in guests.values()])
    for number in range(rounds):
        for name in sorted(guests, reverse=bool(number % 2)):
            runs[name].append(turn(lab, *guests[name], seconds, away))
            lab.log(f"{name}: {runs[name][-1]}")
    for name, (guest, _) in guests.items() if held else ():
        state = migrate.query(guest)["status"]
        lab.check(state == "active", f"{name}: the migration did not last: {state}")
    for what in ("pps", "main_us", "qemu_us", "exits", "lost"):
        values = {name: [found[what] for found in some] for name, some in runs.items()}
        lab.figures[what] = {name: {"median": statistics.median(some), "runs": some}
                             for name, some in values.items()}
    lab.figures["dropped"] = devices.dropped()
    devices.verify()
