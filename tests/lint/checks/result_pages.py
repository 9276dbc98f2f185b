# SPDX-License-Identifier: GPL-2.0-or-later
"""Each page of docs/results says which command writes it, and is as that command would write it."""

import sys
from collections.abc import Iterator

from tree import HOME, Planted, Tree

PLANTED = (Planted("planted.md", {"docs/results/planted.md": "# Typed by hand\n"}),)


def check(tree: Tree) -> Iterator[str]:
    if not (tree.top / "docs/results").is_dir():
        return
    done = tree.spawn(sys.executable, HOME / "scripts/result-pages", "--check", "--out", tree.top / "docs/results")
    if done.returncode:
        yield from done.stdout.splitlines() or [f"scripts/result-pages: {done.stderr.strip()}"]
