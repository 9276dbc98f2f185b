# SPDX-License-Identifier: GPL-2.0-or-later
"""Our kernel modules come and go, with devices in them, and leave nothing behind.

A round loads all of them, has the simulators make a device each, with a bus driver bound to it,
and unloads everything without taking the devices away first.  The rounds take turns: devices are
bound to vhost_vdpa, and their own modules go first; or to virtio_vdpa, with the stock virtio
drivers above it, and the bus drivers go first, from under the devices.  The slab
allocator has redzones and poison, so what is touched after it has gone, or forgotten in a cache of
a module's own, is in the kernel log, and that fails the run.

On the debug kernel, where a round takes 20 seconds, `100` has DEBUG_ROUNDS.  There kmemleak finds what is
left behind; growth is shown and not judged, since KASAN keeps what is freed, and kmemleak its notes.

*Limits*: what a module leaves in the general caches is seen as growth only, averaged over the
rounds; one round is not enough to tell.
"""

import subprocess
from pathlib import Path

from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="all our kernel modules, with devices, loaded and unloaded again",
    time_limit=2400,
    needs=("kernel-modules",),
    suites=("full", "kernel"),
    short=("once",),
    # Who allocated what is not tracked: that takes most of the time, as early as in L1's boot.
    append="slub_debug=FZP page_poison=1 watchdog_thresh=60",
    l1_mem=1536,
    own_binaries=True,
    variants={"once": {"rounds": 2}, "100": {"rounds": 100}},
)

SIMULATORS = {"vdpa_sim_net": "vdpasim_net", "vdpa_sim_blk": "vdpasim_blk"}
#: The first one that is loaded gets the devices.  Stock ones, where the kernel has them.
BUS_DRIVERS = ("virtio_vdpa", "vhost_vdpa")
#: Unreclaimable slab that may be gained in a round, on average, after the first.
GROWTH_KIB = 16
DEBUG_ROUNDS = 24


def loaded() -> set[str]:
    """Names of the modules that the kernel has."""
    lines = Path("/proc/modules").read_text("ascii").splitlines()
    return {line.split()[0] for line in lines}


def slab_kib() -> int:
    """Memory that the slab allocator cannot give back."""
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        if line.startswith("SUnreclaim:"):
            return int(line.split()[1])
    raise RuntimeError("/proc/meminfo has no SUnreclaim")


def add_devices(lab: Lab, names: list[str], wanted: str) -> int:
    """A device of every simulator, bound to the driver that is WANTED; how many."""
    devices = 0
    for module, parent in SIMULATORS.items():
        if module not in names:
            continue
        done = subprocess.run(["vdpa", "dev", "add", "name", f"lab-{parent}", "mgmtdev", parent],
                              text=True, capture_output=True, check=False)
        lab.check(done.returncode == 0, f"{parent}: {done.stderr.strip()}")
        driver = Path("/sys/bus/vdpa/devices", f"lab-{parent}", "driver")
        lab.check(driver.resolve().name == wanted, f"lab-{parent}: {driver.resolve().name}")
        devices += 1
    return devices


def one_round(lab: Lab, names: list[str], virtio: bool) -> int:
    """Everything in, devices, everything out."""
    if virtio:
        lab.load("virtio_net", "virtio_blk")
    lab.load(*(BUS_DRIVERS if virtio else reversed(BUS_DRIVERS)), *names)
    missing = set(names) - loaded()
    lab.check(not missing, f"not loaded: {missing}")
    devices = add_devices(lab, names, BUS_DRIVERS[not virtio])
    if virtio:
        lab.unload(*BUS_DRIVERS)
    lab.modules.unload_all()
    left = set(names) & loaded()
    lab.check(not left, f"still loaded: {left}")
    lab.check(not Path("/sys/bus/vdpa").exists(), "the bus is still there")
    return devices


def run(lab: Lab, rounds: int) -> None:
    """As many rounds as asked for."""
    if lab.debug:
        rounds = min(rounds, DEBUG_ROUNDS)
    lab.figures["rounds"] = rounds
    names = lab.modules.all()
    lab.figures["modules"] = len(names)
    # What is set up once and stays, by stock modules too, is not growth: one of each kind first.
    lab.figures["devices"] = one_round(lab, names, False)
    one_round(lab, names, True)
    before = slab_kib()
    for number in range(2, rounds):
        one_round(lab, names, bool(number % 2))
    gained = slab_kib() - before
    lab.figures["slab_gained_kib"] = gained
    lab.check(lab.debug or gained <= GROWTH_KIB * max(rounds, 64), f"{gained} KiB of slab gained")
