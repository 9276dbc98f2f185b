# SPDX-License-Identifier: GPL-2.0-or-later
"""graft accepts the manifest: run `graft --check` for each base below build/base."""

import sys
from collections.abc import Iterator

from tree import HOME, Planted, Skipped, Tree

PLANTED = (Planted("no-such-file.c", {
    "graft.toml": 'house = ["build"]\n[tree.qemu]\n[files]\n"no-such-file.c" = { kind = "new", reason = "planted" }\n',
    "build/base/qemu/VERSION": "10.0.0\n"}),)


def check(tree: Tree) -> Iterator[str]:
    names = [name for name in ("qemu", "linux") if (tree.build / "base" / name).is_dir()]
    if not names:
        raise Skipped("build/base has no base; ./configure fetches them")
    for name in names:
        done = tree.spawn(sys.executable, HOME / "scripts/graft", "--repo", tree.top, "--check", "--name", name)
        yield from done.stderr.splitlines()
        if done.returncode and not done.stderr:
            yield f"scripts/graft --name {name}: exit status {done.returncode}"
