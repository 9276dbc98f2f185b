# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest with a vDPA network device is saved and comes back.

Numbered frames go round while it is saved, and what can be held up is held up until some were left where
the device wrote them, in pages that had been saved before (vdpaflow.hold_up()); none may be missing,
come twice or be changed when the guest goes on, and the payload's stamps have to verify.

`file`      migrated to a file while it runs, and back from it on the same device
`paused`    the same, stopped before, as `virsh save` does
`mapped`    with the capability mapped-ram; `mapped-multifd` with multifd, too
`shared`    with x-ignore-shared: memory is a file that both have, and is not saved
`multifd`   to another device through a socket, by several channels
`snapshot`  savevm, more frames, loadvm, twice: what came after savevm has not happened
`refused`   a background snapshot is refused with a reason: it cannot keep the device from writing
            to memory that is to be saved as it was. The guest goes on, and can be migrated.

*Limits*: the snapshot's file is no disk of the guest's.
"""

import subprocess
from dataclasses import replace

from qlab import l2, migrate, vdpa, vdpaflow
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="vhost-vdpa: migrated to a file and back, savevm and loadvm, background snapshots",
    time_limit=400,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=("full", "vdpa"),
    own_binaries=True,
    variants={
        "file": {},
        "paused": {"paused": True},
        "mapped": {"capabilities": ("mapped-ram",)},
        "mapped-multifd": {"capabilities": ("mapped-ram", "multifd")},
        "shared": {"capabilities": ("x-ignore-shared",)},
        "multifd": {"capabilities": ("multifd",), "socket": True},
        "snapshot": {"what": "snapshot"},
        "refused": {"what": "refused"},
    },
    short=("file",),
)


def finish(lab: Lab, guest: l2.Guest, net: vdpa.Net) -> None:
    """Frames flow; none was lost, and memory is as it should be."""
    guest.payload.catch_up()
    guest.payload.stop()
    net.release()
    net.flows(lab, "afterwards")
    net.stop()
    found = net.settle()
    verified = guest.payload.verify()
    lab.check(verified.clean, f"memory: {verified}")
    vdpaflow.check_frames(lab, found, 0)


def reckon(guest: l2.Guest, bandwidth: int) -> None:
    """What QEMU believes to be able to send when the guest stands still (0: what it measures).

    Several channels send much at once, so what is measured may let a migration end that is held up.
    """
    guest.qmp.cmd("migrate-set-parameters", {"avail-switchover-bandwidth": bandwidth})


def let_go(lab: Lab, guest: l2.Guest) -> None:
    """To the end of a migration."""
    reckon(guest, 0)
    migrate.limits(guest, migrate.FAST, vdpaflow.DOWNTIME_MS)
    info = migrate.wait_end(guest, 120)
    lab.check(info.get("status") == "completed", f"migration: {info}")


def through_file(lab: Lab, guest: l2.Guest, net: vdpa.Net, back: l2.GuestSpec, paused: bool,
                 capabilities: tuple[str, ...]) -> l2.Guest:
    """Save, end, and come back."""
    uri = f"file:{lab.tmp}/saved"
    migrate.enable(capabilities, guest)
    if paused:
        guest.qmp.cmd("stop")
    held = not paused and "x-ignore-shared" not in capabilities
    if held:
        reckon(guest, 1 << 20)
        migrate.limits(guest, vdpaflow.BEGIN, 1)
    guest.qmp.cmd("migrate", {"uri": uri})
    if held:
        vdpaflow.hold_up(lab, guest, net)
    let_go(lab, guest)
    guest.quit()
    other = l2.start(lab, back.incoming())
    migrate.enable(capabilities, other)
    other.qmp.cmd("migrate-incoming", {"uri": uri})
    migrate.settled(other, 60)
    other.qmp.cmd("cont")
    return other


def do_file(lab: Lab, guest: l2.Guest, net: vdpa.Net, specs: list[l2.GuestSpec],
            paused: bool = False, capabilities: tuple[str, ...] = (),
            socket: bool = False) -> l2.Guest:
    """Away, and here again."""
    if not socket:
        return through_file(lab, guest, net, specs[0], paused, capabilities)
    other = l2.start(lab, specs[1].incoming())
    migrate.enable(capabilities, guest, other)
    reckon(guest, 1 << 20)
    migrate.begin(lab, guest, other, "unix", bandwidth=vdpaflow.BEGIN)
    vdpaflow.hold_up(lab, guest, net)
    let_go(lab, guest)
    migrate.settled(other)
    other.qmp.cmd("cont")
    guest.quit()
    return other


def do_snapshot(lab: Lab, guest: l2.Guest, net: vdpa.Net) -> l2.Guest:
    """To and fro in time."""
    answer = guest.qmp.hmp("savevm one")
    lab.check("rror" not in answer, f"savevm: {answer}")
    saved = net.stat()
    for number in range(2):
        net.flows(lab, f"after savevm, {number}", frames=40)
        later = net.stat()
        answer = guest.qmp.hmp("loadvm one")
        lab.check("rror" not in answer, f"loadvm: {answer}")
        guest.payload.catch_up()
        now = net.stat()
        lab.check(now["sent"] < later["sent"], f"loadvm changed nothing: {saved}, {later}, {now}")
        net.flows(lab, f"after loadvm, {number}")
    info = vdpaflow.device_info(guest)
    lab.check(info["mode"] == "passthrough" and info["state"] == "driver-ok", f"{info}")
    return guest


def do_refused(lab: Lab, guest: l2.Guest, net: vdpa.Net) -> l2.Guest:
    """Ask for a background snapshot."""
    migrate.enable(("background-snapshot",), guest)
    guest.qmp.cmd("migrate", {"uri": f"file:{lab.tmp}/saved"})
    info = migrate.wait_end(guest, 60)
    lab.log(f"{info}")
    lab.check(info.get("status") == "failed" and "vhost-vdpa" in info.get("error-desc", ""),
              f"a background snapshot: {info}")
    lab.check(guest.status() == "running", f"the guest is {guest.status()}")
    net.flows(lab, "after the refusal")
    migrate.enable(("background-snapshot",), guest, state=False)
    device = vdpaflow.device_info(guest)
    lab.check(device["mode"] == "passthrough", f"after the refusal: {device}")
    return guest


def more_words(lab: Lab, what: str, capabilities: tuple[str, ...]) -> tuple[str, ...]:
    """What such a guest needs besides."""
    if what == "snapshot":
        image = lab.tmp / "snapshot.qcow2"
        subprocess.run([lab.qemu.parent / "qemu-img", "create", "-q", "-f", "qcow2", image, "16M"],
                       check=True)
        return ("-drive", f"file={image},if=none,id=snap,format=qcow2")
    if "x-ignore-shared" in capabilities:
        return ("-object", f"memory-backend-file,id=shared,size=192M,mem-path={lab.tmp}/shared.ram,"
                "share=on", "-machine", "memory-backend=shared")
    return ()


def run(lab: Lab, what: str = "file", capabilities: tuple[str, ...] = (),
        **how: object) -> None:
    """Boot, save, restore, look."""
    own_memory = "x-ignore-shared" in capabilities
    simulators = vdpa.Simulators(lab)
    mac = simulators.address(0)
    specs = [vdpaflow.destination(lab, simulators.add(mtu=9000), mac, lab.qemu, mtu=9000,
                                  load_mb=32, append="init_on_alloc=0",
                                  ram="anon" if what == "refused" or own_memory else "file")
             for _ in range(2 if how.get("socket") else 1)]
    more = more_words(lab, what, capabilities)
    specs = [replace(spec, extra=(*spec.extra, *more)) for spec in specs]
    guest = l2.start(lab, specs[0])
    guest.wait_ready(120)
    net = vdpa.Net(guest.payload)
    net.up()
    net.start(rate=vdpaflow.RATE)
    net.flows(lab, "at first")
    guest.payload.start(rate=0 if what == "file" else 500)  # what is held up must not converge
    if what == "snapshot":
        guest = do_snapshot(lab, guest, net)
    elif what == "refused":
        guest = do_refused(lab, guest, net)
    else:
        guest = do_file(lab, guest, net, specs, capabilities=capabilities,
                        **how)  # type: ignore[arg-type]
    finish(lab, guest, vdpa.Net(guest.payload))
    guest.quit()
