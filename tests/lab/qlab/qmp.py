# SPDX-License-Identifier: GPL-2.0-or-later
"""A small QMP client: one socket, one command at a time, events kept.

Theory of operation
===================

Lines of JSON both ways.  Whatever arrives that is not the answer to the
command in flight is an event and is kept in order; `wait_event` takes from
there first.  Every wait has a deadline: a QEMU that hangs is what the lab is
there to find, so it must come out as an error and never as a stuck scenario.

*Limits*: no out-of-band commands, no file descriptor passing.
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any


class QmpError(Exception):
    """The command failed; `error` is QEMU's own description."""

    def __init__(self, command: str, error: dict[str, Any]) -> None:
        super().__init__(f"{command}: {error.get('desc', error)}")
        self.error = error


class QmpTimeout(Exception):
    """QEMU did not answer in time."""


class QmpGone(Exception):
    """QEMU closed the monitor, or died."""


class Qmp:
    """One monitor connection."""

    def __init__(self, path: Path, timeout: float = 20.0,
                 start_limit: float = 60.0) -> None:
        self.path = path
        self.timeout = timeout
        self.events: list[dict[str, Any]] = []
        self._buffer = b""
        self._socket = self._connect(time.monotonic() + start_limit)
        self._next(time.monotonic() + start_limit)  # the greeting
        self.cmd("qmp_capabilities")

    def _connect(self, deadline: float) -> socket.socket:
        """Connect as soon as QEMU listens."""
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(str(self.path))
                return sock
            except (FileNotFoundError, ConnectionRefusedError):
                sock.close()
                if time.monotonic() > deadline:
                    raise QmpTimeout(f"no monitor at {self.path}") from None
                time.sleep(0.02)

    def close(self) -> None:
        """Drop the connection."""
        self._socket.close()

    def _next(self, deadline: float) -> dict[str, Any]:
        """The next message of either kind."""
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise QmpTimeout("no answer from QEMU's monitor")
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            except OSError as err:
                raise QmpGone(str(err)) from err
            if not data:
                raise QmpGone("QEMU closed its monitor")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def cmd(self, name: str, arguments: dict[str, Any] | None = None,
            timeout: float | None = None) -> Any:
        """Execute a command; what it returned."""
        message: dict[str, Any] = {"execute": name}
        if arguments:
            message["arguments"] = arguments
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as err:
            raise QmpGone(str(err)) from err
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            answer = self._next(deadline)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise QmpError(name, answer["error"])
            self.events.append(answer)

    def hmp(self, line: str, timeout: float | None = None) -> str:
        """A human monitor command's output."""
        return str(self.cmd("human-monitor-command", {"command-line": line}, timeout))

    def wait_event(self, name: str, timeout: float) -> dict[str, Any]:
        """The next event called NAME, waiting for it if need be."""
        deadline = time.monotonic() + timeout
        while True:
            for index, event in enumerate(self.events):
                if event.get("event") == name:
                    return self.events.pop(index)
            self.events.append(self._next(deadline))
