# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages of any Debian suite through the machine's own apt, without a change to the system.

Theory of operation
-------------------
fetch-base and fetch-kernel need packages of suites that the machine does not use.  A Suite is apt
with one source line of its own, on a mirror that apt itself uses for this machine's Debian, with its
lists and caches in a scratch folder, so that nothing of the system's changes.  apt verifies what it
downloads with Debian's archive keys.  No mirror is named here: apt knows its own.

Downloads go to the download cache (cache_folder()), which outlives the build directory.

Limits: the scratch folder lives as long as one use of a suite, so each use fetches the lists again;
callers look into the download cache first.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
Result = TypeVar("Result")


class FetchError(Exception):
    """Something the user has to know about; the text is the whole message."""


def run(*argv: str, cwd: Path | None = None) -> str:
    """Run a program, return its output, fail with what it said."""
    try:
        done = subprocess.run(argv, cwd=cwd, text=True, capture_output=True, check=False,
                              env={**os.environ, "LC_ALL": "C"})
    except FileNotFoundError:
        raise FetchError(f"{argv[0]} is not installed; scripts/deps build lab installs it") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise FetchError(f"{argv[0]} {argv[1] if len(argv) > 1 else ''}: exit {done.returncode}: "
                         f"{'; '.join(said[-3:])}")
    return done.stdout


def cache_folder() -> Path:
    """The download cache, outside the build directory so that it outlives it."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(os.environ.get("QEMU_LIVE_CACHE") or home / "qemu-live")
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def numbers(name: str) -> list[int]:
    """Sort key of a version, or of a name that has one: its numbers, in order."""
    return [int(number) for number in re.findall(r"\d+", name)]


def newest(paths: list[Path]) -> Path | None:
    """The path with the highest version number in its name."""
    return max(paths, key=lambda path: numbers(path.name), default=None)


def mirrors() -> list[str]:
    """The mirrors that apt uses for this machine's Debian, the likeliest first.

    `apt-get update --print-uris` says what it would fetch whatever the format of the source
    files, and needs no lists for it.  A mirror that has the -updates suite too is Debian's;
    others may only use the same suite name.
    """
    release = Path("/etc/os-release").read_text()
    codename = re.search(r"^VERSION_CODENAME=\"?(\w+)", release, re.MULTILINE)
    if not codename:
        raise FetchError("/etc/os-release names no VERSION_CODENAME; this needs a Debian")
    uris = run("apt-get", "update", "--print-uris")
    suites = re.findall(r"^'([^']+?)/dists/([^/']+)/", uris, re.MULTILINE)
    have = {(uri, suite) for uri, suite in suites}
    names = list(dict.fromkeys(uri for uri, suite in suites if suite == codename[1]))
    if not names:
        raise FetchError(f"apt has no source for {codename[1]}, so its mirror is not known")
    return sorted(names, key=lambda uri: (uri, codename[1] + "-updates") not in have)


class Suite:
    """apt with one suite of one mirror and nothing else; its lists are fetched at once."""

    def __init__(self, scratch: Path, kind: str, mirror: str, name: str) -> None:
        """KIND is apt's: "deb" or "deb-src"."""
        for folder in ("lists/partial", "cache/archives/partial"):
            (scratch / folder).mkdir(parents=True)
        sources = scratch / "sources.list"
        sources.write_text(f"{kind} [signed-by={KEYRING}] {mirror} {name} main\n")
        self._options = ("-o", f"Dir::Etc::sourcelist={sources}",
                         "-o", "Dir::Etc::sourceparts=/dev/null",
                         "-o", f"Dir::State::Lists={scratch}/lists",
                         "-o", f"Dir::Cache={scratch}/cache", "-o", "APT::Sandbox::User=root")
        self.apt_get("-o", "APT::Update::Error-Mode=any", "update")

    def apt_get(self, *words: str, cwd: Path | None = None) -> None:
        run("apt-get", "-qq", *self._options, *words, cwd=cwd)

    def names(self, pattern: str) -> list[str]:
        """Names of the binary packages that match a regular expression."""
        text = run("apt-cache", *self._options, "search", "--names-only", pattern)
        return [line.split()[0] for line in text.splitlines()]


def from_mirrors(kind: str, name: str, use: Callable[[Suite], Result]) -> Result:
    """What USE makes of a suite, on the first of the machine's mirrors with which it succeeds."""
    refusals = []
    for mirror in mirrors():
        with tempfile.TemporaryDirectory(prefix="debian-suite-") as scratch:
            try:
                return use(Suite(Path(scratch), kind, mirror, name))
            except FetchError as error:
                refusals.append(f"{mirror}: {error}")
    raise FetchError(f"no mirror of this machine has it in {name}: " + "; ".join(refusals))
