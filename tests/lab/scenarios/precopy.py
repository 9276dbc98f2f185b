# SPDX-License-Identifier: GPL-2.0-or-later
"""Precopy under load, there and back, judged by both oracles.

Each variant migrates a guest whose payload dirties memory without rest, once and back again, so that the
restored guest is shown to migrate too.

*Limits*: source and destination are the same binary; see `crossover` for two.
"""

from qlab import l2, migrate
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="precopy under load, there and back, both oracles",
    time_limit=240,
    needs=("kvm", "guest-linux", "guest-payload32"),
    suites=("full",),
    modes=("tdp",),
    short=("unix-1024", "tcp-4096-smp2", "payload32-1024", "bitmap"),
    host_kvm=True,
    variants={
        "unix-1024": {"ring": 1024},
        "unix-4096": {"ring": 4096},
        "unix-65536": {"ring": 65536},
        "tcp-1024": {"ring": 1024, "transport": "tcp"},
        "tcp-4096-smp2": {"ring": 4096, "transport": "tcp", "cpus": 2},
        "unix-4096-smp4": {"ring": 4096, "cpus": 4},
        "unix-1024-smp4": {"ring": 1024, "cpus": 4},
        "unix-4096-anon": {"ring": 4096, "ram": "anon"},
        "bitmap": {"ring": 0},
        "bitmap-smp2": {"ring": 0, "cpus": 2, "transport": "tcp"},
        "payload32-1024": {"ring": 1024, "kind": "payload32", "mem": 96},
        "payload32-4096-smp2": {"ring": 4096, "kind": "payload32", "mem": 96,
                                "cpus": 2},
        "payload32-bitmap": {"ring": 0, "kind": "payload32", "mem": 96},
    },
)


def run(lab: Lab, ring: int, transport: str = "unix", cpus: int = 1,
        kind: str = "linux", mem: int = 192, ram: str = "file") -> None:
    """There and back."""
    spec = l2.GuestSpec(lab.qemu, kind=kind, mem=mem, cpus=cpus, ring=ring, ram=ram)
    guest = l2.start(lab, spec)
    lab.figures["guest_up_s"] = round(guest.wait_ready(), 2)
    for way in ("there", "back"):
        guest, result = migrate.hop(lab, guest, spec, transport)
        lab.figures[way] = result.figures()
        lab.check(result.clean, f"{way}: {result}")
