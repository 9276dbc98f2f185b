# SPDX-License-Identifier: GPL-2.0-or-later
"""Documents: links lead somewhere, names are in the tree, commands exist, each semantic patch has its page."""

import functools
import re
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path

import docs_commands
import docs_names
from docs_names import CODE, tracked
from program import TOP

LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"^[\w./*{},-]+\.(c|h|S|py|md|cocci|toml|append|json|in|inc|hx|build|config|ini|txt)$"
                  r"|^[\w.-]+/[\w./*-]*$")
#: Roots that are made by a build, or belong to the bases, the machine or a device.
ELSEWHERE = re.compile(r"^(build|src|usr|lib|dev|sys|etc|var|proc|updates|fault|arch|virt)\b"
                       r"|^drivers/v\w+/(vdpa|iotlb)\.c|^/|^~|^\.\.\.|NAME|SUITE|TEST|PATH")
#: Pages whose every name is to be found by grep: all but those that show output or name the bases' code.
NAMED = re.compile(r"^(README|CONTRIBUTING|docs/(?!results/|upstream/).*)\.md$")
#: A target of make in the text of a program or of its messages.
CITED = re.compile(r"`make ([^`]*)`|(?:\(|; |: |^    |\n    )make ([a-z]+(?:-[a-z]+)*)")
#: Files that do not cite the Makefile, or cite it wrongly to test the tests.
UNREAD = ("LICENSE", "tests/scripts/test_docs.py", "tests/scripts/test_result_pages.py")
#: Words after "make" in prose; make -C is another Makefile's.
PROSE = {"the", "a", "both", "room", "such", "-C"}


def pages() -> list[Path]:
    return [TOP / name for name in tracked() if name.endswith(".md")]


def anchors(text: str) -> set[str]:
    """What headings are called in links."""
    return {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in text.splitlines() if line.startswith("#")}


def dead_links(page: Path) -> Iterator[str]:
    for link in LINK.findall(page.read_text("utf-8")):
        if "://" not in link:
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            if not target.exists():
                yield f"{page.name}: {link} leads nowhere"
            elif anchor and anchor not in anchors(target.read_text("utf-8")):
                yield f"{page.name}: {link}: no such heading"


@functools.cache
def scenarios() -> frozenset[str]:
    """Scenarios of the lab, whose names look like those of files."""
    listed = docs_commands.output("tests/lab/lab", "list").splitlines()
    return frozenset(line.split()[0] for line in listed if line.strip())


def unknown_files(page: Path) -> Iterator[str]:
    for code in CODE.findall(page.read_text("utf-8")):
        if not FILE.match(code) or ELSEWHERE.search(code):
            continue
        name = re.sub(r"^(\.\./)+", "", code.rstrip("/"))
        pattern = re.escape(name).replace(r"\*", "[^/]*")
        known = scenarios() if "/" in name else docs_names.words_of_code() if name.endswith("json") else ()
        whole = re.compile(rf"(^|/){pattern}(/|\.\w+\.append|\.append|$)")
        if name not in known and not any(whole.search(entry) for entry in tracked()):
            yield f"{page.name}: there is no file {code}"


def unknown_names(page: Path) -> Iterator[str]:
    for name in docs_names.unknown(page.read_text("utf-8")):
        yield f"{page.name}: {name} is not in the tree"


def unknown_targets(name: str, text: str) -> Iterator[str]:
    for whole, target in CITED.findall(text):
        for part in f"make {whole or target}".replace("\\", "").split("&&"):
            words = part.split()
            if words[:1] == ["make"] and not PROSE & set(words[1:2]):
                yield from (f"{name}: {what}" for what in docs_commands.make(words[1:]))


class Documents(unittest.TestCase):
    """The documents of this repository."""

    def test_links(self) -> None:
        self.assertEqual([what for page in pages() for what in dead_links(page)], [])

    def test_files(self) -> None:
        self.assertEqual([what for page in pages() for what in unknown_files(page)], [])

    def test_names(self) -> None:
        named = [name for name in tracked() if NAMED.match(name)]
        self.assertGreater(len(named), 30)
        self.assertEqual([what for name in named for what in unknown_names(TOP / name)], [])

    def test_field(self) -> None:
        """A name of the field that the tree has got needs no entry."""
        self.assertEqual([name for name in docs_names.FIELD if name in docs_names.words_of_code()], [])

    def test_make_targets(self) -> None:
        """Every target that a document, a comment or a message cites is one of the Makefile."""
        self.assertEqual([what for name in tracked() if name not in UNREAD
                          for what in unknown_targets(name, (TOP / name).read_text("utf-8", "replace"))], [])

    def test_make_help(self) -> None:
        """`make help` names every target, and no other."""
        text = docs_commands.output("make", "-s", "help")
        shown = set(re.findall(r"\bmake ([a-z][a-z-]*)", text))
        self.assertEqual(shown - {"distclean"} - docs_commands.targets(), set())
        self.assertEqual(docs_commands.targets() - shown, {"all", "build", "help"})

    def test_semantic_patches_have_a_page(self) -> None:
        text = (TOP / "docs/upstream/README.md").read_text()
        self.assertEqual([name for name in tracked() if name.endswith(".cocci") and name not in text], [])

    def test_readme_is_short(self) -> None:
        self.assertLessEqual(len((TOP / "README.md").read_text().splitlines()), 80)

    def test_index_names_each_page(self) -> None:
        index = "".join((TOP / f"docs/{name}").read_text() for name in (
            "README.md", "use/README.md", "decisions/README.md", "upstream/README.md"))
        rooms = [page for page in pages() if page.is_relative_to(TOP / "docs") and page.name != "README.md"]
        self.assertEqual([page.name for page in rooms if f"{page.name})" not in index], [])


