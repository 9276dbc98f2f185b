/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest memory that QEMU itself reads and writes for a virtqueue: RAM only.
 *
 * Life cycle: none. Thread model: the BQL.
 *
 * The rules are at the top of vdpa-guest-mem.c.
 */
#ifndef HW_VIRTIO_VDPA_GUEST_MEM_H
#define HW_VIRTIO_VDPA_GUEST_MEM_H

#include "exec/memory.h"
#include "hw/virtio/virtio.h"

/*
 * Copies @len bytes at @addr of @as. 0, or -EFAULT if one of them is not in
 * RAM (ROM counts for reading only); a part may have been copied then. A write
 * marks what it wrote dirty. Each call is a full memory barrier.
 */
int vdpa_guest_read(AddressSpace *as, uint64_t addr, void *to, size_t len);
int vdpa_guest_write(AddressSpace *as, uint64_t addr, const void *from,
                     size_t len);

/* Whether the write would succeed now. 0 or -EFAULT. */
int vdpa_guest_writable(AddressSpace *as, uint64_t addr, size_t len);

/* The transport's reentrancy guard, while QEMU works on behalf of a device. */
typedef struct VdpaIoGuard {
    DeviceState *transport;     /* a reference */
    bool was_engaged;
} VdpaIoGuard;

VdpaIoGuard vdpa_io_guard_engage(VirtIODevice *vdev);
void vdpa_io_guard_release(VdpaIoGuard *guard);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VdpaIoGuard, vdpa_io_guard_release)

/* Until the end of the block. */
#define VDPA_IO_GUARD(vdev)                                     \
    g_auto(VdpaIoGuard) io_guard G_GNUC_UNUSED = vdpa_io_guard_engage(vdev)

#endif
