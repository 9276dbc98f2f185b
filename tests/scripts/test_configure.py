# SPDX-License-Identifier: GPL-2.0-or-later
"""configure's and fetch-base's answers to bad input: one clear line, exit status 2, nothing done."""

import os
import tempfile
import unittest
from pathlib import Path

from program import SCRIPTS, TOP, load, run

fetch = load("fetch-base")
suite = load("debian_suite.py")


class Configure(unittest.TestCase):
    def refuse(self, *options: str, said: str) -> None:
        done = run(TOP / "configure", *options)
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn(said, done.stderr)
        self.assertEqual(done.stdout, "")

    def test_refusals(self) -> None:
        for options, said in (
                (["--frobnicate"], "unknown option --frobnicate"),
                (["build"], "unknown option build"),
                (["--with-qemu"], "needs a value"),
                (["--with-qemu="], "needs a value"),
                (["--with-linux=/nonexistent"], "/nonexistent is not a directory"),
                (["--prefix=usr"], "not an absolute path"),
                (["--prefix=/a b"], "no spaces"),
                (["--prefix=/$HOME"], "dollar"),
                (["--enable-fault=all"], "'all'"),
                (["--enable-fault"], "needs a value"),
                (["--enable-asan", "--enable-tsan"], "exclude each other")):
            with self.subTest(options=options):
                self.refuse(*options, said=said)

    def test_help(self) -> None:
        done = run(TOP / "configure", "--help")
        self.assertEqual(done.returncode, 0)
        for option in ("--with-qemu", "--with-linux", "--prefix", "--enable-debug", "--enable-asan",
                       "--enable-tsan", "--stock", "--target-list", "--enable-fault"):
            self.assertIn(option, done.stdout)


class FetchBase(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)

    def qemu_tree(self, name: str, version: str) -> Path:
        tree = self.top / name
        (tree / "accel/kvm").mkdir(parents=True)
        (tree / "accel/kvm/kvm-all.c").write_text("")
        (tree / "VERSION").write_text(version + "\n")
        return tree

    def use(self, base: str, tree: Path) -> tuple[int, str]:
        done = run(SCRIPTS / "fetch-base", "--build", self.top / "build", "--use", tree, base)
        return done.returncode, done.stderr

    def test_wrong_version(self) -> None:
        for version in ("9.2.0", "10.1.0", "100.0.1"):
            status, said = self.use("qemu", self.qemu_tree(version, version))
            self.assertEqual(status, 2)
            self.assertIn(f"is qemu {version}", said)
            self.assertIn("10.0.x", said)

    def test_no_such_tree(self) -> None:
        self.assertEqual(self.use("qemu", self.top / "none")[0], 2)
        status, said = self.use("qemu", self.top)
        self.assertEqual(status, 2)
        self.assertIn("is not a qemu source tree", said)
        self.assertEqual(self.use("linux", self.top)[0], 2)

    def test_linux_version(self) -> None:
        tree = self.top / "linux"
        tree.mkdir()
        (tree / "Makefile").write_text("VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 7\n")
        self.assertEqual(self.use("linux", tree), (0, ""))
        (tree / "Makefile").write_text("VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 1\n")
        self.assertIn("6.12.1", self.use("linux", tree)[1])

    def test_own_tree_becomes_a_link_and_is_not_lost(self) -> None:
        first, second = self.qemu_tree("a", "10.0.2"), self.qemu_tree("b", "10.0.3")
        place = self.top / "build/base/qemu"
        for tree in (first, first, second):
            self.assertEqual(self.use("qemu", tree)[0], 0)
            self.assertEqual(place.resolve(), tree.resolve())
        self.assertTrue((first / "VERSION").exists())

    def test_cached_versions(self) -> None:
        for name in ("qemu_10.0.2+ds-1.dsc", "qemu_10.0.13+ds-0+deb13u1.dsc", "qemu_9.2.0+ds-1.dsc",
                     "qemu_10.1.0+ds-1.dsc", "qemu_10.0.99+ds.orig.tar.xz"):
            (self.top / name).write_text("")
        found = fetch.cached_qemu(self.top)
        self.assertEqual(found and found.name, "qemu_10.0.13+ds-0+deb13u1.dsc")
        self.assertIsNone(fetch.cached_linux(self.top))

    def test_mirrors_come_from_apt(self) -> None:
        """A third party with Debian's suite names comes after the mirror that has -updates."""
        release = Path("/etc/os-release").read_text()
        code = next(line.partition("=")[2].strip('"') for line in release.splitlines()
                    if line.startswith("VERSION_CODENAME="))
        bin_folder = self.top / "bin"
        bin_folder.mkdir()
        apt = bin_folder / "apt-get"
        apt.write_text("#!/bin/sh\ncat <<E\n" + "".join(
            f"'{uri}/dists/{suite}/InRelease' x 0\n" for uri, suite in (
                ("https://third.example/debian", code), ("http://mirror.example/debian", code),
                ("http://mirror.example/debian", code + "-updates"),
                ("http://mirror.example/security", code + "-security"))) + "E\n")
        apt.chmod(0o755)
        path = os.environ["PATH"]
        os.environ["PATH"] = f"{bin_folder}:{path}"
        try:
            self.assertEqual(suite.mirrors(), ["http://mirror.example/debian",
                                               "https://third.example/debian"])
        finally:
            os.environ["PATH"] = path


if __name__ == "__main__":
    unittest.main()
