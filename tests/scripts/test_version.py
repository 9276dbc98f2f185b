# SPDX-License-Identifier: GPL-2.0-or-later
"""Versions: a tag is what git describes, without one it is VERSION; QEMU and the package say the same."""

import subprocess
import tempfile
import unittest
from pathlib import Path

from program import SCRIPTS, TOP, run

RELEASE = (TOP / "VERSION").read_text().strip()
QEMU = TOP / "build/qemu/qemu-system-x86_64"
GIT = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
       "GIT_CONFIG_GLOBAL": "/dev/null"}


class Version(unittest.TestCase):
    """scripts/version in a repository of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)
        (self.top / "scripts").mkdir()
        (self.top / "VERSION").write_text("0.1\n")
        (self.top / "scripts/version").write_bytes((SCRIPTS / "version").read_bytes())
        (self.top / "scripts/version").chmod(0o755)

    def git(self, *words: str) -> None:
        done = run("git", "-C", self.top, *words, **GIT)
        self.assertEqual(done.returncode, 0, done.stderr)

    def version(self, *words: str) -> str:
        return run(self.top / "scripts/version", *words).stdout.strip()

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "x")

    def test_without_git(self) -> None:
        self.assertEqual((self.version(), self.version("--commit"), self.version("--release")), ("0.1",) * 3)

    def test_without_a_tag(self) -> None:
        self.git("init", "-q")
        self.commit()
        self.assertEqual(self.version(), "0.1")
        self.assertRegex(self.version("--commit"), r"^0\.1 \([0-9a-f]{7,}\)$")

    def test_tagged(self) -> None:
        self.git("init", "-q")
        self.commit()
        self.git("tag", "-a", "v0.1", "-m", "0.1")
        self.assertEqual(self.version(), "0.1")
        self.commit()
        self.assertRegex(self.version(), r"^0\.1-1-g[0-9a-f]{7,}$")
        (self.top / "VERSION").write_text("0.2\n")
        self.assertRegex(self.version(), r"^0\.1-1-g[0-9a-f]{7,}-dirty$")
        self.assertEqual(self.version("--release"), "0.2")

    def test_bad_option(self) -> None:
        self.assertEqual(run(self.top / "scripts/version", "--help-me").returncode, 2)


class Shown(unittest.TestCase):
    """What users see of it."""

    def test_qemu_version_script(self) -> None:
        source = TOP / "build/src/qemu"
        done = run(SCRIPTS / "qemu-version", source, "", "10.0.13")
        package = f"qemu-live {run(SCRIPTS / 'version').stdout.strip()}"
        self.assertEqual(done.stdout, f'#define QEMU_PKGVERSION "{package}"\n'
                                      f'#define QEMU_FULL_VERSION "10.0.13 ({package})"\n')
        self.assertIn('"10.0.13 (mine)"', run(SCRIPTS / "qemu-version", source, "mine", "10.0.13").stdout)
        self.assertIn('"10.0.13 (qemu-live)"', run(SCRIPTS / "qemu-version", "/nowhere/a/b/c", "", "10.0.13").stdout)

    def test_qemu(self) -> None:
        if not QEMU.exists():
            self.skipTest("build/qemu is not built; make")
        first = subprocess.run([QEMU, "-version"], text=True, capture_output=True, check=True).stdout.splitlines()[0]
        self.assertRegex(first, rf"\(qemu-live {RELEASE}[-0-9a-z]*\)$")

    def test_package(self) -> None:
        self.assertIn("/scripts/version\" --release", (SCRIPTS / "install-kernel").read_text())
        self.assertIn("version: files('VERSION')", (TOP / "meson.build").read_text())

    def test_changelog_begins_with_it(self) -> None:
        headings = [line for line in (TOP / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
        self.assertIn(f"## {RELEASE}", headings)


if __name__ == "__main__":
    unittest.main()
