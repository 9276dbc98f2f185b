# SPDX-License-Identifier: GPL-2.0-or-later
"""The stream of a stopped machine, byte for byte stock's.

Theory of operation
===================

A machine without a vCPU (qtest), with a virtual clock, is migrated to a file by stock and by ours.  What ours does
otherwise while it saves (numbers as a whole, the description in JSON without formats) must not be seen.

*Limits*: one machine, x86.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from binaries import OURS, STOCK, TOP

sys.path.insert(0, str(TOP / "tests/lab"))

from qlab.qmp import Qmp

MACHINE = ("-accel", "qtest", "-machine", "pc", "-rtc", "base=2026-01-01,clock=vm", "-m", "64", "-nodefaults",
           "-no-user-config", "-display", "none", "-S", "-netdev", "user,id=n0",
           "-device", "virtio-net-pci,netdev=n0,mq=on,vectors=6,romfile=,mac=52:54:00:00:00:01",
           "-drive", "if=none,id=d,driver=null-co,size=1M", "-device", "virtio-blk-pci,drive=d",
           "-device", "qemu-xhci", "-device", "virtio-rng-pci", "-serial", "null",
           "-device", "ich9-intel-hda", "-device", "hda-duplex,audiodev=a", "-audiodev", "none,id=a")


def stream(binary: Path) -> bytes:
    """What that QEMU writes."""
    with tempfile.TemporaryDirectory() as folder:
        out, qmp = Path(folder) / "stream", Path(folder) / "qmp"
        with subprocess.Popen([binary, *MACHINE, "-L", TOP / "build/qemu/pc-bios",
                               "-qmp", f"unix:{qmp},server=on,wait=off"], stderr=subprocess.DEVNULL) as process:
            try:
                monitor = Qmp(qmp, timeout=60)
                monitor.cmd("migrate", {"uri": f"exec:cat >{out}"})
                while (status := monitor.cmd("query-migrate")["status"]) != "completed":
                    if status == "failed":
                        raise OSError("the migration failed")
                    time.sleep(0.05)
            finally:
                process.kill()
        return out.read_bytes()


class Stream(unittest.TestCase):
    def test_is_stocks(self) -> None:
        ours, stock = stream(OURS), stream(STOCK)
        self.assertGreater(len(stock), 100000)
        self.assertEqual(len(ours), len(stock))
        differ = [at for at, (one, other) in enumerate(zip(ours, stock, strict=True)) if one != other]
        self.assertEqual(differ[:10], [], f"{len(differ)} bytes differ")


if __name__ == "__main__":
    unittest.main()
