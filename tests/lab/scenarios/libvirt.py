# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt starts our QEMU with a ring, saves, restores and migrates the guest.

The guest is saved to a file and restored, then migrated from one libvirtd (qlab/libvirtd.py)
to another and back, under a load light enough for it to complete; the payload verifies
its stamps after each.

*Limits*: the payload's oracle only, because libvirt owns the guest's RAM; skipped where
libvirtd is not installed.
"""

from __future__ import annotations

import time
from pathlib import Path

from qlab.context import Lab
from qlab.libvirtd import NAME, Host, domain, require
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="libvirt starts, saves, restores and migrates a guest with a ring",
    time_limit=900,
    needs=("kvm", "guest-linux"),
    suites=("full",),
    modes=("tdp",),
    variants={"": {}, "to-stock": {"stock": True}},
)

RATE = 100  # pages a second; each write dirties five
RING = 4096
FEATURES = f"<kvm><dirty-ring state='on' size='{RING}'/></kvm>"


def judge(lab: Lab, host: Host, least: int, when: str) -> int:
    """Check that the guest runs and has lost nothing; how much it has written."""
    payload = host.payload()
    payload.catch_up()
    payload.stop()
    writes = payload.writes()
    lab.check(writes >= least, f"{when}: {writes} writes, there were {least} before")
    found = payload.verify()
    lab.check(found.clean, f"{when}: {found}")
    payload.start(rate=RATE)
    payload.close()
    return writes


def migrate(lab: Lab, source: Host, target: Host, xml: Path, writes: int) -> int:
    """One way."""
    started = time.monotonic()
    source.virsh("migrate", "--live", "--auto-converge", "--xml", str(xml), NAME, target.uri,
                 "--migrateuri", "tcp://127.0.0.1", timeout=200)
    way = f"{source.name} to {target.name}"
    lab.figures[f"{way}, s"] = round(time.monotonic() - started, 1)
    lab.log(source.try_virsh("domjobinfo", NAME, "--completed").stdout)
    lab.check(NAME not in source.virsh("list", "--name"), f"{way}: it runs on the source")
    return judge(lab, target, writes, way)


def run(lab: Lab, stock: bool = False) -> None:
    """Start, save, restore, migrate, migrate back."""
    require(lab)
    here, there = Host(lab, "here"), Host(lab, "there")
    xml = {}
    for host, qemu in ((here, lab.qemu), (there, lab.stock if stock else lab.qemu)):
        xml[host] = lab.tmp / f"{host.name}.xml"
        xml[host].write_text(domain(lab, qemu, FEATURES), "ascii")
        host.wait_up()
    here.virsh("create", str(xml[here]), timeout=300)
    payload = here.payload()
    payload.wait_ready(90)
    shown = here.hmp("info dirty_ring")
    lab.check(str(RING) in shown, f"no ring of {RING} entries: {shown}")
    payload.start(rate=RATE)
    time.sleep(1)
    writes = payload.writes()
    payload.close()
    saved = lab.tmp / "saved"
    here.virsh("save", NAME, str(saved), timeout=120)
    here.virsh("restore", str(saved), timeout=120)
    saved.unlink()
    writes = judge(lab, here, writes, "saved and restored")
    writes = migrate(lab, here, there, xml[there], writes)
    if not stock:
        lab.check(str(RING) in there.hmp("info dirty_ring"), "the ring was left behind")
    lab.figures["writes"] = migrate(lab, there, here, xml[here], writes)
    lab.log(here.hmp("info dirty_ring"))
