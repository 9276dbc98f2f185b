# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's debug kernel: its name in the cache, and that no option is lost in silence."""

import tempfile
import unittest
from pathlib import Path

from program import TOP, load

debug = load("build-debug-kernel")
modules = load("build-kernel")
PACKAGE = "linux-source-6.1_6.1.192-3_all.deb"


class Options(unittest.TestCase):
    def test_what_make_dropped_or_changed_is_named(self) -> None:
        wanted = "CONFIG_KASAN=y\n# CONFIG_OFF is not set\nCONFIG_PROVE_LOCKING=y\nCONFIG_TUN=m\n"
        got = "CONFIG_KASAN=y\n# CONFIG_PROVE_LOCKING is not set\nCONFIG_TUN=y\n"
        self.assertEqual(debug.lost(wanted, got), ["CONFIG_PROVE_LOCKING=y", "CONFIG_TUN=m"])
        self.assertEqual(debug.lost(wanted, wanted), [])

    def test_the_watchers_are_asked_for(self) -> None:
        wanted = debug.wanted(debug.CONFIG.read_text("ascii"))
        for option in ("KASAN", "KASAN_VMALLOC", "PROVE_LOCKING", "DEBUG_ATOMIC_SLEEP",
                       "DEBUG_KMEMLEAK"):
            self.assertIn(f"CONFIG_{option}=y", wanted)
        self.assertNotIn("CONFIG_DEBUG_KMEMLEAK_AUTO_SCAN=y", wanted)


class Key(unittest.TestCase):
    def test_all_that_it_is_built_of_changes_it(self) -> None:
        key = debug.key(PACKAGE, b"CONFIG_A=y", "gcc 12")
        self.assertRegex(key, r"^debug-kernel-6\.1\.192-3-[0-9a-f]{12}$")
        self.assertEqual(len({key, debug.key(PACKAGE, b"CONFIG_A=m", "gcc 12"),
                              debug.key(PACKAGE, b"CONFIG_A=y", "gcc 13"),
                              debug.key(PACKAGE.replace("-3", "-4"), b"CONFIG_A=y", "gcc 12")}), 4)


class Headers(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)

    def test_what_modules_are_built_against_is_kept_and_no_more(self) -> None:
        for name in ("Makefile", ".config", "include/linux/a.h", "scripts/basic/fixdep",
                     "arch/x86/Makefile_32.cpu", "arch/x86/include/asm/b.h", "mm/slab.c", "vmlinux"):
            path = self.top / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
        debug.keep(self.top / "tree", self.top / "kept")
        kept = {str(path.relative_to(self.top / "kept"))
                for path in (self.top / "kept").rglob("*") if path.is_file()}
        self.assertEqual(kept, {"Makefile", ".config", "include/linux/a.h", "scripts/basic/fixdep",
                                "arch/x86/Makefile_32.cpu", "arch/x86/include/asm/b.h"})

    def test_a_link_is_replaced(self) -> None:
        for place in ("old", "new"):
            debug.point(self.top / "kernels/6.1-debug", self.top / place)
        self.assertEqual((self.top / "kernels/6.1-debug").readlink(), self.top / "new")

    def test_our_modules_are_built_against_them(self) -> None:
        self.assertEqual(modules.headers("6.1-debug", "6.1.192-debug"),
                         TOP / "build/kernels/6.1-debug/headers")
        self.assertEqual(modules.headers("6.1", "6.1.0-1-amd64"),
                         Path("/usr/src/linux-headers-6.1.0-1-amd64"))


if __name__ == "__main__":
    unittest.main()
