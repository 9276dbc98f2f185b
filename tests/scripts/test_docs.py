# SPDX-License-Identifier: GPL-2.0-or-later
"""Documents: links lead somewhere, names are in the tree, commands exist, each semantic patch has its page."""

import functools
import re
import subprocess
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path

import docs_commands
from program import TOP

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"^[\w./*{},-]+\.(c|h|S|py|md|cocci|toml|append|json|in|inc|hx|build|config|ini|txt)$"
                  r"|^[\w.-]+/[\w./*-]*$")
NAME = re.compile(r"^[A-Za-z_][\w.-]*(\(\))?$")
#: Roots that are made by a build, or belong to the bases, the machine or a device.
ELSEWHERE = re.compile(r"^(build|src|usr|lib|dev|sys|etc|var|proc|updates|fault|arch|virt)\b"
                       r"|^drivers/v\w+/(vdpa|iotlb)\.c|^/|^~|^\.\.\.|NAME|SUITE|TEST|PATH")
#: Pages whose every name is to be found by grep.
NAMED = ("README.md", "docs/glossary.md", *(f"docs/design/{name}.md" for name in (
    "architecture", "dirty-ring", "graft", "vdpa", "vdpa-control-queue", "vdpa-memory", "vdpa-shadow-ring")))


@functools.cache
def tracked() -> tuple[str, ...]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, check=True)
    return tuple(name for name in listed.stdout.decode().split("\0") if name and (TOP / name).exists())


def pages() -> list[Path]:
    return [TOP / name for name in tracked() if name.endswith(".md")]


@functools.cache
def words_of_the_tree() -> frozenset[str]:
    """Every word of the files that are no documents."""
    words: set[str] = set()
    for name in tracked():
        if not name.endswith(".md"):
            text = (TOP / name).read_text("utf-8", "replace")
            words |= set(re.findall(r"[A-Za-z_][\w.-]*|\w+", text))
            words |= set(Path(name).parts) | {Path(name).stem}
    return frozenset(words | {part for word in words for part in re.split(r"[.-]", word)})


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
        known = scenarios() if "/" in name else words_of_the_tree() if name.endswith("json") else ()
        whole = re.compile(rf"(^|/){pattern}(/|\.\w+\.append|\.append|$)")
        if name not in known and not any(whole.search(entry) for entry in tracked()):
            yield f"{page.name}: there is no file {code}"


def unknown_names(page: Path) -> Iterator[str]:
    for code in CODE.findall(page.read_text("utf-8")):
        word = code.removesuffix("()").removesuffix(".ko")
        if NAME.match(code) and not FILE.match(code) and word not in words_of_the_tree():
            yield f"{page.name}: {code} is not in the tree"


class Documents(unittest.TestCase):
    """The documents of this repository."""

    def test_links(self) -> None:
        self.assertEqual([what for page in pages() for what in dead_links(page)], [])

    def test_files(self) -> None:
        self.assertEqual([what for page in pages() for what in unknown_files(page)], [])

    def test_names(self) -> None:
        self.assertEqual([what for name in NAMED for what in unknown_names(TOP / name)], [])

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


if __name__ == "__main__":
    unittest.main()
