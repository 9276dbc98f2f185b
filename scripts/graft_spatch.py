# SPDX-License-Identifier: GPL-2.0-or-later
"""Semantic patches: running spatch, and knowing that it did what was meant.

Theory of operation
-------------------
spatch leaves out silently what it cannot parse, and a rule that matches nothing is no error to it.
So each edit has two checks around it.  Before: ``spatch --parse-c`` on the text about to be edited
has to say that every line parsed (or as many did not as the manifest states).  After: each rule's
matches are counted.  For that, every SmPL rule has a name and declares a position metavariable of
its own, put on a token that stands in all branches of the rule::

    @drop@
    identifier f =~ "^kvm_dirty_ring";
    position p;
    @@
    - void f@p(...) { ... }

and ``instrumented()`` appends a ``script:python`` rule to it that writes each place it is given to
a file.  Different places count once each, however many ways an isomorphism finds to reach them.
The scripts' first line in that file proves that scripting works at all: spatch loads libpython at
run time, and where there is none it may leave the scripts out.

Results are kept under the hash of all that goes in: text, patch, macros, spatch's version, this
file.  Headers are never followed (``--no-includes``), so nothing else does go in.  Counts are kept
as found and compared with the manifest anew each time.

Limits: a rule that needs the type of an expression must declare it (``typedef KVMState;``), since
headers are not read.  Rule headers must start in the first column.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from graft_manifest import Entry, Problems

TIME_LIMIT_S = 180
PARSE_SUMMARY = re.compile(r"^nb good = \d+,\s+nb bad = (\d+)", re.MULTILINE)
RULE = re.compile(r"^@(?P<header>[^@]*)@(?P<variables>.*?)@@", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
HEADER_WORDS = {"depends", "extends", "using", "disable", "exists", "forall", "expression"}
POSITION = re.compile(r"\bposition\b([^;]*);")
COMPLAINT = re.compile(r"EXN|[Ff]atal error|already tagged token|parse error|semantic error|"
                       r"unable to find the Python library|Failure\(", re.MULTILINE)

COUNTER_HEAD = '''
@initialize:python@
@@
import os

def graft_note(*fields):
    with open(os.environ["GRAFT_MATCHES"], "a") as notes:
        notes.write("\\t".join(str(field) for field in fields) + "\\n")

graft_note("ready")
'''

COUNTER = '''
@script:python graft_count_{number}@
graft_places << {rule}.{position};
@@
for place in graft_places:
    graft_note("match", "{rule}", place.line, place.column)
'''


class SpatchError(Exception):
    """spatch could not be run, or could not make sense of the patch."""


@dataclass(frozen=True)
class Rule:
    name: str
    position: str
    line: int


@dataclass(frozen=True)
class Edited:
    text: bytes
    matches: dict[str, int]


def rules_of(patch: str) -> list[Rule]:
    """The SmPL rules of a patch in order; name or position is empty where there is none."""
    found = []
    bare = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), patch)
    place = 0
    while match := RULE.search(bare, place):
        place = match.end()
        words = match["header"].split()
        if words and words[0].startswith(("script:", "initialize:", "finalize:")):
            continue
        name = words[0] if words and words[0] not in HEADER_WORDS else ""
        line = bare.count("\n", 0, match.start()) + 1
        found.append(Rule(name, _own_position(match["variables"]), line))
    return found


def _own_position(variables: str) -> str:
    """The first position declared here and not inherited from another rule."""
    for declared in POSITION.findall(variables):
        for item in declared.split(","):
            name = re.split(r"[\s!=:]", item.strip(), maxsplit=1)[0]
            if re.fullmatch(r"[A-Za-z_]\w*", name) and name != "any":
                return name
    return ""


def check_rules(entry: Entry, patch: str, problems: Problems) -> None:
    """Every rule can be counted, and the manifest counts exactly these rules."""
    rules = rules_of(patch)
    for rule in rules:
        if not rule.name:
            problems.add(entry.path, f"line {rule.line}: a rule without a name cannot be counted")
        elif not rule.position:
            problems.add(entry.path, f"rule {rule.name} declares no position of its own, "
                                     "so its matches cannot be counted")
        elif rule.name not in entry.rules:
            problems.add(entry.path, f"rule {rule.name}: the manifest does not say how often "
                                     "it matches")
    for name in entry.rules.keys() - {rule.name for rule in rules}:
        problems.add(entry.path, f"rule {name} is in the manifest but not in the file")


def instrumented(patch: str) -> str:
    counters = [COUNTER.format(number=number, rule=rule.name, position=rule.position)
                for number, rule in enumerate(rules_of(patch))]
    return patch.rstrip("\n") + "\n" + COUNTER_HEAD + "".join(counters)


class Spatch:
    """spatch with its macro files and its cache of results.  Safe to use from several threads."""

    def __init__(self, cache: Path, macros: list[Path]) -> None:
        self.cache = cache / "spatch"
        self.macros = macros
        self._salt = b""
        self._program = ""
        self._macro_file = cache
        self._preparing = threading.Lock()

    def _prepare(self) -> None:
        with self._preparing:
            if not self._salt:
                self._find_program()

    def _find_program(self) -> None:
        """Of several --macro-file options spatch obeys the last only, so make it one file."""
        program = os.environ.get("SPATCH") or shutil.which("spatch")
        if not program:
            raise SpatchError("there is no spatch; install the package coccinelle")
        self._program = program
        version = subprocess.run([program, "--version"], env=self._environment(), text=True,
                                 capture_output=True, timeout=TIME_LIMIT_S, check=False).stdout
        macros = b"\n".join(macro.read_bytes() for macro in self.macros)
        self.cache.mkdir(parents=True, exist_ok=True)
        self._macro_file = self.cache / f"macros-{_digest(macros)}.h"
        _keep(self._macro_file, macros)
        self._salt = _digest(version.encode(), Path(__file__).read_bytes(), macros).encode()

    @staticmethod
    def _environment() -> dict[str, str]:
        """The system's own python3 first: its library is the one that the packages provide."""
        return {"HOME": os.environ.get("HOME", "/"), "LC_ALL": "C",
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def _run(self, arguments: list[str], folder: Path, **extra: str) -> tuple[int, str]:
        command = [self._program, "--macro-file", str(self._macro_file), *arguments]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True,
                                  env={**self._environment(), "TMPDIR": str(folder), **extra},
                                  timeout=TIME_LIMIT_S, check=False)
        except subprocess.TimeoutExpired:
            raise SpatchError(f"spatch took more than {TIME_LIMIT_S} s") from None
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def unparsed(self, name: str, text: bytes) -> int:
        """How many lines of a C text (of that file name) spatch fails to parse."""
        self._prepare()
        kept = self.cache / f"{_digest(self._salt, b'parse', name.encode(), text)}.json"
        if kept.exists():
            return int(json.loads(kept.read_text()))
        with tempfile.TemporaryDirectory(dir=self.cache) as scratch:
            folder = Path(scratch)
            (folder / name).write_bytes(text)
            _, said = self._run(["--parse-c", name], folder)
        summary = PARSE_SUMMARY.search(said)
        if not summary:
            raise SpatchError(f"spatch --parse-c gave no summary: {_gist(said)}")
        _keep(kept, json.dumps(int(summary[1])).encode())
        return int(summary[1])

    def apply(self, name: str, text: bytes, patch: str) -> Edited:
        """The text after the patch, and how often each rule matched."""
        self._prepare()
        key = _digest(self._salt, b"apply", name.encode(), text, patch.encode())
        kept, kept_text = self.cache / f"{key}.json", self.cache / f"{key}.text"
        if kept.exists() and kept_text.exists():
            return Edited(kept_text.read_bytes(), json.loads(kept.read_text()))
        with tempfile.TemporaryDirectory(dir=self.cache) as scratch:
            edited = self._apply(Path(scratch), name, text, patch)
        _keep(kept_text, edited.text)
        _keep(kept, json.dumps(edited.matches).encode())
        return edited

    def _apply(self, folder: Path, name: str, text: bytes, patch: str) -> Edited:
        work = folder / "work" / name
        work.parent.mkdir()
        work.write_bytes(text)
        (folder / "patch.cocci").write_text(instrumented(patch))
        notes = folder / "matches"
        status, said = self._run(
            ["--no-includes", "--no-show-diff", "--in-place", "--sp-file", "patch.cocci",
             str(work)], folder, GRAFT_MATCHES=str(notes))
        if status or COMPLAINT.search(said):
            raise SpatchError(f"spatch failed: {_gist(said)}")
        lines = notes.read_text().splitlines() if notes.exists() else []
        if "ready" not in lines:
            raise SpatchError("spatch ran no Python script, so nothing was counted; "
                              "install libpython3 for /usr/bin/python3")
        places = {tuple(line.split("\t")[1:]) for line in lines if line.startswith("match\t")}
        matches = {rule.name: 0 for rule in rules_of(patch)}
        for place in places:
            matches[place[0]] += 1
        return Edited(work.read_bytes(), matches)


