# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's dirty-ring and dirty-ring-size: their errors, and the rings that they give.

Theory of operation
===================

Every bad input ends QEMU before it makes a guest: with a status that is neither
success nor a signal, and with exactly one line on stderr, which the case
describes.  A kernel without rings is not a bad input: QEMU warns, in one line,
and runs without.  A fake (ring-max.c) stands for that kernel, because all kernels
under test have rings; precopy.py has a case that migrates on it.

RingSize starts QEMU with good input and asks it for its rings.  The fake also
offers fewer entries than dirty-ring=on takes by itself.

*Limits*: dirty-ring-size of a running QEMU cannot be set from outside (the
accelerator has no path in the object tree), so that refusal has no case here.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from guest import TIME_LIMIT, has_query, kvm_usable, machine, preload, qemu_binary
from qemu.machine import QEMUMachine
from qemu.qmp import ExecuteError
from qlab.qmpnames import QUERY_DIRTY_RING
from tidy import TidyTest

MACHINE = ("-machine", "none", "-nodefaults", "-no-user-config", "-S")


class _OnAccel(TidyTest):
    """A case with one -accel argument."""

    timeout = 240

    def setUp(self) -> None:
        """Skip where the case cannot run."""
        self.binary = qemu_binary(self.params.get("qemu_binary"))
        self.accel = self.params.get("accel", default="kvm,dirty-ring-size=1000")
        self.says = self.params.get("says", default="power of two")
        if not self.binary.exists():
            self.cancel(f"missing: {self.binary}")
        if not has_query(self.binary):
            self.cancel(f"{self.binary} is not qemu-live's")
        if self.params.get("needs", default="") == "kvm" and kvm_usable():
            self.cancel(kvm_usable())

    def one_line(self, stderr: str) -> str:
        """STDERR, which must be one line, and the one that is expected."""
        lines = stderr.splitlines()
        self.assertEqual(len(lines), 1, f"not one line: {stderr!r}")
        self.assertTrue(re.search(self.says, lines[0]),
                        f"{lines[0]!r} does not match {self.says!r}")
        return lines[0]


class BadInput(_OnAccel):
    """:avocado: tags=badinput,arch:x86_64"""

    def test(self) -> None:
        """Start QEMU with the argument."""
        done = subprocess.run(
            [str(self.binary), *MACHINE, "-display", "none", "-accel", self.accel],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=TIME_LIMIT, check=False)
        self.log.info("status %d, stderr: %s", done.returncode, done.stderr)
        self.assertGreater(done.returncode, 0, "neither success nor a signal")
        self.assertEqual(done.stdout, "")
        self.one_line(done.stderr)


class _Rings(_OnAccel):
    """A QEMU that starts, and what it says of its rings."""

    def begin(self, *kernel: str) -> QEMUMachine:
        """Start QEMU; KERNEL: a preloaded library, and its environment."""
        folder = Path(tempfile.mkdtemp(prefix="qemu-live-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        prefix = [*preload(folder, kernel[0]), *kernel[1:]] if kernel else []
        vm = machine(self.binary, folder, "qemu", [*MACHINE, "-accel", self.accel], prefix)
        self.addCleanup(vm.kill)
        vm.launch()
        return vm

    def without_rings(self, vm: QEMUMachine) -> None:
        """The query says that there are none."""
        with self.assertRaises(ExecuteError) as refused:
            vm.cmd(QUERY_DIRTY_RING)
        self.assertIn("no dirty rings", str(refused.exception))

    def end(self, vm: QEMUMachine) -> str:
        """End QEMU; what it has said."""
        vm.shutdown(timeout=int(TIME_LIMIT))
        self.assertEqual(vm.exitcode(), 0)
        return vm.get_log() or ""


class KernelWithoutRing(_Rings):
    """:avocado: tags=badinput,arch:x86_64"""

    def test(self) -> None:
        """Start QEMU on such a kernel; it runs without rings."""
        vm = self.begin("ring-max")
        self.without_rings(vm)
        answer = vm.cmd("query-kvm")
        assert isinstance(answer, dict)
        self.assertTrue(answer["enabled"], "not even KVM is left")
        self.one_line(self.end(vm))


class RingSize(_Rings):
    """:avocado: tags=badinput,arch:x86_64"""

    def test(self) -> None:
        """Start QEMU; its rings have the expected size, and QEMU says nothing."""
        size = int(self.params.get("size", default=0))
        most = int(self.params.get("most", default=0))
        vm = self.begin("ring-max", f"RING_MAX={most}") if most else self.begin()
        if size:
            answer = vm.cmd(QUERY_DIRTY_RING)
            assert isinstance(answer, dict)
            self.log.info("%s", answer)
            self.assertEqual(answer["size"], size)
            self.assertLess(answer["usable"], size)
        else:
            self.without_rings(vm)
        self.assertEqual(self.end(vm), "")
