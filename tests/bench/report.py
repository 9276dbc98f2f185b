# SPDX-License-Identifier: GPL-2.0-or-later
"""The report: one HTML file with a table, a plot a metric, and every run that failed.

Theory of operation
-------------------
Plots are SVG by pygal, put into the page as they are; nothing is loaded from anywhere, so the file
can be mailed.  A metric's plot shows every good run, by round, one colour a subject: what a median
hides is to be seen there.  Failed runs stand in a table of their own, above the fold when there
are any.

Limits: needs pygal (tests/bench/requirements.txt); everything else in tests/bench does without.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

import pygal
from pygal.style import Style

import stats

COLOURS = {"ours-ring": "#0b6e4f", "stock-ring": "#c1440e", "stock-bitmap": "#6b7280"}

CSS = """
body { font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em;
       color: #1f2933; background: #fff; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: .25em .8em; border-bottom: 1px solid #d5dade; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.win { color: #0b6e4f; } .loss { color: #c1440e; } .failed { color: #c1440e; }
figure { margin: 1.5em 0; } figcaption { color: #52606d; }
dt { float: left; clear: left; width: 11em; color: #52606d; } dd { margin-left: 11em; }
"""


def text(value: Any) -> str:
    """Fit for HTML."""
    return html.escape(str(value))


def style(colours: Iterable[str]) -> Style:
    """The look of a plot."""
    return Style(background="transparent", plot_background="transparent",
                 font_family="sans-serif", title_font_size=16, label_font_size=12,
                 major_label_font_size=12, legend_font_size=13, value_font_size=11,
                 colors=tuple(colours))


def plot(runs: list[stats.Run], metric: str) -> str:
    """Every good run's figure, by round."""
    about = stats.METRICS[metric]
    rounds = sorted({run["round"] for run in runs})
    chart = pygal.Line(js=[], disable_xml_declaration=True, height=320, width=860,
                       style=style(COLOURS.values()), stroke=False, dots_size=5,
                       show_minor_x_labels=True, legend_at_bottom=True,
                       legend_at_bottom_columns=3, include_x_axis=True,
                       title=f"{about.about} ({about.unit}, {about.better} is better)",
                       x_title="round")
    chart.x_labels = [str(number + 1) for number in rounds]
    for subject in COLOURS:
        chart.add(subject, [by_round(runs, subject, metric, number) for number in rounds])
    return str(chart.render())


def by_round(runs: list[stats.Run], subject: str, metric: str, number: int) -> float | None:
    """A subject's figure in one round; None for a run that failed."""
    found = stats.values([run for run in runs if run["round"] == number], subject, metric)
    return found[0] if found else None


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """An HTML table of cells that are HTML already."""
    def line(tag: str, cells: Iterable[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"
    return ("<table>" + line("th", head) + "".join(line("td", row) for row in rows)
            + "</table>")


def compared(load: str, runs: list[stats.Run]) -> str:
    """The rows of results.json of one load, with the spread behind each median."""
    rows = []
    for row in stats.ROWS:
        result = stats.compare(row, load, runs)
        if not result:
            rows.append([text(row.name(load)), "not measured", "", "", "", ""])
            continue
        sides = []
        for side, subject in (("ours", row.ours), ("stock", row.stock)):
            low, high = stats.spread(stats.values(runs, subject, row.metric))
            sides.append(f"{result[side]:,.4g} <small>({low:,.4g}&ndash;{high:,.4g})</small>")
        mark = "win" if stats.wins(result) else "loss"
        rows.append([text(row.name(load)), *sides, f'<b class="{mark}">{result["ratio"]:.3g}</b>',
                     text(f"{result['unit']}, {result['better']} is better"),
                     str(result["n"])])
    return table(("row", "ours", "stock", "ours / stock", "unit", "n"), rows)


def core_section(core: dict[str, Any]) -> str:
    """The micro-benchmark of the ring's core."""
    if "skipped" in core:
        return f"<p>Not measured: {text(core['skipped'])}</p>"
    return table(("entries a harvest", "instructions an entry"),
                 ([f"{case['batch']:,}", f"{case['instructions_per_entry']:.1f}"]
                  for case in core["cases"]))


def failed_section(failures: list[str]) -> str:
    """Runs that failed; nothing when there are none."""
    if not failures:
        return "<p>No run failed.</p>"
    items = "".join(f"<li>{text(line)}</li>" for line in failures)
    return f'<h2 class="failed">Failed runs: {len(failures)}</h2><ul>{items}</ul>'


def load_section(load: str, runs: list[stats.Run]) -> str:
    """A load's rows, and every run of it."""
    figures = "".join(f"<figure>{plot(runs, metric)}</figure>" for metric in stats.METRICS
                      if stats.good(runs))
    return f"<h2>Load: {text(load)}</h2>{compared(load, runs)}{figures}"


def page(setting: dict[str, Any], runs: list[stats.Run], core: dict[str, Any]) -> str:
    """The whole report."""
    facts = "".join(f"<dt>{text(key)}</dt><dd>{text(value)}</dd>"
                    for key, value in setting.items())
    loads = "".join(load_section(load, some) for load, some in stats.by_load(runs).items())
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>qemu-live: benchmarks</title>
<style>{CSS}</style></head><body>
<h1>Live migration under load</h1>
{failed_section(stats.failures(runs))}
<p>Medians of runs by turns in one emulated machine, smallest and largest run in brackets. Times
are those of that machine: the ratio is the figure.</p>
{loads}
<h2>The ring's core</h2>
<p>Instructions that the core itself executes for one dirty page, counted by callgrind.</p>
{core_section(core)}
<h2>Setting</h2>
<dl>{facts}</dl>
</body></html>
"""
