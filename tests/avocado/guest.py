# SPDX-License-Identifier: GPL-2.0-or-later
"""The guests of the avocado tests, and what they run on.

Theory of operation
===================

A Guest is one QEMU, started through the base's own qemu.machine, with the
32-bit payload as its firmware and the payload's control channel on its serial
port.  The payload's protocol and the probe of /dev/kvm are the lab's (tests/lab/qlab).

tests/avocado/run sets these environment variables; a test that avocado starts
without it finds the values itself:

    QEMU_BINARY            the QEMU under test
    QEMU_LIVE_ACCEL        "kvm" or "tcg"
    QEMU_LIVE_ACCEL_WHY    why it is not kvm
    QEMU_LIVE_GUEST        directory of payload32.rom
    QEMU_LIVE_TIME_FACTOR  how much slower than usual this machine is

A QEMU dies with the test that started it (setpriv --pdeathsig), so a test
that avocado ends at its time limit leaves nothing behind.  A guest that dies
stays in its QEMU, so that report() can tell how.

*Limits*: the i440fx machine without devices but those that a test adds; 24 MiB of memory, one vCPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
BUILD = TOP / "build"

for folder in (TOP / "tests/lab", BUILD / "base/qemu/python"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from qemu.machine import QEMUMachine
from qemu.qmp.legacy import QMPReturnValue
from qlab import hostkvm
from qlab.payload import Payload, fields
from qlab.qmpnames import QUERY_DIRTY_RING

KVM = Path("/dev/kvm")
MEMORY_MIB = 24
#: Seconds that a test waits for one condition.
TIME_LIMIT = 60.0 * float(os.environ.get("QEMU_LIVE_TIME_FACTOR", "1"))


def qemu_binary(chosen: str | None = None) -> Path:
    """The QEMU under test: CHOSEN, else the environment's, else the build's."""
    named = chosen or os.environ.get("QEMU_BINARY")
    if named:
        return Path(named)
    ours, stock = (BUILD / name / "qemu-system-x86_64" for name in ("qemu", "stock"))
    return ours if ours.exists() else stock


def payload_rom() -> Path:
    """The guest's firmware, which is the payload."""
    return Path(os.environ.get("QEMU_LIVE_GUEST", BUILD / "guest")) / "payload32.rom"


def kvm_usable() -> str:
    """Why /dev/kvm cannot be opened; empty if it can."""
    if not KVM.exists():
        return "this machine has no /dev/kvm"
    return "" if os.access(KVM, os.R_OK | os.W_OK) else "/dev/kvm may not be opened"


def accelerator() -> tuple[str, str]:
    """The accelerator, and why it is not KVM."""
    known = os.environ.get("QEMU_LIVE_ACCEL")
    if known:
        return known, os.environ.get("QEMU_LIVE_ACCEL_WHY", "")
    why = kvm_usable()
    if not why:
        unfit = hostkvm.probe()
        why = f"/dev/kvm is unfit: {unfit}" if unfit else ""
    return ("tcg", why) if why else ("kvm", "")


def has_query(binary: Path) -> bool:
    """Whether BINARY has qemu-live's query-kvm-dirty-ring."""
    commands = ('{"execute": "qmp_capabilities"}'
                '{"execute": "query-commands"}{"execute": "quit"}')
    done = subprocess.run(
        [str(binary), "-machine", "none", "-accel", "tcg", "-nodefaults",
         "-display", "none", "-qmp", "stdio"], input=commands, text=True,
        capture_output=True, timeout=TIME_LIMIT, check=True)
    return f'"{QUERY_DIRTY_RING}"' in done.stdout


def preload(folder: Path, kernel: str) -> list[str]:
    """A command prefix that preloads KERNEL.c into QEMU."""
    if not kernel:
        return []
    library = folder / f"{kernel}.so"
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o",
                    str(library), str(HERE / f"{kernel}.c")], check=True, timeout=TIME_LIMIT)
    return ["env", f"LD_PRELOAD={library}"]


def machine(binary: Path, folder: Path, name: str, args: Sequence[str],
            prefix: Sequence[str] = ()) -> QEMUMachine:
    """A QEMU with a monitor, not started yet; its output is NAME.log in FOLDER."""
    return QEMUMachine(str(binary), args=args, name=name,
                       wrapper=["setpriv", "--pdeathsig", "KILL", *prefix],
                       base_temp_dir=str(folder), log_dir=str(folder),
                       qmp_timer=TIME_LIMIT)


