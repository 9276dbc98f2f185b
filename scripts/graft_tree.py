# SPDX-License-Identifier: GPL-2.0-or-later
"""Bringing a scratch tree in line with a plan, touching nothing that is right already.

Theory of operation
-------------------
A plan says for each path of the tree what stands there: a ``Source`` with a signature (cheap to
compute, changes whenever the content may have) and a way to the content.  ``bring_in_line()`` keeps
a record of what it wrote, signature and resulting size and time, and on the next run looks closer
only at paths where the signature or the file on disk differ from it.  Even then a file whose
content is right already keeps its time stamp, because that is what ninja goes by; a file that is
written gets the present time, also when the base's older version comes back.

Paths that are not in the plan are removed, so that a withdrawn file cannot go on being built.  Files
that tools leave in a source tree stay: byte-compiled Python and egg-info.

Files are copied, never linked: a build that resolves links would leave the tree, and a build that
writes to its source would write to the base.

Limits: one writer at a time (the caller holds a lock).  Of a file's attributes only content and
the permission bits are carried over.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

Record = dict[str, list[object]]


@dataclass(frozen=True)
class Source:
    """What stands at one path: content() is called only where the signature is new."""

    signature: str
    content: Callable[[], bytes]
    mode: int = 0o644
    link: str = ""


@dataclass
class Tally:
    written: int = 0
    removed: int = 0
    unchanged: int = 0


def scan(root: Path, leave_out: frozenset[str] = frozenset()) -> Iterator[tuple[str, os.DirEntry]]:
    """Each file and link below root with its relative path; leave_out names paths not entered."""
    waiting = [("", str(root))]
    while waiting:
        prefix, folder = waiting.pop()
        with os.scandir(folder) as items:
            for item in items:
                path = prefix + item.name
                if path in leave_out:
                    continue
                if item.is_dir(follow_symlinks=False):
                    waiting.append((path + "/", item.path))
                else:
                    yield path, item


def base_sources(base: Path, leave_out: tuple[str, ...]) -> dict[str, Source]:
    """The base's own files as a plan."""
    plan = {}
    for path, item in scan(base, frozenset(leave_out)):
        if item.is_symlink():
            link = os.readlink(item.path)
            plan[path] = Source(f"link {link}", bytes, link=link)
            continue
        facts = item.stat()
        plan[path] = Source(f"base {facts.st_size} {facts.st_mtime_ns} {facts.st_mode:o}",
                            Path(item.path).read_bytes, facts.st_mode & 0o777)
    return plan


def bring_in_line(out: Path, plan: dict[str, Source], record_file: Path, jobs: int) -> Tally:
    """Make out hold exactly what the plan says."""
    out.mkdir(parents=True, exist_ok=True)
    record = _read_record(record_file)
    tally = Tally()
    present: dict[str, os.stat_result] = {}
    for path, item in scan(out):
        if path in plan:
            present[path] = item.stat(follow_symlinks=False)
        elif not _spared(path):
            os.unlink(item.path)
            tally.removed += 1
    stale = [path for path, source in plan.items()
             if _look(record.get(path), source, present.get(path))]
    for folder in {os.path.dirname(path) for path in stale}:
        _make_folder(out, folder)
    with ThreadPoolExecutor(jobs) as pool:
        for path, wrote in zip(stale, pool.map(lambda p: _write(out / p, plan[p]), stale)):
            tally.written += wrote
            record[path] = [plan[path].signature, *_facts(os.lstat(out / path))]
    tally.unchanged = len(plan) - tally.written
    gone = record.keys() - plan.keys()
    if stale or gone:
        for path in gone:
            del record[path]
        _write_record(record_file, record)
    if tally.removed:
        _drop_empty_folders(out)
    return tally


def _spared(path: str) -> bool:
    return any(part == "__pycache__" or part.endswith(".egg-info") for part in path.split("/"))


def _facts(found: os.stat_result) -> list[int]:
    return [found.st_size, found.st_mtime_ns, found.st_mode]


def _look(known: list[object] | None, source: Source, found: os.stat_result | None) -> bool:
    """Whether a path has to be looked at closely."""
    return found is None or known is None or known != [source.signature, *_facts(found)]


def _make_folder(out: Path, folder: str) -> None:
    """Create a folder, first clearing away a file that stands where one is needed."""
    here = out
    for part in Path(folder).parts:
        here = here / part
        if here.is_symlink() or (here.exists() and not here.is_dir()):
            here.unlink()
        here.mkdir(exist_ok=True)


def _write(path: Path, source: Source) -> bool:
    """Make one path right; True when it was not."""
    if source.link:
        if path.is_symlink() and os.readlink(path) == source.link:
            return False
        path.unlink(missing_ok=True)
        path.symlink_to(source.link)
        return True
    content = source.content()
    if path.is_symlink():
        path.unlink()
    elif path.is_dir():
        _remove_empty(path)
    elif path.exists() and path.read_bytes() == content:
        if stat.S_IMODE(path.stat().st_mode) != source.mode:
            path.chmod(source.mode)
        return False
    part = path.with_name(path.name + ".graft-part")
    part.write_bytes(content)
    part.chmod(source.mode)
    os.replace(part, path)
    return True


def _remove_empty(folder: Path) -> None:
    for inner in list(folder.iterdir()):
        _remove_empty(inner)
    folder.rmdir()


def _drop_empty_folders(out: Path) -> None:
    for folder, _, _ in os.walk(out, topdown=False):
        if folder != str(out) and not os.listdir(folder):
            os.rmdir(folder)


def _read_record(record_file: Path) -> Record:
    try:
        record = json.loads(record_file.read_text())
        return record if isinstance(record, dict) else {}
    except (OSError, ValueError):
        return {}


def _write_record(record_file: Path, record: Record) -> None:
    part = record_file.with_suffix(".part")
    part.write_text(json.dumps(record, separators=(",", ":")))
    os.replace(part, record_file)
