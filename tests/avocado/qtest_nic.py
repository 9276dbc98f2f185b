# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest without a CPU that drives one virtio network device.

Theory of operation
===================

QEMU's qtest accelerator runs no vCPU; this module accesses the guest's ports and memory over a socket, and
through them the device's PCI and virtio registers.  So a test can break the rules that drivers keep, in any
order, and everything happens at a known moment.

    nic = Nic(vm.qtest)          # finds the device, gives it an address
    nic.start()                  # as a driver does: features, queues, DRIVER_OK
    nic.command(bytes)           # through the control queue; the device's answer

A queue's rings are at Nic.rings(): a page each for descriptors, available and used.

*Limits*: commands need split rings; one device, on bus 0.
"""

from __future__ import annotations

import struct
import time
from typing import Protocol

#: The layout of virtio-pci's BAR, as QEMU has it; not read from the capabilities.
COMMON, CONFIG, NOTIFY = 0x0000, 0x2000, 0x3000
BAR = 0xE0000000
RINGS = 0x1000000
COMMAND = 0x2000000     # a control command; its answer is on the next page
MESSAGE = 0x2F00000     # the address of the configuration interrupt's message
MSIX = 0x11             # ID of the PCI capability

#: Offset and size of registers of the common configuration.
REGISTERS = {
    "device_feature_select": (0x00, 4), "device_feature": (0x04, 4),
    "driver_feature_select": (0x08, 4), "driver_feature": (0x0C, 4),
    "msix_config": (0x10, 2), "num_queues": (0x12, 2), "status": (0x14, 1), "queue_select": (0x16, 2),
    "queue_size": (0x18, 2), "queue_enable": (0x1C, 2), "queue_desc": (0x20, 8),
    "queue_driver": (0x28, 8), "queue_device": (0x30, 8), "queue_reset": (0x3A, 2),
}
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET = 1, 2, 4, 8, 64
MQ, CTRL_VQ, VERSION_1, RING_PACKED = 22, 17, 32, 34


class Wire(Protocol):
    """A connection to QEMU's qtest."""

    def cmd(self, qtest_cmd: str) -> str:
        """One command, one line of answer."""


class Nic:
    """The guest's side of the device."""

    ident, bar, ring_memory = 0x10411AF4, BAR, RINGS

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.features = 0
        self.added: dict[int, int] = {}     # chains made available, by queue
        self.slot = 0
        self.find()

    def ask(self, line: str) -> int:
        """A qtest command; the number in its answer."""
        words = self.wire.cmd(line).split()
        if not words or words[0] != "OK":
            raise OSError(f"qtest: {line}: {' '.join(words)}")
        return int(words[1], 0) if len(words) > 1 else 0

    def pci(self, slot: int, offset: int, value: int | None = None) -> int:
        """A dword of configuration space, read or written."""
        self.ask(f"outl 0xcf8 {0x80000000 | slot << 11 | offset:#x}")
        return (self.ask("inl 0xcfc") if value is None
                else self.ask(f"outl 0xcfc {value:#x}"))

    def find(self) -> None:
        """Find the network device and map its BAR 4."""
        for slot in range(32):
            if self.pci(slot, 0) == self.ident:
                self.slot = slot
                self.pci(slot, 0x20, self.bar)
                self.pci(slot, 0x24, 0)
                self.pci(slot, 0x04, 0x0006)
                return
        raise LookupError("no such virtio device")

    def await_message(self) -> None:
        """From now on the device's configuration interrupt is a message in guest memory."""
        at = self.pci(self.slot, 0x34) & 0xFC
        while self.pci(self.slot, at) & 0xFF != MSIX:
            at = self.pci(self.slot, at) >> 8 & 0xFC
        table = self.bar + 0x10000
        self.pci(self.slot, 0x10 + 4 * (self.pci(self.slot, at + 4) & 7), table)
        self.pci(self.slot, at, self.pci(self.slot, at) | 1 << 31)
        table += self.pci(self.slot, at + 4) & ~7
        for offset, value in ((0, MESSAGE), (4, 0), (8, MSIX), (12, 0)):
            self.write(table + offset, 4, value)
        self.put("msix_config", 0)
        self.write(MESSAGE, 4, 0)

    def has_message(self) -> bool:
        """Whether it has come."""
        return self.read(MESSAGE, 4) == MSIX

    def read(self, address: int, size: int) -> int:
        """Read guest memory, little-endian."""
        return self.ask(f"read{' bw l   q'[size]} {address:#x}")

    def write(self, address: int, size: int, value: int) -> None:
        """The same."""
        self.ask(f"write{' bw l   q'[size]} {address:#x} {value:#x}")

    def store(self, address: int, data: bytes) -> None:
        """Write bytes into guest memory."""
        self.ask(f"write {address:#x} {len(data):#x} 0x{data.hex()}")

    def get(self, register: str) -> int:
        """Read a register of the common configuration."""
        offset, size = REGISTERS[register]
        return self.read(self.bar + COMMON + offset, size)

    def put(self, register: str, value: int) -> None:
        """Write a register; 64-bit ones in halves, as drivers do."""
        offset, size = REGISTERS[register]
        for part in range(0, size, 4):
            self.write(self.bar + COMMON + offset + part, min(size, 4),
                       value >> 8 * part & (1 << 8 * min(size, 4)) - 1)

    def offered(self) -> int:
        """The device's features."""
        found = 0
        for half in range(2):
            self.put("device_feature_select", half)
            found |= self.get("device_feature") << 32 * half
        return found

    def reset(self) -> None:
        """Reset the device."""
        self.put("status", 0)
        self.added.clear()

    def accept(self, features: int) -> None:
        """Initialize the device up to FEATURES_OK."""
        self.features = features
        self.put("status", ACKNOWLEDGE)
        self.put("status", ACKNOWLEDGE | DRIVER)
        for half in range(2):
            self.put("driver_feature_select", half)
            self.put("driver_feature", features >> 32 * half & 0xFFFFFFFF)
        self.put("status", ACKNOWLEDGE | DRIVER | FEATURES_OK)

    def rings(self, queue: int) -> int:
        """The address of a queue's rings."""
        return self.ring_memory + queue * 0x4000

    def set_queue(self, queue: int, size: int | None = None, at: int | None = None,
                  enable: bool = True) -> None:
        """Set the size and the addresses of a queue."""
        base = self.rings(queue) if at is None else at
        self.put("queue_select", queue)
        if size is not None:
            self.put("queue_size", size)
        for number, name in enumerate(("queue_desc", "queue_driver", "queue_device")):
            self.put(name, base + number * 0x1000)
        if enable:
            self.put("queue_enable", 1)

    def queues(self) -> list[int]:
        """The indexes of the queues that the accepted features define: data, then control."""
        last = self.get("num_queues") - 1
        control = [last] if self.features >> CTRL_VQ & 1 else []
        return (list(range(last)) if self.features >> MQ & 1 else [0, 1]) + control

    def ready(self) -> None:
        """Set DRIVER_OK."""
        self.put("status", ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)

    def start(self, refuse: int = 0, size: int | None = None) -> None:
        """Initialize the device, with all features but those of the mask REFUSE."""
        self.reset()
        self.accept(self.offered() & ~refuse)
        for queue in self.queues():
            for part in range(3):
                self.store(self.rings(queue) + part * 0x1000, bytes(0x1000))
            self.set_queue(queue, size)
        self.ready()

    def command(self, command: bytes, timeout: float = 10.0, times: int = 1) -> int:
        """Send a control command TIMES times at once; the answer, or -1 at a timeout."""
        return self.exchange(self.queues()[-1], COMMAND, command, 1, timeout, times)

    def exchange(self, queue: int, memory: int, data: bytes, answers: int, timeout: float = 10.0,
                 times: int = 1) -> int:
        """Send DATA through a queue, from MEMORY; the first byte of the answer, or -1 at a timeout.

        The answer, ANSWERS bytes or none, is on the page behind the data.
        """
        rings = self.rings(queue)
        answer = memory + (len(data) + 0xFFF & ~0xFFF)
        self.put("queue_select", queue)
        size = self.get("queue_size")
        self.store(memory, data)
        self.write(answer, 1, 0xAA)
        self.store(rings, struct.pack("<QIHH", memory, len(data), 1 if answers else 0, 1)
                   + struct.pack("<QIHH", answer, answers, 2, 0))
        added = self.added.get(queue, 0)
        for _ in range(times):
            self.write(rings + 0x1000 + 4 + 2 * (added % size), 2, 0)
            added = added + 1 & 0xFFFF
        self.added[queue] = added
        self.write(rings + 0x1000 + 2, 2, added)
        self.kick(queue)
        deadline = time.monotonic() + timeout
        while self.read(rings + 0x2000 + 2, 2) != added:
            if time.monotonic() > deadline:
                return -1
            time.sleep(0.002)
        return self.read(answer, 1)

    def kick(self, queue: int) -> None:
        """Kick a queue."""
        self.write(self.bar + NOTIFY + 4 * queue, 2, queue)


