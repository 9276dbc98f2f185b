# SPDX-License-Identifier: GPL-2.0-or-later
"""Every source file names its licence in an SPDX line."""

from collections.abc import Iterator

from tree import SOURCE, Planted, Tree

LINE = "SPDX-License-Identifier: GPL-2.0-or-later"
PLANTED = (Planted("planted.c: no SPDX", {"planted.c": "int x;\n"}),)


def check(tree: Tree) -> Iterator[str]:
    for path in tree.files:
        if (path.suffix in SOURCE or tree.interpreter(path)) and LINE not in tree.text(path)[:800]:
            yield f"{tree.name(path)}: no {LINE}"
