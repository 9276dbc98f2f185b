# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the guest payloads: that they work, and that their oracle bites.

    python3 -m unittest discover -s tests/lab/guest
    tests/lab/guest/test_payload.py [--qemu PATH] [-v] [TEST...]

Theory of operation
===================

Each payload is booted under TCG, loaded, migrated while it is loaded, verified.
Then memory is damaged behind its back, by putting back what a page held a
moment earlier: exactly what a migration that loses a write does to a page. Of
the firmware-less payload everything from 2 MiB up is the oracle's, so there
*every* page that changed is such a victim, tables and totals included.

The payloads are built first. A missing QEMU or kernel is a failure, not a skip.

*Limits*: TCG's own dirty tracking is what migrates here; KVM's is the lab's.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from guest_machine import (PAGE, Machine, MachineError, guest_directory,
                           kernel_path, qemu_path)

LOAD_BEGIN = (2 << 20) // PAGE  # of the firmware-less payload, as a gfn


def setUpModule() -> None:
    """Build the payloads; be clear about what is missing."""
    for path in (qemu_path(), kernel_path()):
        if not path.exists():
            raise MachineError(f"{path} is missing: `make`, `scripts/fetch-kernel 6.1`")
    if "QEMU_LIVE_GUEST" not in os.environ:
        build = Path(__file__).resolve().parent / "build"
        subprocess.run([build, guest_directory()], check=True, timeout=300)


class PayloadCase(unittest.TestCase):
    """What tests of both payloads share."""

    kind = ""
    mem = 64
    load = 24  # MiB

    def machine(self, vcpus: int = 1, **more: object) -> Machine:
        """A machine that ends with the test."""
        settings = {"mem": self.mem, "load": self.load, **more}
        machine = Machine(self.kind, vcpus, **settings)  # type: ignore[arg-type]
        self.addCleanup(machine.close)
        return machine

    def up(self, vcpus: int = 1, **more: object) -> Machine:
        """A machine whose payload is up."""
        machine = self.machine(vcpus, **more)
        machine.wait_ready()
        return machine

    def assert_clean(self, machine: Machine) -> None:
        """The oracle looked at all pages and found nothing."""
        found = machine.verify()
        self.assertEqual((found["bad"], found["first"], found["reason"]), ("0", "-", "-"), found)
        self.assertEqual(int(found["pages"]), machine.stat()["pages"])

    def assert_grows(self, machine: Machine) -> None:
        """The load runs."""
        before = machine.writes()
        end = time.monotonic() + 20
        while machine.writes() < before + 100:
            self.assertLess(time.monotonic(), end, "the load does not write")
            time.sleep(0.05)


