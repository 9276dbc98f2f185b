# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU with one of the payloads in it, for the payloads' own tests.

Theory of operation
===================

`Machine` starts a QEMU under plain TCG and listens for it: control port and
monitor are sockets that QEMU connects to, so nothing that the payload says can
be said before the test listens. Guest RAM is a shared file in /dev/shm, which
the test maps too: `machine.ram` is the guest's memory, behind the guest's back,
and since nothing here has more than 3 GiB an offset in it is a guest address.

Everything has a time limit; a machine that is left is killed.

*Limits*: this is not the lab's runner. It knows no KVM and no nesting, so that
the payloads can be tested in a minute, anywhere.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGE = 4096
TOP = Path(__file__).resolve().parents[3]
FIRMWARE = ("/usr/share/seabios", "/usr/share/qemu", "/usr/lib/ipxe/qemu")
APPEND = ("console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check mitigations=off nokaslr "
          "random.trust_cpu=on cryptomgr.notests rcupdate.rcu_expedited=1 audit=0")


class MachineError(AssertionError):
    """The machine or its payload did not do what it was told."""


def qemu_path() -> Path:
    """The QEMU to test with."""
    return Path(os.environ.get("QEMU_LIVE_QEMU", TOP / "build/qemu/qemu-system-x86_64"))


def kernel_path() -> Path:
    """The Linux payload's kernel: uncompressed if there is one, which saves a second."""
    kernel = Path(os.environ.get("QEMU_LIVE_KERNEL", TOP / "build/kernels/6.1/vmlinux"))
    return kernel if kernel.exists() else kernel.with_name("vmlinuz")


def guest_directory() -> Path:
    """Where the built payloads are."""
    return Path(os.environ.get("QEMU_LIVE_GUEST", TOP / "build/guest"))


