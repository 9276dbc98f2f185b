# SPDX-License-Identifier: GPL-2.0-or-later
"""L1: the outer emulator's command line, and one run of it.

Theory of operation
===================

L1 has three ways out and each is a file in the run's own directory:

    console.log     ttyS0, the kernel log and anything printed to the console
    verdict.jsonl   ttyS1, see verdict.py
    (9p share)      everything the scenario writes below lab.out, among it
                    scenario.log and dmesg.log; 9p writes through, so what was
                    written survives the death of L1

`run()` starts the emulator at a lower priority, watches the three, and ends
it: when it powers off, when the time limit is over, or a few seconds after a
verdict.  Only the process that it started is ever killed.

*Limits*: one L1 at a time on a machine is enforced with a lock by host.py,
not here.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import debugkernel, initramfs, klog, modes, tsc, verdict

#: Seconds that L1 may take from power-on to the scenario's first line.
UP_LIMIT = 90.0
#: Seconds between a verdict and the emulator's end.
END_LIMIT = 10.0

PR_SET_PDEATHSIG = 1

FIRMWARE = ("/usr/share/seabios", "/usr/share/qemu", "/usr/lib/ipxe/qemu")

APPEND = ("console=ttyS0,115200 loglevel=6 panic=-1 oops=panic nmi_watchdog=0 "
          "no_timer_check tsc=reliable clocksource=tsc audit=0 apparmor=0 "
          "mitigations=off nokaslr random.trust_cpu=on cryptomgr.notests "
          "rcupdate.rcu_expedited=1 net.ifnames=0")


@dataclass
class Settings:
    """Everything that one L1 is made of."""

    outer: Path
    kernel_dir: Path
    mode: modes.Mode
    out: Path
    inside: Path
    request: dict[str, Any]
    memory: int = 3072
    cpus: int = 2
    cpu: str | None = None
    time_limit: float = 60.0
    up_limit: float = UP_LIMIT
    interactive: bool = False
    append: str = ""
    extra: tuple[str, ...] = ()
    monitor: bool = False
    icount: bool = False
    #: What L1's kernel has to report; see scenario.py.
    report: str = ""


@dataclass
class Outcome:
    """What a run was worth."""

    status: str
    reason: str
    seconds: float
    up_seconds: float | None = None
    figures: dict[str, Any] = field(default_factory=dict)


def monitor(cfg: Settings) -> list[str]:
    """The emulator's monitor as a port of L1's, see outer.py.

    Both ends are the emulator's: one listens, the other connects to it.
    """
    if not cfg.monitor:
        return []
    path = cfg.out / "monitor"
    return ["-chardev", f"socket,id=monitor,path={path},server=on,wait=off",
            "-mon", "chardev=monitor,mode=control",
            "-chardev", f"socket,id=port,path={path}",
            "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=port"]


def image(kernel_dir: Path) -> Path:
    """What of a kernel's folder is booted: the ELF file, or the compressed image if that is there."""
    compressed = kernel_dir / "vmlinuz"
    return compressed if compressed.exists() else kernel_dir / "vmlinux"


def command(cfg: Settings) -> list[str]:
    """The outer emulator's command line."""
    # With icount, time is the instructions' and whatever L1 measures is right.
    clock = f"tsc_early_khz={tsc.khz()} " if tsc.khz() and not cfg.icount else ""
    accel = (["tcg,thread=single,tb-size=512", "-icount", "shift=1"] if cfg.icount else
             ["tcg,thread=multi,tb-size=512"])
    append = (f"{APPEND} {clock}lab.modules={cfg.kernel_dir / 'lib/modules'} "
              f"lab.inside={cfg.inside} {cfg.append}").rstrip()
    console = (["-serial", "mon:stdio"] if cfg.interactive else
               ["-serial", f"file:{cfg.out / 'console.log'}"])
    firmware = [word for path in FIRMWARE for word in ("-L", path)]
    return [
        str(cfg.outer), *firmware, "-name", "lab-l1",
        "-machine", "pc,hpet=off,usb=off,vmport=off",
        "-accel", *accel,
        "-cpu", cfg.cpu or cfg.mode.cpu, "-smp", str(cfg.cpus),
        "-m", str(cfg.memory),
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", str(image(cfg.kernel_dir)),
        "-initrd", str(initramfs.build(cfg.kernel_dir)), "-append", append,
        *console, "-serial", f"file:{cfg.out / 'verdict.jsonl'}",
        "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,"
                  "multidevs=remap",
        "-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
        "-fsdev", f"local,id=out,path={cfg.out},security_model=none",
        "-device", "virtio-9p-pci,fsdev=out,mount_tag=out",
        "-device", "virtio-rng-pci",
        *monitor(cfg), *cfg.extra,
    ]


