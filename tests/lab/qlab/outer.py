# SPDX-License-Identifier: GPL-2.0-or-later
"""L1 talks to its own emulator: devices come, go and break while it watches.

Theory of operation
===================

A scenario with `l1_monitor` finds the outer emulator's QMP monitor behind a virtio console port
(machine.py connects the two).  A scenario runs inside L1 and uses it as a tool from outside: pull
a device, plug one, tell a device model to misbehave.

Answers come in order, one per line; anything else that comes is an event and is dropped.

*Limits*: one scenario process at a time; needs the virtio_console module.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any

TIMEOUT = 20.0


class OuterError(Exception):
    """The emulator refused, or did not answer."""


class Outer:
    """The emulator that L1 runs on."""

    def __init__(self) -> None:
        subprocess.run(["/sbin/modprobe", "virtio_console"], check=True)
        self._fd = self._open()
        self._buffer = b""
        self._message(time.monotonic() + TIMEOUT)  # the greeting
        self.cmd("qmp_capabilities")

    @staticmethod
    def _open() -> int:
        """The port's node is there before the port can be opened."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                return os.open(next(iter(sorted(Path("/dev").glob("vport*p1"))), ""), os.O_RDWR)
            except OSError as err:
                if time.monotonic() > deadline:
                    raise OuterError("no console port for the emulator's monitor") from err
            time.sleep(0.05)

    def close(self) -> None:
        """Let go of the port."""
        os.close(self._fd)

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            if not select.select([self._fd], [], [], max(0, deadline - time.monotonic()))[0]:
                raise OuterError("the emulator does not answer")
            self._buffer += os.read(self._fd, 65536)
        line, self._buffer = self._buffer.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        return message

    def cmd(self, name: str, /, **arguments: Any) -> Any:
        """Execute a QMP command; what it returned."""
        request = {"execute": name, "arguments": arguments}
        os.write(self._fd, json.dumps(request).encode() + b"\n")
        deadline = time.monotonic() + TIMEOUT
        while True:
            answer = self._message(deadline)
            if "error" in answer:
                raise OuterError(f"{name}: {answer['error'].get('desc')}")
            if "return" in answer:
                return answer["return"]

    def set(self, device: str, name: str, value: Any) -> None:
        """Set a property of a device that has an ID."""
        self.cmd("qom-set", path=f"/machine/peripheral/{device}", property=name, value=value)
