# SPDX-License-Identifier: GPL-2.0-or-later
"""Live migration of a guest that writes memory flat out, and both oracles.

A guest stamps its memory as fast as it can; it is migrated while it does, the
memory of both sides is compared while neither runs, and then the payload checks
its stamps at the destination and goes on writing there.

*Limits*: precopy; `count` migrations, each with a new pair of QEMUs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qlab import l2, migrate, oracle
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="precopy under full write load, both memory oracles",
    time_limit=1800,
    needs=("kvm", "guest-linux", "guest-payload32"),
    suites=("full",),
    short=("boot32-ring", "linux-ring"),
    modes=("tdp",),
    variants={
        "boot32-ring": {"kind": "payload32", "mem": 64, "ring": 4096},
        "boot32-ring-1024": {"kind": "payload32", "mem": 64, "ring": 1024},
        "boot32-ring-65536": {"kind": "payload32", "mem": 64, "ring": 65536},
        "boot32-bitmap": {"kind": "payload32", "mem": 64},
        "boot32-tcp": {"kind": "payload32", "mem": 64, "ring": 4096, "tcp": True},
        "boot32-smp2": {"kind": "payload32", "mem": 64, "ring": 4096, "cpus": 2},
        "boot32-smp4": {"kind": "payload32", "mem": 64, "ring": 1024, "cpus": 4},
        "linux-ring": {"kind": "linux", "mem": 160, "ring": 4096, "cpus": 2,
                       "load_mb": 48},
        "linux-bitmap": {"kind": "linux", "mem": 160, "cpus": 2, "load_mb": 48},
        "linux-tcp": {"kind": "linux", "mem": 160, "ring": 1024, "cpus": 1,
                      "load_mb": 48, "tcp": True},
        "linux-smp4": {"kind": "linux", "mem": 192, "ring": 65536, "cpus": 4,
                       "load_mb": 48},
    },
)


def ring_figures(guest: l2.Guest) -> dict[str, Any]:
    """Our ring's counters; nothing for a guest that has none of ours."""
    names = {command["name"] for command in guest.qmp.cmd("query-commands")}
    if "query-kvm-dirty-ring" not in names or not guest.spec.ring:
        return {}
    info: dict[str, Any] = guest.qmp.cmd("query-kvm-dirty-ring")
    info.pop("vcpus")
    return info


def check_ring(lab: Lab, info: dict[str, Any]) -> None:
    """What must hold of the counters whatever happened."""
    if info:
        lab.check(not info["broken"], f"the ring says it lost pages: {info}")
        lab.check(info["harvested"] > 0, f"nothing went through the ring: {info}")
        lab.check(info["published"] + info["unknown"] == info["harvested"],
                  f"pages were dropped between harvest and publish: {info}")


def one_migration(lab: Lab, source_spec: l2.GuestSpec, destination_qemu: Path,
                  tcp: bool) -> None:
    """Boot, load, migrate, compare, verify."""
    source = l2.start(lab, source_spec)
    source.wait_ready()
    source.payload.start()
    destination = l2.start(lab, source_spec.incoming(qemu=destination_qemu))
    uri = "tcp:127.0.0.1:0" if tcp else migrate.unix_uri(destination)
    before = source.payload.writes()
    done = migrate.precopy(source, destination, uri)
    lab.check(done.completed, f"migration {done.status}: {done.info}")
    ring = ring_figures(source)
    compared = oracle.compare(source, destination)
    lab.log(f"{done.figures()} {ring} {compared}")
    destination.qmp.cmd("cont")
    after = destination.payload.writes()
    destination.payload.stop()
    verified = destination.payload.verify()
    lab.log(f"writes {before} -> {after}; {verified}")
    source.kill()
    destination.kill()
    lab.check(compared.clean, f"RAM differs: {compared}")
    lab.check(verified.clean, f"the payload found bad pages: {verified}")
    lab.check(after > before, "the load did not run during the migration")
    check_ring(lab, ring)
    lab.figures.update(done.figures())


def run(lab: Lab, kind: str, mem: int, ring: int = 0, cpus: int = 1,
        load_mb: int = 0, tcp: bool = False) -> None:
    """`count` migrations of new guests; the first failure ends it."""
    spec = l2.GuestSpec(lab.qemu, kind=kind, mem=mem, cpus=cpus, ring=ring,
                        load_mb=load_mb)
    migrations = lab.count or 1
    for number in range(migrations):
        lab.figures["migrations"] = number
        one_migration(lab, spec, lab.qemu, tcp)
    lab.figures["migrations"] = migrations
