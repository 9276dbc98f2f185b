# SPDX-License-Identifier: GPL-2.0-or-later
"""How long vhost-vdpa's switch and switchover take, ours and stock by turns in one L1.

Each run boots a guest with frames going round at a fixed rate, begins a migration that is held
up, and asks the payload for the longest time between two frames meanwhile (`held_ms`; before:
`quiet_ms`): the switch to shadow rings, as the guest sees it, and whatever else stops it then.
Then the migration is let through; its downtime is query-migrate's.  The next run is the other
subject's; each round begins with the other one.

*Limits*: an emulated machine; compare within a run.  A gap is never shorter than the frames' own
distance, 1000 / RATE milliseconds.  The device has no indirect descriptors (vdpa.PLAIN).
"""

import statistics
import time

from qlab import l2, migrate, vdpa
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="vhost-vdpa: switch and downtime, ours and stock by turns (figures)",
    time_limit=600,
    needs=("kvm", "guest-linux", "kernel-modules", "ours", "stock"),
    suites=(),
    own_binaries=True,
    l1_mem=6144,
    variants={"256": {"memory": 256}, "1024": {"memory": 1024}},
)

RATE = 200  # frames a second
FRAMES = 60  # seen before, during, and after
DOWNTIME_MS = 300


def gap_ms(lab: Lab, net: vdpa.Net, what: str) -> float:
    """The longest time without a frame since somebody asked last; each answer starts anew."""
    left, last = FRAMES, net.stat()
    longest = last["gap_us"]
    deadline = time.monotonic() + 30
    while left > 0:
        lab.check(time.monotonic() < deadline, f"{what}: traffic stands still: {last}")
        time.sleep(0.05)
        now = net.stat()
        left -= now["received"] - last["received"]
        longest, last = max(longest, now["gap_us"]), now
    return longest / 1000


def one_run(lab: Lab, devices: list[vdpa.Device], stock: bool, memory: int) -> dict[str, float]:
    """Boot, migrate, measure."""
    source, other = (
        vdpa.spec(lab, device, qemu=lab.stock if stock else lab.qemu, mem=memory, load_mb=32,
                  extra=tuple(word.replace(device.mac, devices[0].mac)
                              for word in vdpa.words(device)))
        for device in devices)
    guest = l2.start(lab, source)
    guest.wait_ready(120)
    net = vdpa.Net(guest.payload)
    net.up()
    net.start(rate=RATE)
    peer = l2.start(lab, other.incoming())
    gap_ms(lab, net, "at first")
    found = {"quiet_ms": gap_ms(lab, net, "before")}
    migrate.begin(lab, guest, peer, "unix", bandwidth=1 << 20)
    found["held_ms"] = gap_ms(lab, net, "held up")
    migrate.limits(guest, migrate.FAST, DOWNTIME_MS)
    info = migrate.wait_end(guest, 90)
    lab.check(info.get("status") == "completed", f"migration: {info}")
    found["downtime_ms"] = info["downtime"]
    migrate.settled(peer)
    peer.qmp.cmd("cont")
    peer.payload.catch_up()
    net = vdpa.Net(peer.payload)
    net.flows(lab, "at the destination", frames=FRAMES)
    net.stop()
    found["lost"] = net.settle()["lost"]
    guest.kill()
    peer.kill()
    return found


def run(lab: Lab, memory: int, rounds: int = 3) -> None:
    """Rounds of both."""
    simulators = vdpa.Simulators(lab)
    devices = [simulators.add(plain=True) for _ in range(2)]
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "stock": []}
    for number in range(rounds):
        for name in sorted(runs, reverse=bool(number % 2)):
            runs[name].append(one_run(lab, devices, name == "stock", memory))
            lab.log(f"{name}: {runs[name][-1]}")
    for what in ("quiet_ms", "held_ms", "downtime_ms", "lost"):
        values = {name: [found[what] for found in some] for name, some in runs.items()}
        lab.figures[what] = {name: {"median": statistics.median(some), "runs": some}
                             for name, some in values.items()}
    lost = sum(found["lost"] for found in runs["ours"])
    lab.check(not lost, f"ours lost {lost:.0f} frames")
