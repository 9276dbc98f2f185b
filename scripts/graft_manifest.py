# SPDX-License-Identifier: GPL-2.0-or-later
"""The manifest, graft.toml: what the branch adds, replaces and edits, and why.

Theory of operation
-------------------
``load()`` reads the file into a ``Manifest``; ``resolve()`` compares the entries of one tree with
the repository and with that tree's base and gives back ``Product`` objects, one for each path that
the branch changes.  Both collect every complaint in a ``Problems`` object instead of stopping at
the first, so that one run names everything that is wrong.

What a file is follows from its name and from the base; the manifest has to say the same thing in
words.  That redundancy is wanted: a base that grows a file of our name, or loses one that we
replace, is noticed here and not in a failing build.

An edit may lie beside the feature that it belongs to: its entry then names the target, the file of
the tree that it edits, and its own file name still says that file's name.

Limits: names ending in ``.cocci``, ``.append`` or ``.members`` are always edits, so a file that
really should carry such a name into a tree cannot be grafted.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NEW = "new"
REPLACEMENT = "replacement"
SEMANTIC_PATCH = "semantic patch"
FRAGMENT = "fragment"
MEMBERS = "members"
KINDS = (NEW, REPLACEMENT, SEMANTIC_PATCH, FRAGMENT, MEMBERS)
EDIT_SUFFIX = {SEMANTIC_PATCH: ".cocci", FRAGMENT: ".append", MEMBERS: ".members"}
LINUX_PREFIX = "kernel/"
TREES = ("qemu", "linux")

ENTRY_KEYS = {"kind", "reason", "rules", "unparsed", "target"}
TREE_KEYS = {"leave_out", "base_macros", "macros"}
JUNK_SUFFIXES = ("~", ".swp", ".swo", ".orig", ".rej", ".pyc", ".tmp")


class Problems:
    """Everything found wrong in one run, each as one line naming its file."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, where: str, what: str) -> None:
        self.lines.append(f"{where}: {what}")

    def __bool__(self) -> bool:
        return bool(self.lines)


@dataclass(frozen=True)
class Entry:
    """One line of the manifest."""

    path: str
    kind: str
    rules: dict[str, int] = field(default_factory=dict)
    unparsed: int = 0
    target: str = ""

    @property
    def tree(self) -> str:
        return tree_of(self.path)

    @property
    def mirrored(self) -> str:
        """The path inside the tree, with the suffix of an edit still on it."""
        if self.target:
            return self.target + EDIT_SUFFIX.get(self.kind, "")
        return self.path.removeprefix(LINUX_PREFIX)


@dataclass
class Product:
    """One path of the grafted tree that is not simply the base's."""

    target: str
    whole: Entry | None = None
    edits: list[Entry] = field(default_factory=list)


@dataclass(frozen=True)
class TreeOptions:
    leave_out: tuple[str, ...] = ()
    base_macros: tuple[str, ...] = ()
    macros: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    entries: dict[str, Entry]
    house: tuple[str, ...]
    trees: dict[str, TreeOptions]

    def of_tree(self, tree: str) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.tree == tree]


def load(path: Path, problems: Problems) -> Manifest:
    """Read the manifest; malformed entries go to problems and not into the result."""
    try:
        data = tomllib.loads(path.read_text())
    except OSError as error:
        problems.add(path.name, f"cannot be read: {error.strerror}")
        data = {}
    except tomllib.TOMLDecodeError as error:
        problems.add(path.name, f"is not valid TOML: {error}")
        data = {}
    if not data.get("house") and not problems:
        problems.add(path.name, "names no house directories, so everything would be mirrored")
    for key in data.keys() - {"house", "tree", "files"}:
        problems.add(path.name, f"unknown key {key!r}")
    trees = {name: TreeOptions() for name in TREES}
    for name, table in data.get("tree", {}).items():
        if name not in TREES or not table.keys() <= TREE_KEYS:
            problems.add(path.name, f"[tree.{name}]: unknown tree or key")
            continue
        trees[name] = TreeOptions(**{key: tuple(value) for key, value in table.items()})
    entries = {}
    for name, table in data.get("files", {}).items():
        entry = _entry(name, table, problems)
        if entry:
            entries[name] = entry
    return Manifest(entries, tuple(data.get("house", ())), trees)


def _entry(path: str, table: Any, problems: Problems) -> Entry | None:
    if not isinstance(table, dict):
        problems.add(path, "manifest entry is not a table")
        return None
    for key in sorted(table.keys() - ENTRY_KEYS):
        problems.add(path, f"manifest entry has an unknown key {key!r}")
    kind = table.get("kind")
    if kind not in KINDS:
        problems.add(path, f"kind is {kind!r}, not one of {', '.join(KINDS)}")
        return None
    reason = table.get("reason")
    if not isinstance(reason, str) or not reason.strip() or "\n" in reason:
        problems.add(path, "manifest gives no one-line reason")
    rules = table.get("rules", {})
    if not isinstance(rules, dict) or not all(_is_count(n) for n in rules.values()):
        problems.add(path, "rules is not a table of rule = count")
        rules = {}
    if kind == SEMANTIC_PATCH and not rules:
        problems.add(path, "manifest does not say how often its rules match")
    if kind != SEMANTIC_PATCH and ("rules" in table or "unparsed" in table):
        problems.add(path, f"a {kind} has no rules and no unparsed lines")
    unparsed = table.get("unparsed", 0)
    if not _is_count(unparsed):
        problems.add(path, "unparsed is not a number of lines")
        unparsed = 0
    return Entry(path, kind, dict(rules), unparsed, str(table.get("target", "")))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def mirrored_files(repo: Path, house: tuple[str, ...]) -> Iterator[str]:
    """Every file of the repository that belongs into a tree, as a path relative to repo.

    At the top level that is edits only: everything else there (configure, Makefile, README) is
    the repository's own.  Hidden directories and editors' left-overs are passed over.
    """
    for item in sorted(os.scandir(repo), key=lambda item: item.name):
        if item.name.startswith(".") or item.name in house:
            continue
        if item.is_dir(follow_symlinks=False):
            yield from _below(repo, item.name)
        elif item.name.endswith(tuple(EDIT_SUFFIX.values())):
            yield item.name


