# SPDX-License-Identifier: GPL-2.0-or-later
"""Files include only headers that their folder may use, and that they do use.

Theory of operation
-------------------
A room is a folder.  Three rules:

- A file below a folder `core/` includes headers of a `core/` folder, of the C library, of GLib, and of
  Linux's uapi; nothing of QEMU.
- A header of a room in PUBLIC is included outside that room only if PUBLIC lists it.
- A file that includes a header of another room uses a name that this header declares.

*Limits*: it reads text.  A name counts as used wherever it stands outside comments and strings.
Headers of the bases are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tree import Planted, Tree

INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.M)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')
DECLARED = re.compile(r"#\s*define\s+(\w+)|(\w+)\s*\(|(?:struct|enum|union)\s+(\w+)|"
                      r"\b(\w+)\s*(?:=[^,;}]*)?[,;}]|\b([A-Z]\w+)\b")
#: Headers that any core file may include in pointed brackets, besides those without a slash.
SYSTEM = ("glib/", "glib-", "linux/", "sys/", "asm/")
#: Rooms whose other headers are private; tests and benches may include any.
PUBLIC = {
    "hw/virtio/vdpa": ("vdpa-device.h", "vdpa-guest-mem.h"),
}
READ_ALL = ("tests/", "kernel/")
PLANTED = (
    Planted("a core file includes qemu/osdep.h", {"hw/virtio/vdpa/core/planted.c": '#include "qemu/osdep.h"\n'}),
    Planted("hw/virtio/vdpa/private.h is private", {
        "hw/virtio/vdpa/private.h": "int hidden(void);\n",
        "net/planted.c": '#include "hw/virtio/vdpa/private.h"\nint x(void) { return hidden(); }\n'}),
    Planted("uses nothing of hw/virtio/vdpa/vdpa-device.h", {
        "hw/virtio/vdpa/vdpa-device.h": "typedef struct VdpaDevice VdpaDevice;\n",
        "net/planted.c": '#include "hw/virtio/vdpa/vdpa-device.h"\nint x;\n'}))


def bare(text: str) -> str:
    return COMMENT.sub(" ", text)


def is_core(name: str) -> bool:
    return "core" in PurePosixPath(name).parts[:-1] and not name.startswith(READ_ALL)


def found(includer: str, header: str, files: dict[str, str]) -> str:
    """The path of a header of ours; "" if it is somebody else's."""
    beside = str(PurePosixPath(includer).parent / header)
    return next((name for name in (beside, header, f"include/{header}") if name in files), "")


def declared(text: str) -> set[str]:
    """Names that a header gives to those who include it; more rather than fewer."""
    names = {name for match in DECLARED.finditer(STRING.sub('""', bare(text))) for name in match.groups()
             if name}
    return {name for name in names if len(name) > 2 and not name.endswith("_H")}


def complaints_of(name: str, files: dict[str, str]) -> Iterator[str]:
    text = bare(files[name])
    room = str(PurePosixPath(name).parent)
    rest = set(re.findall(r"\w+", STRING.sub('""', INCLUDE.sub("", text))))
    for quoted, pointed in INCLUDE.findall(text):
        path = found(name, quoted, files) if quoted else ""
        if is_core(name) and not (is_core(path) if quoted else
                                  "/" not in pointed or pointed.startswith(SYSTEM)):
            yield f"{name}: a core file includes {quoted or pointed}, which is not core"
        owner = str(PurePosixPath(path).parent) if path else room
        if name.startswith(READ_ALL) or owner == room:
            continue
        if owner in PUBLIC and PurePosixPath(path).name not in PUBLIC[owner]:
            yield f"{name}: {path} is private to its folder"
        if not declared(files[path]) & rest:
            yield f"{name}: uses nothing of {path}"


def check(tree: Tree) -> Iterator[str]:
    files = {tree.name(path): tree.text(path) for path in tree.files if path.suffix in (".c", ".h")}
    for name in sorted(files):
        yield from complaints_of(name, files)
