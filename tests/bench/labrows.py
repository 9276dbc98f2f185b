# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows of results.json from the figures of the lab's scenarios: what vdpa_lab.py and ring_lab.py share.

A program is its cases and a function that makes rows of one case's figures; main() runs the cases, prints each
row and writes all of them to a file.

Limits: a case that does not pass ends the program with exit status 1; the rows made so far are written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(TOP / "tests/lab")]

from qlab import host, scenario

#: Makes rows of RUNS runs of each of some cases, in a mode of L1.
Measure = Callable[[int, tuple[str, ...], str], Iterator[dict[str, Any]]]


class LabError(Exception):
    """The scenario did not pass; the text says why."""


def row(name: str, unit: str, better: str, ours: float, stock: float, n: int) -> dict[str, Any]:
    """In results.json's form."""
    if not stock:
        raise LabError(f"{name}: stock's is 0, there is no ratio")
    return {"name": name, "unit": unit, "ours": ours, "stock": stock,
            "ratio": round(ours / stock, 4), "n": n, "better": better}


def run_case(name: str, mode: str, *options: str) -> Mapping[str, Any]:
    """The figures of a scenario's case; OPTIONS are the lab's."""
    stem = name.partition("/")[0]
    cases = scenario.load_file(scenario.SCENARIO_DIR / f"{stem}.py")
    case = next(case for case in cases if case.name == name)
    outcome = host.run_case(host.Host(host.parse_args(["run", name, "--mode", mode, *options])), case, mode)
    if outcome.status != "passed":
        raise LabError(f"{name}: {outcome.status}: {outcome.reason}")
    return outcome.figures


def main(program: str, about: str, measure: Measure, cases: tuple[str, ...], runs: int) -> int:
    """A program's entry."""
    parser = argparse.ArgumentParser(prog=program, description=about)
    parser.add_argument("--runs", type=int, default=runs, metavar="N", help="runs of each subject")
    parser.add_argument("--mode", default="tdp")
    parser.add_argument("--output", type=Path, metavar="FILE",
                        default=TOP / "build/bench" / f"{program.removesuffix('.py').replace('_', '-')}.json")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=" ".join(cases))
    args = parser.parse_args()
    made = []
    try:
        for one in measure(args.runs, tuple(args.cases) or cases, args.mode):
            made.append(one)
            print("{name:40} ours {ours:10.4g} stock {stock:10.4g} {unit}  ours/stock {ratio}"
                  .format(**one), flush=True)
    except LabError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    finally:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    return 0
