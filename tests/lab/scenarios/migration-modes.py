# SPDX-License-Identifier: GPL-2.0-or-later
"""The dirty ring with what else QEMU can do with a guest's state than plain precopy.

`postcopy`    the guest goes on at the destination while its memory still comes.
`multifd`     pages go through channels of their own.
`file`        a running guest is written to a file where each page has its place (mapped-ram), and
              restored from that; `exec` goes through a pipe of another program.
`background`  the file gets the guest as it was when the writing began, while it goes on.
`savevm`      a snapshot in a disk image; it is loaded again into the same, running QEMU.

Where both sides stand still at the end their RAM is compared; the payload verifies its stamps after
each. The restored guest is then migrated as usual, with the ring.

With a build that dropped one entry in 2,000, `multifd` and `file` failed, `exec` and `background` in the
migration after.  `savevm` passed: it writes a guest that stands still.

*Limits*: postcopy and snapshots depend on the ring only in part.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

from qlab import l2, migrate
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="dirty ring with postcopy, multifd, files, snapshots",
    time_limit=240,
    needs=("kvm", "guest-linux"),
    suites=("full",),
    variants={way: {"way": way} for way in
              ("postcopy", "multifd", "file", "exec", "background", "savevm")},
)


CAPABILITIES = ("postcopy-ram", "multifd", "mapped-ram", "background-snapshot")


def verified(lab: Lab, guest: l2.Guest, what: str) -> None:
    """The payload's own oracle."""
    found = guest.payload.verify()
    lab.check(found.clean, f"{what}: {found}")


def do_postcopy(lab: Lab, guest: l2.Guest, spec: l2.GuestSpec) -> l2.Guest:
    """Go on at the destination as soon as there was a sync or two."""
    other = l2.start(lab, spec.incoming())
    migrate.enable(("postcopy-ram",), guest, other)
    migrate.begin(lab, guest, other, "unix")
    lab.check(migrate.wait_syncs(guest, 2, 90), "the migration ended too early")
    guest.qmp.cmd("migrate-set-parameters", {"max-postcopy-bandwidth": 4 << 20})
    guest.qmp.cmd("migrate-start-postcopy")
    migrate.settled(other, 60)
    other.qmp.cmd("cont")
    time.sleep(1)
    guest.qmp.cmd("migrate-set-parameters", {"max-postcopy-bandwidth": 0})
    info = migrate.wait_end(guest, 90)
    lab.check(info["status"] == "completed", f"migration: {info}")
    lab.figures["requests"] = info["ram"]["postcopy-requests"]
    lab.check(info["ram"]["postcopy-requests"] > 0, f"no page was asked for: {info}")
    other.payload.catch_up()
    other.payload.stop()
    verified(lab, other, "after postcopy")
    guest.quit()
    return other


def do_multifd(lab: Lab, guest: l2.Guest, spec: l2.GuestSpec) -> l2.Guest:
    """As usual, through more channels."""
    other = l2.start(lab, spec.incoming())
    migrate.enable(("multifd",), guest, other)
    for end in (guest, other):
        end.qmp.cmd("migrate-set-parameters", {"multifd-channels": 3})
    migrate.begin(lab, guest, other, "unix")
    migrate.wait_syncs(guest, 3, 90)
    return judged(lab, guest, other, migrate.finish(guest))


def judged(lab: Lab, guest: l2.Guest, other: l2.Guest, info: dict[str, Any]) -> l2.Guest:
    """Both oracles."""
    result = migrate.judge(lab, guest, other, info)
    lab.figures["hop"] = result.figures()
    lab.check(result.clean, f"{result}")
    guest.quit()
    return other


