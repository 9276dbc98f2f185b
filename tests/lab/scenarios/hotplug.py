# SPDX-License-Identifier: GPL-2.0-or-later
"""vCPUs come and go while the rings are harvested.

A guest under load has its dirty rate measured in ring mode, which keeps dirty
logging on and the reaper busy, while a vCPU is plugged in and out again and
again; then it migrates.  KVM never removes a vCPU: QEMU parks an unplugged vCPU
with its ring, and uses both for the next vCPU of that number.  So the oracles
find a ring that was not emptied, or whose index was lost.

`gap` plugs in only the last possible vCPU: the measurement must know it by its number, which is larger
than the number of vCPUs.

*Limits*: the guest's kernel ejects the vCPU by ACPI and leaves it offline
before, so its ring holds the pages of its birth and little more.
"""

from __future__ import annotations

import time

from qlab import l2, migrate
from qlab.context import Lab
from qlab.qmp import QmpTimeout
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="vCPUs plugged in and out while rings are harvested, then a migration",
    time_limit=240,
    needs=("kvm", "guest-linux"),
    suites=("full",),
    modes=("tdp", "shadow"),
    variants={"ring": {"ring": 1024}, "bitmap": {"ring": 0},
              "gap": {"ring": 1024, "gap": True}},
)


def spare(guest: l2.Guest, last: bool = False) -> dict[str, object]:
    """The first vCPU that could be plugged in, or the last; as device_add wants it."""
    free = [cpu for cpu in reversed(guest.qmp.cmd("query-hotpluggable-cpus"))
            if "qom-path" not in cpu]
    cpu = free[-1 if last else 0]
    return {"driver": cpu["type"], **cpu["props"]}


def present(guest: l2.Guest) -> int:
    """How many vCPUs the guest has."""
    return sum("qom-path" in cpu for cpu in guest.qmp.cmd("query-hotpluggable-cpus"))


def wait_present(guest: l2.Guest, number: int, timeout: float = 30.0) -> None:
    """Wait until the guest has that many; repeat an eject that was missed."""
    deadline = time.monotonic() + timeout
    while present(guest) != number:
        if time.monotonic() > deadline:
            raise QmpTimeout(f"{present(guest)} vCPUs after {timeout:.0f} s, not {number}")
        time.sleep(0.1)


def measure(guest: l2.Guest, seconds: int) -> None:
    """Have the dirty rate measured from the rings, if it is not already; does not wait."""
    if guest.spec.ring and guest.qmp.cmd("query-dirty-rate")["status"] != "measuring":
        guest.qmp.cmd("calc-dirty-rate", {"calc-time": seconds, "mode": "dirty-ring"})


def settled_rate(guest: l2.Guest, timeout: float = 30.0) -> int:
    """The dirty rate in MB/s, once no vCPU comes or goes: a measurement must end then."""
    deadline = time.monotonic() + timeout
    while (answer := guest.qmp.cmd("query-dirty-rate"))["status"] != "measured":
        if time.monotonic() > deadline:
            raise QmpTimeout(f"calc-dirty-rate did not end in {timeout:.0f} s")
        time.sleep(0.1)
    return int(answer["dirty-rate"])


def numbers(guest: l2.Guest) -> set[int]:
    """The vCPUs that the last measurement knows."""
    return {row["id"] for row in guest.qmp.cmd("query-dirty-rate")["vcpu-dirty-rate"]}


def beyond_a_gap(lab: Lab, guest: l2.Guest) -> None:
    """Measure with a vCPU whose number is larger than their number."""
    guest.qmp.cmd("device_add", {**spare(guest, True), "id": "last"})
    index = max(cpu["cpu-index"] for cpu in guest.qmp.cmd("query-cpus-fast"))
    lab.check(index >= present(guest), f"no gap: vCPU {index} of {present(guest)}")
    measure(guest, 1)
    lab.figures["rate_mbs"] = settled_rate(guest)
    lab.check(index in numbers(guest), f"vCPU {index} is not among {numbers(guest)}")
    guest.qmp.cmd("device_del", {"id": "last"})
    wait_present(guest, guest.spec.cpus)


def run(lab: Lab, ring: int, gap: bool = False) -> None:
    """Plug and unplug `count` times, migrate, verify."""
    count = lab.count or 8
    spec = l2.GuestSpec(lab.qemu, mem=160, cpus=2, ring=ring,
                        extra=("-smp", f"maxcpus={4 if gap else 3}"))
    guest = l2.start(lab, spec)
    guest.wait_ready()
    guest.payload.start()
    if gap:
        beyond_a_gap(lab, guest)
        count = 1
    for number in range(count):
        measure(guest, 2)
        guest.qmp.cmd("device_add", {**spare(guest), "id": f"vcpu{number}"})
        time.sleep(0.5)
        guest.qmp.cmd("device_del", {"id": f"vcpu{number}"})
        wait_present(guest, spec.cpus)
        lab.figures["plugged"] = number + 1
    guest.payload.stop()
    if ring:
        lab.figures["rate_mbs"] = settled_rate(guest)
    guest, result = migrate.hop(lab, guest, spec, syncs=3)
    lab.figures["hop"] = result.figures()
    lab.check(result.clean, f"{result}")
    found = guest.payload.verify()
    lab.check(found.clean, f"at the end: {found}")