def prepare(cfg: Settings) -> None:
    """A fresh directory with the request in it."""
    shutil.rmtree(cfg.out, ignore_errors=True)
    cfg.out.mkdir(parents=True)
    (cfg.out / "request.json").write_text(json.dumps(cfg.request), "utf-8")
    (cfg.out / "command").write_text(" ".join(command(cfg)) + "\n", "utf-8")


def read(path: Path) -> str:
    """A file that may not be there yet."""
    try:
        return path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def judge(seen: verdict.Verdict, log: str, ended: str, report: str = "") -> tuple[str, str]:
    """Status and reason from the verdict, the kernel log, and how L1 ended.

    REPORT is one that the kernel has to make; more of what it says about itself comes with it.
    """
    reports = klog.reports_in(debugkernel.without_known_reports(log))
    if report and not any(report in line for line in reports):
        return "failed", f"L1's kernel did not report: {report}"
    if reports and not report:
        return "failed", f"L1 kernel: {reports[0]}"
    if not seen.up:
        return "failed", f"L1 did not come up: {ended}"
    if not seen.complete:
        return "failed", f"no verdict: {ended}"
    assert seen.status is not None
    return seen.status, seen.reason


def watch(cfg: Settings, process: subprocess.Popen[bytes]) -> tuple[str, float | None]:
    """Wait for the end of a run; how it ended, and when L1 was up."""
    start = time.monotonic()
    up_at: float | None = None
    done_at: float | None = None
    while True:
        now = time.monotonic() - start
        seen = verdict.parse(read(cfg.out / "verdict.jsonl"))
        if seen.up and up_at is None:
            up_at = now
        if seen.complete and done_at is None:
            done_at = now
        if process.poll() is not None:
            return f"the emulator ended with {process.returncode}", up_at
        if done_at is not None and now > done_at + END_LIMIT:
            return "verdict, but no power-off", up_at
        if up_at is None and now > cfg.up_limit:
            return f"not up after {cfg.up_limit:.0f} s", up_at
        if up_at is not None and done_at is None and now > up_at + cfg.time_limit:
            return f"time limit of {cfg.time_limit:.0f} s", up_at
        time.sleep(0.1)


def before_exec() -> None:
    """In the emulator's process: low priority, no life after the lab's."""
    os.nice(5)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run(cfg: Settings) -> Outcome:
    """One L1 from power-on to judgement."""
    prepare(cfg)
    start = time.monotonic()
    with (cfg.out / "emulator.log").open("wb") as log:
        with subprocess.Popen(command(cfg), stdin=subprocess.DEVNULL, stdout=log,
                              stderr=log, preexec_fn=before_exec) as process:
            try:
                ended, up_at = watch(cfg, process)
            finally:
                process.kill()
    seen = verdict.parse(read(cfg.out / "verdict.jsonl"))
    console = read(cfg.out / "console.log")
    status, reason = judge(seen, console, ended, cfg.report)
    return Outcome(status, reason, time.monotonic() - start, up_at, seen.figures)


def interact(cfg: Settings) -> int:
    """L1 with its console on this terminal."""
    prepare(cfg)
    return subprocess.call(command(cfg))
