# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM as the kernel has it, as build/kvm has it, and with our livepatch, by turns in one L1.

*Limits*: kvm-amd, nested paging; no machine may exist while another KVM is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import kmod, probe
from .context import Lab

SUBJECTS = ("kernel", "ours", "livepatch")
HOW = {"ours": "kvm.ko (scripts/build-kvm)", "livepatch": "the livepatch (scripts/build-kernel --livepatch)"}
TDP_MMU = Path("/sys/module/kvm/parameters/tdp_mmu")
BUILT = Path(__file__).resolve().parents[3] / "build/kvm"


def need(lab: Lab, *subjects: str) -> None:
    """Skip where one of SUBJECTS was not built for L1's kernel."""
    for subject in subjects:
        if subject not in there(lab):
            lab.skip(f"missing: {HOW[subject]} for {lab.built_for}")


def there(lab: Lab) -> list[str]:
    """Of SUBJECTS what L1's kernel can have."""
    built = {"kernel": True, "ours": (BUILT / lab.built_for / "kvm.ko").exists(),
             "livepatch": (probe.BUILT / lab.built_for / f"{probe.LIVEPATCH}.ko").exists()}
    return [subject for subject in SUBJECTS if built[subject]]


@contextmanager
def loaded(lab: Lab, subject: str) -> Iterator[None]:
    """KVM as SUBJECT has it, with the mode's kind of MMU."""
    option = f"tdp_mmu={TDP_MMU.read_text('ascii').strip()}"
    kmod.tool("/sbin/rmmod", "kvm_amd", "kvm")
    if subject == "ours":
        kmod.tool("/sbin/insmod", str(BUILT / lab.built_for / "kvm.ko"), option)
    else:
        kmod.tool("/sbin/modprobe", "kvm", option)
    kmod.tool("/sbin/modprobe", "kvm-amd")
    if subject == "livepatch":
        probe.load_livepatch(lab)
    yield
    if subject == "livepatch":
        probe.remove_livepatch(lab)
