# SPDX-License-Identifier: GPL-2.0-or-later
"""No source file is longer than 800 lines."""

from collections.abc import Iterator

from tree import SOURCE, Planted, Tree

MAX_LINES = 800
PLANTED = (Planted("planted.c: 801 lines", {"planted.c": "int x;\n" * 801}),)


def check(tree: Tree) -> Iterator[str]:
    for path in tree.files:
        lines = tree.text(path).count("\n")
        if (path.suffix in SOURCE or tree.interpreter(path)) and lines > MAX_LINES:
            yield f"{tree.name(path)}: {lines} lines, more than {MAX_LINES}"