class Common:
    """Tests that are the same for both; a class in a class is not collected."""

    class Tests(PayloadCase):
        """Each takes one machine, or two."""

        def load_and_verify(self, vcpus: int) -> None:
            machine = self.machine(vcpus)
            pages = machine.wait_ready()
            self.assertGreater(pages * PAGE, (self.load << 20) * 0.9)
            self.assertLessEqual(pages * PAGE, self.load << 20)
            self.assertEqual(machine.stat(), {"pages": pages, "writes": 0, "vcpus": vcpus,
                                              "running": 0})
            self.assert_clean(machine)
            for mode in ("random", "seq", "stride", "zipf"):
                machine.order(f"start mode={mode}")
                self.assertEqual(machine.stat()["running"], 1)
                self.assert_grows(machine)
                machine.order("stop")
                self.assertEqual(machine.stat()["running"], 0)
                self.assert_clean(machine)

        def test_load_1(self) -> None:
            """One vCPU: every mode, verified."""
            self.load_and_verify(1)

        def test_load_2(self) -> None:
            """Two vCPUs: every mode, verified."""
            self.load_and_verify(2)

        def test_rate(self) -> None:
            """A rate limit is kept, by one worker and by two, and stop stops."""
            machine = self.up(2)
            for options in ("rate=2000", "rate=2000 mode=seq workers=1"):
                machine.order(f"start {options}")
                time.sleep(0.5)
                begin, before = time.monotonic(), machine.writes()
                time.sleep(3)
                rate = (machine.writes() - before) / (time.monotonic() - begin)
                machine.order("stop")
                self.assertTrue(1000 < rate < 2500, f"{options}: {rate}")
            before = machine.writes()
            time.sleep(0.3)
            self.assertEqual(machine.writes(), before)
            self.assert_clean(machine)

        def test_protocol(self) -> None:
            """Wrong lines are errors, echoes are not answered, blanks are nothing."""
            machine = self.up()
            self.assertEqual(machine.ask("ping"), "pong")
            for wrong in ("hello", "start mode=up", "start rate=x", "start stride=0",
                          "start workers=2", "start workers=0", "start rate=4294967296",
                          "start fast", "stop now", "x" * 200):
                self.assertRegex(machine.ask(wrong), "^error ", wrong)
            for quiet in ("", "  ", "pong", "ok", "error unknown", "ready pages=3",
                          "stat pages=1 writes=2", "verify pages=1 bad=0", "beat 1 max_gap_us=2"):
                machine.control.send(quiet)
            self.assertTrue(machine.control.silent(0.5))
            self.assertEqual(machine.ask("ping\r"), "pong")
            machine.order("start rate=100")
            self.assertRegex(machine.ask("verify"), "^error ")
            self.assertRegex(machine.ask("start"), "^error ")
            machine.order("stop")
            machine.order("stop")
            self.assert_clean(machine)

        def test_heartbeat(self) -> None:
            """Beats go on under load, and the gap is that since the last question."""
            machine = self.up(2)
            machine.order("start rate=1000")
            machine.ask("heartbeat")
            time.sleep(1)
            _, first, gap = machine.ask("heartbeat").split()
            self.assertGreater(int(gap.partition("=")[2]), 900)
            time.sleep(1)
            _, second, _ = machine.ask("heartbeat").split()
            self.assertGreater(int(second), int(first) + 50)

        def test_one_port(self) -> None:
            """With one serial port the protocol shares it with the console."""
            machine = self.up(serial=1)
            machine.order("start")
            self.assert_grows(machine)
            machine.order("stop")
            self.assert_clean(machine)

        def test_poweroff(self) -> None:
            """poweroff ends QEMU, and by itself."""
            machine = self.up()
            machine.order("poweroff")
            self.assertEqual(machine.process.wait(20), 0)

        def migrate_under_load(self, vcpus: int) -> None:
            source = self.up(vcpus)
            target = self.machine(vcpus, incoming="defer")
            uri = f"unix:{target.directory}/migrate"
            target.qmp("migrate-incoming", uri=uri)
            source.order("start")
            self.assert_grows(source)
            before = source.writes()
            source.migrate(uri)
            self.assertEqual(source.qmp("query-status")["status"], "postmigrate")
            self.assertGreater(target.writes(), before)
            self.assert_grows(target)
            target.order("stop")
            self.assert_clean(target)

        def test_migrate_1(self) -> None:
            """A migration under a flat-out load, one vCPU."""
            self.migrate_under_load(1)

        def test_migrate_2(self) -> None:
            """A migration under a flat-out load, two vCPUs."""
            self.migrate_under_load(2)

        # --- proof that it bites -------------------------------------------

        def victims(self, old: bytes, machine: Machine) -> list[int]:
            """Pages of the load area that differ from what they were."""
            raise NotImplementedError

        def snapshot(self, machine: Machine) -> bytes:
            """All of the guest's memory at one instant."""
            machine.qmp("stop")
            copy = machine.ram[:]
            machine.qmp("cont")
            return copy

        def lose(self, machine: Machine, old: bytes, gfn: int) -> bytes:
            """Give a page its older content; what it had."""
            now = machine.page(gfn)
            machine.set_page(gfn, old[gfn * PAGE:(gfn + 1) * PAGE])
            return now

        def test_bites(self) -> None:
            """A page that lost its last writes is found, and named."""
            machine = self.up(2)
            machine.order("start rate=20000")
            self.assert_grows(machine)
            old = self.snapshot(machine)
            self.assert_grows(machine)
            machine.order("stop")
            victims = self.victims(old, machine)
            self.assertGreater(len(victims), 20)
            for gfn in random.sample(victims, 20):
                now = self.lose(machine, old, gfn)
                found = machine.verify()
                self.assertGreaterEqual(int(found["bad"]), 1)
                self.assertEqual((int(found["first"], 16), found["reason"]), (gfn, "stale"))
                machine.set_page(gfn, now)
            self.assert_clean(machine)

        def test_bites_through_load(self) -> None:
            """A lost write is found although the guest wrote on, flat out, for a second."""
            machine = self.up(2)
            machine.order("start")
            old = self.snapshot(machine)
            self.assert_grows(machine)
            machine.qmp("stop")
            self.lose(machine, old, random.choice(self.victims(old, machine)))
            machine.qmp("cont")
            before = machine.writes()
            end = time.monotonic() + 60
            while machine.writes() < before + 20 * machine.stat()["pages"]:
                self.assertLess(time.monotonic(), end)
                time.sleep(0.2)
            machine.order("stop")
            self.assertEqual(machine.verify()["bad"], "1")

        def test_bites_after_migration(self) -> None:
            """A migration that loses one page's last writes is found out at the target."""
            source = self.up(2)
            target = self.machine(2, incoming="defer")
            uri = f"unix:{target.directory}/migrate"
            target.qmp("migrate-incoming", uri=uri)
            source.order("start")
            old = self.snapshot(source)
            self.assert_grows(source)
            source.qmp("stop")
            source.migrate(uri)
            self.assertEqual(target.qmp("query-status")["status"], "paused")
            victim = random.choice(self.victims(old, target))
            self.lose(target, old, victim)
            target.qmp("cont")
            self.assert_grows(target)
            target.order("stop")
            self.assertGreaterEqual(int(target.verify()["bad"]), 1)


