# SPDX-License-Identifier: GPL-2.0-or-later
"""A CPU of L1 reads a device's register while another CPU changes where devices are.

Theory of operation
===================

Two `edu` devices; one process reads the register of the upper one that says what it is, and never
anything else, on one CPU.  Another process takes the lower one out of the memory map and puts it back
(PCI command register), on the other CPU.  Sections of the map that lie above the lower device get
other numbers each time.  Every value that the reader sees has to be the register's.

Without system/physmem.c.cocci the emulator reads other devices, or ends with an assertion.

*Limits*: needs two host CPUs that run at once to fail quickly; reads only, as a write to the wrong
device would be one to a device that L1 needs.
"""

import mmap
import os
import time
from pathlib import Path

from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="a register read is that register's while the memory map changes",
    time_limit=60,
    needs=(),
    suites=("full", "kernel"),
    own_binaries=True,
    append="iomem=relaxed",
    l1_devices=("-device", "edu", "-device", "edu"),
)

EDU = ("0x1234", "0x11e8")
IDENTIFICATION = 0x010000ed
COMMAND, MEMORY = 4, 2
SECONDS = 10.0


def devices() -> list[Path]:
    """The two of them, the lower one first."""
    found = [path for path in Path("/sys/bus/pci/devices").iterdir()
             if ((path / "vendor").read_text("ascii").strip(),
                 (path / "device").read_text("ascii").strip()) == EDU]
    return sorted(found, key=lambda path: int((path / "resource").read_text("ascii").split()[0], 16))


def read_on(upper: Path, cpu: int, answer: int) -> None:
    """Read until the pipe is closed at its other end; send the number of reads and of wrong ones."""
    os.sched_setaffinity(0, {cpu})
    until = time.monotonic() + SECONDS
    reads = wrong = 0
    with (upper / "resource0").open("r+b") as file, mmap.mmap(file.fileno(), 4096) as area:
        register = memoryview(area).cast("I")
        while time.monotonic() < until:
            for _ in range(1000):
                wrong += register[0] != IDENTIFICATION
            reads += 1000
        register.release()
    os.write(answer, f"{reads} {wrong}".encode())


def run(lab: Lab) -> None:
    """Read and remap for some seconds."""
    lower, upper = devices()
    for path in (lower, upper):
        (path / "enable").write_text("1", "ascii")
    answer, other_end = os.pipe()
    reader = os.fork()
    if reader == 0:
        try:
            read_on(upper, 0, other_end)
        finally:
            os._exit(0)
    os.close(other_end)
    os.sched_setaffinity(0, {1})
    changes = 0
    config = os.open(lower / "config", os.O_RDWR)
    command = os.pread(config, 1, COMMAND)[0]
    until = time.monotonic() + SECONDS - 1
    while time.monotonic() < until:
        os.pwrite(config, bytes([command ^ (MEMORY if changes % 2 == 0 else 0)]), COMMAND)
        changes += 1
    os.pwrite(config, bytes([command]), COMMAND)
    os.waitpid(reader, 0)
    reads, wrong = (int(word) for word in os.read(answer, 64).split() or (0, 0))
    lab.figures |= {"changes": changes, "reads": reads, "wrong": wrong}
    lab.check(reads > 0 and changes > 0, f"{reads} reads and {changes} changes of the map")
    lab.check(wrong == 0, f"{wrong} of {reads} reads gave another device's register")
