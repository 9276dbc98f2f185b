# SPDX-License-Identifier: GPL-2.0-or-later
"""Members that are added to a struct of a schema, and what graft refuses."""

from __future__ import annotations

import unittest

from tiny import GraftCase

SCHEMA = """\
##
# @Load:
#
# What a machine does.
#
# @busy: percent
#
# Since: 1.0
##
{ 'struct': 'Load',
  'data': {'*busy': 'int',
           'names': ['str']} }

##
# @query-load:
#
# Since: 1.0
##
{ 'command': 'query-load', 'returns': 'Load' }
"""

MEMBERS = """\
[Load]
doc = "@__org.tiny_idle: a number that says how long the machine has had nothing to do, in ms (Since: 2.0)"
members = { "*__org.tiny_idle" = "uint64" }
"""


class Members(GraftCase):
    def setUp(self) -> None:
        super().setUp()
        self.write(self.base / "load.json", SCHEMA)

    def members(self, text: str) -> None:
        self.ours("load.json.members", text, "members")

    def test_documented_and_last(self) -> None:
        self.members(MEMBERS)
        self.lay()
        self.assertEqual(self.text("load.json"), SCHEMA.replace(
            "# Since: 1.0\n##\n{ 'struct'",
            "# @__org.tiny_idle: a number that says how long the machine has had\n"
            "#     nothing to do, in ms (Since: 2.0)\n#\n# Since: 1.0\n##\n{ 'struct'").replace(
            "['str']}", "['str'],\n           '*__org.tiny_idle': 'uint64'}"))

    def test_before_features_and_after_a_type_in_braces(self) -> None:
        schema = SCHEMA.replace("# Since: 1.0", "# Features:\n#\n# @unstable: @busy\n#\n# Since: 1.0", 1).replace(
            "'names': ['str']}", "'names': {'type': 'str', 'features': ['unstable'] } }")
        self.write(self.base / "load.json", schema)
        self.members('[Load]\ndoc = "@one: first"\nmembers = { "*one" = "int" }\n')
        self.lay()
        self.assertEqual(self.text("load.json"), schema.replace(
            "# Features:", "# @one: first\n#\n# Features:").replace(
            "['unstable'] } }", "['unstable'] },\n           '*one': 'int' }"))

    def test_beside_a_fragment(self) -> None:
        self.members(MEMBERS)
        self.ours("load.json.append", "\n# the end\n", "fragment")
        self.lay()
        self.assertIn("__org.tiny_idle", self.text("load.json"))
        self.assertTrue(self.text("load.json").endswith("# the end\n"))

    def test_two_members_in_two_paragraphs(self) -> None:
        self.members('[Load]\ndoc = """\n@one: first\n\n@two: second\n"""\n'
                     'members = { one = "int", "*two" = "str" }\n')
        self.lay()
        self.assertIn("# @one: first\n#\n# @two: second\n#\n# Since", self.text("load.json"))
        self.assertIn("'one': 'int',\n           '*two': 'str'} }", self.text("load.json"))

    def test_struct_that_the_base_has_not(self) -> None:
        self.members(MEMBERS.replace("[Load]", "[Lode]"))
        self.refuse("load.json.members", "Lode", "0 structs")

    def test_struct_that_is_there_twice(self) -> None:
        self.write(self.base / "load.json", SCHEMA + SCHEMA)
        self.members(MEMBERS)
        self.refuse("load.json.members", "Load", "2 structs")

    def test_member_that_the_base_has(self) -> None:
        for member in ("busy", "*busy", "*names"):
            with self.subTest(member):
                self.members(f'[Load]\ndoc = "@{member.strip("*")}: x"\nmembers = {{ "{member}" = "int" }}\n')
                self.refuse("load.json.members", member, "already")

    def test_member_without_documentation(self) -> None:
        self.members(MEMBERS.replace("@__org.tiny_idle:", "@other:"))
        self.refuse("load.json.members", "does not describe @__org.tiny_idle")

    def test_malformed(self) -> None:
        for text, complaint in (("x = [", "not valid TOML"), ("", "names no struct"), ("Load = 1\n", "needs the keys"),
                                ('[Load]\ndoc = " "\nmembers = { a = "int" }\n', "doc is not"),
                                ('[Load]\ndoc = "@a: x"\nmembers = {}\n', "members is not"),
                                ('[Load]\ndoc = "@a: x"\nmembers = { a = 1 }\n', "members is not")):
            with self.subTest(text):
                self.members(text)
                self.refuse("load.json.members", complaint)


if __name__ == "__main__":
    unittest.main()
