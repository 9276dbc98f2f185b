# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest without a CPU that drives virtio-mem and virtio-balloon.

Theory of operation
===================

qtest_nic.py's device, with another PCI ID and other queues:

    memory = VirtioMem(vm.qtest)
    memory.begin()
    address = memory.plug(32 << 20)     # what the host has asked for with requested-size

    balloon = Balloon(vm.qtest)
    balloon.begin()
    balloon.inflate([address, ...])     # pages of 4 KiB, which the host takes
    balloon.deflate([address, ...])

Rings and requests lie in the first 640 KiB.

*Limits*: one of each on bus 0; pages below 16 TiB.
"""

from __future__ import annotations

import struct

from qtest_nic import CONFIG, VERSION_1, Nic

PAGE = 4096


class MemoryDevice(Nic):
    """A device whose queues are of one kind."""

    request_memory = 0

    def queues(self) -> list[int]:
        """All of them."""
        return list(range(self.get("num_queues")))

    def begin(self) -> None:
        """Initialize the device, with the one feature that is needed."""
        self.start(refuse=~(1 << VERSION_1))


class VirtioMem(MemoryDevice):
    """A virtio-mem device."""

    ident, bar, ring_memory, request_memory = 0x10581AF4, 0xE2000000, 0x20000, 0x40000
    PLUG, ACK = 0, 0

    def plug(self, size: int) -> int:
        """Plug SIZE bytes at the device's beginning; returns their address."""
        block = self.read(self.bar + CONFIG, 8)
        address = self.read(self.bar + CONFIG + 16, 8)
        request = struct.pack("<HxxxxxxQHxxxxxx", self.PLUG, address, size // block)
        answer = self.exchange(0, self.request_memory, request, 16)
        if answer != self.ACK or self.read(self.request_memory + 0x1008, 2) != self.ACK:
            raise OSError(f"virtio-mem does not plug {size} bytes at {address:#x}")
        return address


class Balloon(MemoryDevice):
    """A virtio-balloon."""

    ident, bar, ring_memory, request_memory = 0x10451AF4, 0xE3000000, 0x50000, 0x78000
    INFLATE, DEFLATE = 0, 1

    def move(self, queue: int, pages: list[int]) -> None:
        """Hand pages over, by their addresses."""
        numbers = struct.pack(f"<{len(pages)}I", *(address // PAGE for address in pages))
        if self.exchange(queue, self.request_memory, numbers, 0) < 0:
            raise OSError("the balloon does not answer")

    def inflate(self, pages: list[int]) -> None:
        """Give pages to the host: what they hold is lost."""
        self.move(self.INFLATE, pages)

    def deflate(self, pages: list[int]) -> None:
        """Take pages back."""
        self.move(self.DEFLATE, pages)
