# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast a guest writes while it migrates: rings and bitmap, ours and stock by turns.

Each subject boots a guest and saves it.  For each ring size it
revives the saved guest, which writes random pages of its hot set, and migrates it at
24 MiB/s, which never converges; after some seconds the downtime limit is raised and
the migration completes.  `writes` is the guest's pages per second while it migrated,
`before` the same without a migration, `first` in the migration's first second, when all of memory has just been
protected.

Variants are named after the hot set, in MiB, and after the number of vCPUs if there are several.  In `zipf` pages
are not written alike, see the payload's modes.  With a ring, `reaper-wakeups` is how often a second the reaper wakes
while the guest is idle and nothing migrates.

The variant `answers` has two vCPUs that write far more pages than a ring holds, so that each sync
finds full rings, and asks a second monitor of the source something easy all the time.  `answer-max-ms` is its
longest answer while the migration is active: as long as a thread holds the big QEMU lock.

In the variant `display` the guest has a display, and each subject migrates twice: without a viewer, and with one that
has the screen refreshed 30 times a second (viewer.py).

The variant `stalls` traces how long each of four vCPUs is away when its ring is full (ringfull.py), and has no
bitmap.

Both oracles look at each migration; a figure of a migration that lost a page is none.

L1's clock counts instructions, two nanoseconds each, so what else the host does
changes nothing.

*Limits*: instructions, not time: a fault costs more on real hardware.  L1's CPUs take turns on one host CPU, so
several vCPUs share the throughput of one.
"""

import threading
import time
from dataclasses import replace
from pathlib import Path

from qlab import l2, live, ringfull, viewer
from qlab.context import Lab
from qlab.qmp import Qmp, QmpGone
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="guest writes while it migrates: rings and bitmap, ours and stock (figures)",
    time_limit=3000,
    needs=("kvm", "guest-linux", "ours", "stock"),
    suites=(),
    own_binaries=True,
    icount=True,
    l1_mem=3072,
    variants={"8": {"hot_mib": 8}, "48": {"hot_mib": 48}, "150": {"hot_mib": 150},
              "zipf": {"hot_mib": 150, "mode": "zipf"},
              "8-4": {"hot_mib": 8, "cpus": 4}, "48-4": {"hot_mib": 48, "cpus": 4},
              "150-4": {"hot_mib": 150, "cpus": 4}, "zipf-4": {"hot_mib": 150, "mode": "zipf", "cpus": 4},
              "display": {"hot_mib": 48, "rings": "65536", "watch": "display"},
              "answers": {"hot_mib": 180, "cpus": 2, "rings": "65536", "watch": "answers"},
              "stalls": {"hot_mib": 48, "cpus": 4, "rings": "1024 4096", "watch": "stalls"}},
)

MEM = 256
#: Seconds between two questions, so that the monitor takes little of the CPU.
PAUSE = 0.002
#: Seconds for which an idle reaper is watched.
IDLE_S = 3
MIGRATION = live.Plan(bandwidth=24 << 20, downtime_ms=20, relax_after=14, limit=200)


class Answers(threading.Thread):
    """Times the answers of a guest's second monitor while a migration is active."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.qmp = Qmp(path)
        self.times: list[float] = []

    def run(self) -> None:
        """Ask until QEMU ends; setup holds the lock in any case, and completion is downtime."""
        try:
            while True:
                active = self.qmp.cmd("query-migrate").get("status") == "active"
                begun = time.monotonic()
                self.qmp.cmd("query-name")
                if active:
                    self.times.append(time.monotonic() - begun)
                time.sleep(PAUSE)
        except (QmpGone, OSError):
            pass

    def figures(self) -> dict[str, object]:
        """The longest, and how many are longer than ten milliseconds."""
        self.join()
        return {"answers": len(self.times), "answer-max-ms": round(max(self.times) * 1000, 2),
                "answers-over-10-ms": sum(answer > 0.01 for answer in self.times)}


#: What looks at a guest that migrates, by the name of a watch: made with a monitor of the guest's, begins at start(),
#: and has figures() when the guest is gone.
WATCHES = {"answers": Answers, "stalls": ringfull.Trace, "viewed": viewer.Viewer}


def one(lab: Lab, spec: l2.GuestSpec, image: Path, load: live.Load, watch: str) -> dict[str, object]:
    """Migrate the saved guest; its figures.  WATCH is one of WATCHES, or empty."""
    path = lab.tmp / f"{lab.next_name('watch')}.qmp"
    monitor = ("-qmp", f"unix:{path},server=on,wait=off") if watch else ()
    source = live.restore(lab, replace(spec, extra=spec.extra + monitor), image)
    figures: dict[str, object] = {}
    if spec.ring:
        figures["reaper-wakeups"] = round(ringfull.reaper_wakeups(source.process.pid, IDLE_S), 2)
    watcher = WATCHES[watch](path) if watch else None
    if watcher:
        watcher.start()
    report = live.migrate(lab, source, spec, load, MIGRATION, lambda *_, **__: None)
    lab.check(not report.reason, report.reason)
    figures |= {"before": round(report.writes_before), "writes": round(report.writes_during or 0),
                "first": round(report.writes_first or 0),
                "downtime_ms": report.migrate.get("downtime")}
    if watcher:
        figures |= watcher.figures()
    if report.ring:
        figures |= {key: report.ring[key] for key in (
            "harvested", "published", "redirtied", "resets", "reset-ns", "full-exits", "full-ns", "full-max-ns",
            "released-reaper", "released-full") if key in report.ring}
    return figures


def run(lab: Lab, hot_mib: int, rings: str = "1024 4096 65536", cpus: int = 1, mode: str = "random",
        watch: str = "") -> None:
    """Each ring size with each subject; the bitmap once.  WATCH: one of WATCHES, "display" or empty."""
    display = viewer.DISPLAY if watch == "display" else ()
    subjects = {name: l2.GuestSpec(qemu, mem=MEM, load_mb=hot_mib, cpus=cpus, extra=display)
                for name, qemu in (("ours", lab.qemu), ("stock", lab.stock))}
    for name, spec in subjects.items():
        guest = live.boot(lab, spec)
        if display:
            viewer.set_mode(guest)
        live.save(guest, lab.tmp / name)
    cases = [("stock bitmap", "stock", 0)] if watch != "stalls" else []
    cases += [(f"{name} ring {ring}", name, ring) for ring in map(int, str(rings).split()) for name in subjects]
    for label, name, ring in cases:
        for each in ("", "viewed") if display else (watch,):
            lab.figures[f"{label} {each}" if each == "viewed" else label] = one(
                lab, replace(subjects[name], ring=ring), lab.tmp / name, live.Load(mode=mode), each)
