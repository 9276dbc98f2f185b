# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrations while QEMU's threads are signalled all the time.

Linux 6.17 and newer forget ring entries when a signal is pending during
KVM_RESET_DIRTY_RINGS.  `kick` sends SIGUSR1 to each vCPU thread, which is how
QEMU kicks vCPUs out of the guest, 500 times a second; `stop` stops and continues
the whole process 50 times a second, by signals that no thread can block.  Both
oracles judge each hop.

*Limits*: how many signals meet a reset is chance; on kernels before 6.17 no
reset looks at signals.  Rates are what is aimed at: an emulated L1 may not reach
them, the figure `signals` is the number that was sent.
"""

from __future__ import annotations

from qlab import l2, migrate
from qlab.context import Lab
from qlab.scenario import Scenario
from qlab.signals import kicks, stops

SCENARIO = Scenario(
    about="migrations under load while threads of QEMU are signalled",
    time_limit=1800,
    needs=("kvm", "guest-payload32"),
    suites=("full",),
    modes=("tdp",),
    variants={"kick": {"what": "kick"}, "stop": {"what": "stop"}},
)

def hop(lab: Lab, guest: l2.Guest, spec: l2.GuestSpec, what: str) -> tuple[l2.Guest, bool]:
    """One migration under signals; the destination, and whether it was clean."""
    destination = l2.start(lab, spec.incoming())
    guest.payload.start(mode="random")
    signals = (kicks if what == "kick" else stops)(guest)
    signals.start()
    migrate.begin(lab, guest, destination, "unix")
    migrate.wait_syncs(guest, 6, 180)
    info = migrate.finish(guest)
    lab.figures["signals"] = lab.figures.get("signals", 0) + signals.end()
    result = migrate.judge(lab, guest, destination, info)
    if not result.clean:
        lab.log(f"hop lost something: {result}")
    guest.quit()
    return destination, result.clean


def run(lab: Lab, what: str) -> None:
    """`count` hops."""
    spec = l2.GuestSpec(lab.qemu, kind="payload32", mem=64, cpus=2, ring=1024)
    guest = l2.start(lab, spec)
    guest.wait_ready()
    failures = 0
    for number in range(lab.count or 2):
        guest, clean = hop(lab, guest, spec, what)
        failures += not clean
        lab.figures.update(migrations=number + 1, oracle_failures=failures)
    lab.check(failures == 0, f"{failures} migrations lost something")
