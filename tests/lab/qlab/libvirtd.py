# SPDX-License-Identifier: GPL-2.0-or-later
"""Two libvirtd of the distribution's in L1, each of which takes itself for a machine.

Theory of operation
===================

A Host is a libvirtd with a host name, a host UUID and a set of state directories of its own, in a
mount namespace; two of them are two hosts for all that libvirt can tell.  virsh speaks to either.
A guest is called NAME, its payload's control socket is CONTROL, which is another file in each host.

*Limits*: no security driver, no cgroups, QEMU is root's (without capabilities, which libvirt drops).
"""

from __future__ import annotations

import json
import pwd
import shutil
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from .context import Lab
from .l2 import LINUX_APPEND, kill_process
from .payload import Payload

NAME = "guest"
STATE = ("/run/libvirt", "/var/lib/libvirt", "/var/log/libvirt")
CONTROL = "/run/libvirt/payload.ctl"  # another one in each host

DAEMON_CONF = """\
host_uuid = "{uuid}"
unix_sock_dir = "{sockets}"
auth_unix_rw = "none"
log_outputs = "2:file:{log}"
"""
QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
"""
DOMAIN = """\
<domain type='kvm'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>192</memory>
  <vcpu>2</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>{append}</cmdline>
  </os>
  <features>
    <acpi/>
    <apic/>
    {features}
  </features>
  <cpu mode='host-passthrough' check='none' migratable='off'/>
  <clock offset='utc'><timer name='hpet' present='no'/></clock>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>{qemu}</emulator>
    <controller type='usb' model='none'/>
    <serial type='file'><source path='/run/libvirt/console'/><target port='0'/></serial>
    <serial type='unix'><source mode='bind' path='{control}'/><target port='1'/></serial>
    {devices}
    <memballoon model='none'/>
  </devices>
</domain>
"""
ACCOUNT = "libvirt-qemu"


def require(lab: Lab) -> None:
    """Skip where there is no libvirtd; what it asks of the machine."""
    for program in ("libvirtd", "virsh", "unshare"):
        if not shutil.which(program):
            lab.skip(f"{program} is not installed: apt-get install libvirt-daemon "
                     "libvirt-daemon-driver-qemu libvirt-clients")
    add_account()


def add_account() -> None:
    """The user that Debian's libvirtd asks for even where it is to use another.

    It comes with libvirt-daemon-system; L1's files are gone afterwards.
    """
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        for path, rest in (("/etc/passwd", "64055::/:/usr/sbin/nologin"), ("/etc/group", "")):
            with open(path, "a", encoding="ascii") as file:
                file.write(f"{ACCOUNT}:x:64055:{rest}\n")


def domain(lab: Lab, qemu: Path, features: str = "", devices: str = "",
           initrd: Path | None = None) -> str:
    """The guest's definition: a Linux payload with a console and a control socket."""
    return DOMAIN.format(
        name=NAME, uuid="5e1f0000-0000-4000-8000-00000000beef", kernel=lab.vmlinux,
        initrd=initrd or lab.guest_dir / "init.cpio.gz", append=escape(LINUX_APPEND),
        features=features, devices=devices, qemu=qemu, control=CONTROL)


class Host:
    """One libvirtd that takes itself for a machine."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab, self.name = lab, name
        folder = lab.tmp / name
        self.sockets = folder / "sockets"
        etc = folder / "etc"
        for path in (self.sockets, etc / "qemu"):
            path.mkdir(parents=True)
        (etc / "libvirtd.conf").write_text(DAEMON_CONF.format(
            uuid=uuid.uuid4(), sockets=self.sockets, log=lab.out / f"{name}.log"), "ascii")
        (etc / "qemu.conf").write_text(QEMU_CONF, "ascii")
        for shared in (*STATE, "/etc/libvirt"):
            Path(shared).mkdir(parents=True, exist_ok=True)
        mounts = "; ".join(f"mount -t tmpfs none {path}" for path in STATE)
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--uts", "sh", "-ec",
             f"hostname {name}; {mounts}; mount --bind {etc} /etc/libvirt; "
             "exec libvirtd -f /etc/libvirt/libvirtd.conf -p /run/libvirt/daemon.pid"],
            stdin=subprocess.DEVNULL)
        lab.defer(lambda: kill_process(self.process))

    @property
    def uri(self) -> str:
        """Where virsh finds it."""
        return f"qemu+unix:///system?socket={self.sockets / 'libvirt-sock'}"

    def try_virsh(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """virsh, connected to this host."""
        return subprocess.run(["virsh", "-q", "-c", self.uri, *words], text=True,
                              capture_output=True, timeout=timeout, check=False)

    def virsh(self, *words: str, timeout: float = 60) -> str:
        """The same, which has to succeed."""
        done = self.try_virsh(*words, timeout=timeout)
        self.lab.log(f"{self.name}: virsh {' '.join(words)}: {done.stdout.strip()}")
        self.lab.check(done.returncode == 0,
                       f"virsh {words[0]} on {self.name}: {done.stderr.strip()[:400]}")
        return done.stdout

    def wait_up(self) -> None:
        """Until it answers, which takes it a probe of the QEMU."""
        end = time.monotonic() + 60
        while self.try_virsh("uri").returncode:
            self.lab.check(self.process.poll() is None and time.monotonic() < end,
                           f"libvirtd of {self.name} does not answer")
            time.sleep(0.5)

    def payload(self) -> Payload:
        """The guest that runs here."""
        return Payload(self.files / CONTROL.lstrip("/"))

    @property
    def files(self) -> Path:
        """Its file system, seen from outside."""
        return Path(f"/proc/{self.process.pid}/root")

    def qmp(self, command: str, **arguments: object) -> Any:
        """What the guest's QEMU answers to a QMP command, past libvirt."""
        asked = json.dumps({"execute": command, "arguments": arguments})
        return json.loads(self.virsh("qemu-monitor-command", NAME, asked))["return"]

    def qemu_pid(self) -> int:
        """The guest's QEMU."""
        return int((self.files / f"run/libvirt/qemu/{NAME}.pid").read_text("ascii"))

    def stderr(self) -> str:
        """What the guest's QEMU wrote on stderr, and libvirt before that."""
        log = self.files / f"var/log/libvirt/qemu/{NAME}.log"
        return log.read_text("utf-8", "replace")

    def hmp(self, line: str) -> str:
        """What the human monitor of the guest's QEMU says."""
        return self.virsh("qemu-monitor-command", NAME, "--hmp", line)
