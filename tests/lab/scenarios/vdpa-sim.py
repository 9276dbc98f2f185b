# SPDX-License-Identifier: GPL-2.0-or-later
"""Simulated devices come and go: every option of `vdpa dev add`, and many times over.

Options that fit together are shown back by the vdpa tool as they were given; others are refused.
Devices are then added and deleted in cycles, bound to vhost_vdpa, one in sixteen with its node open
and used in between.  Slab caches and free memory are compared at two points that both lie after
the caches have warmed up; the modules' reference counts have to be what they were.

*Limits*: a leak of less than 64 bytes a cycle is taken for noise.
"""

import os
import re
from pathlib import Path

from qlab import genl, simdrive
from qlab.context import Lab
from qlab.scenario import DEBUG, Scenario

SCENARIO = Scenario(
    about="simulated devices added with every option, and added and deleted many times",
    time_limit=1200,
    needs=("kernel-modules",),
    suites=("full", "kernel"),
    append=DEBUG,
    l1_mem=1536,
    own_binaries=True,
    variants={"options": {"cycles": 0}, "cycles": {"cycles": 200}, "thousand": {"cycles": 1000}},
    short=("options",),
)

#: How often memory is looked at; a leak grows each time.
TRIES = 3

MAC = "52:54:00:aa:bb:cc"
ACCESS_PLATFORM, VERSION_1 = 1 << 33, 1 << 32
CTRL_VQ, MQ, STATUS, CTRL_RX = 1 << 17, 1 << 22, 1 << 16, 1 << 18
NEW, DEL, MGMT_NAME, NAME, MAX_VQP, FEATURES = 3, 4, 2, 4, 12, 20      # uapi/linux/vdpa.h
PLAIN = ACCESS_PLATFORM | VERSION_1
ACCEPTED = (
    ((), {"mtu": 1500}),
    (("mac", MAC), {"mac": MAC}),
    (("mtu", "9000"), {"mtu": 9000}),
    (("mac", MAC, "mtu", "68", "max_vqp", "16"), {"mac": MAC, "mtu": 68}),
    (("device_features", hex(PLAIN | STATUS)), {}),
    (("max_vqp", "3", "device_features", hex(PLAIN | CTRL_VQ | MQ)), {}),
)
REFUSED = (
    ("max_vqp", "0"),
    ("max_vqp", "17"),
    ("mac", "01:00:5e:00:00:01"),
    ("mtu", "67"),
    ("device_features", hex(STATUS)),
    ("device_features", hex(PLAIN | CTRL_RX)),
    ("device_features", hex(PLAIN | 1 << 15)),
    ("max_vqp", "2", "device_features", hex(PLAIN | CTRL_VQ)),
    ("device_features", hex(PLAIN | CTRL_VQ | MQ)),
)


def queues(options: tuple[str, ...]) -> int:
    """How many queues a device added so has."""
    given = dict(zip(options[::2], options[1::2]))
    ctrl = "device_features" not in given or int(given["device_features"], 16) & CTRL_VQ
    return 2 * int(given.get("max_vqp", "1")) + bool(ctrl)


def add(options: tuple[str, ...]) -> str:
    """Why `vdpa dev add` fails; empty if it does not.

    iproute2 6.1 cannot say device_features, so that goes by netlink.
    """
    given = dict(zip(options[::2], options[1::2]))
    if "device_features" not in given:
        return simdrive.tool("dev", "add", "name", "d0", "mgmtdev", "vdpasim_net", *options).stderr
    attributes = [(NAME, genl.text("d0")), (MGMT_NAME, genl.text("vdpasim_net")),
                  (FEATURES, genl.u64(int(given["device_features"], 16)))]
    if "max_vqp" in given:
        attributes.append((MAX_VQP, genl.u16(int(given["max_vqp"]))))
    with genl.Family("vdpa") as family:
        answer = family.request(NEW, attributes)
    return answer.errno if answer.error else ""


