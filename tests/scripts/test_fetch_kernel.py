# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels of 7.x: which release is taken, and where its files end up."""

import tempfile
import unittest
from pathlib import Path

from program import load

fetch = load("fetch-kernel")
RELEASES = ["7.2.9+deb13-amd64", "7.3.4+deb13-amd64", "7.3.10+deb13-amd64", "7.10.1+deb13-amd64"]


class Release(unittest.TestCase):
    def test_the_newest_of_the_series(self) -> None:
        self.assertEqual(fetch.newest_release(RELEASES, "7.3"), "7.3.10+deb13-amd64")

    def test_a_newer_series_where_that_one_is_gone(self) -> None:
        self.assertEqual(fetch.newest_release(RELEASES, "7.4"), "7.10.1+deb13-amd64")

    def test_none_of_another_major_number(self) -> None:
        self.assertIsNone(fetch.newest_release(RELEASES, "8.1"))

    def test_packages_and_their_files(self) -> None:
        self.assertEqual(fetch.releases_in([
            "linux-binary-7.3.4+deb13-amd64", "linux-binary-7.3.4+deb13-amd64_7.3.4-1_amd64.deb",
            "linux-binary-7.3.4+deb13-cloud-amd64", "linux-modules-7.3.4+deb13-amd64"]),
            ["7.3.4+deb13-amd64"] * 2)


class Cache(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)

    def add(self, release: str, *parts: str) -> None:
        for part in parts:
            (self.top / f"{part}{release}_1_amd64.deb").write_text("")

    def test_a_kernel_that_is_not_whole_is_passed_over(self) -> None:
        self.add("7.3.4+deb13-amd64", *fetch.PARTS)
        self.add("7.3.5+deb13-amd64", *fetch.PARTS[:2])
        self.assertEqual([path.name.split("_")[0] for path in fetch.cached_parts("7.3", self.top)],
                         [part + "7.3.4+deb13-amd64" for part in fetch.PARTS])

    def test_none_is_whole(self) -> None:
        self.add("7.3.5+deb13-amd64", *fetch.PARTS[1:])
        self.assertEqual(fetch.cached_parts("7.3", self.top), [])


class Arrange(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)

    def image(self, place: str) -> None:
        (self.top / place).parent.mkdir(parents=True)
        (self.top / place).write_text("image")

    def test_image_among_its_modules(self) -> None:
        self.image("usr/lib/modules/7.3.4/vmlinuz")
        self.assertEqual(fetch.arrange(self.top), "7.3.4")
        self.assertEqual((self.top / "boot/vmlinuz-7.3.4").read_text(), "image")
        self.assertTrue((self.top / "lib/modules/7.3.4").is_dir())
        self.assertFalse((self.top / "lib/modules").is_symlink())

    def test_image_in_boot(self) -> None:
        self.image("boot/vmlinuz-6.1.0")
        self.assertEqual(fetch.arrange(self.top), "6.1.0")

    def test_no_image(self) -> None:
        with self.assertRaises(fetch.FetchError):
            fetch.arrange(self.top)


if __name__ == "__main__":
    unittest.main()
