# SPDX-License-Identifier: GPL-2.0-or-later
"""Running and importing the programs in scripts/, whose names have no .py."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

TOP = Path(__file__).resolve().parents[2]
SCRIPTS = TOP / "scripts"


def load(name: str) -> ModuleType:
    """A program as a module; its main() is not run."""
    sys.path.insert(0, str(SCRIPTS))
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(SCRIPTS / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


def run(*command: str | Path, cwd: Path = TOP,
        **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], cwd=cwd, text=True,
                          capture_output=True, timeout=120, check=False,
                          env={**os.environ, **environment})
