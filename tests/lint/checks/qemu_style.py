# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's checkpatch.pl reports nothing in the C files that are added to it.

QEMU has no configuration for clang-format, and the one that comes nearest breaks lines otherwise than QEMU does:
it would change 56 of 92 files.
"""

import re
from collections.abc import Iterator

from tree import HOME, Planted, Skipped, Tree

CHECKPATCH = HOME / "build/base/qemu/scripts/checkpatch.pl"
FOLDERS = ("accel/", "hw/", "include/", "migration/", "net/", "system/", "target/", "util/")
COMPLAINT = re.compile(r"^(\S+):\d+: (?:ERROR|WARNING): (.*)")
#: File (a prefix), complaint (its begin), and why it is none.
IGNORED = (
    ("", "line over 80 characters", "QEMU's soft limit; its hard one of 90 holds"),
    ("hw/virtio/vdpa/core/vdpa-ring-device.c", "use qemu_real_host_page_size()", "core/ includes nothing of QEMU's"),
    ("hw/virtio/vdpa/vdpa-internal.h", "braces {} are necessary", "a macro that is the head of a loop"),
)
PLANTED = (Planted("braces {} are necessary", {
    "accel/planted.c": "/* SPDX-License-Identifier: GPL-2.0-or-later */\nint f(int a)\n{\n    if (a)\n"
                       "        return 1;\n    return 0;\n}\n"}),)
SLOW = True


def ignored(name: str, text: str) -> bool:
    """Whether a complaint is one of IGNORED."""
    return any(name.startswith(prefix) and text.startswith(begin) for prefix, begin, _ in IGNORED)


def check(tree: Tree) -> Iterator[str]:
    if not CHECKPATCH.exists():
        raise Skipped("build/base/qemu has no checkpatch.pl; ./configure fetches it")
    names = [tree.name(path) for path in tree.files
             if tree.name(path).startswith(FOLDERS) and path.suffix in (".c", ".h")]
    if names:
        said = tree.run("perl", CHECKPATCH, "--no-tree", "--no-signoff", "--terse", "-f", *names,
                        install="scripts/deps check")
        if "total:" not in said:
            yield f"checkpatch.pl: {said.strip()}"
        for line in said.splitlines():
            found = COMPLAINT.match(line)
            if found and not ignored(*found.groups()):
                yield line
