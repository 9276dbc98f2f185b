# SPDX-License-Identifier: GPL-2.0-or-later
"""How long vhost-vdpa's switch and switchover take, ours and stock by turns in one L1.

Each run boots a guest with frames going round at a fixed rate and begins a migration that is held up,
so that data queues are switched to shadow rings; cancels it, so that they are switched back; and
migrates for good.  The next run is the other subject's; each round begins with the other one.

The device itself measures (vdpameter.py), so it is the same instrument for both:

    switch_ms    the data queues stood still when the migration began
    silent_ms    the same, until the first frame afterwards: after a short standstill, whenever the
                 next one is due
    back_ms      they stood still when it was cancelled
    downtime_ms  from the end of the source's data queues to the begin of the destination's
    map_calls, mapped_mib, unmapped_mib, resets
                 what QEMU did to the device in both switches

Beside them, as the guest and QEMU see it: `gap_ms`, the longest time between two frames while the
migration is held up (`quiet_ms`: before), which has everything in it that stops an emulated guest
when a migration begins; `reported_ms`, query-migrate's downtime, which ends when the source has
sent everything, whatever the destination still has to do.

A downtime has in it what the source still sends after it has stopped, which QEMU lets grow up to its
limit; so the limit is low here, and the bandwidth that it is reckoned with is a given.  The destination
runs as soon as it has loaded everything.  Guest memory is anonymous, in huge pages
where L1's kernel has them: these are pinned and mapped much faster than small ones.  Hardly any of it
was written by the guest, so much of the destination's is not there before it is pinned.

L1's clock counts instructions, two nanoseconds each, so what else the host does changes nothing.

The variant `apart` is one run of each with trace events (downtime.py); trace-ours.txt and trace-stock.txt have
all of them, in milliseconds since the source's data queues stopped.  `offered` has the source offer postcopy.
`wide` has four queue pairs, 64 addresses and 1,000 VLANs, which QEMU gives the destination's device anew.

*Limits*: instructions, not time; L1's two CPUs take turns.  Compare within a run.  A gap is never
shorter than the frames' own distance, 1000 / RATE milliseconds.  The device has no indirect
descriptors (vdpa.PLAIN).
"""

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

from qlab import downtime, l2, migrate, vdpa, vdpameter
from qlab.context import Lab
from qlab.scenario import Scenario
from qlab.qmpnames import QUERY_VHOST_VDPA

SCENARIO = Scenario(
    about="vhost-vdpa: switch and downtime, ours and stock by turns (figures)",
    time_limit=1500,
    needs=("kvm", "guest-linux", "kernel-modules", "ours", "stock"),
    suites=(),
    own_binaries=True,
    icount=True,
    l1_mem=12288,
    variants={"256": {"memory": 256}, "1024": {"memory": 1024}, "4096": {"memory": 4096},
              "offered": {"memory": 1024, "back": False, "offered": True},
              "apart": {"memory": 1024, "rounds": 1, "back": False, "traced": True},
              "wide": {"memory": 1024, "back": False, "pairs": 4, "filters": 64, "vlans": 1000}},
)

RATE = 200  # frames a second
FRAMES = 60  # seen before, during, and after
DOWNTIME_MS = 20
SWITCHOVER = 100 << 20  # bytes a second: 2 MiB are left to send, at most, when the source stops
COUNTED = ("map_calls", "resets", "suspends")


@dataclass(frozen=True)
class Shape:
    """Of a guest and its device."""

    memory: int  # MiB
    pairs: int = 1
    filters: int = 0
    vlans: int = 0

    @property
    def data(self) -> int:
        """Data queues."""
        return 2 * self.pairs


def gap_ms(lab: Lab, net: vdpa.Net, what: str) -> float:
    """The longest time without a frame since the last `stat`, which starts the measurement anew."""
    left, last = FRAMES, net.stat()
    longest = last["gap_us"]
    deadline = time.monotonic() + 60
    while left > 0:
        lab.check(time.monotonic() < deadline, f"{what}: traffic stands still: {last}")
        time.sleep(0.05)
        now = net.stat()
        left -= now["received"] - last["received"]
        longest, last = max(longest, now["gap_us"]), now
    return longest / 1000


def start_peer(lab: Lab, spec: l2.GuestSpec) -> l2.Guest:
    """A destination that has done what it does at its start: our QEMU begins to pin memory then,
    which on another host would not be in the source's way."""
    peer = l2.start(lab, spec.incoming())
    deadline = time.monotonic() + 60 + spec.mem / 20
    while True:
        before = cpu_s(peer.process.pid)
        time.sleep(0.5)
        if cpu_s(peer.process.pid) - before < 0.05:
            return peer
        lab.check(time.monotonic() < deadline, "the destination does not come to rest")


