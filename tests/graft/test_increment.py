# SPDX-License-Identifier: GPL-2.0-or-later
"""What a second run touches: only what changed, because time stamps are what ninja goes by."""

import os
import shutil
import unittest

from tiny import BASE_FILES, DROP, OLD, GraftCase, needs_spatch


class Increment(GraftCase):
    def setUp(self) -> None:
        super().setUp()
        self.ours("accel/new.c", "int new;\n", "new")
        self.ours("accel/new.h", "int header;\n", "new")
        self.ours("net/backend.c", "int other;\n", "replacement")
        self.ours("VERSION.append", "more\n", "fragment")
        self.lay()
        self.age()

    def lay_twice(self) -> set[str]:
        """What one run touched; a further one must touch nothing."""
        self.lay()
        touched = self.touched()
        self.age()
        self.lay()
        self.assertEqual(self.touched(), set())
        return touched

    def test_second_run_touches_nothing(self) -> None:
        self.assertEqual(self.lay_twice(), set())

    def test_changed_file_is_touched_alone(self) -> None:
        self.ours("accel/new.c", "int newer;\n")
        self.assertEqual(self.lay_twice(), {"accel/new.c"})
        self.assertEqual(self.text("accel/new.c"), "int newer;\n")

    def test_same_content_with_a_new_time_is_not_touched(self) -> None:
        os.utime(self.repo / "accel/new.c")
        os.utime(self.base / "accel/ring.c")
        self.assertEqual(self.lay_twice(), set())

    def test_changed_fragment_touches_its_target(self) -> None:
        self.ours("VERSION.append", "other\n")
        self.assertEqual(self.lay_twice(), {"VERSION"})
        self.assertEqual(self.text("VERSION"), "1.0\nother\n")

    def test_changed_base_file(self) -> None:
        self.write(self.base / "accel/ring.c", "int ring;\n")
        self.write(self.base / "VERSION", "2.0\n")
        self.assertEqual(self.lay_twice(), {"accel/ring.c", "VERSION"})
        self.assertEqual(self.text("VERSION"), "2.0\nmore\n")

    def test_withdrawn_edit_and_replacement_restore_the_base(self) -> None:
        os.utime(self.base / "net/backend.c", (OLD - 5, OLD - 5))
        self.withdraw("net/backend.c")
        self.withdraw("VERSION.append")
        self.assertEqual(self.lay_twice(), {"net/backend.c", "VERSION"})
        self.assertEqual(self.text("net/backend.c"), BASE_FILES["net/backend.c"])
        self.assertEqual(self.text("VERSION"), BASE_FILES["VERSION"])

    def test_restored_file_has_a_new_time(self) -> None:
        """ninja must rebuild it although the base's copy is older than the object."""
        os.utime(self.base / "net/backend.c", (OLD - 5, OLD - 5))
        self.withdraw("net/backend.c")
        self.lay()
        self.assertGreater((self.out / "net/backend.c").stat().st_mtime, OLD)

    def test_withdrawn_new_file_goes(self) -> None:
        self.ours("ui/only.c", "int only;\n", "new")
        self.lay()
        self.withdraw("ui/only.c")
        self.lay()
        self.assertFalse((self.out / "ui").exists())
        self.assertTrue((self.out / "accel/new.c").exists())

    def test_file_that_left_the_base_goes(self) -> None:
        (self.base / "accel/ring.c").unlink()
        self.lay()
        self.assertFalse((self.out / "accel/ring.c").exists())

    def test_tampered_tree_is_put_right(self) -> None:
        (self.out / "accel/ring.c").write_text("tampered\n")
        (self.out / "net/stray.c").write_text("stray\n")
        (self.out / "tool.sh").unlink()
        self.assertEqual(self.lay_twice(), {"accel/ring.c", "tool.sh"})
        self.assertEqual(self.text("accel/ring.c"), BASE_FILES["accel/ring.c"])
        self.assertFalse((self.out / "net/stray.c").exists())

    def test_what_tools_leave_is_spared(self) -> None:
        for path in ("net/__pycache__/a.pyc", "python/q.egg-info/PKG-INFO"):
            self.write(self.out / path, "left\n")
        self.lay()
        self.assertTrue((self.out / "net/__pycache__/a.pyc").exists())
        self.assertTrue((self.out / "python/q.egg-info/PKG-INFO").exists())

    def test_lost_cache_touches_nothing_that_is_right(self) -> None:
        shutil.rmtree(self.repo / "build")
        self.assertEqual(self.lay_twice(), set())

    def test_damaged_record_touches_nothing_that_is_right(self) -> None:
        for record in (self.repo / "build/graft-cache").glob("tree-*.json"):
            record.write_text("{ no")
        self.assertEqual(self.lay_twice(), set())

    def test_other_base_with_the_same_files(self) -> None:
        moved = self.top / "moved"
        shutil.copytree(self.base, moved)
        shutil.rmtree(self.base)
        self.base = moved
        self.assertEqual(self.lay_twice(), set())

    def test_two_trees_do_not_share_a_record(self) -> None:
        self.out = self.top / "second"
        self.lay()
        self.assertEqual(self.text("accel/new.c"), "int new;\n")

    def test_file_becomes_folder_and_back(self) -> None:
        self.withdraw("accel/new.c")
        self.ours("accel/new/deep.c", "int deep;\n", "new")
        self.lay()
        self.withdraw("accel/new/deep.c")
        shutil.rmtree(self.repo / "accel/new")
        self.ours("accel/new", "plain\n", "new")
        self.lay()
        self.assertEqual(self.text("accel/new"), "plain\n")
        self.withdraw("accel/new")
        self.ours("accel/new/deep.c", "int deep;\n", "new")
        self.lay()
        self.assertEqual(self.text("accel/new/deep.c"), "int deep;\n")

    def test_changed_permissions(self) -> None:
        (self.repo / "accel/new.c").chmod(0o755)
        self.lay()
        self.assertEqual((self.out / "accel/new.c").stat().st_mode & 0o777, 0o755)

    def test_check_writes_nothing(self) -> None:
        self.ours("accel/new.c", "int newer;\n")
        self.lay("--check")
        self.assertEqual(self.touched(), set())

    def test_refused_run_leaves_the_tree(self) -> None:
        self.ours("accel/new.c", "int newer;\n")
        self.ours("accel/stray.c", "int stray;\n")
        self.refuse("accel/stray.c")
        self.assertEqual(self.touched(), set())


