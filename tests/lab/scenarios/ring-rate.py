# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast a guest writes while it migrates: rings and bitmap, ours and stock by turns.

Each subject boots a guest and saves it.  For each ring size it
revives the saved guest, which writes random pages of its hot set, and migrates it at
24 MiB/s, which never converges; after some seconds the downtime limit is raised and
the migration completes.  `writes` is the guest's pages per second while it migrated,
`before` the same without a migration.

Both oracles look at each migration; a figure of a migration that lost a page is none.

L1's clock counts instructions, two nanoseconds each, so what else the host does
changes nothing.

*Limits*: instructions, not time: a fault costs more on real hardware.  One vCPU.
"""

from dataclasses import replace
from pathlib import Path

from qlab import l2, live
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="guest writes while it migrates: rings and bitmap, ours and stock (figures)",
    time_limit=3000,
    needs=("kvm", "guest-linux", "ours", "stock"),
    suites=(),
    own_binaries=True,
    icount=True,
    l1_mem=3072,
    variants={"8": {"hot_mib": 8}, "48": {"hot_mib": 48}},
)

MEM = 256
LOAD = live.Load()
PLAN = live.Plan(bandwidth=24 << 20, downtime_ms=20, relax_after=14, limit=200)


def one(lab: Lab, spec: l2.GuestSpec, image: Path) -> dict[str, object]:
    """Migrate the saved guest; its figures."""
    report = live.migrate(lab, live.restore(lab, spec, image), spec, LOAD, PLAN,
                          lambda *_, **__: None)
    lab.check(not report.reason, report.reason)
    figures: dict[str, object] = {
        "before": round(report.writes_before), "writes": round(report.writes_during or 0),
        "downtime_ms": report.migrate.get("downtime"),
    }
    if report.ring:
        figures |= {key: report.ring[key] for key in (
            "harvested", "published", "redirtied", "resets", "full-exits", "full-max-ns", "released-reaper",
            "released-full") if key in report.ring}
    return figures


def run(lab: Lab, hot_mib: int, rings: str = "4096 65536") -> None:
    """Each ring size with each subject; the bitmap once."""
    subjects = {"ours": l2.GuestSpec(lab.qemu, mem=MEM, load_mb=hot_mib),
                "stock": l2.GuestSpec(lab.stock, mem=MEM, load_mb=hot_mib)}
    for name, spec in subjects.items():
        live.save(live.boot(lab, spec), lab.tmp / name)
    lab.figures["stock bitmap"] = one(lab, subjects["stock"], lab.tmp / "stock")
    for ring in map(int, str(rings).split()):
        for name, spec in subjects.items():
            lab.figures[f"{name} ring {ring}"] = one(lab, replace(spec, ring=ring), lab.tmp / name)
