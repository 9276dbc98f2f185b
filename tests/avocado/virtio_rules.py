# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that breaks the VIRTIO specification's rules on a device that QEMU serves itself.

Theory of operation
===================

The device is a virtio-net-pci without vhost; the guest has no CPU, and the test drives it (qtest_nic.py).  The
driver enables its queues.  Then, without a reset, it changes a feature or a size on which the length of a ring
depends, and sends a control command, which QEMU reads from the ring.  QEMU must survive, and after a reset
the command is answered.

    to-split      the driver enables queues with packed rings, then accepts split rings
    to-packed     the driver enables queues with split rings, then accepts packed rings
    event-index   VIRTIO_RING_F_EVENT_IDX adds two bytes to each ring
    queue-reset   a queue is not reset alone without VIRTIO_F_RING_RESET
    started       features and queue sizes do not change after DRIVER_OK

*Limits*: one queue, the control queue; without a thread that serves it.
"""

import shutil
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guest import TIME_LIMIT, has_query, qemu_binary
from qemu.machine.qtest import QEMUQtestMachine
from qtest_nic import ACKNOWLEDGE, COMMAND, CTRL_VQ, DRIVER, DRIVER_OK, FEATURES_OK, RING_PACKED, VERSION_1, Nic
from tidy import TidyTest

EVENT_IDX, CTRL_RX, RING_RESET = 29, 18, 40
SPLIT = 1 << VERSION_1 | 1 << CTRL_VQ | 1 << CTRL_RX
PACKED = SPLIT | 1 << RING_PACKED
PROMISC = bytes([0, 0, 1])
NEXT, WRITE, AVAIL = 1, 2, 1 << 7
CONTROL_QUEUE = 2


class VirtioRules(TidyTest):
    """:avocado: tags=virtio,arch:x86_64"""

    timeout = 120

    def setUp(self) -> None:
        """Start a QEMU with the device; skip where that is not possible."""
        binary = qemu_binary(self.params.get("qemu_binary"))
        if not binary.exists():
            self.cancel(f"missing: {binary}")
        if not has_query(binary):
            self.cancel(f"{binary} is not qemu-live's")
        folder = Path(tempfile.mkdtemp(prefix="qemu-live-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.vm = QEMUQtestMachine(
            str(binary), base_temp_dir=str(folder), qmp_timer=TIME_LIMIT,
            wrapper=["setpriv", "--pdeathsig", "KILL"],
            args=["-m", "64", "-machine", "pc", "-nodefaults", "-no-user-config",
                  "-qtest-log", "none", "-netdev", "hubport,id=n0,hubid=0", "-device",
                  "virtio-net-pci,id=nic,netdev=n0,packed=on,disable-legacy=on,romfile="])
        self.addCleanup(self.vm.kill)
        self.vm.launch()
        assert self.vm._qtest is not None   # it has no public name
        self.nic = Nic(self.vm._qtest)

    def test(self) -> None:
        """Run the case; then a driver that keeps the rules gets its answer."""
        cases: dict[str, Callable[[], None]] = {
            "to-split": self.to_split, "to-packed": self.to_packed,
            "event-index": self.event_index, "queue-reset": self.queue_reset,
            "started": self.started}
        cases[self.params.get("what", default="to-split")]()
        self.nic.start(refuse=1 << RING_PACKED)
        self.assertEqual(self.nic.command(PROMISC), 0)
        self.vm.shutdown(timeout=int(TIME_LIMIT))
        self.assertEqual(self.vm.exitcode(), 0)

    def enable(self, features: int) -> None:
        """Reset the device, and set its queues up, but not DRIVER_OK."""
        self.nic.reset()
        self.nic.accept(features)
        for queue in self.nic.queues():
            for part in range(3):
                self.nic.store(self.nic.rings(queue) + part * 0x1000, bytes(0x1000))
            self.nic.set_queue(queue)

    def to_split(self) -> None:
        """The used ring of a packed queue has four bytes."""
        self.enable(PACKED)
        self.nic.accept(SPLIT)
        self.nic.ready()
        self.assertEqual(self.nic.command(PROMISC), 0)

    def packed_command(self) -> int:
        """Send a control command through a packed ring; the answer, or -1 at a timeout."""
        rings, answer = self.nic.rings(CONTROL_QUEUE), COMMAND + 0x1000
        self.nic.store(COMMAND, PROMISC)
        self.nic.write(answer, 1, 0xAA)
        self.nic.store(rings + 16, struct.pack("<QIHH", answer, 1, 0, WRITE | AVAIL))
        self.nic.store(rings, struct.pack("<QIHH", COMMAND, len(PROMISC), 0, NEXT | AVAIL))
        self.nic.kick(CONTROL_QUEUE)
        deadline = time.monotonic() + 10
        while self.nic.read(answer, 1) == 0xAA:
            if time.monotonic() > deadline:
                return -1
            time.sleep(0.002)
        return self.nic.read(answer, 1)

    def to_packed(self) -> None:
        """The device writes to the descriptors of a packed queue only."""
        self.enable(SPLIT)
        self.nic.accept(PACKED)
        self.nic.ready()
        self.assertEqual(self.packed_command(), 0)

    def event_index(self) -> None:
        """The driver accepts EVENT_IDX after it has enabled the queues."""
        self.enable(SPLIT)
        self.nic.accept(SPLIT | 1 << EVENT_IDX)
        self.nic.ready()
        self.assertEqual(self.nic.command(PROMISC), 0)

    def accepted(self) -> set[str]:
        """The accepted features, as the device has them."""
        answer: Any = self.vm.cmd("x-query-virtio-status",
                                  path="/machine/peripheral/nic/virtio-backend")
        features = answer["guest-features"]
        return {text.split(":")[0] for name in ("transports", "dev-features")
                for text in features.get(name, [])}

    def queue_reset(self) -> None:
        """The queue serves commands as before; with the feature it has to be enabled again."""
        for feature in (0, 1 << RING_RESET):
            self.enable(SPLIT | feature)
            self.nic.ready()
            self.assertEqual(self.nic.command(PROMISC), 0)
            self.nic.put("queue_select", CONTROL_QUEUE)
            self.nic.put("queue_reset", 1)
            self.assertEqual(self.nic.get("queue_enable"), 0 if feature else 1)
            if not feature:
                self.assertEqual(self.nic.command(PROMISC), 0)

    def started(self) -> None:
        """Features and sizes must not change, because a thread may be serving the rings."""
        self.enable(SPLIT)
        self.nic.ready()
        before = self.accepted()
        self.assertIn("VIRTIO_F_VERSION_1", before)
        self.nic.put("status", ACKNOWLEDGE | DRIVER | DRIVER_OK)
        self.nic.put("driver_feature_select", 1)
        self.nic.put("driver_feature", PACKED >> 32)
        self.nic.put("status", ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
        self.assertEqual(self.accepted(), before)
        self.nic.put("queue_select", CONTROL_QUEUE)
        size = self.nic.get("queue_size")
        self.nic.put("queue_size", size // 2)
        self.assertEqual(self.nic.get("queue_size"), size)
        self.nic.put("queue_enable", 1)
        self.assertEqual(self.nic.get("queue_size"), size)
        self.assertEqual(self.nic.command(PROMISC), 0)
