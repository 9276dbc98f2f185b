# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's self-test: is the emulated machine itself to be trusted?

Each variant starts one kind of nested guest again and again, has it write
memory, checks that nothing it wrote is wrong, and kills it.  Everything that
goes wrong is counted, not only the first: a guest that does not come up in
time, one that stops answering, a QEMU that dies, a byte that is not what was
written.  A kernel report or a hang of L1 fails the run as a whole.

The QEMU inside is the ungrafted one, so that a failure here is the outer
emulator's (or KVM's) and not that of the code under test.

The defaults add up to 200 boots a mode; `lab run --suite soundness` prints the
sums.

*Limits*: a fault rarer than one in some hundred boots is not seen.
"""

from __future__ import annotations

import random
import time

from qlab import l2
from qlab.context import Lab
from qlab.payload import PayloadError
from qlab.qmp import QmpError, QmpGone, QmpTimeout
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="nested boots, load, verify, kill: the lab's own flake rate",
    time_limit=7200,
    needs=("kvm", "guest-linux", "guest-payload32", "stock"),
    suites=("soundness",),
    modes=("tdp", "shadow", "nonpt"),
    own_binaries=True,
    variants={
        "boot32": {"kind": "payload32", "mem": 64, "default": 80},
        "boot32-logging": {"kind": "payload32", "mem": 64, "default": 40,
                           "ring": 4096, "log_cycles": 3},
        "linux": {"kind": "linux", "mem": 160, "default": 20},
        "linux-smp": {"kind": "linux", "mem": 160, "cpus": 2, "default": 20},
        "linux-logging": {"kind": "linux", "mem": 160, "cpus": 2, "default": 20,
                          "ring": 4096, "log_cycles": 3},
        "linux-bitmap-logging": {"kind": "linux", "mem": 160, "cpus": 2,
                                 "default": 20, "log_cycles": 3},
    },
)

#: Seconds after which a guest that has not come up is a hang.
BOOT_LIMIT = 90.0


def log_on_off(guest: l2.Guest, cycles: int) -> None:
    """Dirty logging on and off under load: migrate to nowhere, cancel."""
    for _ in range(cycles):
        guest.qmp.cmd("migrate", {"uri": "exec:cat >/dev/null"})
        time.sleep(random.uniform(0.1, 0.6))
        guest.qmp.cmd("migrate_cancel")
        deadline = time.monotonic() + 20
        while guest.qmp.cmd("query-migrate").get("status") not in (
                "cancelled", "completed", "failed"):
            if time.monotonic() > deadline:
                raise QmpTimeout("migrate_cancel did not end")
            time.sleep(0.05)
        if guest.status() == "postmigrate":
            guest.qmp.cmd("cont")


def one_boot(lab: Lab, spec: l2.GuestSpec, log_cycles: int) -> float:
    """Start, load, verify, kill; seconds until the payload was up."""
    guest = l2.start(lab, spec)
    try:
        up_after = guest.wait_ready(BOOT_LIMIT)
        guest.payload.ping()
        guest.payload.start()
        time.sleep(random.uniform(0.1, 0.5))
        log_on_off(guest, log_cycles)
        guest.payload.stop()
        found = guest.payload.verify()
        if not found.clean:
            raise AssertionError(f"wrong bytes: {found}")
        guest.payload.start()
        time.sleep(random.uniform(0.0, 0.2))
        return up_after
    except BaseException:
        lab.log(guest.stack_report())
        raise
    finally:
        guest.kill()


def run(lab: Lab, kind: str, mem: int, default: int, cpus: int = 1, ring: int = 0,
        log_cycles: int = 0) -> None:
    """Boot `count` guests, count what goes wrong."""
    boots = lab.count or default
    spec = l2.GuestSpec(lab.stock, kind=kind, mem=mem, cpus=cpus, ring=ring)
    wrong: dict[str, int] = {}
    times: list[float] = []
    for number in range(boots):
        try:
            times.append(one_boot(lab, spec, log_cycles))
            lab.log(f"boot {number}: up after {times[-1]:.1f} s")
        except (PayloadError, QmpError, QmpGone, QmpTimeout, AssertionError) as err:
            what = f"{type(err).__name__}: {err}"
            wrong[what] = wrong.get(what, 0) + 1
            lab.log(f"boot {number}: {what}")
    failures = sum(wrong.values())
    lab.figures.update(boots=boots, failures=failures, what=wrong)
    if times:
        times.sort()
        lab.figures["up_median_s"] = round(times[len(times) // 2], 2)
    lab.check(failures == 0, f"{failures} of {boots} nested boots went wrong")
