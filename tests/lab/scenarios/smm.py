# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest in system management mode all the time migrates under load.

Pages written in system management mode are logged for the second address space of
the vCPU: their ring entries name slots of another numbering.  The guest raises
SMIs (tests/lab/guest/hw.h); with each, KVM writes the vCPU's registers to SMRAM,
and a register counts, so a state that was lost shows when both sides' RAM is
compared, SMRAM at 0xa0000 included.  A VGA lies over SMRAM in the first address
space, so that only the second has a slot there.

*Limits*: SMRAM is written by KVM for the guest, never by the guest's own stores.
"""

import time

from qlab import l2, migrate
from qlab.context import Lab
from qlab.payload import fields
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="system management interrupts during a migration under load",
    time_limit=240,
    needs=("kvm", "guest-linux"),
    suites=("full",),
    modes=("tdp",),
    short=("ring",),
    variants={"ring": {"ring": 1024}, "bitmap": {"ring": 0}},
)

RATE = 100  # SMIs a second
SMRAM = slice(0xa0000, 0xc0000)


def smis(guest: l2.Guest) -> int:
    """How many were raised so far."""
    return int(fields(guest.payload.ask(f"hw smi {RATE}", "hw"))["smis"])


def smram(guest: l2.Guest) -> bytes:
    """What is in system management RAM now."""
    assert guest.ram_file is not None
    with guest.ram_file.open("rb") as ram:
        ram.seek(SMRAM.start)
        return ram.read(SMRAM.stop - SMRAM.start)


def run(lab: Lab, ring: int) -> None:
    """There and back."""
    spec = l2.GuestSpec(lab.qemu, mem=160, cpus=2, ring=ring, extra=("-vga", "std"))
    guest = l2.start(lab, spec)
    guest.wait_ready()
    for way in ("there", "back"):
        before, content = smis(guest), smram(guest)
        time.sleep(1)
        lab.check(smis(guest) > before, f"{way}: no SMI was raised")
        lab.check(smram(guest) != content, f"{way}: SMIs leave no trace in SMRAM")
        guest, result = migrate.hop(lab, guest, spec)
        lab.figures[way] = {**result.figures(), "smis": smis(guest)}
        lab.check(result.clean, f"{way}: {result}")
        lab.check(smis(guest) > before, f"{way}: SMIs were forgotten")
