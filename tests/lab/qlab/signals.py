# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals for a guest's QEMU, many times a second.

*Limits*: rates are what is aimed at: an emulated L1 may not reach them; end() says how many signals were sent.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable

from . import l2

TGKILL = 234
KICKS_S = 500
STOPS_S = 50


class Signals(threading.Thread):
    """Calls SEND so many times a second until it is told to end."""

    def __init__(self, send: Callable[[], int], rate: int) -> None:
        super().__init__(daemon=True)
        self.send = send
        self.pause = 1 / rate
        self.over = threading.Event()
        self.sent = 0

    def run(self) -> None:
        """Send until end() or until there is no process any more."""
        while not self.over.is_set():
            try:
                self.sent += self.send()
            except ProcessLookupError:
                return
            time.sleep(self.pause)

    def end(self) -> int:
        """Stop sending; how many signals there were."""
        self.over.set()
        self.join()
        return self.sent


def kicks(guest: l2.Guest) -> Signals:
    """SIGUSR1 to each vCPU thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    pid = guest.process.pid
    threads = [int(cpu["thread-id"]) for cpu in guest.qmp.cmd("query-cpus-fast")]

    def send() -> int:
        return sum(libc.syscall(TGKILL, pid, thread, signal.SIGUSR1) == 0
                   for thread in threads)

    return Signals(send, KICKS_S)


def stops(guest: l2.Guest) -> Signals:
    """SIGSTOP and SIGCONT to the process."""
    def send() -> int:
        os.kill(guest.process.pid, signal.SIGSTOP)
        os.kill(guest.process.pid, signal.SIGCONT)
        return 1

    return Signals(send, STOPS_S)
