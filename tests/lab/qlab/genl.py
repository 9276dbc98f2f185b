# SPDX-License-Identifier: GPL-2.0-or-later
"""A small generic netlink client, which can also send what no sound client would.

Theory of operation
===================

One socket, one request at a time.  Attributes are (type, bytes) pairs and go out as they are given;
`raw` adds bytes that need not be attributes at all.  An answer is a list of attributes; an error is
an `Answer` with the errno and the kernel's words (extended acknowledgement), not an exception,
since errors are what most callers look for.

    vdpa = Family("vdpa")
    vdpa.request(5, [(4, text("vdpa0"))]).error         0, or a positive errno
    vdpa.dump(5)                                         iterates over lists of messages as they come

The kernel makes a dump's buffers as large as the largest that this socket has ever offered, so one
who wants a dump in many pieces sets `buffer` for all of the socket's life.

*Limits*: one thread a Family; attributes of answers are not nested.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

NETLINK_GENERIC = 16
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
CONTROL, GETFAMILY, FAMILY_ID, FAMILY_NAME = 16, 3, 1, 2
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLM_F_EXCL, NLM_F_CREATE = 0x200, 0x400
ERROR_MESSAGE = 1
TYPE_MASK = 0x3fff
HEADER = struct.Struct("=IHHII")
GENERIC = struct.Struct("=BBH")
ATTRIBUTE = struct.Struct("=HH")

Attribute = tuple[int, bytes]


def text(value: str) -> bytes:
    """A string attribute's bytes."""
    return value.encode() + b"\0"


def u16(value: int) -> bytes:
    """A 16-bit attribute's bytes."""
    return struct.pack("=H", value)


def u32(value: int) -> bytes:
    """A 32-bit attribute's bytes."""
    return struct.pack("=I", value)


def u64(value: int) -> bytes:
    """A 64-bit attribute's bytes."""
    return struct.pack("=Q", value)


def pack(attributes: Iterable[Attribute]) -> bytes:
    """Attributes as they go out."""
    out = b""
    for kind, value in attributes:
        out += ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value
        out += bytes(-len(out) % 4)
    return out


def unpack(data: bytes) -> list[Attribute]:
    """Attributes as they came in."""
    found: list[Attribute] = []
    while len(data) >= ATTRIBUTE.size:
        size, kind = ATTRIBUTE.unpack_from(data)
        if size < ATTRIBUTE.size or size > len(data):
            raise ValueError(f"an attribute of {size} bytes in {len(data)}")
        found.append((kind & TYPE_MASK, data[ATTRIBUTE.size:size]))
        data = data[(size + 3) & ~3:]
    return found


@dataclass
class Answer:
    """What one request came to."""

    error: int = 0
    message: str = ""
    messages: list[dict[int, bytes]] = field(default_factory=list)

    @property
    def errno(self) -> str:
        """The error's name; 0 for none."""
        import errno
        return errno.errorcode.get(self.error, str(self.error)) if self.error else "0"


class Family:
    """A generic netlink family, by name."""

    def __init__(self, name: str, buffer: int = 1 << 17) -> None:
        self.buffer = buffer
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
        self.socket.bind((0, 0))
        self.socket.settimeout(30)
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
            self.socket.setsockopt(SOL_NETLINK, option, 1)
        self._sequence = 0
        self.id = CONTROL
        found = self.request(GETFAMILY, [(FAMILY_NAME, text(name))])
        if found.error:
            self.socket.close()
            raise OSError(found.error, os.strerror(found.error), name)
        self.id = struct.unpack("=H", found.messages[0][FAMILY_ID])[0]

    def close(self) -> None:
        """No more requests."""
        self.socket.close()

    def __enter__(self) -> Family:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, command: int, attributes: Iterable[Attribute], flags: int, raw: bytes = b"",
             reserved: int = 0) -> None:
        """One message, with whatever is asked for in it."""
        self._sequence += 1
        body = GENERIC.pack(command, 1, reserved) + pack(attributes) + raw
        self.socket.send(HEADER.pack(HEADER.size + len(body), self.id, NLM_F_REQUEST | flags,
                                     self._sequence, 0) + body)

    def receive(self) -> tuple[list[dict[int, bytes]], Answer | None]:
        """The messages of one buffer, and the end if it is in there."""
        data = self.socket.recv(self.buffer)
        found: list[dict[int, bytes]] = []
        while len(data) >= HEADER.size:
            length, kind, flags, sequence, _ = HEADER.unpack_from(data)
            body, data = data[HEADER.size:length], data[(length + 3) & ~3:]
            if sequence != self._sequence:
                continue
            if kind in (NLMSG_ERROR, NLMSG_DONE):
                return found, self._end(body, flags)
            found.append(dict(unpack(body[GENERIC.size:])))
        return found, None

    @staticmethod
    def _end(body: bytes, flags: int) -> Answer:
        error = -struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
        message = ""
        if flags & NLM_F_ACK_TLVS:
            skip = 4 + HEADER.size if flags & NLM_F_CAPPED else 4
            for kind, value in unpack(body[skip:]):
                if kind == ERROR_MESSAGE:
                    message = value.rstrip(b"\0").decode()
        return Answer(error, message)

    def request(self, command: int, attributes: Iterable[Attribute] = (), flags: int = 0,
                raw: bytes = b"", reserved: int = 0) -> Answer:
        """One request, its answers and how it ended."""
        self.send(command, attributes, NLM_F_ACK | flags, raw, reserved)
        messages: list[dict[int, bytes]] = []
        while True:
            some, end = self.receive()
            messages += some
            if end:
                end.messages = messages
                return end

    def dump(self, command: int,
             attributes: Iterable[Attribute] = ()) -> Iterator[list[dict[int, bytes]]]:
        """A dump, buffer by buffer; OSError if it ends with an error."""
        self.send(command, attributes, NLM_F_DUMP)
        end = None
        while not end:
            some, end = self.receive()
            yield some
        if end.error:
            raise OSError(end.error, os.strerror(end.error))
