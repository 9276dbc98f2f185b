# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt starts our QEMU with a ring, saves, restores and migrates the guest.

Two libvirtd of the distribution's, each with a host name, a host UUID and a set of
state directories of its own, are two hosts for all that libvirt can tell.  The
guest goes to a file and back, then from one to the other and back again, under a
load that leaves it a chance to arrive; the payload verifies its stamps after each.

*Limits*: the payload's oracle only, as libvirt keeps the guest's RAM to itself; no
security driver, no cgroups; skipped where libvirtd is not installed.
"""

from __future__ import annotations

import pwd
import shutil
import subprocess
import time
import uuid
from pathlib import Path
from xml.sax.saxutils import escape

from qlab.context import Lab
from qlab.l2 import LINUX_APPEND, kill_process
from qlab.payload import Payload
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="libvirt starts, saves, restores and migrates a guest with a ring",
    time_limit=900,
    needs=("kvm", "guest-linux"),
    suites=("full",),
    modes=("tdp",),
    variants={"": {}, "to-stock": {"stock": True}},
)

NAME = "guest"
RATE = 100  # pages a second; each write dirties five
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
    <kvm><dirty-ring state='on' size='{ring}'/></kvm>
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
    <memballoon model='none'/>
  </devices>
</domain>
"""
RING = 4096
ACCOUNT = "libvirt-qemu"


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
        for path in (*STATE, "/etc/libvirt"):
            Path(path).mkdir(parents=True, exist_ok=True)
        mounts = "; ".join(f"mount -t tmpfs none {path}" for path in STATE)
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--uts", "sh", "-ec",
             f"hostname {name}; {mounts}; mount --bind {etc} /etc/libvirt; "
             "exec libvirtd -f /etc/libvirt/libvirtd.conf -p /run/libvirt/daemon.pid"], stdin=subprocess.DEVNULL)
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
        return Payload(Path(f"/proc/{self.process.pid}/root{CONTROL}"))

    def ring(self) -> str:
        """What the QEMU says of its ring."""
        return self.virsh("qemu-monitor-command", NAME, "--hmp", "info dirty_ring")


def domain(lab: Lab, qemu: Path) -> str:
    """The domain's definition."""
    return DOMAIN.format(
        name=NAME, uuid="5e1f0000-0000-4000-8000-00000000beef", kernel=lab.vmlinux,
        initrd=lab.guest_dir / "init.cpio.gz", append=escape(LINUX_APPEND), ring=RING,
        qemu=qemu, control=CONTROL)


def judge(lab: Lab, host: Host, least: int, when: str) -> int:
    """The guest lives and lost nothing; how much it has written."""
    payload = host.payload()
    payload.catch_up()
    payload.stop()
    writes = payload.writes()
    lab.check(writes >= least, f"{when}: {writes} writes, there were {least} before")
    found = payload.verify()
    lab.check(found.clean, f"{when}: {found}")
    payload.start(rate=RATE)
    payload.close()
    return writes


def migrate(lab: Lab, source: Host, target: Host, xml: Path, writes: int) -> int:
    """One way."""
    started = time.monotonic()
    source.virsh("migrate", "--live", "--auto-converge", "--xml", str(xml), NAME, target.uri,
                 "--migrateuri", "tcp://127.0.0.1", timeout=200)
    way = f"{source.name} to {target.name}"
    lab.figures[f"{way}, s"] = round(time.monotonic() - started, 1)
    lab.log(source.try_virsh("domjobinfo", NAME, "--completed").stdout)
    lab.check(NAME not in source.virsh("list", "--name"), f"{way}: it runs on the source")
    return judge(lab, target, writes, way)


def run(lab: Lab, stock: bool = False) -> None:
    """Start, save, restore, migrate, migrate back."""
    for program in ("libvirtd", "virsh", "unshare"):
        if not shutil.which(program):
            lab.skip(f"{program} is not installed: apt-get install libvirt-daemon "
                     "libvirt-daemon-driver-qemu libvirt-clients")
    add_account()
    here, there = Host(lab, "here"), Host(lab, "there")
    xml = {}
    for host, qemu in ((here, lab.qemu), (there, lab.stock if stock else lab.qemu)):
        xml[host] = lab.tmp / f"{host.name}.xml"
        xml[host].write_text(domain(lab, qemu), "ascii")
        host.wait_up()
    here.virsh("create", str(xml[here]), timeout=300)
    payload = here.payload()
    payload.wait_ready(90)
    lab.check(str(RING) in here.ring(), f"no ring of {RING} entries: {here.ring()}")
    payload.start(rate=RATE)
    time.sleep(1)
    writes = payload.writes()
    payload.close()
    saved = lab.tmp / "saved"
    here.virsh("save", NAME, str(saved), timeout=120)
    here.virsh("restore", str(saved), timeout=120)
    saved.unlink()
    writes = judge(lab, here, writes, "saved and restored")
    writes = migrate(lab, here, there, xml[there], writes)
    if not stock:
        lab.check(str(RING) in there.ring(), "the ring was left behind")
    lab.figures["writes"] = migrate(lab, there, here, xml[here], writes)
    lab.log(here.ring())
