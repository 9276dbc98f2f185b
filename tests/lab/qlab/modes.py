# SPDX-License-Identifier: GPL-2.0-or-later
"""Named settings of L1: which of KVM's dirty-tracking paths is under test.

Theory of operation
===================

KVM tracks dirty pages in two implementations, the TDP MMU and the older
shadow MMU, and uses the second in two ways (for nested paging when the TDP
MMU is off, and for shadow paging when nested paging is off).  A mode says
which one, by module parameters, and carries the outer CPU model with which
the self-test (soundness-* scenarios) found it sound.  `excluded` names the modes that are not, with the reason;
README.md has the figures.

*Limits*: a mode says nothing about the kernel version; see `lab --kernel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Kinds of nested guests.
LINUX = "linux"
PAYLOAD32 = "payload32"


@dataclass(frozen=True)
class Mode:
    """Settings of L1."""

    about: str
    cpu: str
    kvm: str = ""
    kvm_amd: str = ""
    #: guest kind -> why a scenario with it is not run in this mode
    excluded: Mapping[str, str] = field(default_factory=dict)


CPU = "EPYC"

MODES: dict[str, Mode] = {
    "tdp": Mode("TDP MMU, nested paging", CPU, kvm="tdp_mmu=1"),
    "shadow": Mode("shadow MMU, nested paging", CPU, kvm="tdp_mmu=0"),
    "nonpt": Mode("shadow MMU, shadow paging", CPU, kvm="tdp_mmu=0",
                  kvm_amd="npt=0"),
}

DEFAULT_MODE = "tdp"
