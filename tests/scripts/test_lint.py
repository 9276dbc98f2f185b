# SPDX-License-Identifier: GPL-2.0-or-later
"""lint: every check reports its planted faults, each in a small tree of its own."""

import subprocess
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path

from program import load

lint = load("lint")
from tree import Planted, Skipped, Tree

CHECKS = lint.load_checks()


def plant(folder: Path, planted: Planted) -> Tree:
    """A git tree of the planted files, committed with the planted message; build/ is not tracked."""
    for name, text in planted.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / ".git/info").mkdir(parents=True)
    (folder / ".git/info/exclude").write_text("/build\n", encoding="utf-8")
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@invalid", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", planted.message]):
        subprocess.run([*git, *command], cwd=folder, check=True, capture_output=True)
    return Tree(folder)


class PlantedFaults(unittest.TestCase):
    """One test per check; made below, so that each counts by itself."""

    def assert_reported(self, name: str) -> None:
        self.assertTrue(CHECKS[name].PLANTED, f"{name} has no planted fault")
        for planted in CHECKS[name].PLANTED:
            with self.subTest(planted.reported), tempfile.TemporaryDirectory() as folder:
                try:
                    complaints = list(CHECKS[name].check(plant(Path(folder), planted)))
                except Skipped as reason:
                    self.skipTest(str(reason))
                self.assertIn(planted.reported, "\n".join(complaints))


def make_test(name: str) -> Callable[[PlantedFaults], None]:
    def test(self: PlantedFaults) -> None:
        self.assert_reported(name)
    return test


for check in CHECKS:
    setattr(PlantedFaults, f"test_{check}", make_test(check))


class Checks(unittest.TestCase):
    def test_all_files_are_checks(self) -> None:
        self.assertGreaterEqual(len(CHECKS), 14)
        for name, check in CHECKS.items():
            self.assertTrue(check.__doc__, f"{name} does not say what it looks for")


class Clean(unittest.TestCase):
    def test_clean_tree(self) -> None:
        """A tree without a fault passes the checks that read nothing else."""
        clean = Planted("", {
            "planted.py": "# SPDX-License-Identifier: GPL-2.0-or-later\n\n\ndef f() -> int:\n    return 1\n",
            "planted.sh": "#!/bin/sh\n# SPDX-License-Identifier: GPL-2.0-or-later\nrm \"$1\"\n"})
        with tempfile.TemporaryDirectory() as folder:
            tree = plant(Path(folder), clean)
            for name in set(CHECKS) - {"manifest", "upstream"}:
                with self.subTest(name):
                    try:
                        self.assertEqual(list(CHECKS[name].check(tree)), [])
                    except Skipped as reason:
                        print(f"{name}: {reason}")


if __name__ == "__main__":
    unittest.main()
