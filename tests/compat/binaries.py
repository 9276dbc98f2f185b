# SPDX-License-Identifier: GPL-2.0-or-later
"""Start either of the two QEMUs that are compared, and get its answers.

Each list of QMP commands, and each command line, is given to a new QEMU, which ends afterwards; there is no
guest.

*Limits*: nothing that needs a running machine.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
OURS = Path(os.environ.get("QEMU_BINARY", TOP / "build/qemu/qemu-system-x86_64"))
STOCK = TOP / "build/stock/qemu-system-x86_64"
TIMEOUT_S = 120
#: A QEMU may quit before a slow reader has read a long answer.
TRIES = 3


def require() -> None:
    """Fail if one of the two is missing; a skip would look like success."""
    for binary in (OURS, STOCK):
        if not binary.exists():
            raise FileNotFoundError(f"{binary} is missing: `make && make stock`")


def run(binary: Path, *words: str, stdin: str = "", preload: Path | None = None,
        files: Sequence[int] = ()) -> subprocess.CompletedProcess[str]:
    """Run it with a command line, to its end; it inherits `files`."""
    extra = {"LD_PRELOAD": str(preload)} if preload else {}
    return subprocess.run([str(binary), *words], input=stdin, text=True, capture_output=True,
                          timeout=TIMEOUT_S, check=False, env={**os.environ, **extra},
                          pass_fds=files)


def qmp(binary: Path, commands: list[dict[str, Any]], *words: str,
        **how: Any) -> list[dict[str, Any]]:
    """The answers to QMP commands, each with "return" or "error"."""
    for _ in range(TRIES - 1):
        try:
            return qmp_once(binary, commands, *words, **how)
        except json.JSONDecodeError:
            pass
    return qmp_once(binary, commands, *words, **how)


def qmp_once(binary: Path, commands: list[dict[str, Any]], *words: str,
             **how: Any) -> list[dict[str, Any]]:
    """The answers to QMP commands; json.JSONDecodeError if the last one was cut off."""
    lines = [{"execute": "qmp_capabilities"}, *commands, {"execute": "quit"}]
    done = run(binary, "-nodefaults", "-no-user-config", "-display", "none", "-qmp", "stdio",
               *(words or ("-machine", "none")), stdin="\n".join(map(json.dumps, lines)),
               **how)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    answers = [entry for entry in said if "return" in entry or "error" in entry]
    if done.returncode or len(answers) != len(lines):
        raise RuntimeError(f"{binary}: exit status {done.returncode}, {len(answers)} of "
                           f"{len(lines)} answers: {done.stderr[-400:]}")
    return answers[1:-1]


@cache
def ask(binary: Path, command: str, **arguments: Any) -> Any:
    """The answer to one QMP command, on `-machine none`."""
    (answer,) = qmp(binary, [{"execute": command, "arguments": arguments}])
    return answer["return"]
