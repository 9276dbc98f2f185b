# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario's declaration, and how scenarios are found.

Theory of operation
===================

A scenario is one file in tests/lab/scenarios.  It holds a `SCENARIO`, pure
data that says what it needs and how long it may take, and a function
`run(lab, **params)` that is executed inside L1.  A scenario may have variants:
named sets of parameters, each of which is run, timed and reported by itself
as `scenario/variant`.

    SCENARIO = Scenario(
        about="one line for `lab list`",
        needs=("kvm", "guest-linux"),
        time_limit=120,
        suites=("full",),
        variants={"": {"cpus": 1}, "smp": {"cpus": 2}},
    )

The host imports scenario files too (to list them), so they import nothing
but the standard library and this package, and do nothing at import.

*Limits*: variants share needs and suites unless `short` names those that are
in the short suite.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCENARIO_DIR = Path(__file__).resolve().parent.parent / "scenarios"

SUITES = ("short", "full", "kernel", "vdpa", "soundness")

#: Debian's kernel's checks of freed objects and pages, and of accesses beyond an object, for a scenario's
#: `append`.  It always checks list corruption, copies to and from user space and the ends of stacks; KASAN,
#: lockdep and kmemleak are debugkernel.py's.  With these checks the kernel writes all of L1's memory at boot, so
#: a small l1_mem is better.
DEBUG = "slub_debug=FZPU page_poison=1"

#: What a scenario can need, and the text of the skip when it is missing.
NEEDS = {
    "kvm": "a nested /dev/kvm",
    "guest-linux": "build/guest/init.cpio.gz (tests/lab/guest)",
    "vduse-net": "build/guest/vduse-net (tests/lab/guest)",
    "guest-payload32": "build/guest/payload32.rom (tests/lab/guest)",
    "ours": "build/qemu/qemu-system-x86_64 (make)",
    "stock": "build/stock/qemu-system-x86_64 (make stock)",
    "fault": "build/qemu-fault/qemu-system-x86_64 (the fault-injection build)",
    "ifcvf-device": "an outer emulator with x-ifcvf-test-net (make)",
    "debug-kernel": "the debug kernel in L1 (--kernel 6.1-debug)",
    "kernel-modules": "our kernel modules for this kernel (make kernel)",
}


@dataclass(frozen=True)
class Scenario:
    """A scenario's declaration; see the head of this file."""

    about: str
    time_limit: int
    needs: tuple[str, ...] = ("kvm",)
    suites: tuple[str, ...] = ("full",)
    #: Names of modes (modes.py) it runs in when none is asked for.
    modes: tuple[str, ...] = ("tdp",)
    variants: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {"": {}})
    #: Variants that are in the short suite; all, when the suite is "short".
    short: tuple[str, ...] = ()
    #: Runs once, with a given binary: --stock makes no second run of it.
    own_binaries: bool = False
    #: May run on the machine's own /dev/kvm (32-bit payload only).
    host_kvm: bool = False
    #: L1 memory in MiB and number of L1 CPUs.
    l1_mem: int = 3072
    l1_cpus: int = 2
    #: More words for L1's kernel command line, for example DEBUG.
    append: str = ""
    #: More devices of L1: words of the outer emulator's command line.
    l1_devices: tuple[str, ...] = ()
    #: L1's clock counts its instructions: slow, but durations repeat on a busy host.
    icount: bool = False
    #: L1 can talk to its own emulator; see outer.py.
    l1_monitor: bool = False
    #: Kernel versions it cannot run on, with the reason; or the variants that cannot, each with its own.
    not_on: Mapping[str, str | Mapping[str, str]] = field(default_factory=dict)
    #: Variants that pass only if L1's kernel reports itself with these words, and fail without them.
    reports: Mapping[str, str] = field(default_factory=dict)
    #: Modes it cannot run in, with the reason.
    not_in: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert set(self.needs) <= set(NEEDS), self.needs
        assert set(self.suites) <= set(SUITES), self.suites
        assert set(self.short) <= set(self.variants), self.short
        assert set(self.reports) <= set(self.variants), self.reports
        for reasons in self.not_on.values():
            assert isinstance(reasons, str) or set(reasons) <= set(self.variants), reasons


@dataclass(frozen=True)
class Case:
    """One thing to run: a scenario with one set of parameters."""

    scenario_name: str
    variant: str
    scenario: Scenario
    run: Callable[..., None]

    @property
    def name(self) -> str:
        """Full name, as on the command line."""
        return (f"{self.scenario_name}/{self.variant}" if self.variant
                else self.scenario_name)

    @property
    def params(self) -> Mapping[str, Any]:
        """What run() is called with."""
        return self.scenario.variants[self.variant]

    @property
    def report(self) -> str:
        """The words that L1's kernel has to report; empty if it may report nothing."""
        return self.scenario.reports.get(self.variant, "")

    def not_on(self, kernel: str) -> str:
        """Why this case cannot run on a kernel version; empty if it can."""
        reason = self.scenario.not_on.get(kernel, "")
        return reason if isinstance(reason, str) else reason.get(self.variant, "")

    def in_suite(self, suite: str) -> bool:
        """Whether `--suite SUITE` runs this case."""
        if suite in self.scenario.suites:
            return True
        return suite == "short" and self.variant in self.scenario.short


def load_file(path: Path) -> list[Case]:
    """All cases that a scenario file declares."""
    name = path.stem
    spec = importlib.util.spec_from_file_location(
        "scenario_" + name.replace("-", "_"), path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    scenario: Scenario = module.SCENARIO
    return [Case(name, variant, scenario, module.run)
            for variant in scenario.variants]


def load_all(directory: Path = SCENARIO_DIR) -> list[Case]:
    """All cases, by name."""
    cases: list[Case] = []
    for path in sorted(directory.glob("[!_]*.py")):
        cases += load_file(path)
    return cases


def select(cases: list[Case], patterns: list[str]) -> list[Case]:
    """Cases by full name, by scenario name, or by shell pattern."""
    from fnmatch import fnmatchcase
    chosen: list[Case] = []
    for pattern in patterns:
        found = [case for case in cases
                 if pattern in (case.name, case.scenario_name)
                 or fnmatchcase(case.name, pattern)]
        if not found:
            raise LookupError(f"no scenario is called {pattern}; "
                              "`lab list` prints them")
        chosen += [case for case in found if case not in chosen]
    return chosen