class Commands(unittest.TestCase):
    """The commands that documents show."""

    def setUp(self) -> None:
        if not docs_commands.QEMU.exists():
            self.skipTest("build/qemu is not built; make")
        self.monitor = docs_commands.Monitor()
        self.addCleanup(self.monitor.close)

    def test_exist(self) -> None:
        shown = [TOP / "README.md", *sorted((TOP / "docs/use").glob("*.md")),
                 *sorted((TOP / "docs/upstream").glob("*.md")), TOP / "docs/design/testing.md",
                 TOP / "docs/design/vdpa-tests.md"]
        self.assertEqual([what for page in shown for what in docs_commands.complaints(self.monitor, page)], [])

    def test_wrong_ones_are_noticed(self) -> None:
        for line, says in (
                ("make nonsense", "make has no target nonsense"),
                ('make demo DEMO_ARGS="--rings 1"', "scripts/demo has no option --rings"),
                ("scripts/build-kernel --chekc", "has no option --chekc"),
                ("scripts/build-kernels", "does not exist"),
                ("tests/lab/lab run vdpa-migrate/nothing", "no scenario vdpa-migrate/nothing"),
                ("qemu-system-x86_64 -accelerator kvm", "QEMU has no option -accelerator"),
                ("qemu-system-x86_64 -accel kvm,dirty-rings=4096", "has no property dirty-rings"),
                ("-netdev vhost-vdpa,id=n0,vhostdve=/dev/vhost-vdpa-0", "has no property vhostdve"),
                ("-device virtio-net-pcie,netdev=n0", "-device has no type virtio-net-pcie"),
                ("(qemu) info dirty_rings", "the monitor has no command info dirty_rings"),
                ("(qemu) migrate_set_parameter downtime 1", "migration has no parameter downtime"),
                ("(qemu) migrate_set_capability dirty-limits on", "migration has no capability dirty-limits"),
                ('{ "execute": "query-kvm-dirty-ring" }', "QMP has no command query-kvm-dirty-ring"),
                ('{ "execute": "migrate", "arguments": { "url": "x" } }', "migrate has no argument url"),
                ("modprobe vdpa_simnet", "there is no module vdpa_simnet"),
                ("virhs list", "virhs is no command that is known here")):
            with self.subTest(line), tempfile.TemporaryDirectory() as folder:
                page = Path(folder) / "page.md"
                page.write_text(f"# Page\n\n    {line}\n")
                self.assertIn(says, "\n".join(docs_commands.complaints(self.monitor, page)))


class Planted(unittest.TestCase):
    """What the tests above must notice."""

    def test_links_and_names(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "page.md"
            page.write_text("# A page\n\n[a](nowhere.md) [b](#a-page) [c](#another)\n"
                            "`hw/virtio/no-such.c` `no_such_" "name()`\n")
            self.assertEqual(len(list(dead_links(page))), 2)
            self.assertEqual(len(list(unknown_files(page))), 1)
            self.assertEqual(len(list(unknown_names(page))), 1)

    def test_names(self) -> None:
        text = "`struct no_such_" "struct`, `no_such_" "prefix_*`, `-netdev vhost-vdpa`, `VdpaDevice`, `SUITE.log`"
        self.assertEqual(list(docs_names.unknown(text)), ["no_such_" "struct", "no_such_" "prefix_*"])
        self.assertEqual(docs_names.without_comments("a.c", "/* gone */ int here; // gone").split(), ["int", "here;"])
        self.assertEqual(docs_names.without_comments("a.py", '"""Gone."""\nhere  # gone\n').split(), ["here"])

    def test_targets(self) -> None:
        for text, wrong in (("`make check-nothing`", 1), ("(make nothing)", 1), ("make the map", 0),
                            ("`make && make fault nothing`", 1), ("Run:\n\n    make nothing  # now\n", 1),
                            ("it is missing; make stock", 0)):
            with self.subTest(text):
                self.assertEqual(len(list(unknown_targets("page", text))), wrong)


if __name__ == "__main__":
    unittest.main()
