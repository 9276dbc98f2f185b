# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrate to the stock binary and back: the ring is not part of the stream.

*Limits*: stock of the same base version.
"""

from dataclasses import replace

from qlab import l2, migrate
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="from ours to stock and from stock to ours, under load",
    time_limit=240,
    needs=("kvm", "guest-linux", "ours", "stock"),
    suites=("full",),
    own_binaries=True,
    variants={
        "ring-ring": {"ours": 4096, "stock": 4096},
        "ring-bitmap": {"ours": 4096, "stock": 0},
        "bitmap-ring": {"ours": 0, "stock": 4096},
    },
    short=("ring-bitmap",),
)


def run(lab: Lab, ours: int, stock: int) -> None:
    """Migrate from ours to stock and back to ours, whatever --qemu is."""
    base = l2.GuestSpec(lab.qemu, mem=160, cpus=2)
    sides = {"ours": replace(base, ring=ours),
             "stock": replace(base, qemu=lab.stock, ring=stock)}
    guest = l2.start(lab, sides["ours"])
    guest.wait_ready()
    for name in ("stock", "ours"):
        guest, result = migrate.hop(lab, guest, sides[name])
        lab.figures[f"to {name}"] = result.figures()
        lab.check(result.clean, f"to {name}: {result}")
