# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's checkpatch.pl reports no error and no warning below kernel/."""

import re
import subprocess
from collections.abc import Iterator

from tree import HOME, Planted, Skipped, Tree

SLOW = True     # some ten seconds
CHECKPATCH = HOME / "build/base/linux/scripts/checkpatch.pl"
#: Types of complaint that are switched off, and why.
IGNORED = {
    "EXPORT_SYMBOL": "a macro of vringh_core.h defines and exports five functions",
    "LINUX_VERSION_CODE": "the modules are built for several kernels",
    "CONSTANT_COMPARISON": "checkpatch takes LINUX_VERSION_CODE for a constant",
}
COMPLAINT = re.compile(r"^\S+:\d+: (ERROR|WARNING)")
PLANTED = (Planted("TRAILING_STATEMENTS", {
    "kernel/planted.c": "// SPDX-License-Identifier: GPL-2.0-or-later\nint f(int a)\n{\n\tif (a) return 1;\n"
                        "\treturn 0;\n}\n"}),)


def check(tree: Tree) -> Iterator[str]:
    if not CHECKPATCH.exists():
        subprocess.run([HOME / "scripts/fetch-base", "linux"], stdout=subprocess.DEVNULL, check=False)
    if not CHECKPATCH.exists():
        raise Skipped("build/base/linux has no checkpatch.pl, and scripts/fetch-base linux does not get it")
    names = [tree.name(path) for path in tree.files
             if tree.name(path).startswith("kernel/") and path.suffix in (".c", ".h")]
    if names:
        said = tree.run("perl", CHECKPATCH, "--no-tree", "--terse", "--show-types", "--max-line-length=100",
                        "--ignore", ",".join(IGNORED), "-f", *names, install="scripts/deps check")
        if said and "total:" not in said:  # it prints nothing for files without a complaint
            yield f"checkpatch.pl: {said.strip()}"
        yield from filter(COMPLAINT.match, said.splitlines())
