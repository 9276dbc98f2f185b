# SPDX-License-Identifier: GPL-2.0-or-later
"""The suites of tests, read from tests/suites.toml.

    python3 scripts/suites.py           a line per suite, for `make help`
    python3 scripts/suites.py --meson   NAME TIMEOUT COMMAND..., for meson.build
"""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent.parent / "tests/suites.toml"


@dataclass(frozen=True)
class Suite:
    """One suite; the head of tests/suites.toml says what the keys are."""

    about: str
    command: tuple[str, ...] = ()
    timeout: int = 0
    targets: tuple[str, ...] = ()
    deps: tuple[str, ...] = ()
    ci: bool = True
    fast: bool = False
    writes: str = ""


def load(path: Path = FILE) -> dict[str, Suite]:
    """All suites, in the order in which they run."""
    with path.open("rb") as file:
        table = tomllib.load(file)
    return {name: make(keys) for name, keys in table.items()}


def make(keys: dict[str, Any]) -> Suite:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value
                              for key, value in keys.items()}
    return Suite(**values)


def main() -> None:
    for name, suite in load().items():
        if sys.argv[1:] != ["--meson"]:
            print(f"  make check-{name:16} {suite.about}{'' if suite.ci else ' (not in make check)'}")
        elif suite.command:
            print(name, suite.timeout, *suite.command)


if __name__ == "__main__":
    main()
