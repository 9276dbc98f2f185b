# SPDX-License-Identifier: GPL-2.0-or-later
"""The soundness self-test in a few minutes.

*Limits*: a handful of boots; `make check-lab-soundness` is the real one.
"""

import importlib.util
from pathlib import Path

from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="a few nested boots, load, dirty logging on and off, verify, kill",
    time_limit=240,
    needs=("kvm", "guest-linux", "guest-payload32", "stock"),
    suites=("full",),
    modes=("tdp", "shadow"),
    own_binaries=True,
    variants={
        "boot32": {"kind": "payload32", "mem": 64, "default": 5, "cpus": 2,
                   "ring": 4096, "log_cycles": 1},
        "linux": {"kind": "linux", "mem": 160, "default": 1, "cpus": 2,
                  "log_cycles": 1},
    },
)

_spec = importlib.util.spec_from_file_location(
    "scenario_soundness", Path(__file__).with_name("soundness.py"))
assert _spec and _spec.loader
_soundness = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_soundness)


def run(lab: Lab, **params: object) -> None:
    """The same as soundness, fewer times."""
    _soundness.run(lab, **params)
