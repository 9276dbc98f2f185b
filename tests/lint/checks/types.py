# SPDX-License-Identifier: GPL-2.0-or-later
"""mypy accepts the modules of scripts/, tests/lab/qlab and tests/lint."""

from collections.abc import Iterator

from tree import RULES, Planted, Tree

#: Folders whose modules mypy reads; it does not read programs without a suffix.
TYPED = ("scripts/", "tests/lab/qlab/", "tests/lint/")
PLANTED = (Planted("no-untyped-def", {"scripts/planted.py": "def f(x):\n    return x\n"}),
           Planted("return-value", {"tests/lint/planted.py": 'def f() -> int:\n    return "1"\n'}),
           Planted("unused-ignore", {"scripts/planted.py": "x = 1  # type: " "ignore\n"}))


def check(tree: Tree) -> Iterator[str]:
    names = [tree.name(path) for path in tree.python_files if path.suffix == ".py"]
    names = [name for name in names if name.startswith(TYPED)]
    if names:
        said = tree.run_pypi("mypy", "--config-file", RULES / "mypy.ini", "--cache-dir", tree.build / "mypy", *names)
        yield from (line for line in said.splitlines() if ": error: " in line)