def cpu_s(pid: int) -> float:
    """CPU time of all of a process's threads."""
    return sum(int((task / "schedstat").read_text("ascii").split()[0])
               for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def hold_up(lab: Lab, guest: l2.Guest, net: vdpa.Net, peer: l2.Guest,
            name: str, data: int) -> tuple[dict[str, float], vdpameter.Meters]:
    """Begin a migration, which switches the device NAME, and hold it up; also its meters before."""
    gap_ms(lab, net, "at first")
    found = {"quiet_ms": gap_ms(lab, net, "before")}
    first = vdpameter.read(name)
    migrate.begin(lab, guest, peer, "unix", bandwidth=1 << 20)
    found["gap_ms"] = gap_ms(lab, net, "held up")
    switch = vdpameter.standstill(first, vdpameter.read(name), data)
    found |= {"switch_ms": switch["still_ms"], "silent_ms": switch["silent_ms"]}
    return found | counts(switch), first


def counts(seen: dict[str, float]) -> dict[str, float]:
    """What QEMU did to the device."""
    return {"mapped_mib": seen["mapped"] / 2**20, "unmapped_mib": seen["unmapped"] / 2**20,
            **{key: seen[key] for key in COUNTED}}


def there_and_back(lab: Lab, guest: l2.Guest, net: vdpa.Net, spec: l2.GuestSpec,
                   name: str, data: int) -> dict[str, float]:
    """A migration that is cancelled: two switches."""
    peer = start_peer(lab, spec)
    found, first = hold_up(lab, guest, net, peer, name, data)
    shadowed = vdpameter.read(name)
    migrate.cancel(guest, 60)
    peer.kill()
    gap_ms(lab, net, "cancelled")
    last = vdpameter.read(name)
    found["back_ms"] = vdpameter.standstill(shadowed, last, data)["still_ms"]
    return found | counts(vdpameter.standstill(first, last, data))


def apart(lab: Lab, name: str, logs: list[Path], source: vdpameter.Meters, destination: vdpameter.Meters,
          data: int) -> None:
    """What happened in the downtime, for the log."""
    stopped = max(source.queues[index].since_ns for index in range(data))
    running = max(destination.queues[index].since_ns for index in range(data))
    begin = downtime.of_day(stopped)
    end = begin + (running - stopped) / 1e9
    lines = [f"{1000 * (event.at - begin):9.3f} {event.side:11} {event.event} {event.text}"
             for event in downtime.events(*logs)]
    (lab.out / f"trace-{name}.txt").write_text("\n".join([*lines, f"{1000 * (end - begin):9.3f} end"]) + "\n")


def for_good(lab: Lab, guest: l2.Guest, net: vdpa.Net, spec: l2.GuestSpec,
             names: list[str], logs: list[Path], offered: bool, data: int) -> dict[str, float]:
    """Migrate; the guest ends."""
    peer = start_peer(lab, spec)
    if offered:
        migrate.enable(("postcopy-ram",), guest, peer)
    found, _ = hold_up(lab, guest, net, peer, names[0], data)
    peer.qmp.cmd("cont")  # it is to run when it can
    guest.qmp.cmd("migrate-set-parameters", {"avail-switchover-bandwidth": SWITCHOVER})
    migrate.limits(guest, migrate.FAST, DOWNTIME_MS)
    info = migrate.wait_end(guest, 90 + spec.mem / 20)
    lab.check(info.get("status") == "completed", f"migration: {info}")
    migrate.settled(peer, 60)
    peer.payload.catch_up(60)
    net = vdpa.Net(peer.payload)
    net.flows(lab, "at the destination", frames=FRAMES)
    source, destination = (vdpameter.read(name) for name in names)
    if logs:
        apart(lab, "stock" if spec.qemu == lab.stock else "ours", logs, source, destination, data)
    found |= {"reported_ms": info["downtime"],
              "downtime_ms": vdpameter.handover(source, destination, data)}
    net.stop()
    found["lost"] = net.settle()["lost"]
    peer.kill()
    return found


def one_run(lab: Lab, devices: list[vdpa.Device], stock: bool, shape: Shape,
            back: bool, traced: bool, offered: bool) -> dict[str, float]:
    """Boot, switch there and back, migrate."""
    logs = [lab.tmp / f"{lab.next_name('trace')}.log" for _ in devices] if traced else []
    source, other = (
        vdpa.spec(lab, device, qemu=lab.stock if stock else lab.qemu, mem=shape.memory, load_mb=32,
                  ram="anon", initrd=vdpa.initrd(lab, ("8021q",) if shape.vlans else ()),
                  extra=tuple(word.replace(device.mac, devices[0].mac)
                              for word in vdpa.words(device)))
        for device in devices)
    if traced:
        source, other = (replace(spec, extra=spec.extra + downtime.words(log))
                         for spec, log in zip((source, other), logs, strict=True))
    guest = l2.start(lab, source)
    guest.wait_ready(300)
    net = vdpa.Net(guest.payload)
    net.up()
    net.widen(shape.pairs, shape.filters, shape.vlans)
    net.start(rate=RATE)
    names = [device.name for device in devices]
    found = there_and_back(lab, guest, net, other, names[0], shape.data) if back else {}
    if not stock:
        lab.log(f"ours: {guest.qmp.cmd(QUERY_VHOST_VDPA)[0]}")
    found = for_good(lab, guest, net, other, names, logs, offered, shape.data) | found
    guest.kill()
    return found


def run(lab: Lab, memory: int, rounds: int = 3, back: bool = True, traced: bool = False,
        offered: bool = False, **shape: int) -> None:
    """Rounds of both.

    Without BACK no migration is cancelled, which takes half as long.  TRACED: qlab/downtime.py.  OFFERED: the source
    offers postcopy, and the migration ends as precopy.
    """
    wide = Shape(memory, **shape)
    simulators = vdpa.Simulators(lab)
    devices = [simulators.add(pairs=wide.pairs, plain=True) for _ in range(2)]
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "stock": []}
    for number in range(rounds):
        for name in sorted(runs, reverse=bool(number % 2)):
            runs[name].append(one_run(lab, devices, name == "stock", wide, back, traced, offered))
            lab.log(f"{name}: {runs[name][-1]}")
    for what in runs["ours"][0]:
        values = {name: [found[what] for found in some] for name, some in runs.items()}
        lab.figures[what] = {name: {"median": statistics.median(some), "runs": some}
                             for name, some in values.items()}
    lost = sum(found["lost"] for found in runs["ours"])
    lab.check(not lost, f"ours lost {lost:.0f} frames")
    for what in ("resets", "map_calls", "mapped_mib", "unmapped_mib"):
        lab.check(not any(found[what] for found in runs["ours"]),
                  f"ours: {what} in a switch: {lab.figures[what]['ours']}")
