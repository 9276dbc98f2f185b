# SPDX-License-Identifier: GPL-2.0-or-later
"""One measured live migration of a loaded guest, looked at from close by.

Theory of operation
===================

    boot (or revive) the source -> start the load -> start the destination
      -> migrate, sampling -> both paused: compare RAM byte for byte
      -> let the destination run -> stop the load -> verify every stamp

Everything is in one thread.  While the migration runs, each sample asks the
source's monitor for query-migrate and, where the binary has it,
query-kvm-dirty-ring; now and then it asks the payload how much it has written,
which is the guest's own throughput under migration.

A load that is faster than the channel never converges within a short downtime.
`Plan.downtime_ms` is what is tried first; if the migration is still under way
after `Plan.relax_after` seconds, the limit is raised to `Plan.last_downtime_ms`,
which is to be enough for all of RAM.  Whether that was needed is a figure.

`Report.reason` is empty when the migration completed and both oracles found
nothing; otherwise it says which of them is to blame.  An error of QEMU's or of
the payload's is an exception, as everywhere in the lab.

migrate.py is for scenarios that look for faults and steers the limits for that;
here a migration is left alone and looked at.

*Limits*: Unix sockets only; times are those of L1, an emulated machine on shared
cores: compare, do not quote.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from . import l2, oracle
from .context import Lab
from .migrate import DONE, settled, wait_end
from .payload import Payload, PayloadError, Verified, fields
from .qmp import QmpError, QmpGone, QmpTimeout
from .qmpnames import QUERY_DIRTY_RING

Put = Callable[..., None]


#: Report.writes_first is of so many seconds.
FIRST_S = 1.1


@dataclass(frozen=True)
class Load:
    """What the payload does during the migration."""

    mode: str = "random"
    rate: int = 0  # pages a second over all workers; 0 is flat out
    settle: float = 1.0  # seconds of load before the migration starts


@dataclass(frozen=True)
class Plan:
    """How the migration is to be done."""

    bandwidth: int = 0  # bytes a second; 0 is no limit
    downtime_ms: int = 300
    auto_converge: bool = False
    relax_after: float = 30.0
    last_downtime_ms: int = 20000
    limit: float = 90.0  # seconds after which it is given up
    sample_every: float = 0.25
    writes_every: float = 0.5


@dataclass
class Report:
    """What came of it; `asdict` is fit for JSON."""

    reason: str = ""
    status: str = "none"
    migrate: dict[str, Any] = field(default_factory=dict)
    ring: dict[str, Any] | None = None
    writes_before: float = 0.0  # pages a second, no migration
    writes_during: float | None = None  # ... while it ran
    writes_first: float | None = None  # ... in its first second or so
    relaxed: bool = False
    pages_compared: int = 0
    pages_different: int = 0
    first_different: str = ""
    pages_verified: int = 0
    pages_bad: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For a stream."""
        return asdict(self)


def ring_counters(guest: l2.Guest) -> dict[str, Any] | None:
    """query-kvm-dirty-ring; None where there is no such thing."""
    try:
        counters: dict[str, Any] = guest.qmp.cmd(QUERY_DIRTY_RING)
        return counters
    except QmpError as err:
        if err.error.get("class") == "CommandNotFound" or not guest.spec.ring:
            return None
        raise


class Throughput:
    """How fast the payload writes, between the first and the last answer.

    Never waits for an answer: a guest that is stopped in the middle of one, at
    switchover, ends it on the destination.
    """

    def __init__(self, payload: Payload, every: float) -> None:
        self._payload = payload
        self._every = every
        self._asked: float | None = None
        self._next = 0.0
        self._looks: list[tuple[float, int]] = []

    def look(self) -> None:
        """Take an answer that has come; ask anew when it is time."""
        for line in self._payload.received():
            if line.startswith("stat ") and self._asked is not None:
                # the count is of some moment between question and now
                when = (self._asked + time.monotonic()) / 2
                self._looks.append((when, int(fields(line)["writes"])))
                self._asked = None
        if self._asked is None and time.monotonic() >= self._next:
            self._payload.send("stat")
            self._asked = time.monotonic()
            self._next = self._asked + self._every

    def rate(self, seconds: float = float("inf")) -> float | None:
        """Pages a second, of the first SECONDS only; None with fewer than two answers."""
        looks = [look for look in self._looks if look[0] - self._looks[0][0] <= seconds]
        if len(looks) < 2:
            return None
        (start, before), (end, after) = looks[0], looks[-1]
        return (after - before) / (end - start)


def rate_of(payload: Payload, seconds: float) -> float:
    """Pages a second over some time during which nothing else is done."""
    start, before = time.monotonic(), payload.writes()
    time.sleep(seconds)
    return (payload.writes() - before) / (time.monotonic() - start)


def prepare(source: l2.Guest, destination: l2.Guest, plan: Plan) -> None:
    """Capabilities and limits, on both sides where both must know."""
    capabilities = [{"capability": "auto-converge", "state": plan.auto_converge}]
    for guest in (source, destination):
        guest.qmp.cmd("migrate-set-capabilities", {"capabilities": capabilities})
    source.qmp.cmd("migrate-set-parameters", {
        "max-bandwidth": plan.bandwidth, "downtime-limit": plan.downtime_ms})


def sample(source: l2.Guest, put: Put) -> dict[str, Any]:
    """One look at a migration; what query-migrate said."""
    info: dict[str, Any] = source.qmp.cmd("query-migrate")
    if "ram" in info:
        put("sample", migrate=info, ring=ring_counters(source))
    return info


