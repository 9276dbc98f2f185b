# SPDX-License-Identifier: GPL-2.0-or-later
"""`-netdev vhost-vdpa` with valid and invalid arguments, compared with stock's.

Theory of operation
===================

Ours has to refuse what stock refuses, with the same exit status or class of error, and to accept what stock
accepts, with the same `info network`.  Messages may differ: each case has a pattern for ours, which has to
be one line.

Where a case needs a device, it is the avocado tests' fake (tests/avocado/fixed-mac.c), given by path, by
descriptor or by a set of descriptors, as libvirt does.

*Limits*: a device with one queue pair and no control queue.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any

import binaries
from binaries import OURS, STOCK, TOP, qmp, run

NULL = "vhostdev=/dev/null"
FAKE, KERNEL = True, False

#: The library that answers the ioctls, the options, and a regular expression for ours' only line, empty
#: where both accept the options.  FD stands for an open /dev/null, SET for a set that holds one.
CASES = (
    (KERNEL, "id=n0", "vhostdev= or vhostfd= is missing"),
    (KERNEL, f"id=n0,{NULL},vhostfd=FD", "cannot both be given"),
    (KERNEL, "id=n0,vhostdev=/nonexistent", "No such file or directory; is the vDPA device there"),
    (KERNEL, "id=n0,vhostdev=", "No such file or directory"),
    (KERNEL, f"id=n0,{NULL}", "/dev/null: the file is no vhost-vdpa device"),
    (KERNEL, "id=n0,vhostdev=/", "Is a directory"),
    (KERNEL, "id=n0,vhostfd=FD", "the file is no vhost-vdpa device"),
    (KERNEL, "id=n0,vhostfd=", r"(Invalid|named).*(number|found)"),
    (KERNEL, "id=n0,vhostfd=9999", "Bad file descriptor"),
    (KERNEL, "id=n0,vhostfd=absent", r"(number|named) 'absent'"),
    (KERNEL, "id=n0,vhostfd=-1", r"(Invalid|named).*(number|found)"),
    (KERNEL, "id=n0,vhostdev=/dev/fdset/7777", "no set of open files"),
    (KERNEL, "id=n0,vhostdev=SET", "the file is no vhost-vdpa device"),
    (KERNEL, NULL, "Parameter 'id' is missing"),
    (KERNEL, f"id=0,{NULL}", "Parameter 'id' expects an identifier"),
    (FAKE, f"id=n0,{NULL},queues=many", "Parameter 'queues' expects"),
    (FAKE, f"id=n0,{NULL},x-svq=maybe", "Parameter 'x-svq' expects 'on' or 'off'"),
    (FAKE, f"id=n0,{NULL},bogus=1", "Invalid parameter 'bogus'"),
    (FAKE, f"id=n0,{NULL}", ""),
    (FAKE, f"id=n0,{NULL},queues=1", ""),
    (FAKE, f"id=n0,{NULL},queues=0", ""),
    (FAKE, f"id=n0,{NULL},x-svq=off", ""),
    (FAKE, f"id=n0,{NULL},x-svq=on", ""),
    (FAKE, "id=n0,vhostfd=FD", ""),
    (FAKE, "id=n0,vhostdev=SET", ""),
)

INFO = {"execute": "human-monitor-command", "arguments": {"command-line": "info network"}}


def setUpModule() -> None:
    """Fail if a binary is missing."""
    binaries.require()


class Netdev(unittest.TestCase):
    """Run each case on both binaries."""

    maxDiff = 4000

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.fake = Path(folder.name) / "fake.so"
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", self.fake,
                        TOP / "tests/avocado/fixed-mac.c"], check=True, timeout=60)
        self.file = os.open("/dev/null", os.O_RDWR)
        self.addCleanup(os.close, self.file)

    def fill(self, options: str) -> str:
        """Replace FD and SET by numbers."""
        return options.replace("FD", str(self.file)).replace("SET", "/dev/fdset/1")

    def how(self, fake: bool) -> dict[str, Any]:
        """The arguments of run() and qmp() for a case."""
        return {"preload": self.fake if fake else None, "files": (self.file,)}

    def words(self) -> list[str]:
        """The command line: a machine, and a set of one descriptor."""
        return ["-machine", "none", "-add-fd", f"fd={self.file},set=1"]

    def one_line(self, said: str, part: str) -> None:
        """The message, without the hint that QEMU adds to some messages on a second line."""
        lines = [line for line in said.splitlines()
                 if not line.startswith("Identifiers consist")]
        self.assertEqual(len(lines), 1, said)
        self.assertRegex(lines[0], part)

    def test_command_line(self) -> None:
        for fake, options, says in CASES:
            with self.subTest(options=options, fake=fake):
                words = [*self.words(), "-nodefaults", "-display", "none", "-monitor", "stdio",
                         "-netdev", "vhost-vdpa," + self.fill(options)]
                old, new = (run(binary, *words, stdin="quit\n", **self.how(fake))
                            for binary in (STOCK, OURS))
                self.assertEqual(new.returncode, old.returncode, new.stderr)
                self.assertEqual(new.returncode, 1 if says else 0)
                if says:
                    self.one_line(new.stderr, says)
                else:
                    self.assertEqual(new.stderr, old.stderr)

    def test_monitor(self) -> None:
        """netdev_add, twice, and netdev_del, with `info network` in between."""
        for fake, options, says in CASES:
            with self.subTest(options=options, fake=fake):
                line = "netdev_add vhost-vdpa," + self.fill(options)
                hmp = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
                gone = {"execute": "netdev_del", "arguments": {"id": "n0"}}
                commands = [hmp, INFO, hmp, INFO, gone, INFO, gone]
                old, new = (qmp(binary, commands, *self.words(), **self.how(fake))
                            for binary in (STOCK, OURS))
                self.assertEqual([set(answer) for answer in new], [set(answer) for answer in old])
                self.assertEqual([answer["return"] for answer in new[1::2]],
                                 [answer["return"] for answer in old[1::2]], "info network")
                if new != old:
                    self.assertTrue(says, new)
                    self.one_line(new[0]["return"], says)

    def test_qmp(self) -> None:
        """Arguments as libvirt gives them; errors are of the same class."""
        for arguments, refused in (
                ({"vhostdev": "/dev/fdset/1"}, False),
                ({"vhostdev": "/dev/fdset/1", "queues": 1}, False),
                ({"vhostdev": "/dev/null", "x-svq": True}, False),
                ({"vhostdev": "/dev/null", "queues": "1"}, True),
                ({"vhostdev": 3}, True),
                ({"vhostfd": "absent"}, True),
                ({"vhostdev": "/dev/fdset/2"}, True),
                ({}, True)):
            with self.subTest(arguments=arguments):
                add = {"execute": "netdev_add",
                       "arguments": {"type": "vhost-vdpa", "id": "n0", **arguments}}
                commands = [add, INFO, {"execute": "query-fdsets"},
                            {"execute": "netdev_del", "arguments": {"id": "n0"}},
                            {"execute": "query-fdsets"}]
                old, new = (qmp(binary, commands, *self.words(), **self.how(FAKE))
                            for binary in (STOCK, OURS))
                self.assertEqual("error" in new[0], refused)
                if refused:
                    self.assertEqual(new[0]["error"]["class"], old[0]["error"]["class"])
                self.assertEqual(new[1:], old[1:])
