# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of file, and every way in which manifest, repository and base can disagree."""

import unittest

from tiny import BASE_FILES, DROP, GraftCase, needs_spatch


class Kinds(GraftCase):
    def test_nothing_of_ours_gives_the_base(self) -> None:
        self.lay()
        self.assertEqual({name: body.decode() for name, (_, body) in self.snapshot().items()},
                         BASE_FILES)

    def test_permissions_are_carried_over(self) -> None:
        self.ours("net/run.sh", "#!/bin/sh\n", "new")
        (self.repo / "net/run.sh").chmod(0o755)
        self.lay()
        self.assertEqual((self.out / "tool.sh").stat().st_mode & 0o777, 0o755)
        self.assertEqual((self.out / "net/run.sh").stat().st_mode & 0o777, 0o755)
        self.assertEqual((self.out / "VERSION").stat().st_mode & 0o111, 0)

    def test_new_replacement_fragment(self) -> None:
        self.ours("accel/deep/new.c", "int new;\n", "new")
        self.ours("net/backend.c", "int other;\n", "replacement")
        self.ours("accel/meson.build.append", "files('new.c')\n", "fragment")
        self.ours("VERSION.append", "more\n", "fragment")
        self.lay()
        self.assertEqual(self.text("accel/deep/new.c"), "int new;\n")
        self.assertEqual(self.text("net/backend.c"), "int other;\n")
        self.assertEqual(self.text("accel/meson.build"), "files('ring.c')\nfiles('new.c')\n")
        self.assertEqual(self.text("VERSION"), "1.0\nmore\n")

    def test_two_fragments_keep_manifest_order(self) -> None:
        self.ours("VERSION.z.append", "first\n", "fragment")
        self.ours("VERSION.a.append", "second\n", "fragment")
        self.lay()
        self.assertEqual(self.text("VERSION"), "1.0\nfirst\nsecond\n")

    def test_house_files_stay_out(self) -> None:
        for path in ("docs/a.md", "scripts/a", "tests/a.c", "README.md", "build/a.c", ".ci/run"):
            self.ours(path, "house\n")
        self.lay()
        self.assertEqual(set(self.snapshot()), set(BASE_FILES))

    def test_house_file_below_a_mirrored_directory(self) -> None:
        self.head = self.head.replace('"build"', '"build", "kernel/Makefile"')
        self.ours("kernel/Makefile", "all:\n")
        self.assertEqual(self.graft(name="linux").returncode, 0)
        self.assertEqual(set(self.snapshot()), set(BASE_FILES))

    def test_other_trees_files_are_not_asked_for(self) -> None:
        self.ours("kernel/virt/stray.c", "int stray;\n")
        self.lay()
        done = self.graft(name="linux")
        self.assertEqual(done.returncode, 1)
        self.assertIn("kernel/virt/stray.c: is not in the manifest", done.stderr)

    def test_other_trees_entries_need_no_file(self) -> None:
        self.ours("kernel/virt/gone.c", "int gone;\n", "new")
        (self.repo / "kernel/virt/gone.c").unlink()
        self.lay()
        done = self.graft(name="linux")
        self.assertEqual(done.returncode, 1)
        self.assertIn("kernel/virt/gone.c: is in the manifest", done.stderr)

    def test_house_file_with_target(self) -> None:
        self.ours("tests/extra.c", "int extra;\n", "new", ', target = "accel/extra.c"')
        self.lay()
        self.assertEqual(self.text("accel/extra.c"), "int extra;\n")

    def test_fragment_beside_its_feature(self) -> None:
        self.ours("net/VERSION.append", "net\n", "fragment", ', target = "VERSION"')
        self.ours("accel/deep/VERSION.deep.append", "deep\n", "fragment", ', target = "VERSION"')
        self.lay()
        self.assertEqual(self.text("VERSION"), "1.0\nnet\ndeep\n")
        self.assertFalse((self.out / "net/VERSION.append").exists())
        self.assertFalse((self.out / "accel/deep").exists())

    @needs_spatch
    def test_semantic_patch_beside_its_feature(self) -> None:
        self.patch("net/ring.c.cocci", DROP, "drop = 1", ', target = "accel/ring.c"')
        self.lay()
        self.assertNotIn("ring_size", self.text("accel/ring.c"))

    def test_left_out_part_of_the_base(self) -> None:
        self.head += '[tree.qemu]\nleave_out = ["roms"]\n'
        self.lay()
        self.assertFalse((self.out / "roms").exists())
        self.ours("roms/new.c", "int new;\n", "new")
        self.refuse("roms/new.c", "left out")

    def test_kernel_files_go_to_linux_only(self) -> None:
        self.ours("kernel/virt/ring.c", "int ring;\n", "new")
        self.ours("net/new.c", "int new;\n", "new")
        self.lay()
        self.assertFalse((self.out / "virt").exists() or (self.out / "kernel").exists())
        done = self.graft(name="linux")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.text("virt/ring.c"), "int ring;\n")
        self.assertFalse((self.out / "net/new.c").exists())

    def test_links_of_the_base_stay_links(self) -> None:
        (self.base / "net/link").symlink_to("../VERSION")
        self.lay()
        self.assertEqual((self.out / "net/link").readlink().as_posix(), "../VERSION")
        self.assertIn(" 0 files written", self.lay())


