# SPDX-License-Identifier: GPL-2.0-or-later
"""ruff accepts every Python file, by the rules of tests/lint/ruff.toml."""

from collections.abc import Iterator

from tree import RULES, Planted, Tree

PLANTED = (Planted("F401", {"planted.py": "import os\n"}),
           Planted("RUF100", {"planted.py": "A = 1  # noqa: E402\n"}))


def check(tree: Tree) -> Iterator[str]:
    names = [tree.name(path) for path in tree.python_files]
    if names:
        yield from tree.run_pypi("ruff", "check", "--no-cache", "--quiet", "--config", RULES / "ruff.toml",
                                 "--output-format", "concise", *names).splitlines()
