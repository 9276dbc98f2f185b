# SPDX-License-Identifier: GPL-2.0-or-later
"""Every mutant of tests/mutants still applies, and names test programs that exist."""

import sys
from collections.abc import Iterator

from tree import HOME, Planted, Tree

MUTANT = """file = "planted.c"
tests = ["planted"]
[[mutant]]
name = "gone"
before = "x = 1"
after = "x = 2"
reason = "planted"
"""
PLANTED = (Planted("planted.c: gone: the text stands 0 times", {
    "planted.c": "int y;\n", "tests/unit/meson.build": "  'planted': {\n", "tests/mutants/planted.toml": MUTANT}),)


def check(tree: Tree) -> Iterator[str]:
    if not (tree.top / "tests/mutants").is_dir():
        return
    sys.path.insert(0, str(HOME / "tests/mutants"))
    import mutants
    yield from mutants.complaints(tree.top)
