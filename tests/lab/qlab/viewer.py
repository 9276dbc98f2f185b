# SPDX-License-Identifier: GPL-2.0-or-later
"""A viewer of a guest's display that has the screen refreshed 30 times a second.

Theory of operation
===================

Each screen dump refreshes the display, as a VNC server with a client does, and each refresh asks the dirty log, all
of it, whatever has changed.  The screen is small, so that drawing and dumping cost next to nothing.

*Limits*: the payload has to set the mode first (set_mode()), as nothing else is said to it while it migrates; ends
when QEMU does.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from . import l2
from .qmp import Qmp, QmpGone

PERIOD_S = 1 / 30
WIDTH, HEIGHT = 64, 64
DISPLAY = ("-vga", "std")


def set_mode(guest: l2.Guest) -> None:
    """Have the guest switch its display, which is DISPLAY, to a small mode."""
    guest.payload.ask(f"hw vga {WIDTH} {HEIGHT}", "hw")


class Viewer(threading.Thread):
    """Looks at a guest through a monitor that it does not share."""

    def __init__(self, monitor: Path) -> None:
        super().__init__(daemon=True)
        self.qmp = Qmp(monitor)
        self._dump = str(monitor.with_suffix(".ppm"))
        self.times: list[float] = []

    def run(self) -> None:
        """Look until QEMU ends."""
        try:
            while True:
                begun = time.monotonic()
                self.qmp.cmd("screendump", {"filename": self._dump})
                self.times.append(time.monotonic())
                time.sleep(max(0.0, PERIOD_S - (self.times[-1] - begun)))
        except (QmpGone, OSError):
            pass

    def figures(self) -> dict[str, object]:
        """Refreshes a second."""
        self.join()
        span = self.times[-1] - self.times[0] if len(self.times) > 1 else 0
        return {"refreshes-per-s": round((len(self.times) - 1) / span, 1) if span else 0}
