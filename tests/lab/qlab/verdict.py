# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict channel: how a scenario's outcome leaves L1.

Theory of operation
===================

L1's second serial port carries one JSON object a line, written by inside.py
and nothing else: {"event": "up"}, then {"event": "figures", ...} as often as
the scenario has any, and at the end {"event": "verdict", "status": ...}.
The port is a file on the host.  A run without a complete verdict line has
failed, whatever else it printed; two verdicts are a failure too.

*Limits*: a line torn by the death of L1 is ignored, so the verdict is either
whole or absent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

STATUSES = ("passed", "failed", "skipped")


@dataclass
class Verdict:
    """What came out of the channel so far."""

    up: bool = False
    status: str | None = None
    reason: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether the scenario has said how it ended."""
        return self.status is not None


def line(event: str, **fields: Any) -> str:
    """One line of the channel."""
    return json.dumps({"event": event, **fields}) + "\n"


def parse(text: str) -> Verdict:
    """Read a channel's text; never raises."""
    verdict = Verdict()
    for raw in text.split("\n")[:-1]:
        try:
            message = json.loads(raw)
        except ValueError:
            continue
        if not isinstance(message, dict):
            continue
        _take(verdict, message)
    return verdict


def _take(verdict: Verdict, message: dict[str, Any]) -> None:
    """Apply one message."""
    event = message.pop("event", None)
    if event == "up":
        verdict.up = True
    elif event == "figures":
        verdict.figures.update(message)
    elif event == "verdict":
        if verdict.complete:
            verdict.status, verdict.reason = "failed", "two verdicts"
        elif message.get("status") in STATUSES:
            verdict.status = message["status"]
            verdict.reason = str(message.get("reason", ""))
        else:
            verdict.status, verdict.reason = "failed", "malformed verdict"
