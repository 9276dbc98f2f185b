/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For vhost.c: a virtqueue's area in this process. See vhost.c.ram.cocci.
 *
 * Thread model: the BQL, so that memory cannot change between check and map.
 *
 * Limits: without an IOMMU; behind one vhost maps nothing.
 */
#ifndef HW_VIRTIO_VHOST_RAM_H
#define HW_VIRTIO_VHOST_RAM_H

#include "exec/address-spaces.h"
#include "exec/cpu-common.h"
#include "exec/memory.h"
#include "qemu/rcu.h"

/* cpu_physical_memory_map(), or NULL where that would be a bounce buffer. */
static inline void *vhost_map_ram(hwaddr addr, hwaddr *len, bool is_write)
{
    hwaddr within, part = *len;

    WITH_RCU_READ_LOCK_GUARD() {
        MemoryRegion *mr = address_space_translate(&address_space_memory, addr,
                                                   &within, &part, is_write,
                                                   MEMTXATTRS_UNSPECIFIED);

        if (!memory_access_is_direct(mr, is_write, MEMTXATTRS_UNSPECIFIED)) {
            return NULL;
        }
    }
    return cpu_physical_memory_map(addr, len, is_write);
}

#endif
