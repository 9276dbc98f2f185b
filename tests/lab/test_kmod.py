# SPDX-License-Identifier: GPL-2.0-or-later
"""Self-check of kmod.py: what is loaded, and in which order, on made-up modules.

*Limits*: kmod's own programs are not run; a table answers for them.
"""

from __future__ import annotations

import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))

from qlab import kmod

DEPENDS = {"vhost_iotlb": "", "vdpa": "", "vhost_vdpa": "vdpa,vhost,vhost_iotlb"}
STOCK = {
    "vhost": "insmod /lib/modules/x/vhost_iotlb.ko\ninsmod /lib/modules/x/vhost.ko.xz\n",
    "broken": "",
}


class FakeKernel:
    """What tool() and is_loaded() would find."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.calls: list[tuple[str, ...]] = []

    def tool(self, *command: str) -> str:
        """Answer for modinfo, insmod, modprobe and rmmod."""
        self.calls.append(command)
        program = Path(command[0]).name
        if program == "modinfo":
            return DEPENDS[Path(command[-1]).stem] + "\n"
        if program == "modprobe" and command[1] == "--show-depends":
            return STOCK[command[2]]
        if program == "rmmod":
            self.loaded.remove(command[1])
        else:
            self.loaded.append(Path(command[1]).stem)
        return ""


class Loading(unittest.TestCase):
    """Ours in place of the stock module of the same name, and in order."""

    def setUp(self) -> None:
        self.kernel = FakeKernel()
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        for name in DEPENDS:
            Path(place.name, f"{name}.ko").touch()
        for patch in (mock.patch.object(kmod, "tool", self.kernel.tool),
                      mock.patch.object(kmod, "is_loaded", self.kernel.loaded.__contains__)):
            patch.start()
            self.addCleanup(patch.stop)
        self.modules = kmod.Modules(Path(place.name))

    def test_order(self) -> None:
        """What a module needs comes before it; our vhost_iotlb before the stock vhost."""
        self.modules.load("vhost_vdpa", {"vdpa": "a=1 b=2"})
        self.assertEqual(self.kernel.loaded, ["vdpa", "vhost_iotlb", "vhost", "vhost_vdpa"])
        inserted = [call for call in self.kernel.calls if call[0].endswith("insmod")]
        self.assertEqual(inserted[0][2:], ("a=1", "b=2"))
        self.assertIn(("/sbin/modprobe", "vhost"), self.kernel.calls)
        self.assertTrue(all("/lib/modules" not in call[1] for call in inserted))

    def test_unload(self) -> None:
        """All that was loaded goes, the stock one that stands on ours before ours."""
        self.modules.load("vhost_vdpa", {})
        self.modules.unload_all()
        self.assertEqual(self.kernel.loaded, [])
        removed = [call[1] for call in self.kernel.calls if call[0].endswith("rmmod")]
        self.assertEqual(removed, ["vhost_vdpa", "vhost", "vhost_iotlb", "vdpa"])

    def test_there_already(self) -> None:
        """A loaded module is left alone, and not unloaded either."""
        self.kernel.loaded += ["vdpa"]
        self.modules.load("vhost_vdpa", {})
        self.modules.unload_all()
        self.assertEqual(self.kernel.loaded, ["vdpa"])

    def test_all(self) -> None:
        """Every module of this repository once, after those it needs."""
        order = self.modules.all()
        self.assertEqual(sorted(order), sorted(DEPENDS))
        self.assertEqual(order[-1], "vhost_vdpa")


if __name__ == "__main__":
    unittest.main()
