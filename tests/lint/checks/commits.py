# SPDX-License-Identifier: GPL-2.0-or-later
"""Commit messages have the form `component: Imperative` (at most 72 columns), and a body that says why."""

import re
from collections.abc import Iterator

from checks.language import PATTERN as HIDES_ACTOR
from tree import RULES, Planted, Skipped, Tree

SUBJECT = re.compile(r"[\w./{}*+-]+(?:, [\w./{}*+-]+)*: ([A-Z][a-z-]+)\b")
COLUMNS = 72
#: Verbs whose last letters look like those of another form.
IMPERATIVES = {"Bring", "Feed", "Need", "Embed", "Exceed", "Speed", "Shed", "Proceed", "Seed"}
FIXES = re.compile(r'Fixes: [0-9a-f]{12,40} \(".+"\)')
#: The rule holds for the commits since the one that added this file.
SINCE = "tests/lint/requirements.txt"

WHY = "\n\nThe reason.\n"
PLANTED = (Planted("more than 72", {"a": ""}, f"component: Plant a subject {'very ' * 10}long{WHY}"),
           Planted("not `component: Imperative`", {"a": ""}, f"Plant a subject{WHY}"),
           Planted("`Planted` is not an imperative", {"a": ""}, f"component: Planted a fault{WHY}"),
           Planted('the subject has "some' 'body"', {"a": ""}, f"component: Plant some{'body'}{WHY}"),
           Planted("no body that says why", {"a": ""}, "component: Plant a subject\n"),
           Planted("no `Fixes: HASH", {"a": ""}, f"component: Plant a subject{WHY}\nFixes: 0123abc\n"),
           Planted("no body that says why", {"a": ""}, 'component: Plant\n\nFixes: 0123456789ab ("a: B")\n'))


def complaints(message: str) -> Iterator[str]:
    """The faults of one commit message."""
    subject, _, body = message.partition("\n")
    if len(subject) > COLUMNS:
        yield f"the subject has {len(subject)} characters, more than {COLUMNS}"
    found = SUBJECT.match(subject)
    if not found:
        yield "the subject is not `component: Imperative`"
    elif re.search(r"(ed|ing|[^s]s)$", found[1]) and found[1] not in IMPERATIVES:
        yield f"`{found[1]}` is not an imperative"
    yield from (f'the subject has "{words[0]}": check language' for words in HIDES_ACTOR.finditer(subject))
    trailers = [line for line in body.splitlines() if re.match(r"fixes\b *:", line, re.I)]
    for line in trailers:
        if not FIXES.fullmatch(line):
            yield f'`{line}` is no `Fixes: HASH ("SUBJECT")` with 12 digits or more'
    if not [line for line in body.splitlines() if line.strip() and line not in trailers]:
        yield "there is no body that says why"


def git_log(tree: Tree, *arguments: str) -> str:
    done = tree.spawn("git", "log", *arguments)
    if done.returncode:
        raise Skipped("this tree is no git repository")
    return done.stdout


def check(tree: Tree) -> Iterator[str]:
    since = git_log(tree, "--diff-filter=A", "--format=%H", "--", SINCE).split()
    log = git_log(tree, "--no-merges", "-z", "--format=%H%n%B", f"{since[-1]}^..HEAD" if since else "-1")
    published = {line.split()[0] for line in (RULES / "commits.txt").read_text("utf-8").splitlines()}
    for entry in filter(None, log.split("\0")):
        name, _, message = entry.partition("\n")
        if name in published:
            continue
        for complaint in complaints(message.strip()):
            yield f"commit {name[:12]}: {complaint}"
