# SPDX-License-Identifier: GPL-2.0-or-later
"""The simulator's account of standstills and maps agrees with a driver's own.

What vdpa-speed measures is the device's word (vdpameter.py).  Here a driver in L1 stops the device in
each way there is, waits, starts it again, and looks at its own clock before and after each step: the
device's standstill has to lie between the shortest and the longest that it can have been.  Our vhost_vdpa traces
what it is asked for; its events have to be those steps, none longer than the driver saw.

*Limits*: a millisecond's work of the device is not looked into.
"""

import errno
import struct
import time
from collections.abc import Callable

from qlab import probe, simdrive, vdpameter, vhostvdpa
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="the simulator measures standstills and maps rightly",
    time_limit=120,
    needs=("kernel-modules",),
    suites=("full", "kernel"),
    own_binaries=True,
    variants={"tree": {"batch": 1}, "pieces": {"batch": 0}},
    short=("tree",),
)

SUSPEND, RESUME = (0xAF << 8 | number for number in (0x7D, 0x7E))
FEATURES = vhostvdpa.VERSION_1 | vhostvdpa.ACCESS_PLATFORM
NAME, MAC = "net0", "52:54:00:11:22:33"
RX, TX = 0, 1
PAUSE = 0.03  # seconds that the device stands still
HEAD = 12  # bytes of virtio_net_hdr
FRAME = bytes(HEAD) + b"\xff" * 6 + bytes.fromhex(MAC.replace(":", "")) + b"\x88\xb5" + bytes(46)


class Driver:
    """Of the simulated NIC, with one queue pair."""

    def __init__(self, lab: Lab, sim: simdrive.Sim, name: str = NAME) -> None:
        self.lab = lab
        self.device = vhostvdpa.Device(sim.node(name))
        self.start()
        self.queues = [self.device.queue(index) for index in (RX, TX)]

    def start(self) -> None:
        """Up to FEATURES_OK."""
        self.device.negotiate(FEATURES)
        offered = self.device.ioctl(vhostvdpa.GET_BACKEND_FEATURES)
        self.device.ioctl(vhostvdpa.SET_BACKEND_FEATURES, offered)

    def enable(self, on: bool) -> None:
        """Both queues."""
        for index in (RX, TX):
            self.device.ioctl(vhostvdpa.SET_VRING_ENABLE, struct.pack("<II", index, on))

    def again(self) -> None:
        """From a reset to running, where the queues were."""
        self.start()
        for queue in self.queues:
            queue.start = queue.next_used
        self.device.run()

    def frame(self) -> None:
        """There and back."""
        rx, tx = self.queues
        rx.add(None)
        tx.add(FRAME)
        for queue in (rx, tx):
            queue.notify()
        self.lab.check(rx.wait()[HEAD:] == FRAME[HEAD:], "a frame came back changed")
        tx.wait()


def now() -> int:
    """The device's clock."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def check_way(lab: Lab, driver: Driver, what: str, stop: Callable[[], object],
              go: Callable[[], object]) -> None:
    """One way to stop and start again."""
    before = vdpameter.read(NAME)
    clock = [now()]
    stop()
    clock.append(now())
    halted = vdpameter.read(NAME).queues
    lab.check(not halted[RX].running and not halted[TX].running, f"{what}: {halted}")
    time.sleep(PAUSE)
    clock.append(now())
    go()
    clock.append(now())
    time.sleep(PAUSE)  # runs, and has nothing to do
    clock.append(now())
    driver.frame()
    clock.append(now())
    found = vdpameter.standstill(before, vdpameter.read(NAME), 2)
    lab.figures[what] = found
    for key, least, most in (("still_ms", clock[2] - clock[1], clock[3] - clock[0]),
                             ("silent_ms", clock[4] - clock[1], clock[5] - clock[0])):
        lab.check(least / 1e6 <= found[key] <= most / 1e6,
                  f"{what}: {key} is {found[key]}, not {least / 1e6} to {most / 1e6}")
    lab.check(found["resets"] == (what == "reset"), f"{what}: {found}")
    lab.check(found["suspends"] == found["resumes"] == (what == "suspend"), f"{what}: {found}")


def check_maps(lab: Lab, driver: Driver, batch: int) -> None:
    """Bytes and calls; our vhost_vdpa calls once, 6.12's own as often as it likes."""
    device, seen = driver.device, [vdpameter.read(NAME).driver]
    for step in (device.map, device.unmap, device.map):
        step()
        seen.append(vdpameter.read(NAME).driver)
    for key, steps in (("mapped", (1, 0, 1)), ("unmapped", (0, 1, 0))):
        moved = [new[key] - old[key] for old, new in zip(seen, seen[1:])]
        lab.check(moved == [step * device.size for step in steps], f"{key}: {moved}")
    calls = [new["map_calls"] - old["map_calls"] for old, new in zip(seen, seen[1:])]
    lab.check(calls == [1, 1, 1] if batch and lab.kernel == "6.1" else min(calls) > 0, f"map_calls: {calls}")


def map_again(device: vhostvdpa.Device) -> None:
    """Which fails."""
    try:
        device.map()
    except FileExistsError:
        pass


def check_events(driver: Driver, batch: int) -> None:
    """Trace events of vhost_vdpa, with their times."""
    lab, device, events = driver.lab, driver.device, probe.Events("vhost_vdpa")
    commit = ["commit=0"] if batch else []
    steps = [("map", [*commit, "map=0"], device.map),
             ("the same again", [f"map={-errno.EEXIST}"], lambda: map_again(device)),
             ("unmap", [*commit, "unmap=0"], device.unmap),
             ("one more", [*commit, "map=0"], device.map),
             ("start", [], device.run),
             *2 * [("suspend", ["suspend=0"], lambda: device.ioctl(SUSPEND)),
                   ("resume", ["resume=0"], lambda: device.ioctl(RESUME))],
             ("reset", ["reset=0"], lambda: device.set_status(0))]
    for what, want, step in steps:
        start = now()
        step()
        took, found = now() - start, events.take()
        seen = [f"{name.removeprefix('vhost_vdpa_')}={numbers['err']}" for name, numbers in found]
        lab.check(seen == want, f"trace events, {what}: {found}")
        for name, numbers in found:
            where = [numbers.get("iova", device.at), numbers.get("size", device.size)]
            lab.check(0 < numbers["ns"] <= took and where == [device.at, device.size],
                      f"{what}: {name} {numbers} in {took} ns")
    events.end()


def run(lab: Lab, batch: int) -> None:
    """Each way, twice."""
    sim = simdrive.Sim(lab, "net", vdpa_sim=f"batch_mapping={batch}")
    sim.add(NAME, "mac", MAC)
    if lab.modules.is_ours("vhost_vdpa"):
        sim.add("net1", "mac", MAC)
        traced = Driver(lab, sim, "net1")
        check_events(traced, batch)
        traced.device.close()
        sim.delete("net1")
    driver = Driver(lab, sim)
    device = driver.device
    check_maps(lab, driver, batch)
    lab.check(not vdpameter.read(NAME).queues, "a queue ran before DRIVER_OK")
    device.run()
    driver.frame()
    for _ in range(2):
        check_way(lab, driver, "suspend", lambda: device.ioctl(SUSPEND),
                  lambda: device.ioctl(RESUME))
        check_way(lab, driver, "disable", lambda: driver.enable(False),
                  lambda: driver.enable(True))
        check_way(lab, driver, "reset", lambda: device.set_status(0), driver.again)
    device.close()
    sim.delete(NAME)
