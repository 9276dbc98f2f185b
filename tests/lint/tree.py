# SPDX-License-Identifier: GPL-2.0-or-later
"""The tree that the checks of scripts/lint read, and what they share."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

#: The repository that holds the checks and their rules; the tree to read may be another one.
HOME = Path(__file__).resolve().parents[2]
RULES = HOME / "tests/lint"

SOURCE = {".c", ".h", ".S", ".py", ".sh", ".cocci", ".append", ".toml", ".build"}


class Skipped(Exception):
    """The check cannot run here; the text says why."""


@dataclass(frozen=True)
class Planted:
    """A fault that a check must report: a small tree that has it, and a part of the complaint."""

    reported: str
    files: Mapping[str, str]
    message: str = "component: Plant a fault\n\nThe check has to report it.\n"


class Tree:
    """The tracked files of a git working tree."""

    def __init__(self, top: Path = HOME) -> None:
        self.top = top
        self.build = top / "build"

    @cached_property
    def files(self) -> tuple[Path, ...]:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=self.top, capture_output=True, check=True)
        names = listed.stdout.decode().split("\0")
        return tuple(self.top / name for name in names if name and (self.top / name).is_file())

    @cached_property
    def _texts(self) -> dict[Path, str]:
        return {}

    def text(self, path: Path) -> str:
        if path not in self._texts:
            self._texts[path] = path.read_text(encoding="utf-8", errors="replace")
        return self._texts[path]

    def name(self, path: Path) -> str:
        """The path from the top, with slashes."""
        return path.relative_to(self.top).as_posix()

    def interpreter(self, path: Path) -> str:
        """The first line of a program that names its interpreter, or nothing."""
        first = self.text(path).split("\n", 1)[0]
        return first if first.startswith("#!") else ""

    @cached_property
    def shell_files(self) -> list[Path]:
        return [path for path in self.files
                if path.suffix == ".sh" or re.search(r"[/ ](da)?sh$", self.interpreter(path))]

    @cached_property
    def python_files(self) -> list[Path]:
        return [path for path in self.files
                if path.suffix == ".py" or "python" in self.interpreter(path)]

    def spawn(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program at the top."""
        return subprocess.run([str(word) for word in command], cwd=self.top, text=True, capture_output=True,
                              check=False)

    def run(self, *command: str | Path, install: str) -> str:
        """Run a linter at the top; its output.  Skipped, with the command that installs it, if it is missing."""
        try:
            done = self.spawn(*command)
        except FileNotFoundError:
            raise Skipped(f"{command[0]} is not installed; {install} installs it") from None
        if done.returncode and not done.stdout:
            return f"{command[0]}: exit status {done.returncode}: {done.stderr.strip()}"
        return done.stdout

    def run_pypi(self, name: str, *arguments: str | Path) -> str:
        """Run a linter from PyPI in build/venv of HOME; the first use installs it."""
        program = HOME / "build/venv/bin" / name
        if not program.exists():
            done = subprocess.run(["scripts/venv", "-r", "tests/lint/requirements.txt"], cwd=HOME,
                                  text=True, capture_output=True, check=False)
            if done.returncode:
                raise Skipped(f"{name} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
        return self.run(program, *arguments, install="scripts/venv -r tests/lint/requirements.txt")