class Line:
    """One end of a socket that speaks lines."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._listener.settimeout(30)
        self._socket: socket.socket | None = None
        self._buffer = b""

    def accept(self) -> None:
        """Wait until QEMU is there."""
        self._socket, _ = self._listener.accept()

    def close(self) -> None:
        """Leave."""
        self._listener.close()
        if self._socket:
            self._socket.close()

    def send(self, line: str) -> None:
        """Say a line."""
        assert self._socket
        self._socket.sendall(line.encode() + b"\n")

    def read(self, limit: float) -> str:
        """Hear a line; MachineError if none comes in LIMIT seconds."""
        assert self._socket
        end = time.monotonic() + limit
        while b"\n" not in self._buffer:
            self._socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                raise MachineError(f"nothing in {limit} s but {self._buffer!r}") from None
            if not data:
                raise MachineError(f"the other end left, last words {self._buffer!r}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode("ascii", "replace").strip()

    def silent(self, seconds: float) -> bool:
        """Whether nothing is heard for that long."""
        try:
            self.read(seconds)
        except MachineError:
            return not self._buffer
        return False


def fields(line: str) -> Mapping[str, str]:
    """`word a=1 b=2` as a mapping."""
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


class Machine:
    """A running QEMU."""

    def __init__(self, kind: str, vcpus: int = 1, mem: int = 64, load: int = 0,
                 machine: str = "pc", incoming: str = "", serial: int = 2) -> None:
        self.kind = kind
        self.directory = Path(tempfile.mkdtemp(prefix="payload-", dir="/dev/shm"))
        self.control = Line(self.directory / "ctl")
        self._qmp = Line(self.directory / "qmp")
        self.ram_path = self.directory / "ram"
        with (self.directory / "stderr").open("wb") as said_to:
            self.process = subprocess.Popen(
                self._command(vcpus, mem, load, machine, incoming, serial),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said_to)
        try:
            self._qmp.accept()
            self.control.accept()
            self._qmp.read(30)
            self.qmp("qmp_capabilities")
        except (MachineError, OSError) as error:
            said = (self.directory / "stderr").read_text("utf-8", "replace")
            self.close()
            raise MachineError(f"{qemu_path()} did not start: {error}: {said}") from error
        with self.ram_path.open("r+b") as file:
            self.ram = mmap.mmap(file.fileno(), mem << 20)

    def _command(self, vcpus: int, mem: int, load: int, machine: str, incoming: str,
                 serial: int) -> list[str]:
        words = ["nice", "-n", "5", str(qemu_path())]
        for path in FIRMWARE:
            words += ["-L", path]
        words += [
            "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(vcpus), "-m", str(mem),
            "-object", f"memory-backend-file,id=ram,size={mem}M,mem-path={self.ram_path},share=on",
            "-machine", f"{machine},memory-backend=ram", "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot",
            "-chardev", f"socket,id=qmp,path={self.directory / 'qmp'}",
            "-mon", "chardev=qmp,mode=control",
            "-chardev", f"socket,id=ctl,path={self.directory / 'ctl'}",
        ]
        if serial == 2:
            words += ["-serial", f"file:{self.directory / 'console'}"]
        words += ["-serial", "chardev:ctl"]
        words += self._payload(load)
        return words + (["-incoming", incoming] if incoming else [])

    def _payload(self, load: int) -> list[str]:
        guest = guest_directory()
        if self.kind == "payload32":
            limit = ["-fw_cfg", f"name=opt/load.mb,string={load}"] if load else []
            return ["-bios", str(guest / "payload32.rom"), *limit]
        append = APPEND + (f" load.mb={load}" if load else "")
        return ["-kernel", str(kernel_path()), "-initrd", str(guest / "init.cpio.gz"),
                "-append", append]

    def close(self) -> None:
        """End it, whatever state it is in, and leave nothing behind."""
        self.process.kill()
        self.process.wait(30)
        self.control.close()
        self._qmp.close()
        if hasattr(self, "ram"):
            self.ram.close()
        shutil.rmtree(self.directory)

    # --- monitor ---------------------------------------------------------

    def qmp(self, command: str, limit: float = 30, **arguments: Any) -> Any:
        """One monitor command; what it returned."""
        self._qmp.send(json.dumps({"execute": command, "arguments": arguments}))
        while True:
            answer = json.loads(self._qmp.read(limit))
            if "error" in answer:
                raise MachineError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def migrate(self, uri: str, limit: float = 60) -> None:
        """Send this machine to another, as fast as it goes."""
        self.qmp("migrate-set-parameters", **{"max-bandwidth": 0, "downtime-limit": 5000})
        self.qmp("migrate", uri=uri)
        end = time.monotonic() + limit
        while time.monotonic() < end:
            info = self.qmp("query-migrate")
            if info["status"] == "completed":
                return
            if info["status"] == "failed":
                raise MachineError(f"migration failed: {info}")
            time.sleep(0.05)
        raise MachineError("the migration did not end")

    # --- payload ---------------------------------------------------------

    def wait_ready(self, limit: float = 120) -> int:
        """Wait until the payload is up; its number of pages."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            line = self.control.read(limit)
            if line.startswith("ready "):
                return int(fields(line)["pages"])
        raise MachineError("never ready")

    def ask(self, line: str, limit: float = 60) -> str:
        """Say a line to the payload; its answer."""
        self.control.send(line)
        while True:
            answer = self.control.read(limit)
            if answer and not answer.startswith("ready "):
                return answer

    def order(self, line: str) -> None:
        """Say a line that must be answered by ok."""
        answer = self.ask(line)
        if answer != "ok":
            raise MachineError(f"{line}: {answer}")

    def stat(self) -> dict[str, int]:
        """The payload's state."""
        return {name: int(value) for name, value in fields(self.ask("stat")).items()}

    def writes(self) -> int:
        """How many pages the payload has written."""
        return self.stat()["writes"]

    def verify(self) -> Mapping[str, str]:
        """What the memory oracle says."""
        return fields(self.ask("verify"))

    # --- memory ----------------------------------------------------------

    def page(self, gfn: int) -> bytes:
        """A page of the guest's memory."""
        return self.ram[gfn * PAGE:(gfn + 1) * PAGE]

    def set_page(self, gfn: int, content: bytes) -> None:
        """Change a page of the guest's memory behind its back."""
        self.ram[gfn * PAGE:(gfn + 1) * PAGE] = content