class LinuxPayload(Common.Tests):
    """init.cpio.gz, with Debian's kernel."""

    kind = "linux"
    mem = 160

    def test_smi(self) -> None:
        """SMIs come at a rate, write SMRAM and end; without a VGA there is no screen."""
        machine = self.up()

        def raised(line: str) -> int:
            return int(machine.ask(line).partition("hw smis=")[2])
        self.assertEqual(raised("hw smi 0"), 0)
        before = machine.ram[0xa0000:0xc0000]
        raised("hw smi 200")
        time.sleep(1)
        count = raised("hw smi 0")
        self.assertGreater(count, 20)
        self.assertLess(count, 400)
        self.assertNotEqual(machine.ram[0xa0000:0xc0000], before)
        time.sleep(0.2)     # one may have been on its way
        count = raised("hw smi 0")
        time.sleep(0.2)
        self.assertEqual(raised("hw smi 0"), count)
        for wrong in ("hw", "hw up", "hw smi 1001", "hw fill 0 1 1", "hw vga 1024 256",
                      "hw vga 0 0", "hw vga 9 9"):
            self.assertRegex(machine.ask(wrong), "^error ", wrong)
        self.assert_clean(machine)

    def victims(self, old: bytes, machine: Machine) -> list[int]:
        """Pages that are stamped, both then and now, as the same page of the area."""
        found = []
        for gfn in range(len(old) // PAGE):
            now = machine.page(gfn)
            then = old[gfn * PAGE:(gfn + 1) * PAGE]
            if now != then and self.stamp(now) == self.stamp(then) is not None:
                found.append(gfn)
        return found

    @staticmethod
    def stamp(page: bytes) -> int | None:
        """The number of the area's page that first and last slot say this is."""
        first, last = (struct.unpack_from("<3I", page, at) for at in (0, PAGE - 64))
        stamped = first[:2] == last[:2] and first[2] >> 8 == 0 and last[2] >> 8 == 63
        return first[0] if stamped else None


class Payload32(Common.Tests):
    """payload32.rom, without firmware."""

    kind = "payload32"

    def victims(self, old: bytes, machine: Machine) -> list[int]:
        """Pages of the load area; behind it the tables begin to change."""
        return [gfn for gfn in self.changed(old, machine)
                if struct.unpack_from("<I", machine.page(gfn))[0] < (self.load << 20) // PAGE
                and LinuxPayload.stamp(machine.page(gfn)) is not None]

    @staticmethod
    def changed(old: bytes, machine: Machine) -> list[int]:
        """Pages of the oracle, of any kind, that are not as they were."""
        return [gfn for gfn in range(LOAD_BEGIN, len(old) // PAGE)
                if machine.page(gfn) != old[gfn * PAGE:(gfn + 1) * PAGE]]

    def test_every_page_bites(self) -> None:
        """Every page of area, tables and totals that changed: lost, found, named."""
        machine = self.up(2, load=4)
        machine.order("start rate=5000")
        self.assert_grows(machine)
        old = self.snapshot(machine)
        self.assert_grows(machine)
        machine.order("stop")
        changed = self.changed(old, machine)
        reasons = set()
        for gfn in changed:
            now = self.lose(machine, old, gfn)
            found = machine.verify()
            reasons.add(found["reason"])
            self.assertGreaterEqual(int(found["bad"]), 1, hex(gfn))
            self.assertEqual(int(found["first"], 16), gfn)
            machine.set_page(gfn, now)
        self.assertEqual(reasons, {"stale", "table", "total"})
        self.assert_clean(machine)

    def test_four_vcpus_q35(self) -> None:
        """The other chipset, more CPUs."""
        machine = self.up(4, machine="q35")
        self.assertEqual(machine.stat()["vcpus"], 4)
        machine.order("start")
        self.assert_grows(machine)
        machine.order("stop")
        self.assert_clean(machine)
        machine.order("poweroff")
        self.assertEqual(machine.process.wait(20), 0)

    def test_ready_is_said_again(self) -> None:
        """Until the host speaks; then no more."""
        machine = self.up()
        machine.wait_ready(5)
        self.assertEqual(machine.ask("ping"), "pong")
        self.assertRegex(machine.ask("hw smi 1"), "^error not in this payload")
        self.assertTrue(machine.control.silent(1.5))

    def test_all_memory(self) -> None:
        """Without opt/load.mb the load takes what there is above 2 MiB."""
        machine = self.machine(load=0)
        self.assertGreater(machine.wait_ready() * PAGE, (self.mem - 2 << 20) * 0.98)
        self.assert_clean(machine)


def main() -> None:
    """`--qemu PATH` chooses the QEMU; the rest is unittest's."""
    arguments = sys.argv[1:]
    if "--qemu" in arguments:
        at = arguments.index("--qemu")
        os.environ["QEMU_LIVE_QEMU"] = str(Path(arguments[at + 1]).resolve())
        del arguments[at:at + 2]
    unittest.main(argv=[sys.argv[0], *arguments])


if __name__ == "__main__":
    main()
