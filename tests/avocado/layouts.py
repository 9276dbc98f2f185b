# SPDX-License-Identifier: GPL-2.0-or-later
"""No write is lost in guests whose memory is cut up oddly.

Theory of operation
===================

The guest has no CPU (QEMU's qtest accelerator); the test writes to its memory as a device does, while it migrates.
Each write puts a number that was never used before into a page.  PAGES pages are chosen at random, most of them where
the bitmaps of dirty tracking have their seams: first and last pages of a memory block, and neighbours of multiples of
64 (a word), 512 (a chunk of the dirty summary), 32,768 (a group) and 2,097,152 pages (a summary).

When the migration is over, each page that was ever written must hold its last number at the destination.  The slow
channel keeps the migration from completing while the test writes, but not for certain: numbers count that were written
before the guest was seen running, and a page may have a later one.

With a balloon, pages are given to the host and taken back all the time: what they held is lost, later writes are not.
Memory that both QEMUs map from one file is not sent (x-ignore-shared), and must be in order, too.

*Limits*: writes of devices only; no ring and no bitmap of KVM.  The pages that were not written are not compared.
"""

import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from guest import TIME_LIMIT, qemu_binary, wait_until
from qemu.machine.qtest import QEMUQtestMachine
from qlab.qmpnames import SYNCS as SYNC_TIMES
from qtest_memory import Balloon, VirtioMem
from tidy import TidyTest

MIB, GIB, PAGE = 1 << 20, 1 << 30, 4096
#: The pc machine has memory beyond 3 GiB at 4 GiB, if there are 3.5 GiB or more.
LOW, HIGH = 3 * GIB, 4 * GIB
SEAMS = (64, 512, 64 * 512, 1 << 21)
#: Syncs while the test writes; MiB per second meanwhile, and then.
SYNCS, SLOW, FAST = 4, 4, 4096
#: Pages that are written; writes between two looks at the migration; pages that a balloon takes then.
PAGES, BURST, TAKEN = 600, 100, 20
HUGE_KIB, HUGE_PAGES = 2048, Path("/proc/sys/vm/nr_hugepages")

#: Backends of the memory modules: number N, for the machine NAME, KIB large, in FOLDER.
BACKENDS = {
    "ram": "memory-backend-ram,id=m{n},size={kib}k,reserve=off",
    "file": "memory-backend-file,id=m{n},size={kib}k,mem-path={folder}/{name}-{n},share=on",
    "shared": "memory-backend-file,id=m{n},size={kib}k,mem-path={folder}/both-{n},share=on",
    "huge": "memory-backend-memfd,id=m{n},size={kib}k,hugetlb=on,hugetlbsize=2M",
}


class Wired:
    """A machine's qtest, as drivers want it (qtest_nic.Wire)."""

    def __init__(self, machine: QEMUQtestMachine) -> None:
        self.cmd = machine.qtest


