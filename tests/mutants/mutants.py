# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants: small edits of our own code that a test has to notice, as data.

Theory of operation
===================

Each data file, tests/mutants/NAME.toml, is about one source file:

    file = "hw/virtio/vdpa/core/vdpa-status.c"    # from the top of the repository
    tests = ["vdpa-status"]             # test programs, tried in this order until one fails

    [[mutant]]
    name = "no-read-back"               # unique in this file
    within = "status_add"               # optional: the function that has the text
    before = "if (err) {"               # stands exactly once in that function (or in the file)
    after = "if (false) {"
    reason = "an error of the device passes for success"
    tests = ["vdpa-status-asan"]        # optional: instead of the file's
    equivalent = "why"                  # optional: no test can tell it from the original

A test program is written in one of these ways:

    NAME             unit test of tests/unit/meson.build, plain variant
    NAME-asan, -tsan the same, another variant
    kernel/NAME      program of tests/kernel/check-unit, fuzz targets included
    fuzz/NAME        target of tests/fuzz/run, a fixed number of inputs from a fixed seed

An edit whose text does not stand there, or stands there twice, is an error: the code has changed,
and the mutant has to be looked at again.  scripts/lint checks that of all; tests/mutants/run
builds and runs them.

*Limits*: text, not syntax; a mutant is one replacement in one file.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
VARIANTS = ("asan", "tsan")
KEYS = {"name", "within", "before", "after", "reason", "tests", "equivalent"}


class MutantError(Exception):
    """A data file or a mutant that is not fit; the text says which and why."""


@dataclass(frozen=True)
class Mutant:
    """One edit."""

    file: str
    name: str
    before: str
    after: str
    reason: str
    tests: tuple[str, ...]
    within: str = ""
    equivalent: str = ""

    @property
    def title(self) -> str:
        return f"{self.file}: {self.name}"


def function_bounds(text: str, name: str) -> tuple[int, int]:
    """Where a function's definition begins and ends; it ends at a brace in the first column."""
    found = [match for match in re.finditer(rf"^[a-zA-Z_][^;{{}}()]*\b{re.escape(name)}\(", text, re.M)
             if re.match(r"[^;{}]*\{", text[match.end():])]
    if len(found) != 1:
        raise MutantError(f"{len(found)} definitions of {name}()")
    end = text.find("\n}", found[0].end())
    if end < 0:
        raise MutantError(f"no end of {name}()")
    return found[0].start(), end + 2


def apply(mutant: Mutant, text: str) -> str:
    """The source with the edit made."""
    try:
        start, end = function_bounds(text, mutant.within) if mutant.within else (0, len(text))
    except MutantError as error:
        raise MutantError(f"{mutant.title}: {error}") from None
    where = f"{mutant.within}()" if mutant.within else "the file"
    count = text.count(mutant.before, start, end)
    if count != 1:
        raise MutantError(f"{mutant.title}: the text stands {count} times in {where}")
    at = text.index(mutant.before, start, end)
    return text[:at] + mutant.after + text[at + len(mutant.before):]


def _mutant(file: str, tests: list[str], row: dict[str, Any], where: str) -> Mutant:
    unknown = set(row) - KEYS
    if unknown:
        raise MutantError(f"{where}: unknown key {', '.join(sorted(unknown))}")
    for key in ("name", "before", "after", "reason"):
        if not isinstance(row.get(key), str) or (key != "after" and not row[key]):
            raise MutantError(f"{where}: a mutant without {key}")
    mutant = Mutant(file, **{**row, "tests": tuple(row.get("tests", tests))})
    if mutant.before == mutant.after:
        raise MutantError(f"{where}: {mutant.name} changes nothing")
    if not mutant.tests:
        raise MutantError(f"{where}: {mutant.name} names no test program")
    return mutant


def read(path: Path) -> list[Mutant]:
    """The mutants of a data file."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
        file, rows = data["file"], data["mutant"]
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise MutantError(f"{path.name}: {error}") from None
    except KeyError as error:
        raise MutantError(f"{path.name}: no {error}") from None
    mutants = [_mutant(file, data.get("tests", []), row, path.name) for row in rows]
    names = [mutant.name for mutant in mutants]
    for name in names:
        if names.count(name) > 1:
            raise MutantError(f"{path.name}: two mutants are called {name}")
    return mutants


def data_files(folder: Path = HERE) -> list[Path]:
    return sorted(folder.glob("*.toml"))


def unit_tests(top: Path = TOP) -> set[str]:
    """The names of the unit tests, read from where they are declared."""
    text = (top / "tests/unit/meson.build").read_text("utf-8")
    return set(re.findall(r"^  '([a-z0-9-]+)': \{", text, re.M))


def known(program: str, units: set[str], top: Path = TOP) -> bool:
    """Whether there is such a test program."""
    kind, _, name = program.rpartition("/")
    if kind == "kernel":
        return f'"{name}"' in (top / "tests/kernel/check-unit").read_text("utf-8")
    if kind == "fuzz":
        return f'"{name}"' in (top / "tests/fuzz/run").read_text("utf-8")
    stem, _, variant = name.rpartition("-")
    return not kind and (name in units or (variant in VARIANTS and stem in units))


def complaints(top: Path = TOP) -> list[str]:
    """What is wrong with the data: mutants that do not apply, programs that are not there."""
    found = []
    units = unit_tests(top)
    for path in data_files(top / "tests/mutants"):
        try:
            mutants = read(path)
        except MutantError as error:
            found.append(str(error))
            continue
        for mutant in mutants:
            found += [f"{mutant.title}: no test program is called {program}"
                      for program in mutant.tests if not known(program, units, top)]
            try:
                apply(mutant, (top / mutant.file).read_text("utf-8"))
            except (MutantError, OSError) as error:
                found.append(str(error))
    return found
