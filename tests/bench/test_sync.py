# SPDX-License-Identifier: GPL-2.0-or-later
"""What sync.py reads from trace events and puts on QEMU's command line.

Limits: no QEMU is started; whether it migrates is shown by `tests/bench/sync --sizes 16`.
"""

from __future__ import annotations

import sys
import tempfile
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import sync

START = "migration_bitmap_sync_start \n"    # the event has a blank at its end
END = "migration_bitmap_sync_end dirty_pages "
LOG = (f"12@100.000100:{END}7\n"
       f"12@100.000200:{START}12@100.001200:{END}1007\n"
       "2026-11-29T16:06:33.153919Z qemu-system-x86_64: warning: something else\n"
       f"12@100.002000:{START}12@100.002005:{END}1007\n"
       f"12@101.100000:{START}12@101.100500:{END}400\n"
       f"12@101.200000:{START}")


class Trace(unittest.TestCase):
    """Guest.syncs()."""

    def syncs(self, log: str) -> list[tuple[float, int]]:
        """What is read from a log."""
        with tempfile.TemporaryDirectory() as folder:
            guest = sync.Guest.__new__(sync.Guest)
            guest.folder = Path(folder)
            (guest.folder / "log").write_text(log, "ascii")
            return guest.syncs()

    def test_each_sync(self) -> None:
        """The count of pages is of a second; a sync's own is the difference.  Half a sync is none."""
        found = self.syncs(LOG)
        self.assertEqual([pages for _, pages in found], [1000, 0, 400])
        for (took_ms, _), expected in zip(found, (1.0, 0.005, 0.5), strict=True):
            self.assertAlmostEqual(took_ms, expected, places=3)

    def test_time_of_day(self) -> None:
        """The newest QEMU writes the time of day."""
        ((took_ms, pages),) = self.syncs(f"2026-11-29T17:36:01.325336Z {START}2026-11-29T17:36:01.326586Z {END}5\n")
        self.assertEqual(pages, 5)
        self.assertAlmostEqual(took_ms, 1.25, places=3)

    def test_nothing(self) -> None:
        """An empty log has no syncs."""
        self.assertEqual(self.syncs(""), [])


class Words(unittest.TestCase):
    """The command line, and the firmware."""

    def test_memory(self) -> None:
        """A memory device of that size, of which nothing is plugged in."""
        words = " ".join(sync.arguments(sync.Subject("qemu", "kvm", 960), Path("/tmp/x")))
        for part in ("size=960G,reserve=off", "requested-size=0", "maxmem=966G"):
            self.assertIn(part, words)

    def test_odd_modules(self) -> None:
        """Their size is no multiple of 64 pages, and each has a slot."""
        words = " ".join(sync.arguments(sync.Subject("qemu", "kvm", 16, odd=3), Path("/tmp/x")))
        self.assertEqual(words.count("pc-dimm"), 3)
        self.assertIn("slots=4", words)
        self.assertNotEqual(sync.ODD_KIB % 256, 0)

    def test_dirty_range(self) -> None:
        """Beside each other, below 3 GiB or from 4 GiB on."""
        self.assertEqual(sync.dirty_range(1000, 2), (1 << 24, 4_096_000))
        self.assertEqual(sync.dirty_range(0, 1), (1 << 24, (1 << 30) - (1 << 24)))
        self.assertEqual(sync.dirty_range(0, 8), (4 << 30, 5 << 30))
        self.assertEqual(sync.dirty_range(1 << 20, 8), (4 << 30, 4 << 30))
        with self.assertRaisesRegex(ValueError, "--own"):
            sync.dirty_range(1 << 20, 2)

    def test_firmware(self) -> None:
        """64 KiB, and the reset vector does not run into nothing."""
        self.assertEqual(len(sync.FIRMWARE), 0x10000)
        self.assertEqual(sync.FIRMWARE[0xfff0:0xfff4], bytes((0xfa, 0xf4, 0xeb, 0xfd)))


if __name__ == "__main__":
    unittest.main()
