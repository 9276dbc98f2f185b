# SPDX-License-Identifier: GPL-2.0-or-later
"""A made-up base, a made-up repository over it, and graft run on the two.

Theory of operation
-------------------
Each test gets a fresh folder with a base of a few files and a repository of none.  A test writes
what it needs, runs graft as a user would, as a program, and looks at its exit status, at what it
said and at the tree.  age() sets the times of the whole tree back, so that "not touched" can be
told from "written again within the clock's resolution".

Limits: tests of semantic patches need spatch; without it they are skipped, with that reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

GRAFT = Path(__file__).resolve().parents[2] / "scripts" / "graft"
OLD = 1_000_000_000

BASE_FILES = {
    "VERSION": "1.0\n",
    "accel/ring.c": "int ring_reap(int n)\n{\n    trace(n);\n    return n;\n}\n\n"
                    "int ring_size(void)\n{\n    return 4;\n}\n",
    "accel/meson.build": "files('ring.c')",
    "net/backend.c": "int backend;\n",
    "roms/blob.c": "int blob;\n",
    "tool.sh": "#!/bin/sh\n",
}

DROP = "@drop@\nposition p;\n@@\n- int ring_size@p(...) { ... }\n"
HOOK = "@hook@\nexpression e;\nposition p;\n@@\n- trace@p(e);\n+ hook(e);\n"

needs_spatch = unittest.skipUnless(shutil.which("spatch"), "spatch is not installed")


class GraftCase(unittest.TestCase):
    """Base, repository and tree in a folder that goes with the test."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)
        self.repo, self.base, self.out = (self.top / n for n in ("repo", "base", "out"))
        self.entries: dict[str, str] = {}
        self.head = 'house = ["build", "docs", "scripts", "tests"]\n'
        self.repo.mkdir()
        for path, text in BASE_FILES.items():
            self.write(self.base / path, text)
        (self.base / "tool.sh").chmod(0o755)

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def ours(self, path: str, text: str, kind: str = "", more: str = "") -> None:
        """A file of the repository, with a manifest entry where kind is given."""
        self.write(self.repo / path, text)
        if kind:
            self.entries[path] = f'{{ kind = "{kind}", reason = "for the test"{more} }}'

    def patch(self, path: str, text: str, rules: str, more: str = "") -> None:
        self.ours(path, text, "semantic patch", f", rules = {{ {rules} }}{more}")

    def withdraw(self, path: str) -> None:
        (self.repo / path).unlink()
        del self.entries[path]

    def graft(self, *more: str, name: str = "qemu",
              **environment: str) -> subprocess.CompletedProcess[str]:
        lines = [f'"{path}" = {entry}' for path, entry in self.entries.items()]
        self.write(self.repo / "graft.toml",
                   self.head + "\n[files]\n" + "\n".join(lines) + "\n")
        command = [sys.executable, str(GRAFT), "--repo", str(self.repo), "--name", name,
                   "--base", str(self.base), "--out", str(self.out), *more]
        return subprocess.run(command, text=True, capture_output=True, timeout=120, check=False,
                              env={**os.environ, **environment})

    def lay(self, *more: str) -> str:
        done = self.graft(*more)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")
        return done.stdout

    def refuse(self, *said: str, **environment: str) -> None:
        """graft fails, one of its lines holds all that is said, and no tree was written."""
        before = self.snapshot()
        done = self.graft(**environment)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        lines = [line for line in done.stderr.splitlines() if all(s in line for s in said)]
        self.assertTrue(lines, f"no line with {said} in:\n{done.stderr}")
        self.assertNotIn("Traceback", done.stderr)
        self.assertEqual(self.snapshot(), before)

    def text(self, path: str) -> str:
        return (self.out / path).read_text()

    def age(self) -> None:
        for path in self.out.rglob("*"):
            if path.is_file():
                os.utime(path, (OLD, OLD))

    def snapshot(self) -> dict[str, tuple[float, bytes]]:
        return {str(path.relative_to(self.out)): (path.stat().st_mtime, path.read_bytes())
                for path in self.out.rglob("*") if path.is_file()}

    def touched(self) -> set[str]:
        return {name for name, (when, _) in self.snapshot().items() if when != OLD}
