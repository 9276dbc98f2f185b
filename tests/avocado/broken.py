# SPDX-License-Identifier: GPL-2.0-or-later
"""Rings that have lost pages: migration is refused, and the guest runs on.

Theory of operation
===================

The kernel is a fake that never resets a ring (stuck.c).  The first measurement of the dirty rate
takes entries out of the ring, and finds that.  From then on everything that logs dirty pages is
asked for in turn: another measurement and a limit must work as far as they can, a migration must
be refused with the reason, and QEMU must be there afterwards, with its guest running.

*Limits*: it does not matter what the guest does, as long as it writes memory; so this runs on any
KVM with rings, even on one that the lab's probe rejects.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from avocado import Test
from guest import (has_query, kvm_usable, machine, payload_rom, preload, qemu_binary,
                   wait_until)
from qemu.qmp import ExecuteError


class BrokenRing(Test):
    """:avocado: tags=badinput,arch:x86_64"""

    timeout = 240

    def setUp(self) -> None:
        """Say why this case does not run here, or start the guest."""
        self.binary = qemu_binary(self.params.get("qemu_binary"))
        for needed in (self.binary, payload_rom()):
            if not needed.exists():
                self.cancel(f"missing: {needed}")
        if not has_query(self.binary):
            self.cancel(f"{self.binary} is not qemu-live's")
        if kvm_usable():
            self.cancel(kvm_usable())
        folder = Path(tempfile.mkdtemp(prefix="qemu-live-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.vm = machine(self.binary, folder, "qemu", [
            "-machine", "pc,hpet=off,usb=off,vmport=off", "-cpu", "kvm64", "-m", "24",
            "-accel", "kvm,dirty-ring-size=1024", "-nodefaults", "-no-user-config",
            "-bios", str(payload_rom()), "-serial", "null"], preload(folder, "stuck"))
        self.addCleanup(self.vm.kill)
        self.vm.launch()

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """A command and its answer, which is an object."""
        answer = self.vm.cmd(command, args_dict=arguments or None)
        assert isinstance(answer, dict), answer
        return answer

    def measure(self) -> None:
        """Have the dirty rate measured."""
        self.ask("calc-dirty-rate", **{"calc-time": 1, "mode": "dirty-ring"})
        wait_until("a dirty rate",
                   lambda: self.ask("query-dirty-rate")["status"] == "measured")

    def broken(self) -> bool:
        """Whether QEMU knows."""
        return bool(self.ask("query-kvm-dirty-ring")["broken"])

    def test(self) -> None:
        """Break the rings, and ask for everything that needs them."""
        try:
            self.broken()
        except ExecuteError as err:
            self.cancel(f"this machine's KVM: {err}")
        self.measure()
        wait_until("the rings are known to be broken", self.broken)
        self.measure()
        self.ask("set-vcpu-dirty-limit", **{"dirty-rate": 10})
        self.ask("cancel-vcpu-dirty-limit")
        self.ask("migrate", uri="exec:cat >/dev/null")
        wait_until("the migration failed",
                   lambda: self.ask("query-migrate")["status"] == "failed")
        self.assertIn("lost dirty pages", self.ask("query-migrate")["error-desc"])
        self.assertEqual(self.ask("query-status")["status"], "running")
        self.vm.shutdown()
        self.assertEqual(self.vm.exitcode(), 0)
