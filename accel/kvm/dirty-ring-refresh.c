/*
 * KVM dirty ring: a display's refresh
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * While a migration or a measurement tracks all of memory, a display that asks for
 * its dirty pages must not make KVM protect every page again.  So a refresh only
 * reads the rings: a page of the frame buffer whose entry lies in a ring is writable
 * and presumed dirty, at each refresh, until a sync or want of room releases the
 * entry.  The page is marked once more then (dirty-ring-publish.c), so the last
 * write to it is seen.
 *
 * While nothing tracks, KVM logs the displays' memory only, and a refresh is a sync.
 *
 * Limits: a refresh looks at all entries of all rings, under the BQL, though it
 * translates those of the display's slots only.  No vCPU is
 * kicked, so with page modification logging a write may be seen one refresh late:
 * the CPU hands it over when the vCPU next leaves the guest.
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "exec/memory-refresh.h"
#include "exec/ram_addr.h"
#include "dirty-ring-state.h"

/* Pages of the region that is refreshed. */
typedef struct Wanted {
    uint64_t first, end;
} Wanted;

static bool slot_is_wanted(void *opaque, uint32_t slot)
{
    const Wanted *wanted = opaque;

    return dirty_slots_overlap(&kvm_dirty_rings.slots, slot, wanted->first,
                               wanted->end);
}

static void mark_wanted(void *opaque, const uint64_t *pages, size_t n)
{
    const Wanted *wanted = opaque;
    uint64_t page_size = qemu_real_host_page_size();

    RCU_READ_LOCK_GUARD();
    for (size_t i = 0; i < n; i++) {
        if (pages[i] >= wanted->first && pages[i] < wanted->end) {
            cpu_physical_memory_set_dirty_range(pages[i] * page_size,
                                                page_size,
                                                1 << DIRTY_MEMORY_VGA);
        }
    }
}

bool kvm_dirty_ring_refresh(MemoryListener *listener, MemoryRegion *mr)
{
    uint64_t page_size = qemu_real_host_page_size();
    ram_addr_t start = memory_region_get_ram_addr(mr);
    Wanted wanted;
    DirtyRingPeek peek = {
        .wants = slot_is_wanted,
        .visit = mark_wanted,
        .opaque = &wanted,
    };

    GLOBAL_STATE_CODE();
    if (!global_dirty_tracking || start == RAM_ADDR_INVALID) {
        return false;
    }
    wanted.first = start / page_size;
    wanted.end = DIV_ROUND_UP(start + memory_region_size(mr), page_size);
    dirty_ring_peek_all(&kvm_dirty_rings.set, &peek);
    dirty_ring_wait_published(&kvm_dirty_rings.set);
    return true;
}