@needs_spatch
class PatchIncrement(GraftCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch("accel/ring.c.cocci", DROP, "drop = 1")
        self.lay()
        self.age()

    def counting_spatch(self) -> str:
        """A spatch that notes each run, so that a cached result can be told from a fresh one."""
        program = self.top / "spatch"
        self.write(program, f"#!/bin/sh\necho run >> {self.top}/runs\nexec spatch \"$@\"\n")
        program.chmod(0o755)
        return str(program)

    def runs(self) -> int:
        runs = self.top / "runs"
        return runs.read_text().count("run") if runs.exists() else 0

    def test_results_are_cached(self) -> None:
        spatch = self.counting_spatch()
        self.assertEqual(self.graft(SPATCH=spatch).returncode, 0)
        self.assertEqual(self.runs(), 1, "only --version")
        self.assertEqual(self.touched(), set())

    def test_changed_patch_is_applied(self) -> None:
        self.patch("accel/ring.c.cocci", DROP.replace("ring_size", "ring_reap"), "drop = 1")
        self.lay()
        self.assertEqual(self.touched(), {"accel/ring.c"})
        self.assertIn("ring_size", self.text("accel/ring.c"))

    def test_changed_comment_in_a_patch_touches_nothing(self) -> None:
        self.patch("accel/ring.c.cocci", "// why\n" + DROP, "drop = 1")
        self.lay()
        self.assertEqual(self.touched(), set())

    def test_changed_base_is_patched_anew(self) -> None:
        self.write(self.base / "accel/ring.c",
                   BASE_FILES["accel/ring.c"] + "\nint more(void)\n{\n    return 1;\n}\n")
        self.lay()
        self.assertEqual(self.touched(), {"accel/ring.c"})
        self.assertIn("more", self.text("accel/ring.c"))
        self.assertNotIn("ring_size", self.text("accel/ring.c"))

    def test_changed_macros_are_heeded(self) -> None:
        self.ours("scripts/macros.h", "#define ring_size ring_width\n")
        self.head += '[tree.qemu]\nmacros = ["scripts/macros.h"]\n'
        spatch = self.counting_spatch()
        self.graft(SPATCH=spatch)
        self.assertGreater(self.runs(), 1)

    def test_withdrawn_patch_restores_the_base(self) -> None:
        self.withdraw("accel/ring.c.cocci")
        self.lay()
        self.assertEqual(self.touched(), {"accel/ring.c"})
        self.assertEqual(self.text("accel/ring.c"), BASE_FILES["accel/ring.c"])


if __name__ == "__main__":
    unittest.main()
