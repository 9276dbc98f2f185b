# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/results/mutants.md: a row for each source file, and the mutants that survived.

Rows of files that were not run this time are taken over from the document, so that it can be
brought up to date file by file, unless the file is gone; each row says in how many runs what counts as noticed was.

*Limits*: rows are recognised by their form; only this file writes the document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mutants import TOP

DOCUMENT = TOP / "docs/results/mutants.md"
HEAD = """\
# Mutants

Written by `tests/mutants/run --report`; do not edit. A mutant is a small edit of the code that a
test has to notice (`tests/mutants/*.toml`). *Noticed*: a test program failed in each run. *Equivalent*:
no test can tell it from the original, for the reason given with it. The share is of what is not equivalent.

| file | mutants | equivalent | noticed | survived | share | runs |
| --- | --- | --- | --- | --- | --- | --- |
"""
ROW = re.compile(r"^\| (\S+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| \d+ % \| (\d+) \|$")
SURVIVOR = re.compile(r"^- `(\S+): (\S+)`: (.*)$")


@dataclass(frozen=True)
class Row:
    """The figures of one source file."""

    runs: int
    noticed: int
    equivalent: int
    survived: list[tuple[str, str]]


def parse(text: str) -> dict[str, Row]:
    """The rows of a document."""
    rows: dict[str, Row] = {}
    for line in text.splitlines():
        if found := ROW.match(line):
            name, _, equivalent, noticed, _, runs = found.groups()
            rows[name] = Row(int(runs), int(noticed), int(equivalent), [])
        elif (found := SURVIVOR.match(line)) and found[1] in rows:
            rows[found[1]].survived.append((found[2], found[3]))
    return rows


def _line(name: str, equivalent: int, noticed: int, survived: int, runs: str) -> str:
    tried = noticed + survived
    share = 100 * noticed // tried if tried else 100
    return (f"| {name} | {tried + equivalent} | {equivalent} | {noticed} | {survived} | {share} % "
            f"| {runs} |\n")


def render(rows: dict[str, Row]) -> str:
    """The document."""
    text = HEAD
    for name, row in sorted(rows.items()):
        text += _line(name, row.equivalent, row.noticed, len(row.survived), str(row.runs))
    text += _line("all", sum(row.equivalent for row in rows.values()),
                  sum(row.noticed for row in rows.values()),
                  sum(len(row.survived) for row in rows.values()), "")
    survivors = [f"- `{name}: {mutant}`: {reason}\n" for name, row in sorted(rows.items())
                 for mutant, reason in row.survived]
    return text + ("\nSurvived:\n\n" + "".join(survivors) if survivors else "")


def write(rows: dict[str, Row], document: Path = DOCUMENT, top: Path = TOP) -> None:
    """Bring the document up to date with the rows of a run, of the source files below TOP."""
    before = parse(document.read_text("utf-8")) if document.exists() else {}
    before = {name: row for name, row in before.items() if (top / name).exists()}
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text(render({**before, **rows}), "utf-8")
