# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrations of this branch and of stock by turns, in one L1.

Theory of operation
===================

A guest is booted once and saved to a file with its payload idle.  Each run
restores that guest with one of the subjects (a binary and a way of dirty
tracking), starts the load, migrates it to the same subject, and runs both oracles.
A round is one run of each subject; each round begins with another one, so that
a drift of the machine affects all of them alike.

Every run ends as one `run` event of the stream, whether it went well or not: the
report of live.py, or the reason that there is none.  A failed run is one of the
figures; the scenario as a whole fails if there was one.

*Limits*: one guest size and one load for all runs of an invocation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import l2, live
from .context import Lab
from .payload import PayloadError
from .qmp import QmpError, QmpGone, QmpTimeout
from .stream import Stream

#: What is compared: which binary, and whether it uses the ring.
SUBJECTS = {
    "ours-ring": (True, True),
    "stock-ring": (False, True),
    "stock-bitmap": (False, False),
}

MISHAPS = (PayloadError, QmpError, QmpGone, QmpTimeout, OSError, ValueError,
           RuntimeError)


def order(number: int) -> list[str]:
    """The subjects as round NUMBER takes them."""
    names = list(SUBJECTS)
    first = number % len(names)
    return names[first:] + names[:first]


def one_run(lab: Lab, spec: l2.GuestSpec, image: Path, load: live.Load,
            plan: live.Plan) -> dict[str, Any]:
    """Restore, migrate, judge; the fields of a `run` event."""
    try:
        source = live.restore(lab, spec, image)
        report = live.migrate(lab, source, spec, load, plan, lambda *_, **__: None)
    except MISHAPS as err:
        return {"reason": f"{type(err).__name__}: {err}", "report": None}
    return {"reason": report.reason, "report": report.as_dict()}


def run(lab: Lab, rounds: int = 1, memory: int = 192, vcpus: int = 1,
        load_mb: int = 0, ring: int = 4096, load: dict[str, Any] | None = None,
        plan: dict[str, Any] | None = None) -> None:
    """See above; `load` and `plan` are the fields of live.Load and live.Plan."""
    stream = Stream(lab.out)
    lab.defer(stream.close)
    base = l2.GuestSpec(lab.stock, mem=memory, cpus=vcpus, load_mb=load_mb)
    image = lab.tmp / "bench.image"
    stream.put("phase", name="boot")
    live.save(live.boot(lab, base), image)
    failures = 0
    times: dict[str, list[int]] = {name: [] for name in SUBJECTS}
    for number in range(rounds):
        for name in order(number):
            ours, ringed = SUBJECTS[name]
            spec = l2.GuestSpec(lab.qemu if ours else lab.stock, mem=memory, load_mb=load_mb,
                                cpus=vcpus, ring=ring if ringed else 0)
            done = one_run(lab, spec, image, live.Load(**(load or {})),
                           live.Plan(**(plan or {})))
            failures += bool(done["reason"])
            if not done["reason"]:
                times[name].append(done["report"]["migrate"]["total-time"])
            stream.put("run", subject=name, round=number, **done)
    runs = rounds * len(SUBJECTS)
    lab.figures.update(runs=runs, failures=failures, total_ms=times)
    lab.check(failures == 0, f"{failures} of {runs} runs failed")
