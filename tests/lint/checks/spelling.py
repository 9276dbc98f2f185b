# SPDX-License-Identifier: GPL-2.0-or-later
"""codespell finds no misspelling; tests/lint/words.txt lists words that are right here."""

from collections.abc import Iterator

from tree import RULES, Planted, Tree

PLANTED = (Planted("receive", {"planted.md": "They recie" "ve it.\n"}),)


def check(tree: Tree) -> Iterator[str]:
    names = [tree.name(path) for path in tree.files if path.suffix not in (".svg", ".png")]
    yield from tree.run("codespell", "--ignore-words", RULES / "words.txt", *names,
                        install="scripts/deps check").splitlines()