def through(lab: Lab, guest: l2.Guest, spec: l2.GuestSpec, uris: tuple[str, str],
            capabilities: tuple[str, ...] = ()) -> l2.Guest:
    """Write the running guest somewhere, and restore it from there."""
    migrate.enable(capabilities, guest)
    migrate.limits(guest, migrate.SLOW, 1)
    guest.qmp.cmd("migrate", {"uri": uris[0]})
    lab.check(migrate.wait_syncs(guest, 3, 90), "the migration ended too early")
    info = migrate.finish(guest)
    other = l2.start(lab, spec.incoming())
    migrate.enable(capabilities, other)
    other.qmp.cmd("migrate-incoming", {"uri": uris[1]})
    return judged(lab, guest, other, info)


def do_file(lab: Lab, guest: l2.Guest, spec: l2.GuestSpec) -> l2.Guest:
    """A file with a place for each page."""
    uri = f"file:{lab.tmp / 'guest.ram'}"
    return through(lab, guest, spec, (uri, uri), ("mapped-ram", "multifd"))


def do_exec(lab: Lab, guest: l2.Guest, spec: l2.GuestSpec) -> l2.Guest:
    """Another program."""
    path = lab.tmp / "guest.stream"
    return through(lab, guest, spec, (f"exec:cat >{path}", f"exec:cat {path}"))


def do_background(lab: Lab, guest: l2.Guest, spec: l2.GuestSpec) -> l2.Guest:
    """The guest as it was; it runs on meanwhile, and afterwards."""
    path = lab.tmp / "guest.stream"
    migrate.enable(("background-snapshot",), guest)
    before = guest.payload.writes()
    guest.qmp.cmd("migrate", {"uri": f"exec:cat >{path}"})
    info = migrate.wait_end(guest, 90)
    lab.check(info["status"] == "completed", f"snapshot: {info}")
    lab.check(guest.status() == "running", f"the guest is {guest.status()}")
    lab.check(guest.payload.writes() > before, "the guest stands still")
    guest.payload.stop()
    verified(lab, guest, "after a snapshot")
    guest.quit()
    other = l2.start(lab, spec.incoming())
    other.qmp.cmd("migrate-incoming", {"uri": f"exec:cat {path}"})
    migrate.settled(other, 60)
    other.qmp.cmd("cont")
    other.payload.catch_up()
    other.payload.stop()
    verified(lab, other, "out of the snapshot")
    return other


def do_savevm(lab: Lab, guest: l2.Guest, spec: l2.GuestSpec) -> l2.Guest:
    """Into the image, and back from there."""
    for line in ("savevm one", "loadvm one"):
        time.sleep(0.5)
        said = guest.qmp.hmp(line, 90)
        lab.check(not said.strip(), f"{line}: {said}")
        guest.payload.catch_up()
    guest.payload.stop()
    verified(lab, guest, "after loadvm")
    return guest


def disk(lab: Lab) -> Path:
    """An image that can hold a snapshot."""
    path = lab.tmp / "disk.qcow2"
    subprocess.run([str(lab.qemu.parent / "qemu-img"), "create", "-q", "-f", "qcow2", str(path),
                    "1M"], check=True, timeout=60)
    return path


WAYS = {"postcopy": do_postcopy, "multifd": do_multifd, "file": do_file, "exec": do_exec,
        "background": do_background, "savevm": do_savevm}


def run(lab: Lab, way: str) -> None:
    """That, under load; then a migration as usual."""
    spec = l2.GuestSpec(lab.qemu, ring=1024, load_mb=64,
                        ram="anon" if way == "background" else "file")
    if way == "savevm":
        spec = l2.GuestSpec(lab.qemu, ring=1024, load_mb=64,
                            extra=("-drive", f"if=none,id=d,file={disk(lab)},format=qcow2"))
    guest = l2.start(lab, spec)
    guest.wait_ready()
    guest.payload.start(mode="random")
    guest = WAYS[way](lab, guest, spec)
    if way == "savevm":
        guest.quit()
        return
    migrate.enable(CAPABILITIES, guest, state=False)
    guest, result = migrate.hop(lab, guest, spec)
    lab.check(result.clean, f"after that: {result}")
    guest.quit()
