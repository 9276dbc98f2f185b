# SPDX-License-Identifier: GPL-2.0-or-later
"""superset.py reports each loss in a schema, and no addition."""

import copy
import unittest
from typing import Any

from superset import Comparison, Schema

BASE: list[dict[str, Any]] = [
    {"meta-type": "builtin", "name": "str", "json-type": "string"},
    {"meta-type": "builtin", "name": "int", "json-type": "int"},
    {"meta-type": "enum", "name": "1", "members": [{"name": "tap"}, {"name": "user"}]},
    {"meta-type": "object", "name": "2", "tag": "type",
     "members": [{"name": "type", "type": "1"}, {"name": "id", "type": "str"},
                 {"name": "queues", "type": "int", "default": None}],
     "variants": [{"case": "tap", "type": "3"}, {"case": "user", "type": "4"}]},
    {"meta-type": "object", "name": "3", "members": [{"name": "fd", "type": "5"}]},
    {"meta-type": "object", "name": "4", "members": []},
    {"meta-type": "alternate", "name": "5", "members": [{"type": "str"}, {"type": "int"}]},
    {"meta-type": "array", "name": "[2]", "element-type": "2"},
    {"meta-type": "command", "name": "add", "arg-type": "2", "ret-type": "4",
     "features": ["old"], "allow-oob": True},
    {"meta-type": "command", "name": "list", "arg-type": "4", "ret-type": "[2]"},
    {"meta-type": "event", "name": "GONE", "arg-type": "2"},
]


def row(schema: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The entity of that name."""
    return next(entity for entity in schema if entity["name"] == name)


class Superset(unittest.TestCase):
    def missing(self, change: Any) -> str:
        """What is missing after a change."""
        new = copy.deepcopy(BASE)
        change(new)
        return "\n".join(Comparison(Schema(BASE), Schema(new)).missing())

    def test_nothing(self) -> None:
        self.assertEqual(self.missing(lambda new: None), "")

    def test_other_numbers_and_additions(self) -> None:
        def change(new: list[dict[str, Any]]) -> None:
            new.append({"meta-type": "command", "name": "more", "arg-type": "4", "ret-type": "4"})
            row(new, "1")["members"].append({"name": "vde"})
            row(new, "4")["members"].append({"name": "hint", "type": "str", "default": None})
            row(new, "2")["name"] = "22"
            for user in ("[2]", "add", "GONE"):
                for key in ("element-type", "arg-type"):
                    if row(new, user).get(key) == "2":
                        row(new, user)[key] = "22"
        self.assertEqual(self.missing(change), "")

    def test_losses(self) -> None:
        def drop(name: str) -> Any:
            return lambda new: new.remove(row(new, name))

        def put(name: str, **keys: Any) -> Any:
            return lambda new: row(new, name).update(keys)

        def member(of: str, at: int, **keys: Any) -> Any:
            return lambda new: row(new, of)["members"][at].update(keys)

        for expected, change in (
                ("command add is missing", drop("add")),
                ("event GONE is missing", drop("GONE")),
                ("old is missing", put("add", features=[])),
                ("is deprecated", put("list", features=["deprecated"])),
                ("out of band", put("add", **{"allow-oob": False})),
                ("user is missing", put("1", members=[{"name": "tap"}])),
                ("was str, is int", member("2", 1, type="int")),
                ("id is missing", member("2", 1, name="ident")),
                ("is new and not optional", put("4", members=[{"name": "x", "type": "str"}])),
                ("queues: was optional", lambda new: row(new, "2")["members"][2].pop("default")),
                ("id: is optional", member("2", 1, default=None)),
                ("tap is missing", put("2", variants=[{"case": "user", "type": "4"}])),
                ("int is missing", put("5", members=[{"type": "str"}])),
                ("tag was type", put("2", tag="kind")),
                ("was array, is enum", put("list", **{"ret-type": "1"}))):
            with self.subTest(expected=expected):
                self.assertIn(expected, self.missing(change))
