# SPDX-License-Identifier: GPL-2.0-or-later
"""One guest, its memory load running, migrated for an audience (`make demo`).

Theory of operation
===================

Boots a guest, starts the load, migrates it (qlab/live.py), and streams each
step and each sample for scripts/demo to show.  If it had a ring and `beside` is true, another guest
like it does the same with KVM's dirty bitmap, so that what each costs the guest stands side by side.  The last event
of the stream is the report of the first, with the second's in `bitmap`.  The scenario passes when migrations completed
and both oracles are clean.

*Limits*: for the show and the proof, not for figures; tests/bench measures.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qlab import l2, live
from qlab.context import Lab
from qlab.scenario import Scenario
from qlab.stream import Stream

SCENARIO = Scenario(
    about="make demo: a loaded guest migrates, both oracles look on",
    time_limit=240,
    needs=("kvm", "guest-linux"),
    suites=(),
    host_kvm=True,
    variants={"": {"kind": "linux"}, "small": {"kind": "payload32"}},
)


def run(lab: Lab, kind: str, ring: int = 4096, memory: int = 192, vcpus: int = 1,
        load: dict[str, Any] | None = None,
        plan: dict[str, Any] | None = None, beside: bool = False) -> None:
    """See above; `load` and `plan` are the fields of live.Load and live.Plan."""
    how = live.Load(**(load or {})), live.Plan(**(plan or {}))
    stream = Stream(lab.out)
    lab.defer(stream.close)
    spec = l2.GuestSpec(lab.qemu, kind=kind, mem=memory, cpus=vcpus, ring=ring)
    stream.put("phase", name="boot")
    source = live.boot(lab, spec)
    stream.put("phase", name="load")
    report = live.migrate(lab, source, spec, *how, stream.put)
    bitmap = None
    if beside and ring and not report.reason:
        stream.put("phase", name="bitmap")
        plain = replace(spec, ring=0)
        bitmap = live.migrate(lab, live.boot(lab, plain), plain, *how, lambda *_, **__: None)
    stream.put("report", **report.as_dict(), bitmap=bitmap.as_dict() if bitmap else None)
    lab.figures.update(
        status=report.status, total_ms=report.migrate.get("total-time"),
        downtime_ms=report.migrate.get("downtime"),
        pages_compared=report.pages_compared, pages_different=report.pages_different,
        pages_verified=report.pages_verified, pages_bad=report.pages_bad)
    lab.check(not report.reason, report.reason)
    if bitmap:
        lab.check(not bitmap.reason, f"with the bitmap: {bitmap.reason}")
