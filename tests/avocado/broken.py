# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU on a kernel whose dirty ring does not work, and what QEMU asks of the kernel.

Theory of operation
===================

The guest is the 32-bit payload on any KVM with rings; a preloaded library changes what QEMU sees of KVM.

BrokenRing: the kernel never resets a ring (stuck.c): the ioctl fails, or does nothing.  With an idle guest, the
first measurement of the dirty rate harvests entries and finds that out.  Then the test uses everything that logs
dirty pages: another measurement and a dirty limit must work as far as they can, a migration must be refused
with the reason, and the guest must keep running.  With a guest that writes, the ring fills up and KVM does
not run the vCPU any more: QEMU must report that and stop the guest.  The monitor must answer all the time.

SignalledReset: QEMU must block signals around KVM_RESET_DIRTY_RINGS (signalled.c).

SlotRemoval: no vCPU may be inside KVM_RUN while a slot with dirty logging is removed (removal.c).  The slot
is a display's memory, which always logs; the test moves it in and out of the guest's address space by the
device's PCI command register, written from the monitor, so that nothing else changes with it.

BackupBitmap: a sync while the VM does not run reads the backup bitmap (backup.c), whether it is the last sync
or not.  The syncs are those of a dirty rate's measurement.

*Limits*: no test looks at the guest's memory, so this runs on any KVM with rings, even on one that the lab's
probe rejects.  Such a KVM may overrun the ring of an idle guest, too; then QEMU has to stop that guest.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guest import TIME_LIMIT, Guest, has_query, kvm_usable, payload_rom, preload, qemu_binary, wait_until
from qemu.qmp import ExecuteError
from qlab.qmpnames import DIRTY_RING_FAULT, QUERY_DIRTY_RING
from tidy import TidyTest

#: Seconds in which the monitor has to answer, whatever the rings do.
ANSWER_S = 4.0 * float(os.environ.get("QEMU_LIVE_TIME_FACTOR", "1"))

#: More than so many resets have to be looked at.
RESETS = 5

#: So many guests are tried on a KVM that stops them.
GUESTS = 5

#: Where the display is on the PCI bus and in memory, and how often its memory is unmapped.
DISPLAY_SLOT, DISPLAY_BASE, REMOVALS = 4, 0xE0000000, 20


