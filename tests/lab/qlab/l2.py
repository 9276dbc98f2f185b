# SPDX-License-Identifier: GPL-2.0-or-later
"""Nested guests: start them, talk to them, end them.

Theory of operation
===================

A Guest is one QEMU process with a monitor, a console log and the payload's
control socket.  `GuestSpec` is what it is made of; source and destination of a
migration are made of the same spec, and `spec.incoming()` is the destination's.
Guest RAM lies in a shared file on tmpfs by default, so that the second oracle
(oracle.py) can compare both sides' memory through mmap while both are paused;
`ram="anon"` is the ordinary anonymous memory, compared through pmemsave.

Every guest's end is deferred to the Lab, so none outlives its scenario.

*Limits*: i440fx machine with the fewest devices that boot; what migrates in a
scenario's guest is RAM, CPUs and that machine.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from .context import Lab
from .payload import Payload
from .qmp import Qmp, QmpGone, QmpTimeout

FIRMWARE = ("/usr/share/seabios", "/usr/share/qemu", "/usr/lib/ipxe/qemu")

#: Without the paravirtual features through which KVM itself writes guest RAM
#: when a vCPU's thread goes to sleep (steal time's `preempted` byte) or after
#: an exit: such a write comes after the last sync of a stopped guest, so the
#: source's RAM would differ from what was, rightly, migrated.
CPU = "host,kvm-steal-time=off,kvm-pv-eoi=off,kvm-asyncpf=off,kvm-asyncpf-int=off"

LINUX_APPEND = ("console=ttyS0 quiet panic=-1 oops=panic tsc=reliable "
                "no_timer_check mitigations=off nokaslr random.trust_cpu=on "
                "cryptomgr.notests rcupdate.rcu_expedited=1 audit=0")


@dataclass(frozen=True)
class GuestSpec:
    """What a guest is made of."""

    qemu: Path
    kind: str = "linux"  # or "payload32"
    mem: int = 192  # MiB
    cpus: int = 1
    ring: int = 0  # dirty-ring-size; 0 is bitmap mode
    load_mb: int = 0  # how much the payload stamps; 0 is nearly all
    ram: str = "file"  # or "anon"
    extra: tuple[str, ...] = ()
    wait: str | None = None  # -incoming argument
    append: str = ""
    initrd: Path | None = None  # instead of the plain payload
    memlock: int = 0  # MiB that QEMU may pin; 0 is no limit

    def incoming(self, uri: str = "defer", **changes: object) -> GuestSpec:
        """The destination for a guest of this spec."""
        return replace(self, wait=uri, **changes)  # type: ignore[arg-type]


@dataclass
class Guest:
    """One running QEMU."""

    lab: Lab
    spec: GuestSpec
    name: str
    process: subprocess.Popen[bytes]
    qmp: Qmp
    payload: Payload
    ram_file: Path | None
    started: float = field(default_factory=time.monotonic)

    def wait_ready(self, timeout: float = 60.0) -> float:
        """Wait for the payload; seconds since the guest was started."""
        self.payload.wait_ready(timeout)
        return time.monotonic() - self.started

    def alive(self) -> bool:
        """Whether QEMU runs."""
        return self.process.poll() is None

    def status(self) -> str:
        """The run state, in QMP's words."""
        return str(self.qmp.cmd("query-status")["status"])

    def stderr(self) -> str:
        """What QEMU wrote on stderr."""
        return (self.lab.out / f"{self.name}.log").read_text("utf-8", "replace")

    def pinned(self) -> int:
        """Bytes of its memory that are pinned, by the kernel's account."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text("ascii").splitlines():
            if line.startswith("VmPin:"):
                return int(line.split()[1]) << 10
        raise LookupError("VmPin")

    def allow_pinning(self, limit: int = resource.RLIM_INFINITY) -> None:
        """Change the limit on bytes it may pin."""
        resource.prlimit(self.process.pid, resource.RLIMIT_MEMLOCK,
                         (limit, resource.RLIM_INFINITY))

    def kill(self) -> None:
        """SIGKILL, and wait until the process and its VM are gone."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)
        self._release()

    def quit(self, timeout: float = 20.0) -> None:
        """End it through the monitor; a QEMU that does not end is an error."""
        self.lab.watched.pop(self.name, None)
        try:
            self.qmp.cmd("quit", timeout=timeout)
        except QmpGone:
            pass
        try:
            self.process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise QmpTimeout(f"{self.name} did not end on quit") from None
        finally:
            self._release()

    def _release(self) -> None:
        """Give the guest's RAM file back."""
        self.qmp.close()
        self.payload.close()
        if self.ram_file:
            self.ram_file.unlink(missing_ok=True)

    def stack_report(self) -> str:
        """What the QEMU's threads are doing, for the log of a hang."""
        lines = [f"{self.name}: pid {self.process.pid}"]
        tasks = Path(f"/proc/{self.process.pid}/task")
        for task in sorted(tasks.iterdir()) if tasks.exists() else []:
            parts = []
            for item in ("comm", "wchan", "stat", "stack"):
                try:
                    text = (task / item).read_text("utf-8").strip()
                except OSError:
                    text = "?"
                parts.append(" ".join(text.split()[:16] if item == "stat" else [text]))
            lines.append(f"  {task.name}: " + " | ".join(parts))
        return "\n".join(lines)


