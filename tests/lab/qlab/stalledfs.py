# SPDX-License-Identifier: GPL-2.0-or-later
"""A FUSE file system with one file whose data never comes, until it is told to.

Theory of operation
===================

The server speaks the FUSE protocol on /dev/fuse, in a process of its own: Python holds its global lock
in some calls that wait for the server.  It answers INIT, LOOKUP, GETATTR and
OPEN, and keeps READ requests: who touches the file's memory waits.  fail() answers those with EIO, and
all later ones.

    stalled = StalledFile(path, size); map stalled.path, let a thread touch it
    stalled.wait_asked(20); ...; stalled.fail()

*Limits*: one file named "f", little-endian, only what a mapping of it asks for.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
from pathlib import Path

LOOKUP, FORGET, GETATTR, OPEN, READ, INIT = 1, 2, 3, 14, 15, 26
NO_ANSWER = (FORGET, 36, 42)  # INTERRUPT, BATCH_FORGET
ROOT, FILE = 1, 2


def attributes(node: int, size: int) -> bytes:
    """struct fuse_attr."""
    mode = 0o40755 if node == ROOT else 0o100666
    return struct.pack("<6Q10I", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


class StalledFile:
    """A mounted file system with the file."""

    def __init__(self, mount: Path, size: int) -> None:
        self.size = size
        self.mount = mount
        self.path = mount / "f"
        self._asked, self._fail = os.eventfd(0), os.eventfd(0)
        self._kept: list[int] = []
        self._failing = False
        mount.mkdir(parents=True, exist_ok=True)
        self.fd = os.open("/dev/fuse", os.O_RDWR)
        libc = ctypes.CDLL(None, use_errno=True)
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0"
        if libc.mount(b"stalled", str(mount).encode(), b"fuse", 0, options.encode()):
            raise OSError(ctypes.get_errno(), "mount of a FUSE file system")
        if os.fork() == 0:
            try:
                self._serve()
            finally:
                os._exit(0)

    def _answer(self, unique: int, data: bytes = b"", error: int = 0) -> None:
        os.write(self.fd, struct.pack("<IiQ", 16 + len(data), -error, unique) + data)

    def _one(self, kind: int, unique: int, node: int) -> None:
        attr = attributes(node, self.size)
        if kind == INIT:
            self._answer(unique, struct.pack("<4I2H2I2HI7I", 7, 31, 0, 0, 1, 1, 4096, 1, 1, 0,
                                             0, *[0] * 7))
        elif kind == LOOKUP:
            self._answer(unique, struct.pack("<4Q2I", FILE, 0, 60, 60, 0, 0) +
                         attributes(FILE, self.size))
        elif kind == GETATTR:
            self._answer(unique, struct.pack("<Q2I", 60, 0, 0) + attr)
        elif kind == OPEN:
            self._answer(unique, struct.pack("<Q2I", 0, 0, 0))
        elif kind == READ:
            if self._failing:
                self._answer(unique, error=errno.EIO)
            else:
                self._kept.append(unique)
                os.eventfd_write(self._asked, 1)
        elif kind not in NO_ANSWER:
            self._answer(unique, error=errno.ENOSYS)

    def _serve(self) -> None:
        while True:
            waiting = [self.fd] if self._failing else [self.fd, self._fail]
            ready = select.select(waiting, [], [])[0]
            if self._fail in ready:
                self._failing = True
                for unique in self._kept:
                    self._answer(unique, error=errno.EIO)
                continue
            try:
                request = os.read(self.fd, 1 << 18)
            except OSError:
                return
            _, kind, unique, node = struct.unpack_from("<IIQQ", request)
            self._one(kind, unique, node)

    def wait_asked(self, seconds: float) -> bool:
        """Wait until the file's data was asked for."""
        return bool(select.select([self._asked], [], [], seconds)[0])

    def fail(self) -> None:
        """The data cannot be read."""
        os.eventfd_write(self._fail, 1)
