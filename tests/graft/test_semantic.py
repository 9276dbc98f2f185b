# SPDX-License-Identifier: GPL-2.0-or-later
"""Semantic patches: applied in order, counted exactly, refused when spatch did not see it all."""

import os
import unittest

from tiny import DROP, HOOK, GraftCase, needs_spatch


@needs_spatch
class Applied(GraftCase):
    def test_patch_is_applied(self) -> None:
        self.patch("accel/ring.c.cocci", DROP + HOOK, "drop = 1, hook = 1")
        self.lay()
        self.assertNotIn("ring_size", self.text("accel/ring.c"))
        self.assertIn("hook(n);", self.text("accel/ring.c"))

    def test_several_patches_in_manifest_order(self) -> None:
        second = HOOK.replace("trace", "hook").replace("+ hook(", "+ last(")
        self.patch("accel/ring.c.z.cocci", HOOK, "hook = 1")
        self.patch("accel/ring.c.a.cocci", second, "hook = 1")
        self.ours("accel/ring.c.append", "/* end */\n", "fragment")
        self.lay()
        self.assertIn("last(n);", self.text("accel/ring.c"))
        self.assertTrue(self.text("accel/ring.c").endswith("/* end */\n"))

    def test_matches_are_counted_by_place(self) -> None:
        self.write(self.base / "net/many.c", "void f(int a)\n{\n" + "    put(a == 1);\n" * 3 + "}\n")
        self.patch("net/many.c.cocci",
                   "@many@\nexpression e;\nposition p;\n@@\n- put@p(1 == e);\n+ got(e);\n", "many = 3")
        self.lay()
        self.assertEqual(self.text("net/many.c").count("got(a)"), 3)

    def test_include_can_be_the_anchor(self) -> None:
        self.write(self.base / "net/inc.c", '#include "a.h"\nint x;\n')
        self.patch("net/inc.c.cocci",
                   '@inc@\nposition p;\n@@\n  #include "a.h"@p\n+ #include "b.h"\n', "inc = 1")
        self.lay()
        self.assertEqual(self.text("net/inc.c"), '#include "a.h"\n#include "b.h"\nint x;\n')

    def test_rule_declared_to_match_nowhere(self) -> None:
        self.patch("accel/ring.c.cocci", DROP.replace("ring_size", "gone"), "drop = 0")
        self.lay()

    def test_macros_of_base_and_of_ours(self) -> None:
        guarded = "void f(int a)\n{\n    %s(a) {\n        trace(a);\n    }\n}\n"
        self.write(self.base / "net/one.c", guarded % "BASE_GUARD")
        self.write(self.base / "net/two.c", guarded % "OUR_GUARD")
        self.patch("net/one.c.cocci", HOOK, "hook = 1")
        self.patch("net/two.c.cocci", HOOK, "hook = 1")
        self.write(self.base / "macros.h", "#define BASE_GUARD(x) if (1)\n")
        self.ours("scripts/macros.h", "#define OUR_GUARD(x) if (1)\n")
        self.head += '[tree.qemu]\nbase_macros = ["macros.h"]\nmacros = ["scripts/macros.h"]\n'
        self.lay()
        self.assertIn("hook(a)", self.text("net/one.c"))
        self.assertIn("hook(a)", self.text("net/two.c"))


