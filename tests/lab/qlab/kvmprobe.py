# SPDX-License-Identifier: GPL-2.0-or-later
"""Probe: does this machine's /dev/kvm keep its dirty ring's promises?

Theory of operation
===================

One vCPU, unpaged 32-bit, no firmware, adds one to the first byte of each of
PAGES pages and halts; this is repeated.  KVM_SET_SREGS puts it there, so the probe tests the ring and not the
CPU's early modes.  With a ring much smaller than the pages it must stop with ring-full several times.  Unfit is
a KVM where

  * a harvest fills the whole ring (the soft limit, which leaves entries in
    reserve, was not kept, so entries may have been overwritten),
  * ring-full comes and there is nothing to harvest,
  * a page that was written is not among the harvested ones.

Exit status 0 is fit; otherwise the last line of output says what was seen.

*Limits*: one vCPU; x86 ioctl numbers of the 64-bit ABI (linux/kvm.h).
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import sys

CHECK_EXTENSION, CREATE_VM, VCPU_MMAP_SIZE = 0xAE03, 0xAE01, 0xAE04
CREATE_VCPU, SET_MEMORY, ENABLE_CAP = 0xAE41, 0x4020AE46, 0x4068AEA3
RUN, SET_REGS, GET_SREGS, SET_SREGS = 0xAE80, 0x4090AE82, 0x8138AE83, 0x4138AE84
RESET_RINGS = 0xAEC7
CAP_DIRTY_LOG_RING = 192
EXIT_HLT, EXIT_RING_FULL = 5, 31
RING_OFFSET_PAGES = 64
PAGE = 4096

PAGES = 16384
ENTRIES = 4096
FIRST = 256  # frame of the first page written
PASSES = 4

# incb (%edi); add $4096,%edi; dec %ecx; jnz start; hlt
CODE = bytes.fromhex("fe07 81c700100000 49 75f5 f4")


class Unfit(Exception):
    """What makes this KVM unfit."""


class Machine:
    """A VM with one slot of RAM, a ring, and one vCPU."""

    def __init__(self) -> None:
        try:
            kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
        except OSError as err:
            raise Unfit(f"/dev/kvm: {err.strerror}") from err
        if fcntl.ioctl(kvm, CHECK_EXTENSION, CAP_DIRTY_LOG_RING) < ENTRIES * 16:
            raise Unfit(f"no dirty ring of {ENTRIES} entries")
        self.vm = fcntl.ioctl(kvm, CREATE_VM, 0)
        cap = struct.pack("=IIQQQQ", CAP_DIRTY_LOG_RING, 0, ENTRIES * 16, 0, 0, 0)
        fcntl.ioctl(self.vm, ENABLE_CAP, cap.ljust(104, b"\0"))
        self.ram = mmap.mmap(-1, (FIRST + PAGES) * PAGE)
        self.ram[0:len(CODE)] = CODE
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.ram))
        slot = struct.pack("=IIQQQ", 0, 1, 0, len(self.ram), base)
        fcntl.ioctl(self.vm, SET_MEMORY, slot)
        self.cpu = fcntl.ioctl(self.vm, CREATE_VCPU, 0)
        self.state = mmap.mmap(self.cpu, fcntl.ioctl(kvm, VCPU_MMAP_SIZE))
        self.ring = mmap.mmap(self.cpu, ENTRIES * 16,
                              offset=RING_OFFSET_PAGES * PAGE)
        self.fetch = 0
        self.protected_mode()

    def protected_mode(self) -> None:
        """Flat 32-bit segments, no paging."""
        sregs = bytearray(312)
        fcntl.ioctl(self.cpu, GET_SREGS, sregs)
        for index in range(6):  # cs ds es fs gs ss
            kind = 11 if index == 0 else 3
            struct.pack_into("=QIHBBBBBBBBBB", sregs, index * 24, 0, 0xFFFFFFFF,
                             8 if index == 0 else 16, kind, 1, 0, 1, 1, 0, 1, 0, 0, 0)
        (cr0,) = struct.unpack_from("=Q", sregs, 224)
        struct.pack_into("=Q", sregs, 224, cr0 | 1)
        fcntl.ioctl(self.cpu, SET_SREGS, bytes(sregs))

    def restart(self) -> None:
        """Aim the vCPU at the start of its loop."""
        regs = [0] * 18
        regs[2], regs[5] = PAGES, FIRST * PAGE  # rcx, rdi
        regs[17] = 2  # rflags
        fcntl.ioctl(self.cpu, SET_REGS, struct.pack("=18Q", *regs))

    def run(self) -> int:
        """Run until the next exit to user space; its reason."""
        fcntl.ioctl(self.cpu, RUN, 0)
        (reason,) = struct.unpack_from("=I", self.state, 8)
        return int(reason)

    def harvest(self) -> list[int]:
        """Collect what is on the ring and have it reset."""
        found: list[int] = []
        while len(found) < ENTRIES:
            at = (self.fetch % ENTRIES) * 16
            flags, _, page = struct.unpack_from("=IIQ", self.ring, at)
            if not flags & 1:
                break
            struct.pack_into("=I", self.ring, at, 2)
            found.append(page)
            self.fetch += 1
        fcntl.ioctl(self.vm, RESET_RINGS, 0)
        return found


def one_pass(machine: Machine) -> int:
    """Let the vCPU write every page once; how often the ring was full."""
    machine.restart()
    seen: set[int] = set()
    full = 0
    while True:
        reason = machine.run()
        found = machine.harvest()
        seen.update(found)
        if len(found) >= ENTRIES:
            raise Unfit(f"the ring does not keep its soft limit: harvested "
                        f"{len(found)} of {ENTRIES} entries at once")
        if reason == EXIT_HLT:
            break
        if reason != EXIT_RING_FULL:
            raise Unfit(f"unexpected exit {reason}")
        if not found:
            raise Unfit("ring-full with nothing to harvest")
        full += 1
    missing = set(range(FIRST, FIRST + PAGES)) - seen
    if missing:
        raise Unfit(f"{len(missing)} of {PAGES} written pages were never on the ring")
    return full


def main() -> int:
    """Probe."""
    try:
        machine = Machine()
        full = sum(one_pass(machine) for _ in range(PASSES))
        if not full:
            raise Unfit("the ring never filled up")
    except (Unfit, OSError) as err:
        print(err)
        return 1
    print(f"fit: {PASSES} passes over {PAGES} pages, ring full {full} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
