# SPDX-License-Identifier: GPL-2.0-or-later
"""No file of ours has six lines in a row that stand in a file of a base.

White space is folded, and lines that say nothing are passed over.  Text that was changed line by line is
not found.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tree import Planted, Skipped, Tree

#: It reads both bases.
SLOW = True
RUN = 6
COMPARED = {".c", ".h", ".S", ".py", ".sh", ".inc"}
SAYS_NOTHING = re.compile(
    r"^(\W*|#\s*(include|define|if|ifdef|ifndef|endif|else|elif|undef)\b.*|.*SPDX-License.*"
    r"|.*(General Public License|Copyright).*|(import|from) [\w., ]+|(break|continue|return|else|do"
    r"|default:|return 0|return ret|goto \w+)\s*[;{:]?)$")
COPY = "".join(f"    value_{number} = {number};\n" for number in range(RUN))
PLANTED = (Planted("planted.c: 6 lines in a row", {"planted.c": COPY, "build/base/qemu/base.c": f"\n{COPY}"}),)


def folded(text: str) -> list[str]:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in lines if len(line) >= 8 and not SAYS_NOTHING.match(line)]


def windows(text: str) -> Iterator[int]:
    lines = folded(text)
    for start in range(len(lines) - RUN + 1):
        yield hash(tuple(lines[start:start + RUN]))


def check(tree: Tree) -> Iterator[str]:
    bases = [path for path in (tree.build / "base").glob("*") if path.is_dir()]
    if not bases:
        raise Skipped("no base below build/base; ./configure fetches it")
    ours: dict[int, Path] = {}
    for path in tree.files:
        if path.suffix in COMPARED or tree.interpreter(path):
            ours.update(dict.fromkeys(windows(tree.text(path)), path))
    found: dict[Path, Path] = {}
    for base in bases:
        for folder, _, files in os.walk(base):
            for name in files:
                path = Path(folder, name)
                if path.suffix in COMPARED and path.is_file():
                    text = path.read_text(encoding="utf-8", errors="replace")
                    for window in ours.keys() & set(windows(text)):
                        found.setdefault(ours[window], path)
    for path, twin in found.items():
        yield f"{tree.name(path)}: {RUN} lines in a row stand in {twin.relative_to(tree.build)}"
