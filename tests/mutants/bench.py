# SPDX-License-Identifier: GPL-2.0-or-later
"""Where mutants are built and run: a copy of the tree, with a build directory of its own.

Theory of operation
===================

The copy is build/mutants/tree, with links to the bases.  sync() brings it up to date and touches
only what differs, so that what was built before need not be built again.  A mutant is written over
its file in the copy, the test program is built by what builds it otherwise (ninja, or the scripts
of tests/kernel and tests/fuzz, which find everything relative to themselves), run, and the file is
put back.  The tree itself is only ever read.

Whether a program does not build, or fails, is told apart by two steps for unit tests and by exit
status NOT_BUILT of the scripts for the others.

A test program runs in a session of its own.  However run() is left (the program ended, its time is
over, a signal ends the runner), every process of that session's group is killed: a mutant that
hangs would otherwise use a CPU for ever.  ends_with_signals() turns the signals that end the runner
into an exception, so that run() is left at all.

*Limits*: one run at a time in one tree; a lock sees to it.  SIGKILL of the runner leaves the test
program running.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mutants import TOP, VARIANTS, unit_tests

#: Exit status of tests/kernel/check-unit --only and tests/fuzz/run for what does not build.
NOT_BUILT = 3
FUZZ_RUNS = 20000
#: Signals that end the runner; Python itself handles the first.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LINKS = ("build/base", "build/venv")
ENV = {
    **os.environ,
    "PATH": "/usr/lib/ccache:" + os.environ.get("PATH", "/usr/bin:/bin"),
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


class NotBuilt(Exception):
    """A program does not build; the text is the end of the compiler's."""


@dataclass(frozen=True)
class Outcome:
    """What one run of a test program came to."""

    failed: bool
    how: str
    seconds: float


def _files() -> list[str]:
    """Every file of the tree that git knows, or would."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=TOP, capture_output=True, check=True).stdout.decode()
    return [name for name in listed.split("\0") if name and (TOP / name).is_file()]


def _last_words(text: str) -> str:
    """The line of a test's output that says most about its end."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines
               if any(word in line for word in ("ERROR", "SUMMARY", "does not hold", "not ok"))]
    return (telling or lines or [""])[0 if telling else -1][:200]


def ends_with_signals() -> None:
    """Leave by SystemExit at SIGTERM and SIGHUP, as Python leaves by KeyboardInterrupt at SIGINT."""
    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    for number in ENDING[1:]:
        signal.signal(number, leave)


def _kill_group(leader: int) -> None:
    """Kill every process that a session's leader has left in its group."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run_command(command: list[str], cwd: Path, timeout: float) -> tuple[int | None, str]:
    """Run a command in a session of its own; its exit status (None: no end), and its output."""
    # No signal between the start of the process and the `try` that ends it.
    old = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        with subprocess.Popen(
                command, cwd=cwd, env=ENV, text=True, errors="replace", stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, start_new_session=True,
                preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, old)) as process:
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, old)
                said = process.communicate(timeout=timeout)[0]
                return process.returncode, said
            except subprocess.TimeoutExpired:
                return None, ""
            finally:
                _kill_group(process.pid)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


class Bench:
    """The copy of the tree."""

    def __init__(self, place: Path = TOP / "build/mutants") -> None:
        self.tree = place / "tree"
        self.build = self.tree / "build/meson"
        self.units = unit_tests()
        self.built: set[str] = set()
        place.mkdir(parents=True, exist_ok=True)
        self._lock: IO[str] = (place / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"mutants: another run is at work in {place}") from None

    def sync(self) -> None:
        """Bring the copy up to date; only what differs is written."""
        wanted = set(_files())
        self.tree.mkdir(exist_ok=True)
        for name in wanted:
            source, target = TOP / name, self.tree / name
            if not target.is_file() or source.read_bytes() != target.read_bytes():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
            shutil.copymode(source, target)
        for folder, folders, names in os.walk(self.tree):
            if Path(folder) == self.tree:
                folders[:] = [name for name in folders if name != "build"]
            for name in names:
                path = Path(folder, name)
                if str(path.relative_to(self.tree)) not in wanted:
                    path.unlink()
        for name in LINKS:
            link = self.tree / name
            if not link.exists() and (TOP / name).exists():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to((TOP / name).resolve())

    def setup(self) -> None:
        """The copy's own build directory, once."""
        if (self.build / "build.ninja").exists():
            return
        meson = TOP / "build/venv/bin/meson"
        if not meson.exists():
            raise SystemExit("mutants: not configured yet; run ./configure")
        done = subprocess.run([str(meson), "setup", str(self.build), str(self.tree)], env=ENV,
                              text=True, capture_output=True, check=False)
        if done.returncode:
            raise SystemExit(f"mutants: meson could not set up {self.build}:\n{done.stdout[-2000:]}")

    def restore(self, file: str) -> None:
        self.write(file, (TOP / file).read_text("utf-8"))

    def write(self, file: str, text: str) -> None:
        """Put a source into the copy, unless it is that already."""
        target = self.tree / file
        if target.read_text("utf-8") != text:
            target.write_text(text, "utf-8")
            self.built.clear()

    def _unit(self, program: str) -> list[str]:
        """Build a unit test, once for each state of the copy; its command."""
        plain = program in self.units or program.rpartition("-")[2] not in VARIANTS
        target = f"tests/unit/test-{program}{'-plain' if plain else ''}"
        if program not in self.built:
            done = subprocess.run(["ninja", "-C", str(self.build), target], env=ENV, text=True,
                                  capture_output=True, check=False)
            if done.returncode:
                raise NotBuilt(done.stdout[-1500:])
            self.built.add(program)
        return [str(self.build / target), "--tap"]

    def command(self, program: str) -> list[str]:
        """Build what can be built beforehand; how the program is run."""
        kind, _, name = program.rpartition("/")
        if kind == "kernel":
            return [sys.executable, str(self.tree / "tests/kernel/check-unit"), "--only", name]
        if kind == "fuzz":
            return [sys.executable, str(self.tree / "tests/fuzz/run"), "--target", name,
                    "--runs", str(FUZZ_RUNS)]
        return self._unit(program)

    def run(self, program: str, timeout: float) -> Outcome:
        """Build a test program and run it once."""
        command = self.command(program)
        started = time.monotonic()
        status, said = run_command(command, self.tree, timeout)
        if status is None:
            return Outcome(True, f"no end within {timeout:.0f} s", timeout)
        if status == NOT_BUILT and "/" in program:
            raise NotBuilt(said[-1500:])
        return Outcome(status != 0, _last_words(said) if status else "",
                       time.monotonic() - started)
