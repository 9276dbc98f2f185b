# SPDX-License-Identifier: GPL-2.0-or-later
"""The Lab, which a scenario's run() gets.

Theory of operation
===================

A scenario's run(lab, ...) writes to the Lab's log, leaves figures, and fails
or skips.  Each function that starts something registers its end with `defer`;
clean_up() runs these in reverse order whether the scenario passed or not, so no
guest outlives its scenario.

*Limits*: one Lab per process.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from . import kmod


class Failed(Exception):
    """The scenario failed, with the reason."""


class Skipped(Exception):
    """The scenario cannot be run here, with the reason."""


class Lab:
    """One scenario's view of L1."""

    def __init__(self, request: dict[str, Any], out: Path, log: TextIO) -> None:
        self.request = request
        self.out = out
        self.figures: dict[str, Any] = {}
        self.qemu = Path(request["qemu"])
        self.stock = Path(request["stock"])
        self.fault = Path(request["fault"])
        self.guest_dir = Path(request["guest"])
        self.vmlinux = Path(request["vmlinux"])
        self.kernel: str = request["kernel"]
        #: The same, or "6.1-debug": what modules are built for.
        self.built_for: str = request.get("built_for", self.kernel)
        #: L1's kernel is the debug kernel, which is slower; where its headers are.
        self.debug: bool = request.get("debug", False)
        self.headers = Path(request.get("headers", ""))
        self.mode: str = request["mode"]
        self.count: int | None = request.get("count")
        self.tmp = Path(request.get("tmp", "/dev/shm"))
        #: Our kernel modules; see kmod.py.
        self.modules = kmod.Modules(Path(request.get("ko", "")))
        self._log = log
        self._start = time.monotonic()
        self._deferred: list[Callable[[], None]] = []
        self._serial = 0
        #: Guests that run: asked when a scenario failed, see reset_guest().
        self.watched: dict[str, subprocess.Popen[bytes]] = {}

    def log(self, text: str) -> None:
        """A line in scenario.log."""
        self._log.write(f"[{time.monotonic() - self._start:8.3f}] {text}\n")

    def fail(self, reason: str) -> None:
        """End the scenario as failed."""
        raise Failed(reason)

    def skip(self, reason: str) -> None:
        """End the scenario as skipped."""
        raise Skipped(reason)

    def check(self, condition: bool, reason: str) -> None:
        """Fail with REASON unless CONDITION holds."""
        if not condition:
            raise Failed(reason)

    def load(self, *names: str, **params: str) -> None:
        """Load modules, ours where we have one; PARAMS by module name."""
        for name in names:
            self.modules.load(name, params)

    def unload(self, *names: str) -> None:
        """Unload modules, in the order given."""
        for name in names:
            self.modules.unload(name)

    def defer(self, action: Callable[[], None]) -> None:
        """Run ACTION when the scenario is over."""
        self._deferred.append(action)

    def clean_up(self) -> None:
        """Undo what was deferred, last first; raise the first error."""
        first: BaseException | None = None
        while self._deferred:
            try:
                self._deferred.pop()()
            except BaseException as err:  # pylint: disable=broad-except
                first = first or err
        if first:
            raise first

    def reset_guest(self) -> str:
        """Which running guest reset itself, and so ended its QEMU; empty if none.

        A QEMU that crashes does not end with 0. One that waits for a migration
        is not watched, because what it receives is under test.
        """
        for name, process in self.watched.items():
            if process.poll() == 0:
                return f"{name}: the nested guest reset itself"
        return ""

    def next_name(self, kind: str) -> str:
        """A name that is unique in this run."""
        self._serial += 1
        return f"{kind}-{self._serial}"
