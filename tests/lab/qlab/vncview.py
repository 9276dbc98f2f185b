# SPDX-License-Identifier: GPL-2.0-or-later
"""A viewer of a guest's display that has the screen refreshed some 30 times a second.

Theory of operation
===================

QEMU's VNC server (RFB 3.8, RFC 6143) refreshes a display 30 ms after the last time if something has changed, and
less and less often otherwise.  So the viewer moves the VGA's text cursor, by the monitor, before it asks for an
update; QEMU draws two character cells.  A refresh asks the dirty log, all of it, whatever has changed.

*Limits*: text mode; no authentication; raw encoding; ends when QEMU does.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from pathlib import Path

from .qmp import Qmp, QmpGone

PERIOD_S = 0.033
#: Index and data port of the CRT controller; the register with the lower half of the cursor's place.
CRTC_INDEX, CRTC_DATA, CURSOR_LOW = 0x3D4, 0x3D5, 0x0F


def arguments(folder: Path, name: str) -> tuple[str, ...]:
    """QEMU's arguments: a VNC server and a monitor that is the viewer's."""
    return ("-vnc", f"unix:{folder / name}.vnc", "-qmp", f"unix:{folder / name}.view,server=on,wait=off")


class Viewer(threading.Thread):
    """Looks at the guest that was started with arguments(FOLDER, NAME)."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(daemon=True)
        self.qmp = Qmp(folder / f"{name}.view")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(folder / f"{name}.vnc"))
        self._pixel_bytes = 0
        self._size = (0, 0)
        self._handshake()
        self.times: list[float] = []

    def _take(self, count: int) -> bytes:
        """The next COUNT bytes."""
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise ConnectionError("the server has gone")
            data += more
        return data

    def _handshake(self) -> None:
        """Version, no security, shared; then the server says what the screen is like."""
        self._take(12)
        self._socket.sendall(b"RFB 003.008\n")
        self._take(self._take(1)[0])
        self._socket.sendall(b"\1")
        self._take(4)
        self._socket.sendall(b"\1")
        width, height, bits = struct.unpack("!HHB", self._take(5))
        name = struct.unpack("!15xI", self._take(19))[0]
        self._take(name)
        self._size, self._pixel_bytes = (width, height), bits // 8
        self._socket.sendall(struct.pack("!BxHi", 2, 1, 0))

    def _update(self, incremental: bool) -> None:
        """Ask for an update and take it."""
        self._socket.sendall(struct.pack("!BBHHHH", 3, incremental, 0, 0, *self._size))
        kind, count = struct.unpack("!BxH", self._take(4))
        if kind != 0:
            raise ConnectionError(f"message {kind} is no update")
        for _ in range(count):
            _, _, width, height, encoding = struct.unpack("!HHHHi", self._take(12))
            if encoding != 0:
                raise ConnectionError(f"encoding {encoding} was not asked for")
            self._take(width * height * self._pixel_bytes)

    def run(self) -> None:
        """Look until QEMU ends."""
        place = 0
        try:
            self._update(False)
            while True:
                begun = time.monotonic()
                place = (place + 1) % 80
                for port, value in ((CRTC_INDEX, CURSOR_LOW), (CRTC_DATA, place)):
                    self.qmp.hmp(f"o/b {port:#x} {value:#x}")
                self._update(True)
                self.times.append(time.monotonic())
                time.sleep(max(0.0, PERIOD_S - (time.monotonic() - begun)))
        except (QmpGone, OSError):
            pass

    def figures(self) -> dict[str, object]:
        """Updates a second."""
        self.join()
        span = self.times[-1] - self.times[0] if len(self.times) > 1 else 0
        return {"updates-per-s": round((len(self.times) - 1) / span, 1) if span else 0}