@needs_spatch
class Refused(GraftCase):
    def test_rule_that_matches_less_often(self) -> None:
        self.patch("accel/ring.c.cocci", DROP + HOOK, "drop = 2, hook = 1")
        self.refuse("accel/ring.c.cocci", "rule drop", "matched 1 times", "declared 2")

    def test_rule_that_matches_more_often(self) -> None:
        self.patch("accel/ring.c.cocci", DROP + HOOK, "drop = 1, hook = 0")
        self.refuse("accel/ring.c.cocci", "rule hook", "matched 1 times", "declared 0")

    def test_changed_count_is_noticed_with_a_warm_cache(self) -> None:
        self.patch("accel/ring.c.cocci", DROP, "drop = 1")
        self.lay()
        self.patch("accel/ring.c.cocci", DROP, "drop = 3")
        self.refuse("rule drop", "declared 3")

    def test_rule_the_manifest_lacks(self) -> None:
        self.patch("accel/ring.c.cocci", DROP + HOOK, "drop = 1")
        self.refuse("accel/ring.c.cocci", "rule hook", "how often")

    def test_rule_the_file_lacks(self) -> None:
        self.patch("accel/ring.c.cocci", DROP, "drop = 1, dorp = 1")
        self.refuse("accel/ring.c.cocci", "rule dorp", "not in the file")

    def test_rule_without_name(self) -> None:
        self.patch("accel/ring.c.cocci", DROP + "\n@@\n@@\n- trace(1);\n", "drop = 1")
        self.refuse("accel/ring.c.cocci", "line 6", "without a name")

    def test_rule_without_position(self) -> None:
        patch = DROP + "\n@loose@\nexpression e;\nposition drop.p;\n@@\n- trace(e);\n"
        self.patch("accel/ring.c.cocci", patch, "drop = 1, loose = 1")
        self.refuse("accel/ring.c.cocci", "rule loose", "no position")

    def test_patch_without_counts(self) -> None:
        self.ours("accel/ring.c.cocci", DROP, "semantic patch")
        self.refuse("accel/ring.c.cocci", "how often")

    def test_patch_that_does_not_parse(self) -> None:
        self.patch("accel/ring.c.cocci", DROP + "- foo(", "drop = 1")
        self.refuse("accel/ring.c.cocci", "parse error")

    def test_target_that_does_not_parse(self) -> None:
        self.write(self.base / "accel/ring.c",
                   "void f(int n)\n{\n    GUARD(x) {\n        n++;\n    }\n    trace(n);\n}\n"
                   "int ring_size(void) { return 1; }\n")
        self.patch("accel/ring.c.cocci", DROP, "drop = 1")
        self.refuse("accel/ring.c.cocci", "fails to parse 6 lines", "allows 0")
        self.patch("accel/ring.c.cocci", DROP, "drop = 1", ", unparsed = 6")
        self.lay()
        self.patch("accel/ring.c.cocci", DROP, "drop = 1", ", unparsed = 5")
        self.refuse("accel/ring.c.cocci", "allows 5")

    def test_second_patch_sees_the_first_ones_text(self) -> None:
        self.patch("accel/ring.c.cocci", DROP, "drop = 1")
        self.patch("accel/ring.c.again.cocci", DROP, "drop = 1")
        self.refuse("accel/ring.c.again.cocci", "rule drop", "matched 0 times")

    def test_macro_file_that_is_missing(self) -> None:
        self.head += '[tree.qemu]\nmacros = ["scripts/none.h"]\n'
        self.refuse("scripts/none.h", "macro file")

    def test_spatch_without_scripting(self) -> None:
        """A spatch whose scripts do not run counts nothing, and that must not pass for zero."""
        mute = self.top / "spatch"
        self.write(mute, "#!/bin/sh\ncase $* in\n*parse-c*) echo 'nb good = 1,  nb bad = 0';;\nesac\n")
        mute.chmod(0o755)
        self.patch("accel/ring.c.cocci", DROP, "drop = 0")
        self.refuse("accel/ring.c.cocci", "no Python script", SPATCH=str(mute))

    def test_spatch_that_dies(self) -> None:
        dying = self.top / "spatch"
        self.write(dying, "#!/bin/sh\ncase $* in\n*parse-c*) echo 'nb good = 1,  nb bad = 0';;\n"
                          "*sp-file*) echo boom >&2; exit 3;;\nesac\n")
        dying.chmod(0o755)
        self.patch("accel/ring.c.cocci", DROP, "drop = 1")
        self.refuse("accel/ring.c.cocci", "boom", SPATCH=str(dying))

    def test_no_spatch(self) -> None:
        self.patch("accel/ring.c.cocci", DROP, "drop = 1")
        if os.access("/usr/bin/env", os.X_OK):
            empty = self.top / "empty"
            empty.mkdir()
            self.refuse("accel/ring.c.cocci", "coccinelle", PATH=str(empty))


if __name__ == "__main__":
    unittest.main()