def command(lab: Lab, spec: GuestSpec, name: str, ram_file: Path | None) -> list[str]:
    """The nested QEMU's command line."""
    accel = "kvm" + (f",dirty-ring-size={spec.ring}" if spec.ring else "")
    limit = ("prlimit", f"--memlock={spec.memlock << 20}:unlimited", "--")
    words = [*(limit if spec.memlock else ()), str(spec.qemu)]
    for path in FIRMWARE:
        words += ["-L", path]
    machine = "pc,hpet=off,usb=off,vmport=off"
    if ram_file:
        words += ["-object", f"memory-backend-file,id=ram,size={spec.mem}M,"
                  f"mem-path={ram_file},share=on,align=2M"]
        machine += ",memory-backend=ram"
    words += [
        "-name", f"{name},debug-threads=on", "-machine", machine,
        "-accel", accel, "-cpu", CPU, "-smp", str(spec.cpus),
        "-m", str(spec.mem), "-nodefaults", "-no-user-config",
        "-display", "none", "-no-reboot",
        "-serial", f"file:{lab.out / name}.console",
        "-chardev", f"socket,id=ctl,path={lab.tmp / name}.ctl,server=on,wait=off",
        "-serial", "chardev:ctl",
        "-qmp", f"unix:{lab.tmp / name}.qmp,server=on,wait=off",
    ]
    words += [*payload_words(lab, spec), "-S"]
    if spec.wait is not None:
        words += ["-incoming", spec.wait]
    return words + list(spec.extra)


def payload_words(lab: Lab, spec: GuestSpec) -> list[str]:
    """The part of the command line that is the payload."""
    if spec.kind == "payload32":
        limit = (["-fw_cfg", f"name=opt/load.mb,string={spec.load_mb}"]
                 if spec.load_mb else [])
        return ["-bios", str(lab.guest_dir / "payload32.rom"), *limit]
    append = LINUX_APPEND + (f" load.mb={spec.load_mb}" if spec.load_mb else "")
    return ["-kernel", str(lab.vmlinux), "-initrd",
            str(spec.initrd or lab.guest_dir / "init.cpio.gz"),
            "-append", f"{append} {spec.append}".strip()]


def start(lab: Lab, spec: GuestSpec, name: str | None = None) -> Guest:
    """Start a guest; returns once its monitor answers.

    A guest runs then; a destination waits, and stays paused after migration.
    Both start stopped: what a guest writes to a port without a listener
    is lost.
    """
    name = name or lab.next_name("l2")
    ram_file = lab.tmp / f"{name}.ram" if spec.ram == "file" else None
    words = command(lab, spec, name, ram_file)
    lab.log(f"{name}: {' '.join(words)}")
    with (lab.out / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log, start_new_session=True)
    lab.defer(lambda: kill_process(process))
    try:
        qmp = Qmp(lab.tmp / f"{name}.qmp")
    except (QmpTimeout, QmpGone) as err:
        said = (lab.out / f"{name}.log").read_text("utf-8", "replace").strip()
        raise QmpGone(f"{name} did not start: {err}; {said[-300:]}") from err
    payload = Payload(lab.tmp / f"{name}.ctl")
    if spec.wait is None:
        lab.watched[name] = process
        qmp.cmd("cont")
    return Guest(lab, spec, name, process, qmp, payload, ram_file)


def kill_process(process: subprocess.Popen[bytes]) -> None:
    """End a guest's process whatever state it is in."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
