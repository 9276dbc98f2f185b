# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare two QMP schemas: what does the new one lack of the old?

Theory of operation
===================

query-qmp-schema numbers the types, and the numbers change when a type is added.  So types are compared by
their contents, beginning at commands and events, which have names.  Each difference is a path with a reason.
These are allowed:

    command   optional members may be added to its arguments, members to its answer
    event     members may be added
    enum      values may be added
    variants  and alternatives may be added

A member may become optional in an argument, but not in an answer.

*Limits*: the order of enum values is not compared; neither is a feature that only the new schema has
("deprecated" excepted).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Entity = dict[str, Any]


class Schema:
    """query-qmp-schema's answer, by name."""

    def __init__(self, entities: list[Entity]) -> None:
        self.by_name = {entity["name"]: entity for entity in entities}

    def named(self, kind: str) -> dict[str, Entity]:
        """All commands, or all events."""
        return {name: entity for name, entity in self.by_name.items()
                if entity["meta-type"] == kind}


class Comparison:
    """What `new` lacks of `old`."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self.old, self.new = old, new
        self.seen: set[tuple[str, str, bool]] = set()

    def missing(self) -> Iterator[str]:
        """A line for each thing that is missing or changed."""
        for kind, parts in (("command", (("arg-type", True), ("ret-type", False))),
                            ("event", (("arg-type", False),))):
            new = self.new.named(kind)
            for name, entity in self.old.named(kind).items():
                where = f"{kind} {name}"
                if name not in new:
                    yield f"{where} is missing"
                    continue
                yield from features(entity, new[name], where)
                if entity.get("allow-oob", False) and not new[name].get("allow-oob", False):
                    yield f"{where}: not out of band any more"
                for part, taken in parts:
                    yield from self.types(entity[part], new[name][part], taken, f"{where} {part}")

    def types(self, old: str, new: str, taken: bool, where: str) -> Iterator[str]:
        """`taken`: the type is what a command takes, not what it answers."""
        if (old, new, taken) in self.seen:
            return
        self.seen.add((old, new, taken))
        a, b = self.old.by_name[old], self.new.by_name[new]
        kind = a["meta-type"]
        if b["meta-type"] != kind:
            yield f"{where}: was {kind}, is {b['meta-type']}"
        elif kind == "builtin":
            if old != new:
                yield f"{where}: was {old}, is {new}"
        elif kind == "enum":
            yield from lacking(values(a), values(b), where)
        elif kind == "array":
            yield from self.types(a["element-type"], b["element-type"], taken, f"{where}[]")
        elif kind == "alternate":
            yield from self.alternatives(a, b, taken, where)
        else:
            yield from self.objects(a, b, taken, where)

    def alternatives(self, a: Entity, b: Entity, taken: bool, where: str) -> Iterator[str]:
        """Report alternatives of the old type, by their JSON types, that the new one lacks."""
        def kinds(schema: Schema, entity: Entity) -> dict[str, str]:
            found = {}
            for member in entity["members"]:
                of = schema.by_name[member["type"]]
                found[of.get("json-type", of["meta-type"])] = member["type"]
            return found
        before, now = kinds(self.old, a), kinds(self.new, b)
        yield from lacking(set(before), set(now), where)
        for kind in before.keys() & now.keys():
            yield from self.types(before[kind], now[kind], taken, f"{where}|{kind}")

    def objects(self, a: Entity, b: Entity, taken: bool, where: str) -> Iterator[str]:
        """Compare members, and the variants that a tag chooses."""
        before, now = ({member["name"]: member for member in entity["members"]}
                       for entity in (a, b))
        yield from lacking(set(before), set(now), where)
        for name in before.keys() & now.keys():
            was, is_now = "default" in before[name], "default" in now[name]
            if was != is_now and was == taken:
                yield f"{where}.{name}: {'was' if was else 'is'} optional"
            yield from features(before[name], now[name], f"{where}.{name}")
            yield from self.types(before[name]["type"], now[name]["type"], taken, f"{where}.{name}")
        if taken:
            yield from (f"{where}.{name} is new and not optional"
                        for name in now.keys() - before.keys() if "default" not in now[name])
        if a.get("tag") != b.get("tag"):
            yield f"{where}: tag was {a.get('tag')}, is {b.get('tag')}"
        old, new = ({variant["case"]: variant["type"] for variant in entity.get("variants", [])}
                    for entity in (a, b))
        yield from lacking(set(old), set(new), where)
        for case in old.keys() & new.keys():
            yield from self.types(old[case], new[case], taken, f"{where}<{case}>")


def values(enum: Entity) -> set[str]:
    """The values of an enum, in either of the two formats."""
    return {member["name"] for member in enum["members"]} if "members" in enum else set(
        enum["values"])


def lacking(old: set[str], new: set[str], where: str) -> Iterator[str]:
    """Report what is in the old list only."""
    for name in sorted(old - new):
        yield f"{where}: {name} is missing"


def features(old: Entity, new: Entity, where: str) -> Iterator[str]:
    """Report features that are missing, and a new "deprecated"."""
    before, now = set(old.get("features", ())), set(new.get("features", ()))
    yield from lacking(before, now, where)
    if "deprecated" in now - before:
        yield f"{where} is deprecated"
