# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces in network namespaces of their own, and traffic between them whose contents are checked.

Theory of operation
===================

Two interfaces of one kernel that are wired to each other talk past the wire unless each is in a
namespace of its own.  namespace() puts an interface into a new one, with the address 10.9.0.NUMBER;
socket_in() makes a socket there.  Ping, datagrams and a stream compare what arrives with what was
sent.

*Limits*: IPv4; the namespace's number is the host part of its address.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import random
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .context import Lab
from .vf import tool


@contextmanager
def namespace(number: int, interface: str) -> Iterator[str]:
    """A network namespace with the interface in it, 10.9.0.NUMBER."""
    name = f"ns{number}"
    tool("ip", "netns", "add", name)
    try:
        tool("ip", "link", "set", interface, "netns", name)
        tool("ip", "-n", name, "link", "set", interface, "name", "eth0")
        tool("ip", "-n", name, "addr", "add", f"10.9.0.{number}/24", "dev", "eth0")
        tool("ip", "-n", name, "link", "set", "eth0", "up")
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


def inet_checksum(data: bytes) -> int:
    """The Internet's checksum of an even number of bytes."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ping(lab: Lab, name: str, target: int, count: int = 20) -> None:
    """Pings, every one answered with what was sent."""
    with socket_in(name, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        for number in range(count):
            body = random.randbytes(200)
            echo = struct.pack(">BBHHH", 8, 0, 0, 77, number) + body
            raw.sendto(echo[:2] + struct.pack(">H", inet_checksum(echo)) + echo[4:],
                       (f"10.9.0.{target}", 0))
            answer = raw.recv(2048)
            while answer[20] != 0 or answer[24:28] != echo[4:8]:
                answer = raw.recv(2048)
            lab.check(answer[28:] == body, f"ping {number} changed on its way")


def socket_in(name: str, kind: int, protocol: int = 0) -> socket.socket:
    """A socket of a network namespace."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        setns(there)
        made = socket.socket(socket.AF_INET, kind, protocol)
    finally:
        setns(own)
        os.close(own)
        os.close(there)
    made.settimeout(60)
    return made


def setns(fd: int) -> None:
    """Move this thread into a network namespace (Python 3.11 has no call for it)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


def udp_both_ways(lab: Lab, first: str, second: str, count: int = 200) -> None:
    """Datagrams of all sizes there and back, compared byte by byte."""
    with socket_in(first, socket.SOCK_DGRAM) as one, socket_in(second, socket.SOCK_DGRAM) as two:
        one.bind(("10.9.0.1", 9000))
        two.bind(("10.9.0.2", 9000))
        for number in range(count):
            data = random.randbytes(1 + number * 1471 // count)
            one.sendto(data, ("10.9.0.2", 9000))
            got, sender = two.recvfrom(2048)
            lab.check(got == data, f"datagram {number} changed on its way")
            two.sendto(got[::-1], sender)
            lab.check(one.recv(2048) == data[::-1], f"answer {number} changed on its way")


def tcp_digest(lab: Lab, first: str, second: str, size: int = 4 << 20) -> float:
    """A stream from one to the other, compared by digest; MiB a second."""
    data = random.randbytes(1 << 16) * (size >> 16)
    with socket_in(second, socket.SOCK_STREAM) as listener, \
            socket_in(first, socket.SOCK_STREAM) as sender:
        there = (f"10.9.0.{second.removeprefix('ns')}", 9001)
        listener.bind(there)
        listener.listen(1)
        sender.connect(there)
        receiver, _ = listener.accept()
        digest = hashlib.sha256()

        def receive() -> None:
            with receiver:
                while chunk := receiver.recv(1 << 16):
                    digest.update(chunk)

        thread = threading.Thread(target=receive, daemon=True)
        start = time.monotonic()
        thread.start()
        sender.sendall(data)
        sender.shutdown(socket.SHUT_WR)
        thread.join(60)
    lab.check(digest.digest() == hashlib.sha256(data).digest(), "the stream changed on its way")
    return size / (1 << 20) / (time.monotonic() - start)