def follow(source: l2.Guest, plan: Plan, put: Put, report: Report) -> None:
    """Watch a migration to its end, whichever that is."""
    start = time.monotonic()
    throughput = Throughput(source.payload, plan.writes_every)
    while True:
        report.migrate = sample(source, put)
        report.status = str(report.migrate.get("status", "none"))
        if report.status in DONE:
            break
        spent = time.monotonic() - start
        if spent > plan.limit:
            source.qmp.cmd("migrate_cancel")
            report.status = f"not over after {plan.limit:.0f} s"
            break
        if spent > plan.relax_after and not report.relaxed:
            report.relaxed = True
            put("relax", downtime_ms=plan.last_downtime_ms)
            source.qmp.cmd("migrate-set-parameters",
                           {"downtime-limit": plan.last_downtime_ms})
        throughput.look()
        time.sleep(plan.sample_every)
    report.writes_during = throughput.rate()
    report.writes_first = throughput.rate(FIRST_S)


def check_memory(source: l2.Guest, destination: l2.Guest, report: Report) -> None:
    """Second oracle: byte for byte, both sides standing still."""
    compared = oracle.compare(source, destination)
    report.pages_compared = compared.bytes // oracle.PAGE
    report.pages_different = len(compared.pages)
    report.first_different = compared.first


def check_stamps(destination: l2.Guest, report: Report) -> None:
    """First oracle: the payload, on the destination, checks every stamp."""
    destination.qmp.cmd("cont")
    destination.payload.catch_up()
    destination.payload.stop()
    found: Verified = destination.payload.verify()
    report.pages_verified, report.pages_bad = found.pages, found.bad


def judge(report: Report) -> str:
    """Why the migration is worth nothing; empty if it is worth something."""
    if report.status != "completed":
        why = report.migrate.get("error-desc", "")
        return f"migration: {report.status}" + (f": {why}" if why else "")
    if report.ring and report.ring.get("broken"):
        return "the dirty ring lost pages, says QEMU"
    if not report.pages_compared or report.pages_different:
        return (f"{report.pages_different} of {report.pages_compared} pages differ "
                f"between source and destination: {report.first_different}")
    if not report.pages_verified or report.pages_bad:
        return (f"{report.pages_bad} of {report.pages_verified} pages are wrong, "
                "says the payload on the destination")
    return ""


def migrate(lab: Lab, source: l2.Guest, spec: l2.GuestSpec, load: Load, plan: Plan,
            put: Put) -> Report:
    """The whole story above, from the load on; ends both guests, come what may."""
    report = Report()
    guests = [source]
    try:
        source.payload.start(mode=load.mode, rate=load.rate)
        put("phase", name="destination")
        destination = l2.start(lab, spec.incoming())
        guests.append(destination)
        uri = f"unix:{lab.tmp / destination.name}.mig"
        destination.qmp.cmd("migrate-incoming", {"uri": uri})
        report.writes_before = rate_of(source.payload, load.settle)
        prepare(source, destination, plan)
        put("phase", name="migrate", writes_before=report.writes_before)
        source.qmp.cmd("migrate", {"uri": uri})
        follow(source, plan, put, report)
        report.ring = ring_counters(source)
        if report.status == "completed":
            run_oracles(source, destination, put, report)
    except (QmpGone, PayloadError) as err:
        # "broken pipe" is no reason: say whose end it was, and of what
        raise QmpGone("; ".join([str(err), *filter(None, map(exit_report, guests))])) from err
    finally:
        for guest in guests:
            guest.kill()
    report.reason = judge(report)
    return report


def exit_report(guest: l2.Guest) -> str:
    """How a guest's QEMU ended, as far as can be told; empty if it has not."""
    try:
        status: int | None = guest.process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        return ""
    try:
        why = guest.qmp.wait_event("SHUTDOWN", 1.0).get("data", {}).get("reason", "?")
    except (QmpGone, QmpTimeout, OSError):
        why = "none given"
    log = (guest.lab.out / f"{guest.name}.log").read_text("utf-8", "replace").strip()
    last = log.splitlines()[-1] if log else "nothing"
    return (f"{guest.name} ended with {status}, shutdown reason: {why}, last words: {last}")


def run_oracles(source: l2.Guest, destination: l2.Guest, put: Put, report: Report) -> None:
    """Both oracles, in the only order there is: the second needs a guest that runs."""
    settled(destination)
    put("phase", name="compare")
    check_memory(source, destination, report)
    put("phase", name="verify")
    check_stamps(destination, report)


def boot(lab: Lab, spec: l2.GuestSpec, timeout: float = 90.0) -> l2.Guest:
    """A guest with its payload ready."""
    guest = l2.start(lab, spec)
    guest.wait_ready(timeout)
    guest.payload.ping()
    return guest


def save(guest: l2.Guest, image: Path) -> None:
    """Save a guest whose payload is idle to a file, and end it."""
    guest.qmp.cmd("migrate-set-parameters", {"max-bandwidth": 0})
    guest.qmp.cmd("stop")
    guest.qmp.cmd("migrate", {"uri": f"file:{image}"})
    info = wait_end(guest, 60)
    if info.get("status") != "completed":
        raise RuntimeError(f"cannot save the guest: {info}")
    guest.kill()


def restore(lab: Lab, spec: l2.GuestSpec, image: Path) -> l2.Guest:
    """A guest from save()'s file: the same state for every binary."""
    guest = l2.start(lab, replace(spec, wait="defer"))
    try:
        guest.qmp.cmd("migrate-incoming", {"uri": f"file:{image}"})
        settled(guest, 60)
        guest.qmp.cmd("cont")
        guest.payload.ping()
    except BaseException:
        guest.kill()
        raise
    return guest
