# SPDX-License-Identifier: GPL-2.0-or-later
"""News from a scenario while it runs, for a program on the host to show.

Theory of operation
===================

The verdict channel says how a scenario ended; some programs (scripts/demo, the
benches) also want to know how it goes.  A `Stream` appends JSON objects, one per line, to
stream.jsonl in the run's own directory, which L1 shares with the host by 9p without a cache, so a
line is on the host when write() returns.  On the host a `Follower` hands out each line once.  An
object has `event`, what it is, and `t`, seconds since the scenario's stream began; the rest is the
event's.

    scenario: Stream(lab.out).put("sample", remaining=...)
    host:     for item in Follower(out).new(): ...

*Limits*: nothing that decides a verdict goes this way; a line that is torn,
because its writer died, is never handed out.  One writer per run.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

NAME = "stream.jsonl"


class Stream:
    """The scenario's end."""

    def __init__(self, out: Path) -> None:
        self._file = (out / NAME).open("w", buffering=1, encoding="utf-8")
        self._start = time.monotonic()

    def put(self, event: str, **fields: Any) -> None:
        """One object; `fields` must be fit for JSON."""
        t = round(time.monotonic() - self._start, 3)
        self._file.write(json.dumps({"event": event, "t": t, **fields}) + "\n")

    def close(self) -> None:
        """No more news."""
        self._file.close()


class Follower:
    """The host's end; the file need not be there yet."""

    def __init__(self, out: Path) -> None:
        self._path = out / NAME
        self._offset = 0

    def new(self) -> list[dict[str, Any]]:
        """What has come since the last call."""
        try:
            with self._path.open("rb") as source:
                source.seek(self._offset)
                data = source.read()
        except FileNotFoundError:
            return []
        whole = data[:data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [item for item in map(parse, whole.splitlines()) if item]


def parse(line: bytes) -> dict[str, Any]:
    """One line's object; empty if it is none."""
    try:
        item = json.loads(line)
    except ValueError:
        return {}
    return item if isinstance(item, dict) and "event" in item else {}
