# SPDX-License-Identifier: GPL-2.0-or-later
"""Every Python file parses, and every function declares its return type."""

import ast
from collections.abc import Iterator

from tree import Planted, Tree

PLANTED = (Planted("f() has no return type", {"planted.py": "def f(x: int):\n    return x\n"}),
           Planted("invalid syntax", {"planted": "#!/usr/bin/env python3\nif:\n"}))


def check(tree: Tree) -> Iterator[str]:
    for path in tree.python_files:
        name = tree.name(path)
        try:
            parsed = ast.parse(tree.text(path), name)
        except SyntaxError as error:
            yield f"{name}: {error}"
            continue
        for node in ast.walk(parsed):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.returns:
                yield f"{name}:{node.lineno}: {node.name}() has no return type"