def wait_until(what: str, condition: Callable[[], bool]) -> None:
    """Wait for CONDITION, or raise TimeoutError that says WHAT did not happen."""
    deadline = time.monotonic() + TIME_LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {TIME_LIMIT:.0f} s: {what}")
        time.sleep(0.05)


def read(path: Path) -> str:
    """A file of /proc, as one line."""
    try:
        return " ".join(path.read_text("utf-8").split())
    except OSError as err:
        return f"({err.strerror})"


class Guest:
    """One QEMU with the payload in it."""

    def __init__(self, binary: Path, folder: Path, name: str, accel: str,
                 ring: int = 0, incoming: bool = False,
                 prefix: Sequence[str] = (), cpu: str = "", devices: Sequence[str] = ()) -> None:
        self.name = name
        channel = folder / f"{name}.ctl"
        ring_size = f",dirty-ring-size={ring}" if ring else ""
        args = ["-machine", "pc,hpet=off,usb=off,vmport=off",
                "-accel", accel + ring_size,
                "-cpu", cpu or ("host" if accel == "kvm" else "max"),
                "-m", str(MEMORY_MIB), "-nodefaults", "-no-user-config",
                "-no-reboot", "-no-shutdown", "-bios", str(payload_rom()),
                "-chardev", f"socket,id=ctl,path={channel},server=on,wait=off",
                "-serial", "chardev:ctl", *devices]
        # Connect before the guest runs: a line that the payload sends before that is lost.
        args += ["-incoming", "defer"] if incoming else ["-S"]
        self.vm = machine(binary, folder, name, args, prefix)
        self.vm.launch()
        self.payload = Payload(channel)

    def cmd(self, command: str, **arguments: Any) -> QMPReturnValue:
        """A QMP command; an error is an exception."""
        return self.vm.cmd(command, **arguments)

    def status(self) -> str:
        """The run state, in QMP's words."""
        answer = self.cmd("query-status")
        assert isinstance(answer, dict)
        return str(answer["status"])

    def migration(self) -> dict[str, Any]:
        """query-migrate."""
        answer = self.cmd("query-migrate")
        assert isinstance(answer, dict)
        return answer

    def writes(self) -> int:
        """Pages that the payload has written so far."""
        return int(fields(self.payload.ask("stat", "stat", TIME_LIMIT))["writes"])

    def listen(self, transport: str, folder: Path) -> str:
        """Wait for an incoming migration; its URI."""
        if transport == "unix":
            uri = f"unix:{folder / 'migration'}"
            self.cmd("migrate-incoming", uri=uri)
            return uri
        self.cmd("migrate-incoming", uri="tcp:127.0.0.1:0")
        address = self.migration()["socket-address"][0]
        return f"tcp:127.0.0.1:{address['port']}"

    def tune(self, mib_per_s: int, downtime_ms: int) -> None:
        """Bandwidth, and the downtime at which migration may complete."""
        self.cmd("migrate-set-parameters", max_bandwidth=mib_per_s << 20,
                 downtime_limit=downtime_ms)

    def report(self) -> str:
        """The state of QEMU and its threads, for the log of a failure; never raises."""
        lines = [f"{self.name}:"]
        for command in ("info status", "info migrate", "info dirty_ring",
                        "info registers", "info registers"):
            try:
                lines.append(f"({command}) " + str(
                    self.cmd("human-monitor-command", command_line=command)))
            except Exception as err:  # pylint: disable=broad-except
                lines.append(f"({command}) {type(err).__name__}: {err}")
        for task in sorted(Path(f"/proc/{self.vm.get_pid()}/task").glob("*")):
            said = (read(task / item) for item in ("comm", "wchan", "schedstat", "stack"))
            lines.append(f"  {task.name}: " + " | ".join(said))
        return "\n".join(lines)

    def end(self) -> int | None:
        """Ask QEMU to quit; its exit status."""
        self.payload.close()
        self.vm.shutdown(timeout=int(TIME_LIMIT))
        return self.vm.exitcode()

    def kill(self) -> None:
        """End it whatever state it is in."""
        self.payload.close()
        self.vm.kill()
