# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrate a guest that writes memory all the time; no write may be lost.

Theory of operation
===================

Source and destination are the same binary.  The guest writes stamped pages as
fast as it can.  The migration starts with too little bandwidth and too low a
downtime limit to complete, so it sends memory in rounds, each with the pages
that the guest wrote during the round before.  After a few rounds the test raises
both limits, and the migration must complete.  At the destination the guest
stops writing and verifies every page that it has written.

The pages that were sent again prove that the guest wrote all the time.  The
test does not talk to the source's guest meanwhile: while a guest answers it does
not write, and the migration could complete.

A guest that was set back in time would find its memory in order.  So the
destination's guest must also have counted more writes than the source's had when
the migration began.

One case runs on a KVM that loses dirty pages (lossy.c), and passes only if the
guest finds them: this proves that the other cases can fail.

*Limits*: see guest.py.  Without KVM there is no case with a ring.  The proven
loss is one page in 64, in bitmap mode.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from guest import TIME_LIMIT, Guest, accelerator, has_query, payload_rom, preload, qemu_binary, wait_until
from qemu.qmp import ExecuteError
from qlab.qmpnames import QUERY_DIRTY_RING
from tidy import TidyTest

#: Rounds over memory before migration may complete.
ROUNDS = 3
#: MiB per second while it must not complete, and while it must.
SLOW, FAST = 8, 4096
#: Pages sent again in that time, at the very least.
SENT_AGAIN = 100


def check_sums(counters: dict[str, Any]) -> None:
    """The counters of rings that no thread uses at the moment add up."""
    vcpus = counters["vcpus"]
    released = sum(counters[f"released-{by}"] for by in ("full", "reaper", "sync"))
    published = (counters["published"] - counters["republished"]
                 - counters["published-in-place"] + counters["unknown"])
    assert published == released, f"{published} published, {released} released"
    for what, parts, whole in (
            ("harvested", sum(vcpu["harvested"] for vcpu in vcpus), counters["harvested"]),
            ("full exits", sum(vcpu["full-exits"] for vcpu in vcpus), counters["full-exits"]),
            ("full exits by time", sum(counters["full-histogram"]), counters["full-exits"]),
            ("reset entries", counters["reset-entries"], released),
            ("entries", released + sum(vcpu["occupied"] for vcpu in vcpus), counters["harvested"])):
        assert parts == whole, f"{what}: {parts} are not {whole}"
    for few, many in (("full-max-ns", "full-ns"), ("redirtied", "published"),
                      ("full-exits-empty", "full-exits"), ("reset-max-ns", "reset-ns"),
                      ("reset-entries-max", "reset-entries")):
        assert counters[few] <= counters[many], f"{few} is more than {many}"
    for phase in ("kick", "reap", "wait"):
        time = counters[f"sync-{phase}"]
        assert time["count"] == counters["syncs"], time
        assert 0 < time["max-ns"] <= time["total-ns"], time
    assert 0 < counters["sync-bql"]["count"] < counters["syncs"], counters["sync-bql"]
    for vcpu in vcpus:
        assert vcpu["occupied"] <= vcpu["occupied-max"] <= counters["size"], vcpu


