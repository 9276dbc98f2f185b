# SPDX-License-Identifier: GPL-2.0-or-later
"""Code that serves a vDPA device's queues makes no call with which the guest can reset that device.

vdpa-guest-mem.c states the rule: such code accesses RAM only, and frees nothing that it is using.
"""

import fnmatch
import re
from collections.abc import Iterator

from tree import Planted, Tree

GUEST_ACCESS = re.compile(
    r"\b(virtio_error|virtio_notify\w*|virtqueue_\w+|address_space_(read|write|rw|map|unmap|st\w+)\w*"
    r"|cpu_physical_memory_(read|write|rw|map|unmap)|dma_memory_\w+|pci_dma_\w+|msix?_notify) ?\(")
FILES = ("hw/virtio/vdpa-*.c", "hw/virtio/vdpa/*.c", "hw/virtio/vhost-vdpa.c", "net/vhost-vdpa*.c")
#: Calls that are allowed: (name of the file, function).
ALLOWED = {("vdpa-guest-mem.c", "address_space_read_full"),
           ("vdpa-guest-mem.c", "address_space_write"),
           ("vdpa-fault.c", "virtio_notify_config")}
PLANTED = (Planted("net/vhost-vdpa-planted.c:3: virtio_error()", {
    "net/vhost-vdpa-planted.c": "/* virtio_error() */\n\nvirtio_error(vdev);\n"}),)


def check(tree: Tree) -> Iterator[str]:
    for path in tree.files:
        name = tree.name(path)
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in FILES):
            continue
        bare = re.sub(r"/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n"), tree.text(path),
                      flags=re.DOTALL)
        for number, line in enumerate(bare.splitlines(), 1):
            for call in GUEST_ACCESS.finditer(line):
                if (path.name, call[1]) not in ALLOWED:
                    yield f"{name}:{number}: {call[1]}(): see the rules of vdpa-guest-mem.c"
