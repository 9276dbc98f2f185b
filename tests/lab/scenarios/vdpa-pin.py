# SPDX-License-Identifier: GPL-2.0-or-later
"""How long QEMU's monitor takes to answer while guest memory is being pinned for a vDPA device.

A guest is started with a vDPA device and so much memory that pinning it takes long.  From the monitor's
greeting until all is pinned and the device has it and runs, QMP is asked two things by turns, the next
one right after a short pause: what the guest's state is, and what the device's is.  The slowest of all
answers must have come within 100 ms.  Meanwhile the guest boots, and its driver starts; frames have to
go round in the end.

Memory that L1 has not got: memory devices that share one file, of which each is pinned by itself, page by
page, and counted against the limit on locked memory.  The guest's kernel is told to leave them alone.

    16g       16 GiB, in small pages
    16g-huge  the same in huge pages
    4g        less, to try something

L1's clock counts instructions, two nanoseconds each, so what else the host does changes nothing.  It has
one CPU, which QEMU, the guest in it and who asks share: where CPUs take turns, one of them spins for a
lock for all of its turn while the other, which has it, stands still.

With `--param watch=true` scenario.log has what QEMU's threads did while an answer was late.

*Limits*: memory of the first device is allocated as it is pinned, that of the others only pinned.
QEMU waits for memory that is plugged in while the device runs: that is not measured here.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qlab import l2, vdpa
from qlab.context import Lab
from qlab.scenario import Scenario
from qlab.qmpnames import QUERY_VHOST_VDPA

SCENARIO = Scenario(
    about="vhost-vdpa: QMP answers while guest memory is pinned (figures)",
    time_limit=900,
    needs=("kvm", "guest-linux", "kernel-modules", "ours"),
    suites=(),
    own_binaries=True,
    icount=True,
    l1_mem=4096,
    l1_cpus=1,
    variants={"16g": {"gib": 16}, "16g-huge": {"gib": 16, "huge": True}, "4g": {"gib": 4}},
)

LIMIT_MS = 100
PAUSE_S = 0.002
GIB = 1 << 30


def memory(path: Path, gib: int) -> tuple[str, ...]:
    """QEMU's arguments for that much more memory, all of it the same 1 GiB."""
    words = ["-m", f"192M,slots={gib},maxmem={gib + 1}G"]
    for number in range(gib):
        words += ["-object", f"memory-backend-file,id=m{number},size=1G,mem-path={path},share=on",
                  "-device", f"pc-dimm,id=d{number},memdev=m{number}"]
    return tuple(words)


class Pings:
    """Questions asked, and how long each took."""

    def __init__(self, guest: l2.Guest) -> None:
        self.guest = guest
        self.took: list[tuple[float, str, float]] = []  # ms, what, at which second
        self.first = time.monotonic()
        self.since = 0.0  # a question is being answered since then; 0 is none

    def ask(self, what: str) -> Any:
        """Ask one thing."""
        self.since = start = time.monotonic()
        answer = self.guest.qmp.cmd(what, timeout=60)
        self.since = 0.0
        self.took.append(((time.monotonic() - start) * 1000, what, start - self.first))
        return answer

    def watch(self, lab: Lab) -> None:
        """Look at QEMU's threads whenever an answer is late; in a thread of its own."""
        while self.guest.alive():
            time.sleep(0.02)
            since = self.since
            if since and time.monotonic() > since + LIMIT_MS / 2000:
                lab.log(f"late since {since:.3f}: {self.guest.stack_report()}")

    def until(self, done: Callable[[], bool], timeout: float) -> float:
        """Ask, and ask, until DONE; how long that took."""
        start = time.monotonic()
        while not done():
            for what in ("query-status", QUERY_VHOST_VDPA):
                self.ask(what)
                time.sleep(PAUSE_S)
            if time.monotonic() > start + timeout:
                raise TimeoutError(f"after {len(self.took)} questions: {self.ask(QUERY_VHOST_VDPA)}")
        return time.monotonic() - start

    def figures(self) -> dict[str, Any]:
        """How many, and how long."""
        times = sorted(ms for ms, _, _ in self.took)
        return {"pings": len(times), "median_ms": times[len(times) // 2],
                "p99_ms": times[len(times) * 99 // 100], "worst_ms": times[-1],
                "slow": sum(ms > LIMIT_MS for ms in times),
                "slowest": [(round(ms, 1), what, round(at, 2))
                            for ms, what, at in sorted(self.took)[-5:]]}


def run(lab: Lab, gib: int, huge: bool = False, watch: bool = False) -> None:
    """Boot, ask, look."""
    simulators = vdpa.Simulators(lab)
    device = simulators.add()
    if huge:
        Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled").write_text("force", "ascii")
    path = lab.tmp / "dimms"
    lab.defer(lambda: path.unlink(missing_ok=True))
    spec = vdpa.spec(lab, device, load_mb=32, append="acpi_no_memhotplug",
                     extra=vdpa.words(device) + memory(path, gib))
    start = time.monotonic()
    guest = l2.start(lab, spec)
    greeted = time.monotonic() - start
    already = guest.pinned()
    pings = Pings(guest)
    if watch:
        threading.Thread(target=pings.watch, args=(lab,), daemon=True).start()
    took = pings.until(lambda: guest.pinned() >= gib * GIB + (spec.mem << 20), 600)
    asked = len(pings.took)
    more = pings.until(lambda: pings.ask(QUERY_VHOST_VDPA)[0]["state"] == "driver-ok", 300)
    lab.figures.update(pings.figures(), pinning_s=round(took, 2), greeted_s=round(greeted, 2),
                       pings_while_pinning=asked, until_running_s=round(took + more, 2),
                       pinned_before=already, pinned=guest.pinned(),
                       maps=pings.ask(QUERY_VHOST_VDPA)[0]["maps"])
    lab.log(str(lab.figures))
    lab.check(already < gib * GIB // 2, f"{already} bytes were pinned before anything was asked")
    lab.check(asked >= 100, f"asked too seldom: {lab.figures}")
    guest.wait_ready(300)
    net = vdpa.Net(guest.payload)
    net.up()
    net.start(rate=50)
    net.flows(lab, "all is pinned")
    net.stop()
    found = net.settle()
    lab.check(not found["lost"], f"frames: {found}")
    guest.quit(timeout=120)
    lab.check(lab.figures["worst_ms"] <= LIMIT_MS, f"answers took too long: {lab.figures}")