def edit(entry: Entry, target: str, text: bytes, patch: str, spatch: Spatch,
         problems: Problems) -> bytes:
    """One checked edit: text after patch; text itself where there is a complaint."""
    name = os.path.basename(target)
    try:
        unparsed = spatch.unparsed(name, text)
        if unparsed != entry.unparsed:
            problems.add(entry.path, f"spatch fails to parse {unparsed} lines of {target}, "
                                     f"the manifest allows {entry.unparsed}")
            return text
        edited = spatch.apply(name, text, patch)
    except SpatchError as error:
        problems.add(entry.path, str(error))
        return text
    wrong = [(rule, want, edited.matches.get(rule, 0)) for rule, want in entry.rules.items()
             if edited.matches.get(rule, 0) != want]
    for rule, want, got in wrong:
        problems.add(entry.path, f"rule {rule} matched {got} times in {target}, declared {want}")
    changes = re.search(r"^[-+]", patch, re.MULTILINE)
    if not wrong and changes and edited.text == text and any(entry.rules.values()):
        problems.add(entry.path, f"matched, but left {target} as it was")
    return edited.text


def _digest(*parts: bytes) -> str:
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "little") + part)
    return state.hexdigest()[:40]


def _keep(path: Path, content: bytes) -> None:
    """Write a cache file whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
        part.write(content)
    os.replace(part.name, path)


def _gist(said: str) -> str:
    """The lines of spatch's output that say something, on one line."""
    lines = [line.strip() for line in said.splitlines()
             if line.strip() and not line.startswith(("init_defs", "HANDLING"))]
    return "; ".join(lines)[:600] or "no message"
