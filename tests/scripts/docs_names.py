# SPDX-License-Identifier: GPL-2.0-or-later
"""Are the names in a document names of the tree?

Theory of operation
-------------------
A name is a token of `code` that is a word of C, Python or a command line; in a span of several words, one that
has an underscore, a dash, a digit or parentheses.  It is to be a word of the tree's code: a file's text without
comments and docstrings, or a part of its path.  `name_*` is the begin of one.  FIELD has the names that are not
ours: those of QEMU, Linux, VIRTIO and tools.

*Limits*: a word of a string literal or of the text of a test counts as code.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
CODE = re.compile(r"`([^`\n]+)`")
TOKEN = re.compile(r"[A-Za-z_]\w*(?:[.-]\w+)*\*?(?:\(\))?")
WORD = re.compile(r"[A-Za-z_][\w.-]*|\w+")
C_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
DOCSTRING = re.compile(r'""".*?"""', re.DOTALL)
HASH_COMMENT = re.compile(r"(^|\s)#[^\n]*")
#: Files that hold names because a document may, or must not, have them.
NO_CODE = ("tests/scripts/docs_names.py", "tests/scripts/test_docs.py")
C_SUFFIXES = (".c", ".h", ".S", ".cocci")
#: What stands for a name: NAME, SUITE.log, iova_find_ns_N; vX.Y.
PLACEHOLDER = re.compile(r"^[A-Z]+(\.[\w.]+)?$|_[A-Z]+$|^vX\.Y$|^x\.h$")
#: Names of QEMU, Linux, VIRTIO and of tools that the tree does not use by itself.
FIELD = {
    "DEVICE_NEEDS_RESET": "VIRTIO 1.2, 2.1",
    "dirty-limit-throttle-time-per-round": "QMP",
    "dirty_rate": "info dirty_rate, QEMU",
    "dirtylimit_throttle_pct": "a trace event of QEMU",
    "dirtyrate-stat": "a thread of QEMU",
    "mok.pub": "DKMS's key",
    "nofile": "prlimit --nofile",
    "tcg-accel.dirty-ring-size": "a property, in an error message of QEMU",
    "vcpu_dirty_limit": "info vcpu_dirty_limit, QEMU",
    "virtio-blk": "the kernel's driver",
}


@cache
def tracked() -> tuple[str, ...]:
    """Files of the tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, check=True)
    return tuple(name for name in listed.stdout.decode().split("\0") if name and (TOP / name).exists())


def without_comments(name: str, text: str) -> str:
    """The code of a file."""
    if name.endswith(C_SUFFIXES):
        return C_COMMENT.sub(" ", text)
    if name.endswith((".append", ".members")):  # of C, meson or QAPI, whose documentation is in comments
        return text
    return HASH_COMMENT.sub(" ", DOCSTRING.sub(" ", text))


@cache
def words_of_code() -> frozenset[str]:
    """Every word of the files that are no documents, and of their paths."""
    words: set[str] = set()
    for name in tracked():
        if not name.endswith(".md"):
            if name not in NO_CODE:
                words |= set(WORD.findall(without_comments(name, (TOP / name).read_text("utf-8", "replace"))))
            words |= set(Path(name).parts) | {Path(name).stem}
    words |= {word.removeprefix("trace_") for word in words}
    return frozenset(words | {part for word in words for part in re.split(r"[.-]", word)})


def known(token: str) -> bool:
    """Whether the tree or the field has that name."""
    word = re.sub(r"\(\)$|\.ko$", "", token)
    word = re.sub(r"^test-(.*)-(plain|asan|tsan)$", r"\1", word)
    if word.endswith("*"):
        return any(name.startswith(word[:-1]) for name in words_of_code())
    return word in words_of_code() or word in FIELD or len(word) == 1 or bool(PLACEHOLDER.search(word))


def unknown(text: str) -> Iterator[str]:
    """Names in a document that are neither the tree's nor the field's."""
    for code in CODE.findall(text):
        if code.startswith("make ") or "/" in code and " " not in code:  # a target, a file
            continue
        for token in TOKEN.findall(code):
            if (token == code or re.search(r"[_\d()-]", token)) and not known(token):
                yield token
