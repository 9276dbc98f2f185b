# SPDX-License-Identifier: GPL-2.0-or-later
"""Lint, check `rooms`: what each rule about includes reports, and what it lets pass."""

import unittest

from program import load

rooms = load("lint").load_checks()["rooms"]
FILES = {
    "hw/virtio/vdpa/core/a.h": "int a_size(void);\n",
    "hw/virtio/vdpa/vdpa-device.h": "typedef struct VdpaDevice VdpaDevice;\n",
    "hw/virtio/vdpa/private.h": "int hidden(void);\n",
}


def lint(name: str, text: str) -> list[str]:
    return list(rooms.complaints_of(name, {**FILES, name: text}))


class Rooms(unittest.TestCase):
    def test_core_may(self) -> None:
        text = '#include <glib.h>\n#include <linux/vhost.h>\n#include "a.h"\nint x;\n'
        self.assertEqual(lint("hw/virtio/vdpa/core/a.c", text), [])
        self.assertEqual(lint("accel/kvm/core/b.c",
                              '#include "hw/virtio/vdpa/core/a.h"\nint b(void) { return a_size(); }\n'), [])

    def test_core_may_not(self) -> None:
        for header in ('"qemu/osdep.h"', '"hw/virtio/virtio.h"', '"hw/virtio/vdpa/vdpa-device.h"',
                       '"../private.h"', "<qemu/osdep.h>"):
            with self.subTest(header):
                text = f"#include {header}\nVdpaDevice *hidden;\n"
                self.assertIn("not core", " ".join(lint("hw/virtio/vdpa/core/a.c", text)))

    def test_comment_is_no_include(self) -> None:
        self.assertEqual(lint("hw/virtio/vdpa/core/a.c", '/*\n#include "qemu/osdep.h"\n*/\n'), [])

    def test_private(self) -> None:
        text = '#include "hw/virtio/vdpa/private.h"\nint x(void) { return hidden(); }\n'
        self.assertEqual(lint("net/x.c", text), ["net/x.c: hw/virtio/vdpa/private.h is private to its folder"])
        for name in ("hw/virtio/vdpa/x.c", "tests/unit/x.c"):
            self.assertEqual(lint(name, text), [])

    def test_unused(self) -> None:
        head = '#include "hw/virtio/vdpa/vdpa-device.h"\n'
        said = ["net/x.c: uses nothing of hw/virtio/vdpa/vdpa-device.h"]
        self.assertEqual(lint("net/x.c", head + "VdpaDevice *d;\n"), [])
        self.assertEqual(lint("net/x.c", head + "int d;\n"), said)
        self.assertEqual(lint("net/x.c", head + '/* VdpaDevice */ const char *d = "VdpaDevice";\n'), said)


if __name__ == "__main__":
    unittest.main()