class Refusals(GraftCase):
    def test_file_the_manifest_lacks(self) -> None:
        self.ours("accel/stray.c", "int stray;\n")
        self.refuse("accel/stray.c", "not in the manifest")

    def test_edit_at_top_level_the_manifest_lacks(self) -> None:
        self.ours("VERSION.append", "more\n")
        self.refuse("VERSION.append", "not in the manifest")

    def test_file_outside_the_house_and_the_base(self) -> None:
        self.ours("acel/typo.c", "int typo;\n")
        self.refuse("acel/typo.c", "not in the manifest")

    def test_entry_without_a_file(self) -> None:
        self.ours("accel/gone.c", "", "new")
        (self.repo / "accel/gone.c").unlink()
        self.refuse("accel/gone.c", "not in the repository")

    def test_new_but_the_base_has_it(self) -> None:
        self.ours("net/backend.c", "int mine;\n", "new")
        self.refuse("net/backend.c", "base already has")

    def test_replacement_the_base_lacks(self) -> None:
        self.ours("net/other.c", "int mine;\n", "replacement")
        self.refuse("net/other.c", "no such file")

    def test_edit_the_base_lacks(self) -> None:
        self.ours("net/other.append", "x\n", "fragment")
        self.patch("net/other.c.cocci", DROP, "drop = 1")
        self.refuse("net/other.append", "base does not have")
        self.refuse("net/other.c.cocci", "base does not have")

    def test_edit_called_new(self) -> None:
        self.ours("accel/ring.c.cocci", DROP, "new")
        self.refuse("accel/ring.c.cocci", "by its name", "new")

    def test_file_called_an_edit(self) -> None:
        self.ours("net/backend.c", "int x;\n", "fragment")
        self.refuse("net/backend.c", "does not end in .append")

    def test_edit_of_a_replaced_file(self) -> None:
        self.ours("net/backend.c", "int x;\n", "replacement")
        self.ours("net/backend.c.append", "int y;\n", "fragment")
        self.refuse("net/backend.c.append", "replaces")

    def test_two_files_for_one_target(self) -> None:
        self.ours("net/new.c", "int x;\n", "new")
        self.ours("tests/new.c", "int y;\n", "new", ', target = "net/new.c"')
        self.refuse("tests/new.c", "already stands")

    def test_house_entry_without_target(self) -> None:
        self.ours("tests/extra.c", "int x;\n", "new")
        self.refuse("tests/extra.c", "names no target")

    def test_target_of_a_mirrored_file(self) -> None:
        self.ours("net/new.c", "int x;\n", "new", ', target = "net/elsewhere.c"')
        self.refuse("net/new.c", "its own path is mirrored")

    def test_target_that_the_path_says_already(self) -> None:
        self.ours("VERSION.append", "x\n", "fragment", ', target = "VERSION"')
        self.ours("accel/meson.build.more.append", "x\n", "fragment", ', target = "accel/meson.build"')
        self.refuse("VERSION.append", "its own path says the same")
        self.refuse("accel/meson.build.more.append", "its own path says the same")

    def test_target_of_another_name(self) -> None:
        self.ours("net/meson.build.append", "x\n", "fragment", ', target = "VERSION"')
        self.refuse("net/meson.build.append", "is named after meson.build", "VERSION")

    def test_target_the_base_lacks(self) -> None:
        self.ours("net/other.append", "x\n", "fragment", ', target = "accel/other"')
        self.refuse("net/other.append", "accel/other", "base does not have")

    def test_entry_without_reason(self) -> None:
        self.ours("net/new.c", "int x;\n")
        for entry in ('{ kind = "new" }', '{ kind = "new", reason = " " }',
                      '{ kind = "new", reason = "two\\nlines" }'):
            self.entries["net/new.c"] = entry
            self.refuse("net/new.c", "one-line reason")

    def test_entry_of_unknown_kind_or_key(self) -> None:
        self.ours("net/new.c", "int x;\n")
        self.entries["net/new.c"] = '{ kind = "novel", reason = "r" }'
        self.refuse("net/new.c", "novel")
        self.entries["net/new.c"] = '{ kind = "new", reason = "r", colour = 1 }'
        self.refuse("net/new.c", "colour")

    def test_rules_on_a_plain_file(self) -> None:
        self.ours("net/new.c", "int x;\n", "new", ", rules = { a = 1 }")
        self.refuse("net/new.c", "has no rules")

    def test_manifest_that_is_not_toml(self) -> None:
        self.head = "house = [\n"
        self.ours("accel/new.c", "int x;\n", "new")
        self.refuse("graft.toml", "TOML")
        self.assertEqual(len(self.graft().stderr.splitlines()), 1)

    def test_manifest_without_house(self) -> None:
        self.head = ""
        self.refuse("graft.toml", "no house")

    def test_unknown_table(self) -> None:
        self.head += "[trees.qemu]\n"
        self.refuse("graft.toml", "trees")

    def test_every_complaint_in_one_run(self) -> None:
        self.ours("accel/stray.c", "int stray;\n")
        self.ours("net/gone.c", "", "new")
        (self.repo / "net/gone.c").unlink()
        said = self.graft().stderr
        self.assertIn("accel/stray.c", said)
        self.assertIn("net/gone.c", said)

    def test_base_that_is_missing(self) -> None:
        self.base = self.top / "nowhere"
        self.refuse("nowhere", "fetch-base")

    def test_tree_inside_the_base(self) -> None:
        self.out = self.base / "out"
        done = self.graft()
        self.assertEqual(done.returncode, 1)
        self.assertIn("only ever read", done.stderr)
        self.assertFalse(self.out.exists())

    def test_usage(self) -> None:
        self.assertEqual(self.graft("--jobs", "0").returncode, 2)
        self.assertEqual(self.graft("--colour").returncode, 2)

    @needs_spatch
    def test_base_is_never_written(self) -> None:
        self.patch("accel/ring.c.cocci", DROP, "drop = 1")
        self.ours("VERSION.append", "x\n", "fragment")
        self.lay()
        for path, text in BASE_FILES.items():
            self.assertEqual((self.base / path).read_text(), text)


if __name__ == "__main__":
    unittest.main()