class Precopy(TidyTest):
    """:avocado: tags=migration,arch:x86_64"""

    timeout = 240

    def setUp(self) -> None:
        """Prepare the case; skip where it cannot run."""
        self.guests: list[Guest] = []
        self.binary = qemu_binary(self.params.get("qemu_binary"))
        self.ring = int(self.params.get("ring", default=0))
        self.transport = self.params.get("transport", default="unix")
        self.kernel = self.params.get("kernel", default="")
        for needed in (self.binary, payload_rom()):
            if not needed.exists():
                self.cancel(f"missing: {needed}")
        self.accel, why = accelerator()
        if (self.ring or self.kernel) and self.accel != "kvm":
            what = "dirty-ring-size" if self.ring else "a fake of the kernel"
            self.cancel(f"{what} needs KVM: {why or 'the tests use ' + self.accel}")
        self.log.info("on %s %s", self.accel, why)
        self.folder = Path(tempfile.mkdtemp(prefix="qemu-live-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.addCleanup(self.keep_logs)
        self.prefix = preload(self.folder, self.kernel)

    def keep_logs(self) -> None:
        """Keep the QEMUs' logs with the test's results."""
        for log in self.folder.glob("*.log"):
            shutil.copy(log, self.outputdir)

    def guest(self, name: str, incoming: bool = False) -> Guest:
        """A QEMU that ends with the test."""
        guest = Guest(self.binary, self.folder, name, self.accel, self.ring,
                      incoming, self.prefix)
        self.guests.append(guest)
        self.addCleanup(guest.kill)
        return guest

    def tearDown(self) -> None:
        """Log the guests' states if the test failed."""
        if self.status not in ("PASS", "CANCEL"):
            for guest in self.guests:
                self.log.info("%s", guest.report())
        super().tearDown()

    def rings(self, guest: Guest) -> dict[str, Any] | None:
        """The counters of GUEST's rings; None where there are no rings."""
        try:
            answer = guest.cmd(QUERY_DIRTY_RING)
        except ExecuteError as err:
            self.log.info("%s: %s", guest.name, err)
            return None
        assert isinstance(answer, dict)
        return answer

    def begin(self, source: Guest, destination: Guest) -> None:
        """Start the migration, and wait for some rounds."""
        source.tune(SLOW, 1)
        uri = destination.listen(self.transport, self.folder)
        source.cmd("migrate", uri=uri)

        def went_round() -> bool:
            state = source.migration()
            self.assertIn(state["status"], ("setup", "active"), state)
            return state.get("ram", {}).get("dirty-sync-count", 0) >= ROUNDS

        wait_until(f"{ROUNDS} rounds", went_round)
        self.assertEqual(source.status(), "running")

    def complete(self, source: Guest, destination: Guest, pages: int) -> None:
        """Let migration complete, and wait for both sides."""
        source.tune(FAST, 10_000)

        def completed() -> bool:
            state = source.migration()
            self.assertNotIn(state["status"], ("failed", "cancelled"), state)
            return bool(state["status"] == "completed")

        wait_until("migration completed", completed)
        ram = source.migration()["ram"]
        self.log.info("sent: %s", ram)
        self.assertGreater(ram["normal"], pages + SENT_AGAIN,
                           "the guest did not write during migration")
        self.assertEqual(source.status(), "postmigrate")
        wait_until("the destination runs", lambda: destination.status() == "running")

    def check_rings(self, source: Guest) -> None:
        """The source used rings if the case has them, else none."""
        if not has_query(self.binary):
            self.log.info("not our QEMU: it does not tell about its rings")
            return
        counters = self.rings(source)
        if not self.ring or self.kernel:
            self.assertIsNone(counters, "rings, although there should be none")
            return
        self.log.info("rings: %s", counters)
        self.assertIsNotNone(counters, "no rings, although they were asked for")
        assert counters
        self.assertEqual(counters["size"], self.ring)
        self.assertFalse(counters["broken"])
        self.assertEqual(counters["overflows"], 0)
        self.assertGreater(counters["harvested"], 0)
        check_sums(counters)

    def test(self) -> None:
        """Migrate under load and verify."""
        source = self.guest("source")
        destination = self.guest("destination", incoming=True)
        source.cmd("cont")
        pages = source.payload.wait_ready(TIME_LIMIT)
        source.payload.ask("start mode=random", "ok", TIME_LIMIT)
        writes = source.writes()
        self.begin(source, destination)
        self.complete(source, destination, pages)
        self.check_rings(source)
        destination.payload.catch_up(TIME_LIMIT)
        after = destination.writes()
        destination.payload.ask("stop", "ok", TIME_LIMIT)
        found = destination.payload.verify(TIME_LIMIT)
        self.log.info("%d writes at the source, %d at the destination, %s",
                      writes, after, found)
        self.assertEqual(found.pages, pages)
        if self.kernel == "lossy":
            self.assertGreater(found.bad, 0, "pages were lost and the oracle is content")
        else:
            self.assertTrue(found.clean, f"the oracle found {found}")
        self.assertGreater(after, writes, "the guest was set back in time")
        for guest in (destination, source):
            self.assertEqual(guest.end(), 0, f"{guest.name} ended badly")
