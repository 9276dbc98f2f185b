# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU drives a simulated network card through /dev/vhost-vdpa-N, ours or (6.12) that kernel's own.

Theory of operation
===================

A nested machine whose only boot device is the card: its firmware's network boot negotiates, sets the
queues up and broadcasts, and the simulator sends what is broadcast back.  Packets counted in both
directions are therefore data that went through mapping, queues and address translation.

    stock, ours   traffic; all of the guest's memory pinned; QEMU ends, and the device can be used
                  again; then traffic again, and with our vhost_vdpa the device is deleted under the
                  running machine: that does not wait for QEMU, unpins everything, and leaves QEMU alive
                  (the driver of 6.12 waits until QEMU lets go)
    memlock       RLIMIT_MEMLOCK is too low: QEMU is told ENOMEM, and the machine runs on; ours only

*Limits*: network boot's traffic is a few packets; figures are the benchmarks'.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import time
from pathlib import Path

from qlab.context import Lab
from qlab.l2 import FIRMWARE
from qlab.scenario import Scenario

MEM = 256
TIMEOUT = 90.0
NODE = Path("/dev/vhost-vdpa-0")

SCENARIO = Scenario(
    about="network boot over vhost-vdpa in a nested machine",
    time_limit=300,
    needs=("kvm", "kernel-modules"),
    suites=("full", "kernel"),
    append="slub_debug=FZPU",
    own_binaries=True,
    variants={"stock": {"which": "stock"}, "ours": {"which": "qemu"},
              "memlock": {"which": "stock", "memlock": True}},
    short=("ours",),
)


def tool(*words: str) -> str:
    """iproute2's vdpa."""
    return subprocess.run(["vdpa", *words], text=True, capture_output=True, check=True).stdout


def packets() -> list[int]:
    """Received and sent, as the device has counted them."""
    counted = []
    for queue in ("0", "1"):
        found = re.search(r"packets (\d+)", tool("dev", "vstats", "show", "vdpa0", "qidx", queue))
        counted.append(int(found[1]) if found else 0)
    return counted


def pinned_mib(pid: int) -> int:
    """What the kernel counts as pinned by a process."""
    found = re.search(r"VmPin:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"))
    return int(found[1]) // 1024 if found else -1


def limit_memlock() -> None:
    """In the child, before QEMU: less than the guest's memory."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (8 << 20, 8 << 20))


def start(lab: Lab, binary: Path, memlock: bool) -> tuple[subprocess.Popen[bytes], Path]:
    """The machine, and where its QEMU's words are."""
    words = [str(binary), *(word for path in FIRMWARE for word in ("-L", path)),
             "-accel", "kvm", "-cpu", "host", "-m", str(MEM), "-nodefaults", "-no-user-config",
             "-display", "none", "-netdev", f"vhost-vdpa,id=net,vhostdev={NODE}",
             "-device", "virtio-net-pci,netdev=net,bootindex=1"]
    said = lab.out / f"{lab.next_name('qemu')}.err"
    with said.open("wb") as err:
        process = subprocess.Popen(words, stdout=err, stderr=err,
                                   preexec_fn=limit_memlock if memlock else None)
    lab.defer(lambda: end(process))
    return process, said


def end(process: subprocess.Popen[bytes]) -> None:
    """QEMU is gone."""
    if process.poll() is None:
        process.terminate()
    process.wait(timeout=30)


def wait_for_traffic(lab: Lab, process: subprocess.Popen[bytes], said: Path) -> None:
    """Until packets went both ways."""
    deadline = time.monotonic() + TIMEOUT
    while not all(packets()):
        lab.check(process.poll() is None, f"QEMU ended: {said.read_text()[-300:]}")
        lab.check(time.monotonic() < deadline, f"no traffic: {said.read_text()[-300:]}")
        time.sleep(0.5)
    lab.check(pinned_mib(process.pid) >= MEM, f"only {pinned_mib(process.pid)} MiB are pinned")


def delete_under(lab: Lab, process: subprocess.Popen[bytes]) -> None:
    """The device goes, QEMU stays."""
    begin = time.monotonic()
    tool("dev", "del", "vdpa0")
    lab.figures["removal_s"] = round(time.monotonic() - begin, 2)
    lab.check(pinned_mib(process.pid) == 0, f"{pinned_mib(process.pid)} MiB are still pinned")
    time.sleep(2)
    lab.check(process.poll() is None, "QEMU did not outlive its device")


def run(lab: Lab, which: str, memlock: bool = False) -> None:
    """See above."""
    if memlock and lab.kernel != "6.1":
        lab.skip("what a limit is reported as is our vhost_vdpa's, which is for 6.1")
    binary = lab.stock if which == "stock" else lab.qemu
    lab.check(os.access(binary, os.X_OK), f"missing: {binary}")
    lab.load("vhost_vdpa", "vdpa_sim_net")
    tool("dev", "add", "name", "vdpa0", "mgmtdev", "vdpasim_net")
    process, said = start(lab, binary, memlock)
    if memlock:
        deadline = time.monotonic() + TIMEOUT
        while "Cannot allocate memory" not in said.read_text():
            lab.check(time.monotonic() < deadline and "Bad address" not in said.read_text(),
                      f"QEMU was not told ENOMEM: {said.read_text()[-300:]}")
            time.sleep(0.5)
        lab.check(process.poll() is None, "QEMU ended")
        return
    wait_for_traffic(lab, process, said)
    end(process)
    tool("dev", "del", "vdpa0")
    tool("dev", "add", "name", "vdpa0", "mgmtdev", "vdpasim_net")
    process, said = start(lab, binary, memlock)
    wait_for_traffic(lab, process, said)
    if lab.kernel == "6.1":
        delete_under(lab, process)
