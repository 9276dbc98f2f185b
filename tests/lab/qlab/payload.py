# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest payload's control channel: lines over its second serial port.

Theory of operation
===================

The payload in a guest (tests/lab/guest) stamps memory and verifies the stamps.
It writes `ready pages=N` once and then answers each line with one line.  The port
is a Unix socket of the QEMU that runs the guest, so after a migration a new
Payload on the destination's socket talks to the same payload.

*Limits*: one command at a time; an answer that does not come in time is an
error, as a guest that hangs is one of the things looked for.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class PayloadError(Exception):
    """The payload did not answer, or its answer is invalid."""


def fields(line: str) -> Mapping[str, str]:
    """`word a=1 b=2` as a mapping."""
    return dict(word.split("=", 1) for word in line.split()[1:] if "=" in word)


@dataclass(frozen=True)
class Verified:
    """What `verify` found."""

    pages: int
    bad: int
    first: str

    @property
    def clean(self) -> bool:
        """Whether memory was looked at and nothing was wrong."""
        return self.pages > 0 and self.bad == 0


class Payload:
    """The host's end of the channel."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))

    def close(self) -> None:
        """Leave the channel."""
        self._socket.close()

    def _line(self, deadline: float) -> str:
        """The payload's next line."""
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise PayloadError(f"silent; half a line: {self._buffer!r}")
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(4096)
            except TimeoutError:
                continue
            if not data:
                raise PayloadError("the channel was closed")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode("ascii", "replace").strip()

    def wait_ready(self, timeout: float) -> int:
        """Wait for the payload to be up; how many pages it uses."""
        deadline = time.monotonic() + timeout
        while True:
            line = self._line(deadline)
            if line.startswith("ready"):
                return int(fields(line)["pages"])

    def ask(self, line: str, expect: str, timeout: float = 20.0) -> str:
        """Send a line; the answer, which must start with EXPECT."""
        self._socket.sendall(line.encode("ascii") + b"\n")
        deadline = time.monotonic() + timeout
        while True:
            answer = self._line(deadline)
            if answer.startswith(expect):
                return answer
            if answer and not answer.startswith("ready"):
                raise PayloadError(f"{line}: {answer}")

    def send(self, line: str) -> None:
        """Send a line and do not wait; received() has the answer."""
        self._socket.sendall(line.encode("ascii") + b"\n")

    def received(self) -> list[str]:
        """The whole lines that are here by now."""
        self._socket.settimeout(0)
        try:
            while data := self._socket.recv(4096):
                self._buffer += data
        except BlockingIOError:
            pass
        *lines, self._buffer = self._buffer.split(b"\n")
        return [line.decode("ascii", "replace").strip() for line in lines]

    def catch_up(self, timeout: float = 20.0) -> None:
        """Like ping, after a migration, which may cut a line in each direction."""
        self.send("\nping")
        deadline = time.monotonic() + timeout
        while not self._line(deadline).endswith("pong"):
            pass

    def ping(self, timeout: float = 20.0) -> None:
        """Prove that the guest runs."""
        self.ask("ping", "pong", timeout)

    def start(self, mode: str = "random", rate: int = 0, workers: int | None = None,
              **more: int) -> None:
        """Start the load; rate in pages a second, 0 is flat out."""
        words = [f"mode={mode}", f"rate={rate}"]
        words += [f"workers={workers}"] if workers else []
        words += [f"{key}={value}" for key, value in more.items()]
        self.ask("start " + " ".join(words), "ok")

    def stop(self) -> None:
        """Stop the load."""
        self.ask("stop", "ok")

    def writes(self) -> int:
        """Pages written so far."""
        return int(fields(self.ask("stat", "stat"))["writes"])

    def verify(self, timeout: float = 120.0) -> Verified:
        """The memory oracle: the payload checks every stamp."""
        got = fields(self.ask("verify", "verify", timeout))
        return Verified(int(got["pages"]), int(got["bad"]), got.get("first", "-"))
