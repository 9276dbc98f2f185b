# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt gives our QEMU a vDPA network device, takes it away, and is asked to migrate it.

`<interface type='vdpa'>`: libvirt opens the device and passes the file (as /dev/fdset/N), sets the
limit on locked memory, and knows the device by our answers only.  Frames with numbers go round
through the simulator; none may be missing, at boot, after detach-device and attach-device, and
while libvirt is asked for everything else.

With its interface the guest is saved and restored, and then migrated to the other device and back
with frames on the way.  A libvirt may refuse that by itself, whatever the QEMU ("vDPA devices cannot
be migrated"): what it says is kept in the figures, and the guest goes the way that is left then: the
interface is detached, the guest is migrated and migrated back, and gets an interface again, each time
on the other device.

*Limits*: those of qlab/libvirtd.py.  libvirt 9.0 refuses nothing, so the other way was never run.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from qlab import vdpa, vdpaflow
from qlab.context import Lab
from qlab.libvirtd import NAME, Host, domain, require
from qlab.scenario import Scenario
from qlab.qmpnames import QUERY_VHOST_VDPA

SCENARIO = Scenario(
    about="libvirt: a guest with a vDPA interface, attached, detached, migrated",
    time_limit=600,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=("full",),
    own_binaries=True,
)

INTERFACE = """\
<interface type='vdpa'>
  <mac address='{mac}'/>
  <source dev='{node}'/>
  <model type='virtio'/>
  <rom enabled='no'/>
</interface>
"""
REFUSAL = "vDPA devices cannot be migrated"


def interface(lab: Lab, device: vdpa.Device, mac: str) -> str:
    """A file with the interface's definition, for attach-device and detach-device."""
    path = lab.tmp / f"{device.name}.xml"
    path.write_text(INTERFACE.format(mac=mac, node=device.node), "ascii")
    return str(path)


def kib(path: Path, key: str) -> int:
    """A figure of /proc/PID/status."""
    found = re.search(rf"^{key}:\s+(\d+) kB", path.read_text("ascii"), re.MULTILINE)
    return int(found[1]) if found else 0


def check_limit(lab: Lab, host: Host) -> None:
    """What libvirt allows to be pinned is enough for what is, with shadow rings and all."""
    proc = Path(f"/proc/{host.qemu_pid()}")
    limits = (proc / "limits").read_text("ascii")
    found = re.search(r"^Max locked memory\s+(\S+)", limits, re.MULTILINE)
    allowed = found[1] if found else "?"
    pinned = kib(proc / "status", "VmPin") + kib(proc / "status", "VmLck")
    lab.figures["locked memory: allowed MiB, used MiB"] = [
        int(allowed) >> 20 if allowed.isdigit() else allowed, pinned >> 10]
    lab.check(pinned > 192 << 10, f"only {pinned} KiB are pinned")
    lab.check(allowed.isdigit() and int(allowed) >> 10 > pinned,
              f"libvirt allows {allowed} bytes, {pinned} KiB are pinned")
    lab.check("vhost-vdpa:" not in host.stderr(), f"QEMU complains: {host.stderr()[-400:]}")


def find(lab: Lab, host: Host) -> vdpa.Net:
    """The guest's interface, once its driver has it."""
    net = vdpa.Net(host.payload())
    net.wait_interface(lab)
    return net


def detach(lab: Lab, host: Host, device: vdpa.Device, xml: str) -> None:
    """The interface goes, and the file is free."""
    host.virsh("detach-device", NAME, xml, "--live")
    deadline = time.monotonic() + 30
    while "vdpa" in host.virsh("domiflist", NAME):
        lab.check(time.monotonic() < deadline, "the interface does not go away")
        time.sleep(0.5)
    lab.check(not host.qmp(QUERY_VHOST_VDPA), "QEMU still has the device")
    files = [fd.get("opaque", "") for fdset in host.qmp("query-fdsets") for fd in fdset["fds"]]
    lab.check(str(device.node) not in files, f"QEMU still has the file: {files}")
    os.close(os.open(device.node, os.O_RDWR))


def attach(lab: Lab, host: Host, devices: vdpa.Devices, xml: str, what: str) -> None:
    """An interface comes, and works."""
    host.virsh("attach-device", NAME, xml, "--live")
    net = find(lab, host)
    vdpaflow.traffic(lab, devices, net, what)
    net.payload.close()


def refused(lab: Lab, host: Host, *words: str) -> bool:
    """Whether libvirt says by itself that it does not do that; anything else has to work."""
    done = host.try_virsh(*words, timeout=200)
    said = " ".join(done.stderr.split())
    lab.figures[f"virsh {words[0]}"] = said or "done"
    lab.check(not done.returncode or REFUSAL in said, f"virsh {' '.join(words)}: {said}")
    return done.returncode != 0


def arrived(lab: Lab, net: vdpa.Net, host: Host) -> vdpa.Net:
    """The guest runs on, with its interface, on another host."""
    net.payload.close()
    found = vdpa.Net(host.payload())
    found.payload.catch_up()
    found.flows(lab, f"arrived {host.name}")
    lab.log(host.hmp("info vhost-vdpa"))
    return found


def move(lab: Lab, source: Host, target: Host, xml: Path) -> None:
    """Migrate a guest without an interface."""
    source.virsh("migrate", "--live", "--xml", str(xml), NAME, target.uri, "--migrateuri",
                 "tcp://127.0.0.1", timeout=200)
    lab.check(NAME not in source.virsh("list", "--name"), f"it still runs on {source.name}")
    payload = target.payload()
    payload.catch_up()
    found = payload.verify()
    lab.check(found.clean, f"{source.name} to {target.name}: {found}")
    payload.close()


def travel(lab: Lab, here: Host, there: Host, devices: vdpa.Devices, net: vdpa.Net,
           full: Path) -> bool:
    """There and back with the interface, and with frames; whether libvirt refuses that."""
    one, two = devices.devices
    target = lab.tmp / "target.xml"
    target.write_text(full.read_text("ascii").replace(str(one.node), str(two.node)), "ascii")
    net.start(rate=vdpaflow.RATE)
    way = ("--migrateuri", "tcp://127.0.0.1")
    refuses = refused(lab, here, "migrate", "--live", "--xml", str(target), NAME, there.uri, *way)
    if not refuses:
        net = arrived(lab, net, there)
        check_limit(lab, there)
        there.virsh("migrate", "--live", "--xml", str(full), NAME, here.uri, *way, timeout=200)
        net = arrived(lab, net, here)
    net.flows(lab, "after that")
    net.stop()
    found = net.settle()
    lab.figures["frames"] = found
    lab.check(not found["lost"] and not found["duplicate"], f"frames: {found}")
    net.payload.close()
    return refuses


def around(lab: Lab, here: Host, there: Host, devices: vdpa.Devices, mine: dict[str, str],
           bare: Path) -> None:
    """There and back without the interface, with one of the device there."""
    one, two = devices.devices
    detach(lab, here, one, mine[one.name])
    move(lab, here, there, bare)
    attach(lab, there, devices, mine[two.name], "at the destination")
    check_limit(lab, there)
    detach(lab, there, two, mine[two.name])
    move(lab, there, here, bare)
    attach(lab, here, devices, mine[one.name], "back again")


def run(lab: Lab) -> None:
    """Start; detach and attach; save, restore, migrate there and back."""
    require(lab)
    devices = vdpa.Simulators(lab)
    one, two = devices.add(), devices.add()
    mine = {device.name: interface(lab, device, one.mac) for device in (one, two)}
    here, there = Host(lab, "here"), Host(lab, "there")
    bare = lab.tmp / "bare.xml"
    bare.write_text(domain(lab, lab.qemu, initrd=vdpa.initrd(lab)), "ascii")
    full = lab.tmp / "full.xml"
    full.write_text(domain(lab, lab.qemu, devices=Path(mine[one.name]).read_text("ascii"),
                           initrd=vdpa.initrd(lab)), "ascii")
    for host in (here, there):
        host.wait_up()
    here.virsh("create", str(full), timeout=300)
    payload = here.payload()
    payload.wait_ready(120)
    net = vdpa.Net(payload)
    mac = net.up()
    lab.check(mac == one.mac, f"MAC address {mac}, not {one.mac}")
    vdpaflow.traffic(lab, devices, net, "started")
    check_limit(lab, here)
    saved = lab.tmp / "saved"
    if not refused(lab, here, "save", NAME, str(saved)):
        payload.close()
        here.virsh("restore", str(saved), timeout=120)
        net = find(lab, here)
        vdpaflow.traffic(lab, devices, net, "saved and restored")
    refuses = travel(lab, here, there, devices, net, full)
    detach(lab, here, one, mine[one.name])
    attach(lab, here, devices, mine[one.name], "attached again")
    check_limit(lab, here)
    if refuses:
        around(lab, here, there, devices, mine, bare)
    lab.log(here.hmp("info vhost-vdpa"))
    here.virsh("destroy", NAME)
    devices.verify()
