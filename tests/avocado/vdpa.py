# SPDX-License-Identifier: GPL-2.0-or-later
"""The MAC address and the link of a vhost-vdpa device: QEMU's messages, and the guest's view.

Theory of operation
===================

The device is a fake (fixed-mac.c) that keeps its own MAC address, as hardware may; no kernel with vDPA is
needed.  The guest is firmware: iPXE, in the virtio-net device's ROM, has a driver that starts the device.

    mac     one warning if the command line's address is not the device's
    link    `set_link` by the netdev's name and by the device's id is seen in configuration space

The configuration space is read as the guest reads it, through the device's BAR.

*Limits*: no frame is sent.  The layout of the BAR is assumed, not read from the capabilities.
"""

import re
import shutil
import tempfile
from pathlib import Path

from guest import TIME_LIMIT, accelerator, has_query, machine, preload, qemu_binary, wait_until
from qlab.qmpnames import QUERY_VHOST_VDPA
from tidy import TidyTest

#: Where virtio-pci puts the device's configuration space, and the link status in that.
CONFIG, STATUS = 0x2000, 6


class _OnFake(TidyTest):
    """A guest with the fake device."""

    timeout = 240

    def setUp(self) -> None:
        """Start it, and wait until the firmware has started the device."""
        binary = qemu_binary(self.params.get("qemu_binary"))
        if not binary.exists():
            self.cancel(f"missing: {binary}")
        if not has_query(binary):
            self.cancel(f"{binary} is not qemu-live's")
        mac = self.params.get("mac", default="52:54:00:00:00:01")
        folder = Path(tempfile.mkdtemp(prefix="qemu-live-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.vm = machine(
            binary, folder, "qemu",
            ["-accel", accelerator()[0], "-m", "64", "-nodefaults", "-no-user-config", "-boot", "n",
             "-netdev", "vhost-vdpa,id=n0,vhostdev=/dev/null",
             "-device", f"virtio-net-pci,id=nic,netdev=n0,mac={mac}"],
            preload(folder, "fixed-mac"))
        self.addCleanup(self.vm.kill)
        self.vm.launch()
        wait_until("the firmware starts the device", self.device_runs)

    def device_runs(self) -> bool:
        """Whether the guest's driver has started the device."""
        answer = self.vm.cmd(QUERY_VHOST_VDPA)
        assert isinstance(answer, list)
        return bool(answer[0]["state"] == "driver-ok")

    def hmp(self, line: str) -> str:
        """A command of the human monitor."""
        return str(self.vm.cmd("human-monitor-command", command_line=line))

    def link_is_up(self) -> bool:
        """The link status in the device's configuration space."""
        bars = re.findall(r"BAR4: 64 bit prefetchable memory at (0x[0-9a-f]+)",
                          self.hmp("info pci"))
        self.assertEqual(len(bars), 1, "not one virtio device")
        shown = self.hmp(f"xp /1hx {int(bars[0], 16) + CONFIG + STATUS:#x}")
        return bool(int(shown.split()[-1], 16) & 1)


class Mac(_OnFake):
    """:avocado: tags=vdpa,arch:x86_64"""

    def test(self) -> None:
        """Compare QEMU's log with what the case expects."""
        self.vm.shutdown(timeout=int(TIME_LIMIT))
        lines = (self.vm.get_log() or "").splitlines()
        expected = self.params.get("says", default="")
        if not expected:
            self.assertEqual(lines, [])
            return
        self.assertEqual(len(lines), 1, f"not one line: {lines}")
        self.assertTrue(re.search(expected, lines[0]), f"{lines[0]!r} does not match {expected!r}")


class Link(_OnFake):
    """:avocado: tags=vdpa,arch:x86_64"""

    def test(self) -> None:
        """Down and up again, twice."""
        name = self.params.get("link", default="n0")
        self.assertTrue(self.link_is_up(), "the link is down before the first set_link")
        for up in (False, True, False, True):
            self.vm.cmd("set_link", name=name, up=up)
            self.assertEqual(self.link_is_up(), up, f"set_link {name} {up}")
