# SPDX-License-Identifier: GPL-2.0-or-later
"""No text has words that hide who acts, or a name that was given up.

A sentence names its actor first, then what it does: "the driver waits", not "nobody waits" or "what waits is
released".  Names are those of docs/glossary.md.

Limits: lint does not parse sentences; it looks for these words and forms only.  docs/results is not read: its
pages show the output of programs.
"""

import re
from collections.abc import Iterator

from tree import Planted, Tree

#: Between two words: spaces, or the end of a line and the begin of the next line of a comment.
GAP = r"(?:[ \t]+|[ \t]*\n[ \t]*(?:\*|//|#)?[ \t]*)"
WHAT_IS = r"what (?:is|are|was|were)(?: (?!what\b)[\w'-]+){0,6} (?:is|are|was|were)"
#: Words for prose, and what to write instead.
WORDS = {
    r"whoever|whomever|whosoever": "name the actor",
    r"nobody|somebody": "name the actor: the caller, the driver, no thread",
    r"(?-i:of ours)": "say whose: of this repository, of QEMU",
    r"half-?way|half way": "say how far",
    r"amid|amidst": "during, between",
    r"such (?!as\b|that\b)[\w-]+ as": "like, or the list itself",
    r"even if (?:it|they) would": "say why it cannot",
    WHAT_IS: "begin with the noun: \"mapped pages are\"",
}
#: Names that were given up, and their successors.
NAMES = {
    r"heed(?:s|ed)?": "notify_from_flags, obey",
    r"disown(?:s|ed)?|VdpaMapOwn\w*": "unmap_host_bufs, VdpaHostBuf",
    r"VdpaLife|vdpa-life|vdpa_life": "VdpaStatus, vdpa-status",
    r"VdpaUser": "VdpaFrontendOps",
    r"vdpa-traits|vdpa_traits\w*": "vdpa-quirks",
    r"MODE_DIRECT|VDPA_MODE_DIRECT": "VDPA_MODE_PASSTHROUGH",
    r"condemn(?:s|ed)?|carry_out": "queue_unmap, apply",
    r"bury|bury_\w+|buried|forgiv(?:e|es|en)": "free_done, reset",
    r"stand_still|still_ns": "quiesce, stopped_ns",
    r"nagain|agained": "n_replay, replayed",
    r"dirty_ring_settle": "dirty_ring_wait_published",
    r"\w+_nonsense": "spurious_full, malformed",
    r"vv_\w+": "vhost_vdpa_",
}
#: File, word, and why it is right there.
ALLOWED = {
    ("tests/lab/scenarios/vdpa-netlink.py", "nobody"): "the Unix user",
}
SKIPPED = ("LICENSE", "docs/results/", "tests/lint/")
PATTERN = re.compile("|".join(rf"\b(?:{words})\b" for words in (*WORDS, *NAMES)).replace(" ", GAP), re.IGNORECASE)
ADVICE = [(re.compile(words.replace(" ", GAP), re.IGNORECASE), advice) for words, advice in {**WORDS, **NAMES}.items()]
PLANTED = (
    Planted('planted.md:2: "whoever": name the actor', {"planted.md": "# Page\nWho" "ever calls it.\n"}),
    Planted('planted.c:1: "some' 'body"', {"planted.c": "/* Some" "body waits. */\n"}),
    Planted('planted.c:1: "of ours"', {"planted.c": "/* A thread of\n * ours waits. */\n"}),
    Planted('planted.toml:1: "half way"', {"planted.toml": 'reason = "stops half ' 'way"\n'}),
    Planted('planted.py:1: "what is mapped is"', {"planted.py": "# What is mapped\n# is pinned.\n"}),
    Planted('planted.md:1: "such pages as"', {"planted.md": "such pages as are dirty\n"}),
    Planted('planted.c:1: "vv_open": vhost_vdpa_', {"planted.c": "int vv" "_open(void);\n"}),
    Planted('planted.c:1: "still_ns": quiesce, stopped_ns', {"planted.c": "int still" "_ns;\n"}),
)


def check(tree: Tree) -> Iterator[str]:
    for path in tree.files:
        name = tree.name(path)
        if name.startswith(SKIPPED):
            continue
        text = tree.text(path)
        for found in PATTERN.finditer(text):
            words = " ".join(re.sub(r"\n[ \t]*(\*|//|#)?", " ", found[0]).split()).lower()
            if (name, words) not in ALLOWED:
                advice = next(advice for pattern, advice in ADVICE if pattern.fullmatch(found[0]))
                yield f'{name}:{text.count(chr(10), 0, found.start()) + 1}: "{words}": {advice}'
