# SPDX-License-Identifier: GPL-2.0-or-later
"""The livepatch of kvm.ko: loaded and unloaded under guests that migrate.

Each variant migrates a guest whose vCPU threads are signalled 500 times a second (kicked.py), hop after hop, and both
oracles judge each hop:

load     our QEMU: a hop without the livepatch, one with it, loaded while the guest writes, and one after it was
         disabled and unloaded while the guest writes
ours     our QEMU with the livepatch
stock    the base's QEMU, with the livepatch.  It does not block signals while it resets rings, so on Linux 6.17 and
         newer it ends or loses pages without the livepatch
without  the same without the livepatch, which on such a kernel has to fail: it shows that `stock` can

The figure `calls` says how often a page's protection was asked for, per hop, by a probe.

*Limits*: build/livepatch has to have the module for L1's kernel (scripts/build-kernel --livepatch).  Where the signals
meet a reset is chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from qlab import l2, migrate, probe
from qlab.context import Lab
from qlab.qmp import QmpGone
from qlab.scenario import Scenario
from qlab.signals import kicks

SCENARIO = Scenario(
    about="the livepatch of KVM's ring reset, loaded and unloaded under guests",
    time_limit=1800,
    needs=("kvm", "guest-payload32", "stock"),
    suites=(),
    modes=("tdp",),
    variants={"load": {"loads": True}, "ours": {}, "stock": {"subject": "stock"},
              "without": {"subject": "stock", "patched": False}},
)

def hop(lab: Lab, guest: l2.Guest, spec: l2.GuestSpec, act: list[Callable[[Lab], None]]) -> tuple[l2.Guest, bool]:
    """One migration under signals, with the livepatch loaded or unloaded in its middle."""
    destination = l2.start(lab, spec.incoming())
    guest.payload.start(mode="random")
    signals = kicks(guest)
    signals.start()
    migrate.begin(lab, guest, destination, "unix")
    migrate.wait_syncs(guest, 3, 180)
    for what in act:
        what(lab)
    migrate.wait_syncs(guest, 6, 180)
    info = migrate.finish(guest)
    lab.figures["signals"] = lab.figures.get("signals", 0) + signals.end()
    result = migrate.judge(lab, guest, destination, info)
    guest.quit()
    return destination, result.clean


def run(lab: Lab, subject: str = "ours", patched: bool = True, loads: bool = False) -> None:
    """The hops of a variant: LOADS, loads and unloads the livepatch in the middle of hops; else PATCHED, has it."""
    spec = l2.GuestSpec(lab.qemu, kind="payload32", mem=64, cpus=2, ring=1024)
    if subject == "stock":
        spec = replace(spec, qemu=lab.stock)
    hops: list[list[Callable[[Lab], None]]] = [[]] * (lab.count or 3)
    if loads:
        hops = [[], [probe.load_livepatch], [], [probe.remove_livepatch]]
    elif patched:
        probe.load_livepatch(lab)
    calls = probe.Calls()
    guest = l2.start(lab, spec)
    guest.wait_ready()
    failures, died = 0, ""
    for act in hops:
        try:
            guest, clean = hop(lab, guest, spec, act)
        except QmpGone as error:
            died = str(error)
            break
        failures += not clean
        lab.figures.setdefault("calls", []).append(calls.since())
    lab.figures.update(oracle_failures=failures, died=died)
    if subject == "stock" and not patched:
        lab.check(bool(failures or died), "nothing is lost without the livepatch")
        return
    lab.check(not died, f"QEMU has gone: {died}")
    lab.check(failures == 0, f"{failures} migrations lost something")
    if probe.STATE.exists():
        guest.quit()
        probe.remove_livepatch(lab)