class Iommu(Nic):
    """A virtio-iommu, driven by requests; identifies devices by their PCI slot."""

    ident, bar, ring_memory = 0x10571AF4, 0xE1000000, 0x3000000
    request_memory = 0x3100000
    READ_WRITE = 3

    def queues(self) -> list[int]:
        """Set the request and event queues up."""
        return [0, 1]

    def request(self, kind: int, body: bytes) -> int:
        """Send one request; its status, or -1 at a timeout."""
        return self.exchange(0, self.request_memory, bytes([kind, 0, 0, 0]) + body, 4)

    def attach(self, slot: int, domain: int = 1) -> int:
        """Attach the device to the domain."""
        return self.request(1, struct.pack("<III4x", domain, slot << 3, 0))

    def detach(self, slot: int, domain: int = 1) -> int:
        """Detach the device: its addresses are guest-physical."""
        return self.request(2, struct.pack("<II8x", domain, slot << 3))

    def map(self, start: int, last: int, physical: int, domain: int = 1) -> int:
        """Map START to LAST, both included."""
        return self.request(3, struct.pack("<IQQQI", domain, start, last, physical,
                                           self.READ_WRITE))

    def unmap(self, start: int, last: int, domain: int = 1) -> int:
        """Unmap every mapping within START to LAST."""
        return self.request(4, struct.pack("<IQQ4x", domain, start, last))


class PluggedMemory(Nic):
    """A virtio-mem device, driven by requests."""

    ident, bar, ring_memory = 0x10581AF4, 0xE2000000, 0x3200000
    request_memory = 0x3300000

    def queues(self) -> list[int]:
        """Its only queue."""
        return [0]

    def block(self) -> int:
        """Bytes of a block."""
        return self.read(self.bar + CONFIG, 8)

    def address(self) -> int:
        """The guest-physical address of its memory."""
        return self.read(self.bar + CONFIG + 16, 8)

    def request(self, kind: int, block: int, count: int) -> int:
        """Send one request about COUNT blocks from BLOCK on; its type of answer, 0 if it was done."""
        address = self.address() + block * self.block()
        return self.exchange(0, self.request_memory, struct.pack("<H6xQH6x", kind, address, count), 10)

    def plug(self, block: int, count: int) -> int:
        """Plug blocks in."""
        return self.request(0, block, count)

    def unplug(self, block: int, count: int) -> int:
        """Unplug them."""
        return self.request(1, block, count)
