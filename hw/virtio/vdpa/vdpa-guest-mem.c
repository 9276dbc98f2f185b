/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest memory that QEMU itself reads and writes for a virtqueue: RAM only.
 *
 * Theory of operation
 * -------------------
 * The guest chooses the addresses of rings, indirect tables and buffers. An
 * address may lead to a device's registers, this device's own among them: a
 * used ring on the BAR that holds device_status resets the device when an entry
 * is written, in the middle of the function that writes it, and frees what that
 * function works with. An address that was RAM when the ring was set up may
 * lead to registers later: the guest moves a BAR, switches a PAM region from
 * RAM to PCI, or changes a translation of its IOMMU. Therefore
 *
 *   RAM only    each access checks the memory region that it resolved for itself,
 *               every page of the range, and dispatches no write to a device.
 *               Nothing is remembered from an earlier check.
 *
 *   guard       handlers engage the transport's MemReentrancyGuard
 *               (VDPA_IO_GUARD). If anything else in QEMU reaches the device's
 *               registers from within, the memory core refuses that access.
 *
 *   lifetime    a call that the guest can turn into a write to a device may free
 *               the caller's queue: an interrupt message (the guest chooses its
 *               address), a configuration interrupt, a part of the base that
 *               maps a queue's buffers (virtqueue_pop(), virtqueue_push()).
 *               Code that serves a queue makes no such call. It signals the
 *               guest through eventfds, and reports what is wrong with
 *               vdpa_device_fault(), which interrupts the guest from a bottom
 *               half of its own (vdpa-fault.c).
 *
 * scripts/lint (guest_access) checks that the calls which the rule names stand
 * nowhere else in the vDPA files.
 *
 * Limits: a region that the chipset shows read-only (PAM) is RAM to QEMU's DMA,
 * here as for all devices of the base.
 */
#include "qemu/osdep.h"
#include "exec/address-spaces.h"
#include "hw/qdev-core.h"
#include "qemu/rcu.h"
#include "vdpa-guest-mem.h"

/* The memory core refuses to dispatch such an access to a device. */
static const MemTxAttrs memory_only = { .unspecified = 1, .memory = 1 };

/*
 * What the attribute lets pass besides RAM is refused here: registers that were
 * mapped as memory (a passed-through BAR, a doorbell), and ROM for writing.
 */
static int check(AddressSpace *as, uint64_t addr, uint64_t len, bool write)
{
    RCU_READ_LOCK_GUARD();
    if (!len || len - 1 > UINT64_MAX - addr) {
        return -EFAULT;
    }
    while (len) {
        hwaddr within, part = len;
        MemoryRegion *mr = address_space_translate(as, addr, &within, &part,
                                                   write, memory_only);

        if (!memory_region_is_ram(mr) ||
            !memory_access_is_direct(mr, write, memory_only)) {
            return -EFAULT;
        }
        addr += part;
        len -= part;
    }
    return 0;
}

int vdpa_guest_read(AddressSpace *as, uint64_t addr, void *to, size_t len)
{
    if (check(as, addr, len, false)) {
        return -EFAULT;
    }
    /* A full barrier before and after: see VdpaGuestOps. */
    smp_mb();
    if (address_space_read_full(as, addr, memory_only, to, len) != MEMTX_OK) {
        return -EFAULT;
    }
    /* Pairs as the barrier above does. */
    smp_mb();
    return 0;
}

int vdpa_guest_write(AddressSpace *as, uint64_t addr, const void *from,
                     size_t len)
{
    if (check(as, addr, len, true)) {
        return -EFAULT;
    }
    /* A full barrier before and after: see VdpaGuestOps. */
    smp_mb();
    if (address_space_write(as, addr, memory_only, from, len) != MEMTX_OK) {
        return -EFAULT;
    }
    /* Pairs as the barrier above does. */
    smp_mb();
    return 0;
}

int vdpa_guest_writable(AddressSpace *as, uint64_t addr, size_t len)
{
    return check(as, addr, len, true);
}

/* --- the guard ---------------------------------------------------------- */

VdpaIoGuard vdpa_io_guard_engage(VirtIODevice *vdev)
{
    BusState *bus = vdev ? qdev_get_parent_bus(DEVICE(vdev)) : NULL;
    VdpaIoGuard guard = { .transport = bus ? bus->parent : NULL };

    if (guard.transport) {
        object_ref(OBJECT(guard.transport));
        guard.was_engaged = guard.transport->mem_reentrancy_guard.engaged_in_io;
        guard.transport->mem_reentrancy_guard.engaged_in_io = true;
    }
    return guard;
}

void vdpa_io_guard_release(VdpaIoGuard *guard)
{
    if (guard->transport) {
        guard->transport->mem_reentrancy_guard.engaged_in_io =
            guard->was_engaged;
        object_unref(OBJECT(guard->transport));
        guard->transport = NULL;
    }
}
