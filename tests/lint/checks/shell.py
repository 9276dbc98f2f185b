# SPDX-License-Identifier: GPL-2.0-or-later
"""shellcheck accepts every shell script, read as POSIX shell."""

from collections.abc import Iterator

from tree import Planted, Tree

PLANTED = (Planted("SC2086", {"planted.sh": "#!/bin/sh\nrm $1\n"}),)


def check(tree: Tree) -> Iterator[str]:
    names = [tree.name(path) for path in tree.shell_files]
    if names:
        yield from tree.run("shellcheck", "--format=gcc", "--shell=sh", *names,
                            install="scripts/deps check").splitlines()