class Layouts(TidyTest):
    """:avocado: tags=migration,arch:x86_64"""

    timeout = 240

    def setUp(self) -> None:
        """Prepare the case; skip where it cannot run."""
        self.binary = qemu_binary(self.params.get("qemu_binary"))
        if not self.binary.exists():
            self.cancel(f"missing: {self.binary}")
        self.memory = int(self.params.get("memory", default=0))
        self.dimms = [int(kib) for kib in self.params.get("dimms", default=[])]
        self.plugged = int(self.params.get("plugged", default=0))
        self.capabilities = list(self.params.get("capabilities", default=[]))
        self.backend = str(self.params.get("backend", default="ram"))
        self.virtio_mem = int(self.params.get("virtio_mem", default=0))
        self.balloon: Balloon | None = None
        self.devices = ["-device", "virtio-balloon-pci,disable-legacy=on"] if self.params.get("balloon") else []
        if self.virtio_mem:
            self.devices += ["-object", f"memory-backend-ram,id=v,size={2 * self.virtio_mem}k,reserve=off",
                             "-device", f"virtio-mem-pci,memdev=v,requested-size={self.virtio_mem}k"]
        if self.backend == "huge":
            self.have_huge_pages(2 * sum(self.dimms) // HUGE_KIB)
        self.folder = Path(tempfile.mkdtemp(prefix="qemu-live-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.random = random.Random(int(self.params.get("seed", default=1)))
        self.written: dict[int, int] = {}   # address, number: surely before the guest stopped
        self.number = 0

    def have_huge_pages(self, needed: int) -> None:
        """Have the host set huge pages aside for the test; skip where it does not."""
        before = HUGE_PAGES.read_text("ascii")
        try:
            HUGE_PAGES.write_text(f"{int(before) + needed}\n", "ascii")
        except OSError as error:
            self.cancel(f"missing: huge pages ({error.strerror})")
        self.addCleanup(HUGE_PAGES.write_text, before, "ascii")
        if int(HUGE_PAGES.read_text("ascii")) < int(before) + needed:
            self.cancel("missing: huge pages (memory is in pieces)")

    def start(self, name: str, dimms: list[int], *args: str) -> QEMUQtestMachine:
        """A QEMU that ends with the test."""
        words = ["-M", "pc", "-m", f"{self.memory},maxmem=64G,slots=32", "-nodefaults", "-qtest-log", "none",
                 *self.devices, *args]
        for number, kib in enumerate(dimms):
            words += ["-object", BACKENDS[self.backend].format(n=number, kib=kib, folder=self.folder, name=name),
                      "-device", f"pc-dimm,id=d{number},memdev=m{number}"]
        machine = QEMUQtestMachine(str(self.binary), args=words, name=name, base_temp_dir=str(self.folder),
                                   qmp_timer=TIME_LIMIT, wrapper=["setpriv", "--pdeathsig", "KILL"])
        machine.launch()
        self.addCleanup(machine.kill)
        return machine

    def blocks(self, machine: QEMUQtestMachine) -> list[tuple[int, int]]:
        """Address and pages of each range of memory."""
        size = self.memory * MIB
        low = size if size < LOW + GIB // 2 else LOW
        found = [(MIB, low - MIB), (HIGH, size - low)]      # the first MiB has holes
        for device in machine.cmd("query-memory-devices"):
            data = device["data"]
            found.append((data["addr"] if device["type"] == "dimm" else data["memaddr"], data["size"]))
        return [(address, size // PAGE) for address, size in found if size]

    def pick(self, blocks: list[tuple[int, int]]) -> int:
        """The address of a page."""
        address, pages = self.random.choice(blocks)
        kind = self.random.randrange(4)
        page = self.random.randrange(pages)
        if kind == 0:
            page = self.random.choice((0, pages - 1))
        elif kind == 1:
            seam = self.random.choice(SEAMS)
            page = page // seam * seam + self.random.choice((-1, 0, 1))
        return address + min(max(page, 0), pages - 1) * PAGE

    def write(self, machine: QEMUQtestMachine, pages: list[int]) -> bool:
        """Write to some of PAGES, as a device does; false if the guest does not run any more."""
        burst: dict[int, int] = {}
        for address in self.random.choices(pages, k=BURST):
            self.number += 1
            machine.qtest(f"writeq {address:#x} {self.number:#x}")
            burst[address] = self.number
        running = bool(machine.cmd("query-status")["status"] == "running")
        if running:
            self.written |= burst
        return running

    def take(self, pages: list[int]) -> None:
        """Have the balloon take some pages, and give them back."""
        if not self.balloon:
            return
        taken = self.random.sample(pages, TAKEN)
        for address in taken:
            self.written.pop(address, None)
        self.balloon.inflate(taken)
        self.balloon.deflate(taken)

    def prepare(self, source: QEMUQtestMachine) -> None:
        """Memory and devices that come before the migration."""
        if self.plugged:
            number = len(self.dimms)
            source.cmd("object-add", qom_type="memory-backend-ram", id=f"m{number}", size=self.plugged * 1024)
            source.cmd("device_add", driver="pc-dimm", id=f"d{number}", memdev=f"m{number}")
        if self.virtio_mem:
            memory = VirtioMem(Wired(source))
            memory.begin()
            memory.plug(self.virtio_mem << 10)
        if self.params.get("balloon"):
            self.balloon = Balloon(Wired(source))
            self.balloon.begin()

    def migration(self, machine: QEMUQtestMachine) -> dict[str, Any]:
        """query-migrate; not of one that failed."""
        state = machine.cmd("query-migrate")
        assert isinstance(state, dict)
        self.assertNotIn(state.get("status"), ("failed", "cancelled"), state)
        return state

    def migrate(self, source: QEMUQtestMachine, destination: QEMUQtestMachine) -> None:
        """Migrate, and write meanwhile."""
        blocks = self.blocks(source)
        pages = list({self.pick(blocks) for _ in range(PAGES)})
        self.write(source, pages)
        for machine in (source, destination):
            machine.cmd("migrate-set-capabilities", capabilities=[
                {"capability": name, "state": True} for name in self.capabilities])
        uri = f"unix:{self.folder / 'migration'}"
        destination.cmd("migrate-incoming", uri=uri)
        source.cmd("migrate-set-parameters", max_bandwidth=SLOW * MIB, downtime_limit=1)
        source.cmd("migrate", uri=uri)
        end = time.monotonic() + TIME_LIMIT
        while self.write(source, pages) and (
                self.migration(source).get("ram", {}).get("dirty-sync-count", 0) < SYNCS):
            self.assertLess(time.monotonic(), end, "too few syncs")
            self.take(pages)
        source.cmd("migrate-set-parameters", max_bandwidth=FAST * MIB, downtime_limit=10_000)
        wait_until("the migration completes", lambda: self.migration(source)["status"] == "completed")
        wait_until("the destination runs", lambda: destination.cmd("query-status")["status"] == "running")

    def check_times(self, source: QEMUQtestMachine) -> None:
        """query-migrate and "info migrate" tell how long the syncs took."""
        state = self.migration(source)
        times = state[SYNC_TIMES]
        self.assertEqual(times["count"], state["ram"]["dirty-sync-count"])
        for kind in ("time", "bql"):
            self.assertGreater(times[kind]["last-ns"], 0)
            self.assertGreaterEqual(times[kind]["max-ns"], times[kind]["last-ns"])
            self.assertGreater(times[kind]["total-ns"], times[kind]["max-ns"])
            self.assertLess(times[kind]["total-ns"], state["total-time"] * 1e6)
        shown = source.cmd("human-monitor-command", command_line="info migrate")
        self.assertRegex(shown, rf"dirty syncs: {times['time']['total-ns'] // 1000} us in all")
        self.assertRegex(shown, r"dirty syncs under the BQL: \d+ us in all, \d+ us last, \d+ us at most")

    def test(self) -> None:
        """Migrate, and look for each number."""
        dimms = self.dimms + ([self.plugged] if self.plugged else [])
        source = self.start("source", self.dimms)
        self.prepare(source)
        destination = self.start("destination", dimms, "-incoming", "defer")
        self.migrate(source, destination)
        self.log.info("%d writes to %d pages; %s", self.number, len(self.written), self.migration(source)["ram"])
        self.check_times(source)
        lost = [address for address, number in self.written.items()
                if int(destination.qtest(f"readq {address:#x}").split()[1], 0) < number]
        self.assertEqual([hex(address) for address in lost[:20]], [], f"{len(lost)} pages are lost")
        self.assertGreater(len(self.written), PAGES // 3)
        for machine in (source, destination):
            machine.shutdown()
            self.assertEqual(machine.exitcode(), 0)