class RingGuest(TidyTest):
    """A guest with a ring and a preloaded library."""

    timeout = 240

    def log_of(self, variable: str) -> str:
        """The environment variable that names the library's log."""
        folder = Path(tempfile.mkdtemp(prefix="qemu-live-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.log_file = folder / "log"
        return f"{variable}={self.log_file}"

    def noted(self) -> str:
        """The library's log so far."""
        return self.log_file.read_text("ascii") if self.log_file.exists() else ""

    def begin(self, kernel: str, *environment: str, devices: Sequence[str] = ()) -> None:
        """Start the guest; skip where the case cannot run."""
        binary = qemu_binary(self.params.get("qemu_binary"))
        for needed in (binary, payload_rom()):
            if not needed.exists():
                self.cancel(f"missing: {needed}")
        if not has_query(binary):
            self.cancel(f"{binary} is not qemu-live's")
        if kvm_usable():
            self.cancel(kvm_usable())
        self.folder = Path(tempfile.mkdtemp(prefix="qemu-live-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.guest = Guest(binary, self.folder, "qemu", "kvm", ring=1024, cpu="kvm64",
                           prefix=[*preload(self.folder, kernel), *environment], devices=devices)
        self.addCleanup(self.guest.kill)
        try:
            self.ask(QUERY_DIRTY_RING)
        except ExecuteError as err:
            self.cancel(f"this machine's KVM: {err}")
        self.guest.cmd("cont")
        self.guest.payload.wait_ready(TIME_LIMIT)

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """A QMP command whose answer is an object."""
        answer = self.guest.vm.cmd(command, args_dict=arguments or None)
        assert isinstance(answer, dict), answer
        return answer

    def measure(self) -> None:
        """Measure the dirty rate."""
        self.ask("calc-dirty-rate", **{"calc-time": 1, "mode": "dirty-ring"})
        wait_until("a dirty rate",
                   lambda: self.ask("query-dirty-rate")["status"] == "measured")


class BrokenRing(RingGuest):
    """:avocado: tags=badinput,arch:x86_64"""

    def setUp(self) -> None:
        """A guest whose rings are never reset."""
        self.begin("stuck", f"STUCK_ERRNO={self.params.get('errno')}")
        self.worst_s = 0.0
        self.reported: list[str] = []

    def broken(self) -> bool:
        """Whether QEMU reports the ring as broken; log how long the answer took."""
        begun = time.monotonic()
        broken = bool(self.ask(QUERY_DIRTY_RING)["broken"])
        self.worst_s = max(self.worst_s, time.monotonic() - begun)
        return broken

    def faults(self) -> list[str]:
        """The faults in the events so far."""
        self.reported += [str(event["data"]["fault"]) for event in self.guest.vm.get_qmp_events()
                          if event["event"] == DIRTY_RING_FAULT]
        return self.reported

    def refused(self) -> None:
        """A migration is refused; dirty rate and dirty limit work as far as they can."""
        self.measure()
        self.ask("set-vcpu-dirty-limit", **{"dirty-rate": 10})
        self.ask("cancel-vcpu-dirty-limit")
        self.ask("migrate", uri="exec:cat >/dev/null")
        wait_until("the migration failed",
                   lambda: self.ask("query-migrate")["status"] == "failed")
        self.assertIn("lost dirty pages", self.ask("query-migrate")["error-desc"])

    def stopped(self) -> bool:
        """Whether QEMU has stopped the guest."""
        self.broken()
        return self.guest.status() == "internal-error"

    def gives_up(self) -> None:
        """QEMU stops the guest with the reason, and refuses `cont`."""
        wait_until("the guest is stopped", self.stopped)
        with self.assertRaises(ExecuteError):
            self.guest.cmd("cont")
        self.assertEqual(self.faults()[1:], ["vcpu-stuck"])

    def test(self) -> None:
        """Break the rings, and use everything that needs them."""
        writes = bool(self.params.get("writes"))
        if writes:
            self.guest.payload.start(mode="random")
        self.ask("calc-dirty-rate", **{"calc-time": 1, "mode": "dirty-ring"})
        wait_until("the rings are known to be broken", self.broken)
        if writes:
            self.gives_up()
        wait_until("a dirty rate",
                   lambda: self.ask("query-dirty-rate")["status"] == "measured")
        self.refused()
        self.assertIn(self.faults()[0], ("reset-refused", "overflow"))
        if "vcpu-stuck" not in self.faults():
            self.assertEqual(self.guest.status(), "running")
            self.guest.payload.ping(TIME_LIMIT)
        self.assertLess(self.worst_s, ANSWER_S)
        self.assertEqual(self.guest.end(), 0)


class SignalledReset(RingGuest):
    """:avocado: tags=badinput,arch:x86_64"""

    def letters_of_guest(self) -> str:
        """The log of one guest's resets, by vCPU, reaper and syncs; on a busy machine one measurement has few.  A
        KVM that overruns the ring has QEMU stop the guest: then the log may be short."""
        self.begin("signalled", self.log_of("SIGNALLED_FILE"))
        self.guest.payload.start(mode="random")
        deadline = time.monotonic() + TIME_LIMIT
        while (len(self.noted()) <= RESETS and self.guest.status() == "running"
               and time.monotonic() < deadline):
            self.measure()
        self.assertEqual(self.guest.end(), 0)
        return self.noted()

    def test(self) -> None:
        """Look at the resets of as many guests as it takes."""
        letters = ""
        for _ in range(GUESTS):
            letters += self.letters_of_guest()
            if len(letters) > RESETS:
                break
        self.assertGreater(len(letters), RESETS)
        self.assertEqual(set(letters), {"b"})


class SlotRemoval(RingGuest):
    """:avocado: tags=badinput,arch:x86_64"""

    def setUp(self) -> None:
        """A guest with a display whose memory is not mapped yet."""
        self.begin("removal", self.log_of("REMOVAL_FILE"),
                   devices=["-device", f"VGA,romfile=,addr={DISPLAY_SLOT}"])

    def pci(self, offset: int, value: int) -> None:
        """Write a register of the display's configuration space."""
        address = 0x80000000 | DISPLAY_SLOT << 11 | offset
        for port, what in ((0xCF8, address), (0xCFC, value)):
            self.ask_human(f"o/w {port:#x} {what:#x}")

    def ask_human(self, line: str) -> None:
        """A command of the human monitor that prints nothing."""
        self.assertEqual(self.guest.vm.cmd("human-monitor-command", command_line=line), "")

    def test(self) -> None:
        """Map and unmap the display's memory again and again."""
        self.pci(0x10, DISPLAY_BASE)
        for _ in range(REMOVALS):
            self.pci(0x04, 2)
            self.pci(0x04, 0)
        self.assertEqual(self.guest.end(), 0)
        letters = self.noted()
        self.assertGreaterEqual(len(letters), REMOVALS)
        self.assertEqual(set(letters), {"q"})


class BackupBitmap(RingGuest):
    """:avocado: tags=badinput,arch:x86_64"""

    def boot(self) -> None:
        """A guest whose KVM has a backup bitmap."""
        self.begin("backup", self.log_of("BACKUP_FILE"))

    def measure_running(self) -> str:
        """Measure while the guest runs; what KVM was asked meanwhile.  A KVM that overruns the ring of an idle
        guest has QEMU stop it: then another guest has to do."""
        for _ in range(GUESTS):
            self.boot()
            self.measure()
            noted = self.noted()
            if self.ask("query-status")["running"]:
                return noted
            self.guest.kill()
        self.cancel(f"this machine's KVM has stopped {GUESTS} guests")
        return ""

    def test(self) -> None:
        """Measure the dirty rate, which syncs, of a guest that runs and of one that is stopped."""
        self.assertEqual(self.measure_running(), "")
        self.assertTrue(self.ask(QUERY_DIRTY_RING)["backup-bitmap"])
        self.guest.cmd("stop")
        self.measure()
        self.assertNotEqual(self.noted(), "")
        self.assertEqual(self.guest.end(), 0)
