# SPDX-License-Identifier: GPL-2.0-or-later
"""A vhost-vdpa network device behind a virtio-iommu, and a guest with hostile maps.

Theory of operation
===================

The device is a fake (odd-vdpa.c) that logs each message about memory.  The guest has no CPU; the test drives
the network device and its IOMMU (qtest_nic.py).  Queues are shadowed, so the device's address space holds
both the guest's maps and QEMU's host buffers.

    ring-address  the guest maps a page at the IOVA of a shadow ring: the ring stays, and the page is mapped
                  when the driver starts the device again
    apart         shadow rings are not at the IOVAs of IOMMU drivers' first maps
    whole         all 2^64 addresses are mapped and unmapped at once: no message is empty, and the
                  shadow rings stay
    regions       one map covers several memory regions, and addresses between them without memory
    to-register   the page of a ring, and that of an answer, is mapped to the device's own device_status
                  while the device runs
    flood         the guest maps what the device cannot reach, again and again: QEMU logs five lines
                  and a last one
    to-bypass     the device is detached from the domain, and attached again

*Limits*: virtio-iommu only; real guests with either IOMMU are tests/lab/scenarios/vdpa-viommu.py.
"""

import struct
from collections.abc import Callable
from pathlib import Path

from guest import wait_until
from hostile import CONTROL, PROMISC, RAM_END, STATUS_REGISTER, Hostile
from qtest_nic import COMMAND, NEEDS_RESET, Iommu

PAGE = 0x1000
LOW = 1 << 20
LOW_END = 0xA0000   # memory is in several regions from here to LOW
EVENT_IDX, MAX = 1 << 29, (1 << 64) - 1
#: The end of the addresses that IOMMU drivers of 64-bit guests give out, downwards from there.
DRIVER_END = 1 << 48


