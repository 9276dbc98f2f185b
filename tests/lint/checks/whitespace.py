# SPDX-License-Identifier: GPL-2.0-or-later
"""No line ends in blanks, every file ends in a newline, and tabs indent only what .editorconfig says."""

from collections.abc import Iterator

from tree import Planted, Tree

#: Where .editorconfig wants spaces, and the folders whose C code is the kernel's.
SPACES = {".c", ".h", ".py", ".toml", ".build", ".cocci"}
TABS = ("kernel/", "tests/")
PLANTED = (Planted("planted.md:1: blanks at the end", {"planted.md": "text \n"}),
           Planted("planted.md: no newline", {"planted.md": "text"}),
           Planted("hw/planted.c:2: indented by a tab", {"hw/planted.c": "{\n\treturn;\n}\n"}))


def check(tree: Tree) -> Iterator[str]:
    for path in tree.files:
        text = tree.text(path)
        name = tree.name(path)
        for number, line in enumerate(text.splitlines(), 1):
            if line != line.rstrip(" \t"):
                yield f"{name}:{number}: blanks at the end of the line"
            elif line.startswith("\t") and path.suffix in SPACES and not name.startswith(TABS):
                yield f"{name}:{number}: indented by a tab"
        if text and not text.endswith("\n"):
            yield f"{name}: no newline at the end"
