# SPDX-License-Identifier: GPL-2.0-or-later
"""A user of /dev/vhost-vdpa-N in a page of Python: a virtio driver with split rings.

Theory of operation
===================

One block of memory holds rings and buffers.  It is mapped into the device at an I/O virtual
address that has nothing to do with where it lies here, so that whatever arrives did go through the
address translation.  A queue puts one buffer a time, or many, into its ring and waits for the used
index to move; kicks are an eventfd, calls another.

    device = Device(path); device.negotiate(bits); device.map()
    queue = device.queue(1, base=0); device.run(); queue.put(b"..."); queue.wait()

Struct layouts and ioctl numbers are those of <linux/vhost.h> and <linux/vhost_types.h>.

*Limits*: little-endian; no indirect descriptors; a queue's buffers are one page each.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import select
import struct
import time
from pathlib import Path

PAGE = 4096

VERSION_1 = 1 << 32
ACCESS_PLATFORM = 1 << 33

ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, FAILED = 1, 2, 4, 8, 128


def _ioc(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | 0xaf << 8 | number


def _io(number: int) -> int:
    return _ioc(0, number, 0)


def _iow(number: int, size: int) -> int:
    return _ioc(1, number, size)


def _ior(number: int, size: int) -> int:
    return _ioc(2, number, size)


GET_FEATURES, SET_FEATURES = _ior(0x00, 8), _iow(0x00, 8)
SET_OWNER = _io(0x01)
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE = _iow(0x10, 8), _iow(0x11, 40), _iow(0x12, 8)
GET_VRING_BASE = _ioc(3, 0x12, 8)
SET_VRING_KICK, SET_VRING_CALL = _iow(0x20, 8), _iow(0x21, 8)
SET_BACKEND_FEATURES, GET_BACKEND_FEATURES = _iow(0x25, 8), _ior(0x26, 8)
GET_DEVICE_ID, GET_STATUS, SET_STATUS = _ior(0x70, 4), _ior(0x71, 1), _iow(0x72, 1)
GET_CONFIG, SET_CONFIG = _ior(0x73, 8), _iow(0x74, 8)
SET_VRING_ENABLE, GET_VRING_NUM = _iow(0x75, 8), _ior(0x76, 2)
GET_IOVA_RANGE, GET_CONFIG_SIZE = _ior(0x78, 16), _ior(0x79, 4)

IOTLB_MSG_V2 = 2
IOTLB_UPDATE, IOTLB_INVALIDATE = 2, 3

DESC_NEXT, DESC_WRITE = 1, 2


class Queue:
    """A split virtqueue of SIZE entries, with a page of buffer for each."""

    def __init__(self, device: Device, index: int, size: int, base: int) -> None:
        self.device, self.index, self.size = device, index, size
        self.start = self.next_avail = self.next_used = base
        self.ring = device.allocate(PAGE * 2)
        self.buffers = device.allocate(PAGE * size)
        self.avail = self.ring + PAGE
        self.used = self.ring + PAGE + PAGE // 2
        self.kick = os.eventfd(0)
        self.call = os.eventfd(0)
        self._poke(self.avail + 2, "<H", base)
        self._poke(self.used + 2, "<H", base)

    def _poke(self, at: int, form: str, *values: int) -> None:
        struct.pack_into(form, self.device.memory, at, *values)

    def _peek(self, at: int, form: str) -> tuple[int, ...]:
        return struct.unpack_from(form, self.device.memory, at)

    def set_up(self) -> None:
        """Everything that vhost wants to know before it starts."""
        device, state = self.device, struct.pack("<II", self.index, self.size)
        device.ioctl(SET_VRING_NUM, state)
        device.ioctl(SET_VRING_BASE, struct.pack("<II", self.index, self.start))
        device.ioctl(SET_VRING_ADDR, struct.pack(
            "<IIQQQQ", self.index, 0, device.iova(self.ring), device.iova(self.used),
            device.iova(self.avail), 0))
        device.ioctl(SET_VRING_KICK, struct.pack("<Ii", self.index, self.kick))
        device.ioctl(SET_VRING_CALL, struct.pack("<Ii", self.index, self.call))
        device.ioctl(SET_VRING_ENABLE, struct.pack("<II", self.index, 1))

    def base(self) -> int:
        """Where the device says it is."""
        answer = self.device.ioctl(GET_VRING_BASE, struct.pack("<II", self.index, 0))
        return int(struct.unpack("<II", answer)[1])

    def add(self, data: bytes | None, iova: int | None = None) -> None:
        """One buffer more for the device: DATA to read, or None: a page to write to."""
        slot = self.next_avail % self.size
        at = self.buffers + slot * PAGE
        if data is not None:
            self.device.memory[at:at + len(data)] = data
        self._poke(self.ring + 16 * slot, "<QIHH",
                   self.device.iova(at) if iova is None else iova,
                   PAGE if data is None else len(data), DESC_WRITE if data is None else 0, 0)
        self._poke(self.avail + 4 + 2 * slot, "<H", slot)
        self.next_avail = (self.next_avail + 1) & 0xffff
        self._poke(self.avail + 2, "<H", self.next_avail)

    def notify(self) -> None:
        """Tell the device."""
        os.eventfd_write(self.kick, 1)

    def used_index(self) -> int:
        """How far the device is, by the ring."""
        return self._peek(self.used + 2, "<H")[0]

    def wait(self, seconds: float = 20.0) -> bytes:
        """Wait for the next buffer; what the device wrote into it."""
        deadline = time.monotonic() + seconds
        while self.used_index() == self.next_used:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"queue {self.index}: nothing used after {seconds} s")
            if select.select([self.call], [], [], left)[0]:
                os.eventfd_read(self.call)
        slot, length = self._peek(self.used + 4 + 8 * (self.next_used % self.size), "<II")
        self.next_used = (self.next_used + 1) & 0xffff
        at = self.buffers + slot * PAGE
        return bytes(self.device.memory[at:at + length])

    def close(self) -> None:
        """Let go of the eventfds."""
        os.close(self.kick)
        os.close(self.call)


class Device:
    """An open vhost-vdpa device and the memory that it was given."""

    def __init__(self, path: Path, size: int = 1 << 20, iova: int = 0x7_0000_0000) -> None:
        self.fd = os.open(path, os.O_RDWR)
        self.memory = mmap.mmap(-1, size)
        self.size = size
        self.at = iova
        self._top = 0
        self.queues: list[Queue] = []
        self.ioctl(SET_OWNER)

    def ioctl(self, request: int, data: bytes = b"\0" * 8) -> bytes:
        """An ioctl, in and out."""
        return bytes(fcntl.ioctl(self.fd, request, data))

    def status(self) -> int:
        """The device's status."""
        return self.ioctl(GET_STATUS, b"\0")[0]

    def set_status(self, bits: int) -> int:
        """Set it; what it is then."""
        self.ioctl(SET_STATUS, bytes([bits]))
        return self.status()

    def features(self) -> int:
        """What the device offers."""
        return int(struct.unpack("<Q", self.ioctl(GET_FEATURES))[0])

    def negotiate(self, features: int) -> int:
        """From reset to FEATURES_OK; the status then."""
        self.set_status(0)
        self.ioctl(SET_BACKEND_FEATURES, struct.pack("<Q", 1 << 1))
        self.set_status(ACKNOWLEDGE | DRIVER)
        self.ioctl(SET_FEATURES, struct.pack("<Q", features))
        return self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK)

    def allocate(self, size: int) -> int:
        """Offset of memory for a queue."""
        at = self._top
        self._top += size
        assert self._top <= self.size
        return at

    def iova(self, offset: int) -> int:
        """What the device calls an offset into the memory."""
        return self.at + offset

    def _iotlb(self, kind: int) -> None:
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        message = struct.pack("<IIQQQBB", IOTLB_MSG_V2, 0, self.at, self.size,
                              address, 3, kind)
        os.write(self.fd, message.ljust(72, b"\0"))

    def map(self) -> None:
        """Give the device the memory."""
        self._iotlb(IOTLB_UPDATE)

    def unmap(self) -> None:
        """Take it away again."""
        self._iotlb(IOTLB_INVALIDATE)

    def queue(self, index: int, size: int = 16, base: int = 0) -> Queue:
        """A queue of the device."""
        queue = Queue(self, index, size, base)
        self.queues.append(queue)
        return queue

    def run(self) -> int:
        """Set the queues up and start; the status then."""
        for queue in self.queues:
            queue.set_up()
        return self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)

    def config(self, length: int) -> bytes:
        """The start of its configuration space."""
        head = struct.pack("<II", 0, length)
        return self.ioctl(GET_CONFIG, head + bytes(length))[8:]

    def close(self) -> None:
        """Let go of it."""
        for queue in self.queues:
            queue.close()
        os.close(self.fd)