class Viommu(Hostile):
    """:avocado: tags=vdpa,arch:x86_64"""

    timeout = 120

    def test(self) -> None:
        """Run the case; then the driver can start the device."""
        cases: dict[str, Callable[[], None]] = {
            "ring-address": self.ring_address, "apart": self.apart, "whole": self.whole, "regions": self.regions,
            "to-register": self.to_register, "flood": self.flood, "to-bypass": self.to_bypass}
        self.start(",x-svq=on", ",iommu_platform=on", args=("-device", "virtio-iommu-pci"),
                   features=CONTROL & ~EVENT_IDX)
        assert self.vm._qtest is not None
        self.iommu = Iommu(self.vm._qtest)
        self.iommu.start()
        self.assertEqual(self.iommu.attach(self.nic.slot), 0)
        self.assertEqual(self.iommu.map(LOW, RAM_END - 1, LOW), 0)
        self.drive()
        cases[self.params.get("what", default="ring-address")]()
        self.assertNotIn(0, [size for _, _, size in self.messages()], "an empty message")

    def messages(self) -> list[tuple[str, int, int]]:
        """The messages about the data queues' memory: map or unmap, address, size."""
        lines = Path(f"{self.what}.log").read_text("ascii").splitlines()
        found = (line.split() for line in lines if line.startswith(("map 0 ", "unmap 0 ")))
        return [(words[0], int(words[2], 0), int(words[3], 0)) for words in found]

    def mapped(self) -> dict[int, int]:
        """Address and size of the current maps."""
        maps: dict[int, int] = {}
        for kind, address, size in self.messages():
            if kind == "map":
                maps[address] = size
            else:
                maps = {at: n for at, n in maps.items()
                        if at + n <= address or address + size <= at}
        return maps

    def rings_of_qemu(self) -> list[int]:
        """Addresses of the rings that the device serves."""
        found = [at for at in self.mapped() if at >= RAM_END]
        self.assertTrue(found, "no ring of QEMU's own")
        return sorted(found)

    def works(self) -> None:
        """The shadow rings are where they were, and commands are answered."""
        self.assertTrue(self.runs())
        self.assertEqual(self.nic.command(PROMISC), 0)

    def ring_address(self) -> None:
        """Map, unmap everything, map again; then start the device again."""
        rings = self.rings_of_qemu()
        for at in rings[:2]:
            self.assertEqual(self.iommu.map(at, at + PAGE - 1, 0x2800000), 0)
            self.assertEqual(self.rings_of_qemu(), rings)
            self.assertEqual(self.iommu.unmap(at, at + PAGE - 1), 0)
            self.assertEqual(self.rings_of_qemu(), rings)
        self.works()
        at = rings[0]
        self.assertEqual(self.iommu.map(at, at + PAGE - 1, 0x2800000), 0)
        self.drive()
        self.works()
        maps = self.mapped()
        self.assertEqual(maps.get(at), PAGE, "the guest's page is not mapped")
        self.assertTrue([ring for ring in maps if ring >= RAM_END and ring != at])
        lines = self.end().splitlines()
        self.assertEqual(len(lines), 3, lines)
        for line in lines:
            self.assertIn("QEMU keeps a ring of its own at", line)

    def apart(self) -> None:
        """Check the last gigabytes of every usual address width."""
        for bits in (32, 39, 40, 46, 47, 48):
            end = 1 << bits
            for at in (end - PAGE, end - (1 << 30)):
                self.assertNotIn(at, self.mapped())
                self.assertEqual(self.iommu.map(at, at + PAGE - 1, 0x2800000), 0)
                self.assertEqual(self.mapped().get(at), PAGE)
        self.assertTrue(all(ring < DRIVER_END - (1 << 40) or ring >= DRIVER_END - (1 << 30)
                            for ring in self.rings_of_qemu()))
        self.works()
        self.assertEqual(self.end(), "")

    def whole(self) -> None:
        """QEMU refuses to map all addresses, and unmaps all."""
        rings = self.rings_of_qemu()
        self.assertEqual(self.iommu.unmap(0, MAX), 0)
        self.assertEqual(sorted(self.mapped()), rings)
        self.assertEqual(self.iommu.map(0, MAX, 0), 0)
        self.assertEqual(sorted(self.mapped()), rings)
        self.assertEqual(self.iommu.unmap(0, MAX), 0)
        self.assertEqual(sorted(self.mapped()), rings)
        self.assertEqual(self.iommu.map(LOW, RAM_END - 1, LOW), 0)
        self.assertIn(LOW, self.mapped())
        self.works()
        self.assertEqual(self.end(), "qemu-system-x86_64: vhost-vdpa: the vIOMMU maps all addresses"
                                     " at once\n")

    def regions(self) -> None:
        """The identity, as one map: all memory is mapped, and each time, as when the driver starts the
        device again, it is said that some of it is none."""
        for _ in range(2):
            self.assertEqual(self.iommu.unmap(0, MAX), 0)
            self.assertFalse([at for at in self.mapped() if at < RAM_END])
            self.assertEqual(self.iommu.map(0, 2 * RAM_END - 1, 0), 0)
            maps = [(at, at + size) for at, size in sorted(self.mapped().items()) if at < 2 * RAM_END]
            self.assertGreater(len(maps), 2)
            self.assertEqual(maps[0][0], 0)
            self.assertGreaterEqual(maps[0][1], LOW_END)
            self.assertEqual(maps[-1], (LOW, RAM_END))
            self.works()
        self.drive()
        self.works()
        lines = self.end().splitlines()
        self.assertEqual(len(lines), 3, lines)
        for line in lines:
            self.assertIn("0x0 to 0x7ffffff, not all of which is memory", line)

    def translate(self, page: int, to: int) -> None:
        """Translate one page of the identity map elsewhere."""
        self.assertEqual(self.iommu.unmap(0, MAX), 0)
        for start, last in ((LOW, page - 1), (page + PAGE, RAM_END - 1)):
            self.assertEqual(self.iommu.map(start, last, start), 0)
        self.assertEqual(self.iommu.map(page, page + PAGE - 1, to), 0)

    def to_register(self) -> None:
        """Map each part of the control queue's ring, and the answer's page, to the register."""
        register = STATUS_REGISTER & ~(PAGE - 1)
        control = self.nic.rings(2)
        pages = (control, control + 0x1000, control + 0x2000, COMMAND + PAGE)
        for page in pages:
            self.drive()        # which empties the rings
            self.nic.store(COMMAND, PROMISC)
            answer = COMMAND + PAGE + (STATUS_REGISTER & PAGE - 1)
            self.nic.store(control, struct.pack("<QIHHQIHH", COMMAND, len(PROMISC), 1, 1,
                                                answer, 1, 2, 0))
            self.translate(page, register)
            self.nic.write(control + 0x1002, 2, 1)
            self.nic.kick(2)
            wait_until("the device is broken",
                       lambda: bool(self.nic.get("status") & NEEDS_RESET))
            self.assertIn("guest memory", str(self.info()["last-error"]))
            self.translate(page, page)
            self.drive()
            self.works()
        self.end()

    def flood(self) -> None:
        """Map to a register, beyond the table, and at the IOVA of a shadow ring."""
        ring = self.rings_of_qemu()[0]
        for _ in range(20):
            for to, start in ((STATUS_REGISTER & ~(PAGE - 1), 1 << 40), (0x2800000, ring)):
                self.assertEqual(self.iommu.map(start, start + PAGE - 1, to), 0)
                self.assertEqual(self.iommu.unmap(start, start + PAGE - 1), 0)
        self.works()
        lines = self.end().splitlines()
        self.assertLessEqual(len(lines), 12, lines)
        self.assertIn("left out", "".join(lines))

    def to_bypass(self) -> None:
        """The device's addresses are guest-physical while it is detached, the domain's while attached."""
        rings = self.rings_of_qemu()
        for _ in range(3):
            self.assertEqual(self.iommu.detach(self.nic.slot), 0)
            self.assertTrue(set(rings) <= set(self.mapped()))
            self.works()
            self.assertEqual(self.iommu.attach(self.nic.slot), 0)
            self.assertEqual(self.iommu.map(LOW, RAM_END - 1, LOW), 0)
            self.assertTrue(set(rings) <= set(self.mapped()))
            self.works()
        self.end()