def check_options(lab: Lab, sim: simdrive.Sim) -> None:
    """What fits and what does not."""
    for options, expected in ACCEPTED:
        said = add(options)
        lab.check(not said, f"{options}: {said}")
        shown = simdrive.answer("dev", "config", "show", "d0")["config"]["d0"]
        lab.check(expected.items() <= shown.items(), f"{options}: {shown}")
        device = simdrive.answer("dev", "show", "d0")["dev"]["d0"]
        lab.check(device["max_vqs"] == queues(options), f"{options}: {device}")
        again = simdrive.tool("dev", "add", "name", "d0", "mgmtdev", "vdpasim_net")
        lab.check(again.returncode != 0, "the same name twice")
        sim.delete("d0")
    for options in REFUSED:
        lab.check(bool(add(options)), f"{options} was accepted")
        lab.check(not Path("/sys/bus/vdpa/devices/d0").exists(), f"{options}: a device all the same")
    lab.check(not list((simdrive.DEBUGFS / "vdpa_sim").iterdir()), "debugfs is not empty")


def references() -> dict[str, str]:
    """Reference counts of the modules of interest."""
    lines = (line.split() for line in Path("/proc/modules").read_text("ascii").splitlines())
    return {line[0]: line[2] for line in lines if re.match("vdpa|vhost|vringh", line[0])}


def memory_in_use() -> int:
    """Slab memory, object by object, and what vmalloc() has given out.

    The slab of vmap_area is left out: areas that were freed (the stack of each worker, for one)
    stay there until the kernel sees fit to flush them, and have no pages any more.
    """
    lines = [line.split() for line in Path("/proc/slabinfo").read_text("ascii").splitlines()[2:]]
    slabs = sum(int(line[1]) * int(line[3]) for line in lines if line[0] != "vmap_area")
    found = re.search(r"VmallocUsed: +(\d+) kB", Path("/proc/meminfo").read_text("ascii"))
    assert found
    return slabs + int(found[1]) * 1024


def settle() -> int:
    """Memory in use once what can go has gone."""
    os.sync()
    for _ in range(3):
        Path("/proc/sys/vm/drop_caches").write_text("3", "ascii")
    for cache in Path("/sys/kernel/slab").glob("*/shrink"):
        cache.write_text("1", "ascii")
    return memory_in_use()


def one_cycle(sim: simdrive.Sim, family: genl.Family, number: int) -> None:
    """Add, use now and then, delete.  Not by the vdpa tool: most of the time would be its start."""
    requests = (
        (NEW, [(NAME, genl.text("d0")), (MGMT_NAME, genl.text("vdpasim_net")),
               (MAX_VQP, genl.u16(number % 4 + 1))]),
        (DEL, [(NAME, genl.text("d0"))]),
    )
    for command, attributes in requests:
        answer = family.request(command, attributes)
        sim.lab.check(not answer.error, f"cycle {number}, command {command}: {answer.errno}")
        if command == NEW and number % 16 == 0:
            with open(sim.node("d0"), "r+b", buffering=0) as node:
                assert node.fileno()


def growth(sim: simdrive.Sim, family: genl.Family, cycles: int) -> int:
    """Bytes of kernel memory that are in use after CYCLES cycles and were not before."""
    first = settle()
    for number in range(cycles):
        one_cycle(sim, family, number)
    return settle() - first


def run_cycles(lab: Lab, sim: simdrive.Sim, cycles: int) -> None:
    """A leak grows each time, other memory of the kernel does not, so the least growth counts."""
    before = references()
    limit = 64 * cycles + 32768
    grown: list[int] = []
    with genl.Family("vdpa") as family:
        for number in range(32):
            one_cycle(sim, family, number)
        while len(grown) < TRIES and (not grown or min(grown) >= limit):
            grown.append(growth(sim, family, cycles))
    lab.figures |= {"cycles": cycles, "grown bytes": grown}
    lab.check(references() == before, f"references: {before} became {references()}")
    lab.check(min(grown) < limit, f"memory grew by {grown} bytes in {cycles} cycles each")


def run(lab: Lab, cycles: int) -> None:
    """One of the two."""
    sim = simdrive.Sim(lab)
    if cycles:
        run_cycles(lab, sim, cycles)
    else:
        check_options(lab, sim)
