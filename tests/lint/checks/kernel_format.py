# SPDX-License-Identifier: GPL-2.0-or-later
"""clang-format, as kernel/.clang-format says, changes nothing below kernel/."""

from collections.abc import Iterator
from itertools import zip_longest

from tree import HOME, Planted, Tree

STYLE = HOME / "kernel/.clang-format"
PLANTED = (Planted("clang-format writes", {"kernel/planted.c": "int f( void );\n"}),)


def check(tree: Tree) -> Iterator[str]:
    names = [tree.name(path) for path in tree.files
             if tree.name(path).startswith("kernel/") and path.suffix in (".c", ".h")]
    for name in names:
        formatted = tree.run_pypi("clang-format", "--style", f"file:{STYLE}", name)
        differ = [number for number, (want, have) in enumerate(
            zip_longest(formatted.splitlines(), tree.text(tree.top / name).splitlines()), 1)
            if want != have]
        if differ:
            yield f"{name}:{differ[0]}: clang-format writes this line otherwise"