def _below(repo: Path, top: str) -> Iterator[str]:
    for folder, folders, names in os.walk(repo / top):
        folders[:] = sorted(f for f in folders if f != "__pycache__" and not f.startswith("."))
        for name in sorted(names):
            if not name.startswith(".#") and not name.endswith(JUNK_SUFFIXES):
                yield os.path.relpath(os.path.join(folder, name), repo)


def tree_of(path: str) -> str:
    """The tree that a path of the repository belongs to."""
    return "linux" if path.startswith(LINUX_PREFIX) else "qemu"


def is_house(path: str, house: tuple[str, ...]) -> bool:
    """Whether a path is the repository's own: in a house directory, or a house file itself."""
    return path.split("/")[0] in house or path in house


def check_repository(manifest: Manifest, repo: Path, problems: Problems,
                     trees: tuple[str, ...] = TREES) -> None:
    """Both directions, for these trees: files the manifest lacks, and entries without a file."""
    for path in mirrored_files(repo, manifest.house):
        if path not in manifest.entries and tree_of(path) in trees \
                and not is_house(path, manifest.house):
            problems.add(path, "is not in the manifest")
    for entry in manifest.entries.values():
        if entry.tree not in trees:
            continue
        if not (repo / entry.path).is_file():
            problems.add(entry.path, "is in the manifest but not in the repository")
        in_house = is_house(entry.path, manifest.house)
        if in_house and not entry.target:
            problems.add(entry.path, "lies outside the mirrored directories and names no target")
        elif entry.target and not in_house:
            _check_moved(entry, problems)


def _check_moved(entry: Entry, problems: Problems) -> None:
    """An entry below a mirrored directory that names a target has to be an edit from elsewhere."""
    suffix = EDIT_SUFFIX.get(entry.kind)
    if not suffix:
        problems.add(entry.path, "names a target although its own path is mirrored")
        return
    folder, _, stem = entry.path.removesuffix(suffix).rpartition("/")
    target_folder, _, name = entry.target.rpartition("/")
    if name not in (stem, stem.rpartition(".")[0]):
        problems.add(entry.path, f"is named after {stem}, but its target is {entry.target}")
    elif folder == target_folder:
        problems.add(entry.path, "names a target although its own path says the same")


def resolve(entries: list[Entry], base: Path, problems: Problems) -> dict[str, Product]:
    """What becomes of each path that the entries touch, checked against the base."""
    products: dict[str, Product] = {}
    for entry in entries:
        if entry.kind in EDIT_SUFFIX:
            target = _edit_target(entry, base, problems)
        else:
            target = _whole_target(entry, base, problems)
        if target is None:
            continue
        product = products.setdefault(target, Product(target))
        if entry.kind in EDIT_SUFFIX:
            product.edits.append(entry)
        elif product.whole:
            problems.add(entry.path, f"{product.whole.path} already stands for {target}")
        else:
            product.whole = entry
    for product in products.values():
        if product.whole and product.edits:
            problems.add(product.edits[0].path,
                         f"edits {product.target}, which {product.whole.path} replaces")
    return products


def _whole_target(entry: Entry, base: Path, problems: Problems) -> str | None:
    target = entry.mirrored
    for kind, suffix in EDIT_SUFFIX.items():
        if entry.path.endswith(suffix):
            problems.add(entry.path, f"is a {kind} by its name, the manifest calls it {entry.kind}")
            return None
    there = os.path.lexists(base / target)
    if entry.kind == NEW and there:
        problems.add(entry.path, "is called new, but the base already has that path")
        return None
    if entry.kind == REPLACEMENT and not (base / target).is_file():
        problems.add(entry.path, "is called a replacement, but the base has no such file")
        return None
    return target


def _edit_target(entry: Entry, base: Path, problems: Problems) -> str | None:
    """PATH.cocci edits PATH; PATH.NAME.cocci does too, so that one file can have several."""
    suffix = EDIT_SUFFIX[entry.kind]
    if not entry.mirrored.endswith(suffix):
        problems.add(entry.path, f"is called a {entry.kind}, but its name does not end in {suffix}")
        return None
    stem = entry.mirrored.removesuffix(suffix)
    for target in (stem, stem.rpartition(".")[0]):
        if target and (base / target).is_file():
            return target
    problems.add(entry.path, f"edits {stem}, which the base does not have")
    return None
