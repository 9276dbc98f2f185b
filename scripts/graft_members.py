# SPDX-License-Identifier: GPL-2.0-or-later
"""Members for a struct of a QAPI schema: PATH.members adds them to the base's PATH.

Theory of operation
-------------------
A struct of the base's schema cannot be extended from outside, and Coccinelle knows C only.  So a
file in TOML has one table per struct, with the members' documentation and their types:

    [MigrationInfo]
    doc = "@__org.example_syncs: how long syncs took (Since: 10.0)"
    members = { "*__org.example_syncs" = "MigrationSyncs" }

The documentation is put before the struct's "Features:" or "Since:" line, the members at the end of its data.
What cannot be found exactly once is a complaint that names file and struct.

Limits: a struct needs a documentation block with a "Since:" line, and data without comments, and
with braces in braces only for a member's type; the result is checked by QEMU's own schema compiler.
"""

from __future__ import annotations

import re
import textwrap
import tomllib
from typing import Any

from graft_manifest import Entry, Problems

WIDTH = 70      # QEMU's schema documentation keeps to it
KEYS = {"doc", "members"}


def edit(entry: Entry, target: str, content: bytes, text: str, problems: Problems) -> bytes:
    """The base's schema with the members of all tables; unchanged where something does not fit."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problems.add(entry.path, f"is not valid TOML: {error}")
        return content
    if not tables:
        problems.add(entry.path, "names no struct")
    schema = content.decode()
    for name, table in tables.items():
        complaint = _malformed(table)
        if not complaint:
            schema, complaint = _extended(schema, name, table["doc"], table["members"])
        if complaint:
            problems.add(entry.path, f"{name}: {complaint} ({target})")
    return schema.encode()


def _malformed(table: Any) -> str:
    if not isinstance(table, dict) or table.keys() != KEYS:
        return f"needs the keys {' and '.join(sorted(KEYS))}"
    members = table["members"]
    if not isinstance(table["doc"], str) or not table["doc"].strip():
        return "doc is not a text"
    if not isinstance(members, dict) or not members or \
            not all(isinstance(kind, str) for kind in members.values()):
        return "members is not a table of name = type"
    for member in members:
        if f"@{member.removeprefix('*')}:" not in table["doc"]:
            return f"doc does not describe @{member.removeprefix('*')}"
    return ""


def _extended(schema: str, name: str, doc: str, members: dict[str, str]) -> tuple[str, str]:
    struct = re.compile(rf"^##\n# @{re.escape(name)}:\n(?:#.*\n)*?(?P<since># (?:Features|Since):.*\n)"
                        rf"(?:#.*\n)*?##\n\{{ 'struct': '{re.escape(name)}',\s+'data': \{{"
                        r"(?:[^{}#]|\{[^{}#]*\})*?(?P<end>\s*\})", re.MULTILINE)
    found = list(struct.finditer(schema))
    if len(found) != 1:
        return schema, f"{len(found)} structs of that name, with documentation and data, instead of 1"
    for member in members:
        if re.search(rf"'{re.escape(member)}':|'\*?{re.escape(member.removeprefix('*'))}':",
                     found[0].group()):
            return schema, f"has a member {member} already"
    since, end = found[0].start("since"), found[0].start("end")
    more = "".join(f",\n           '{member}': '{kind}'" for member, kind in members.items())
    return schema[:since] + _commented(doc) + "#\n" + schema[since:end] + more + schema[end:], ""


def _commented(doc: str) -> str:
    """The documentation as QEMU's schema has it: wrapped, later lines of a member indented."""
    lines = []
    for number, paragraph in enumerate(re.split(r"\n\s*\n", doc.strip())):
        if number:
            lines.append("#")
        lines += textwrap.wrap(" ".join(paragraph.split()), WIDTH, initial_indent="# ",
                               subsequent_indent="#     ", break_long_words=False,
                               break_on_hyphens=False)
    return "\n".join(lines) + "\n"
