# SPDX-License-Identifier: GPL-2.0-or-later
"""Are the commands that a document shows commands that exist?

Theory of operation
-------------------
Blocks of commands are indented by four spaces, or fenced without `text`.  Each line is one of

    make TARGET, ./configure ...           asked of make -n, and of --help
    PROGRAM of the repository              it exists; each --option is in its --help, or in its text
    tests/lab/lab run NAME                 `lab list` has the scenario
    qemu-system-x86_64 ..., -option ...    -help has the option; types and properties are asked of QEMU by QMP
    (qemu) COMMAND                         the monitor's help has it
    { "execute": ... }                     the QMP schema has the command and its arguments
    a command of the host                  its name is in HOST; the modules that modprobe loads exist

Nothing is executed.  Lines that are no command (output, XML) begin as SHOWN says.

*Limits*: arguments other than names of options, scenarios, types and properties are not looked at; what
the host's own commands are given is not, either.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
QEMU = TOP / "build/qemu/qemu-system-x86_64"
HOST = {"virsh", "vdpa", "ip", "echo", "ls", "apt", "dkms", "mokutil", "cd", "ninja", "debootstrap", "git", "export",
        "$EDITOR", "cat", "insmod", "rmmod"}
STOCK_MODULES = {"virtio_net", "vhost", "virtio_blk", "kvm_intel"}
#: Where ./configure and make begin, and how lines of output and of XML do.
SHOWN = re.compile(r"^(<|\.\.\.|/dev/vhost-vdpa|queue \d|memory: |launches |[A-Z]{2,}|[a-z ]+ (address|index|entry)\b)")
MEMBERS = ("-accel", "-device", "-object", "-netdev", "-machine")


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """Lines of commands, with their numbers; a line that ends in a backslash is joined to the next."""
    fence, joined, begun, before = "", "", 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fence = "" if fence else line
            continue
        indented = not fence and line.startswith("    ") and not before.startswith(("- ", "* "))
        shown = indented or fence not in ("", "```text")
        if line.strip() and not fence and not line.startswith("    "):
            before = line
        if not shown:
            joined = ""
            continue
        begun = begun if joined else number
        joined += line.strip()
        if joined.endswith("\\"):
            joined = joined[:-1]
            continue
        yield begun, joined
        joined = ""


@cache
def output(*command: str) -> str:
    """What a program says, on both channels."""
    done = subprocess.run(command, cwd=TOP, text=True, capture_output=True, timeout=120, check=False,
                          stdin=subprocess.DEVNULL)
    return done.stdout + done.stderr


class Monitor:
    """A QEMU without a machine, asked by QMP."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [QEMU, "-machine", "none", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout
        self.process.stdout.readline()
        self.ask("qmp_capabilities")
        self.schema = {entry["name"]: entry for entry in self.ask("query-qmp-schema")}

    def ask(self, command: str, **arguments: Any) -> Any:
        """The answer; None if it is an error."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        while True:
            answer = json.loads(self.process.stdout.readline())
            if "return" in answer or "error" in answer:
                return answer.get("return")

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()

    def human(self, command: str) -> str:
        """What the human monitor answers."""
        return str(self.ask("human-monitor-command", **{"command-line": command}))

    def members(self, type_name: str) -> set[str]:
        """Members of a type of the schema, with those of its variants."""
        entry = self.schema[type_name]
        found = {member["name"] for member in entry.get("members", []) if isinstance(member, dict)}
        for variant in entry.get("variants", []):
            found |= self.members(variant["type"])
        return found

    def properties(self, type_name: str) -> set[str] | None:
        """Properties of a type; None if there is no type of that name."""
        for command in ("device-list-properties", "qom-list-properties"):
            answer = self.ask(command, typename=type_name)
            if answer is not None:
                return {entry["name"] for entry in answer}
        return None


def help_options(text: str) -> set[str]:
    """Options with two dashes in a text."""
    return set(re.findall(r"--[a-z][a-z-]*", text))


def program(words: list[str]) -> Iterator[str]:
    """A program of this repository: does it exist, and has it these options?"""
    path = TOP / words[0]
    if not path.is_file():
        yield f"{words[0]} does not exist"
        return
    run = words[:2] if words[0] == "tests/lab/lab" and len(words) > 1 else words[:1]
    given = {word.split("=")[0] for word in words[1:] if word.startswith("--")}
    known = help_options(path.read_text("utf-8", "replace"))
    if given - known:
        known |= help_options(output(str(path), *run[1:], "--help"))
    yield from (f"{words[0]} has no option {option}" for option in sorted(given - known - {"--help"}))
    if run[1:] == ["run"]:
        names = {line.split()[0] for line in output(str(path), "list").splitlines() if line.strip()}
        names |= {name.split("/")[0] for name in names}
        skip = False
        for word in words[2:]:
            if not word.startswith("-") and not skip and not any(fnmatchcase(name, word) for name in names):
                yield f"the lab has no scenario {word}"
            skip = word.startswith("--") and "=" not in word and word not in (
                "--stock", "--host-kvm", "--keep", "--no-lock")


@cache
def targets() -> frozenset[str]:
    """Targets of the Makefile."""
    rules = re.findall(r"^([a-z][a-z -]*):", (TOP / "Makefile").read_text(), re.MULTILINE)
    suites = tomllib.loads((TOP / "tests/suites.toml").read_text())
    return frozenset({name for rule in rules for name in rule.split()} | {f"check-{name}" for name in suites})


def make(words: list[str]) -> Iterator[str]:
    """Targets of the Makefile; DEMO_ARGS and BENCH_ARGS hold options of the demo and the benches."""
    for word in words:
        if "=" not in word and word not in targets() and not word.isupper() and "SUITE" not in word:
            yield f"make has no target {word}"
        elif word.startswith("DEMO_ARGS="):
            yield from program(["scripts/demo", *word.partition("=")[2].split()])
        elif word.startswith("FUZZ_ARGS="):
            yield from program(["tests/fuzz/run", *word.partition("=")[2].split()])


def qemu_members(monitor: Monitor, option: str, value: str) -> Iterator[str]:
    """The type and the properties that an option names."""
    first, *rest = value.split(",")
    given = [word.split("=")[0] for word in rest if word and word != "..."]
    if option == "-netdev":
        kinds = monitor.members(monitor.schema["netdev_add"]["arg-type"])
        variants = {variant["case"]: variant["type"]
                    for variant in monitor.schema[monitor.schema["netdev_add"]["arg-type"]]["variants"]}
        known = monitor.members(variants[first]) if first in variants else None
        given = [word for word in given if word not in ("id",) and kinds]
    elif option == "-machine":
        names = {name: machine["name"] for machine in monitor.ask("query-machines")
                 for name in (machine["name"], machine.get("alias", ""))}
        if "=" in first:
            first, given = "q35", [first.split("=")[0], *given]
        known = monitor.properties(f"{names[first]}-machine") if first in names else None
    else:
        known = monitor.properties(f"{first}-accel" if option == "-accel" else first)
    if known is None:
        yield f"{option} has no type {first}"
    else:
        yield from (f"{option} {first} has no property {name}" for name in given if name not in known | {"id"})


def qemu(monitor: Monitor, words: list[str]) -> Iterator[str]:
    """Options of QEMU, and what is in them."""
    known = set(re.findall(r"^(-[a-z][\w-]*)", output(str(QEMU), "-help"), re.MULTILINE))
    for number, word in enumerate(words):
        if re.match(r"-[a-z]", word):
            if word not in known:
                yield f"QEMU has no option {word}"
            elif word in MEMBERS:
                yield from qemu_members(monitor, word, words[number + 1])


def human(monitor: Monitor, line: str) -> Iterator[str]:
    """A command of the human monitor."""
    words = line.split()
    about = monitor.human("help info" if words[0] == "info" else "help")
    known = re.findall(r"^(info \S+|[\w|]+)", about, re.MULTILINE)
    name = " ".join(words[:2]) if words[0] == "info" else words[0]
    if not any(name in entry.split("|") for entry in known):
        yield f"the monitor has no command {name}"
    for command, member in (("migrate_set_parameter", "migrate-set-parameters"),):
        if words[0] == command and words[1] not in monitor.members(monitor.schema[member]["arg-type"]):
            yield f"migration has no parameter {words[1]}"
    if words[0] == "migrate_set_capability" and f"{words[1]}:" not in monitor.human("info migrate_capabilities"):
        yield f"migration has no capability {words[1]}"


def qmp(monitor: Monitor, line: str) -> Iterator[str]:
    """A command of QMP."""
    try:
        asked = json.loads(line)
    except ValueError as error:
        yield f"no JSON: {error}"
        return
    entry = monitor.schema.get(asked["execute"], {})
    if entry.get("meta-type") != "command":
        yield f"QMP has no command {asked['execute']}"
        return
    known = monitor.members(entry["arg-type"])
    given = asked.get("arguments", {})
    yield from (f"{asked['execute']} has no argument {name}" for name in given if name not in known)


def modules(words: list[str]) -> Iterator[str]:
    """Modules that modprobe is to load."""
    ours = (TOP / "kernel/dkms.conf.in").read_text()
    for word in words:
        if "=" not in word and word not in STOCK_MODULES and not re.search(rf"\b{word}\b", ours):
            yield f"there is no module {word}"


def line_complaints(monitor: Monitor, line: str) -> Iterator[str]:
    """What is wrong with one line."""
    if line.startswith("(qemu) "):
        yield from human(monitor, line.removeprefix("(qemu) "))
        return
    if line.startswith("{"):
        yield from qmp(monitor, line)
        return
    for part in re.split(r" && |; ", re.sub(r"\s#.*", "", line)):
        try:
            words = [word for word in shlex.split(part, comments=True) if word != "..."]
        except ValueError as error:
            yield f"no command of the shell: {error}"
            continue
        while words and (words[0] == "sudo" or re.match(r"[A-Za-z_]+=", words[0])):
            words.pop(0)
        if not words or SHOWN.match(words[0] + " " + " ".join(words[1:])):
            continue
        name = words[0].removeprefix("./")
        if name.rpartition("/")[2] == "qemu-system-x86_64" or words[0].startswith("-"):
            yield from qemu(monitor, words)
        elif name == "make":
            yield from make(words[1:] if words[1:2] != ["-C"] else [])
        elif name == "modprobe":
            yield from modules(words[1:])
        elif "/" in name or name == "configure":
            if name.startswith("build/"):
                continue
            yield from program([name, *words[1:]])
        elif name not in HOST:
            yield f"{name} is no command that is known here"


def complaints(monitor: Monitor, path: Path) -> Iterator[str]:
    """What is wrong with the commands of a document."""
    for number, line in blocks(path.read_text("utf-8")):
        if not SHOWN.match(line):
            yield from (f"{path.name}:{number}: {what}" for what in line_complaints(monitor, line))
