# SPDX-License-Identifier: GPL-2.0-or-later
"""No file names a path of one machine or a package host."""

import re
from collections.abc import Iterator

from tree import Planted, Tree

FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w./-])/(work|root|home)/\w"),
    "the name of a package host": re.compile(
        r"\b(deb\.debian\.org|(files\.)?pythonhosted\.org|pypi\.org|snapshot\.debian)\b"),
}
PLANTED = (Planted("planted.md:1: a path of one machine", {"planted.md": "see /" "home/me\n"}),
           Planted("planted.md:2: the name of a package host", {"planted.md": "\ndeb.debian" ".org\n"}))


def check(tree: Tree) -> Iterator[str]:
    for path in tree.files:
        if tree.name(path) == "tests/lint/checks/names.py":
            continue
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            for what, pattern in FORBIDDEN.items():
                if pattern.search(line):
                    yield f"{tree.name(path)}:{number}: {what}"
