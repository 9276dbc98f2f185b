/*
 * KVM dirty ring: pages into the RAM list's dirty bitmaps
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Runs in any thread and without the BQL: the bitmaps are protected by RCU and
 * set atomically.
 *
 * Limits: the display's bitmap is set for every page, logged or not.
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/rcu.h"
#include "exec/memory.h"
#include "exec/ram_addr.h"
#include "dirty-ring-state.h"

/* Returns the dirty bitmaps in which a written page is marked. */
static uint8_t publish_clients(void)
{
    return 1 << DIRTY_MEMORY_VGA |
           (global_dirty_tracking ? 1 << DIRTY_MEMORY_MIGRATION : 0);
}

static void publish_range(uint64_t first, uint64_t npages, uint8_t clients)
{
    uint64_t page_size = qemu_real_host_page_size();

    cpu_physical_memory_set_dirty_range(first * page_size, npages * page_size,
                                        clients);
}

/*
 * Counts pages that migration has not looked at since they were marked last: they
 * were protected again in vain.
 */
static void count_redirtied(const uint64_t *pages, size_t n)
{
    uint64_t page_size = qemu_real_host_page_size();
    uint64_t dirty = 0;

    for (size_t i = 0; i < n; i++) {
        dirty += cpu_physical_memory_get_dirty_flag(pages[i] * page_size,
                                                    DIRTY_MEMORY_MIGRATION);
    }
    if (dirty) {
        qatomic_add(&kvm_dirty_rings.redirtied, dirty);
    }
}

/*
 * Publishes entries that follow each other in a ring and in memory, as they often
 * do, as one range.
 */
void kvm_dirty_ring_publish(void *opaque, const uint64_t *pages, size_t n)
{
    uint8_t clients = publish_clients();
    size_t start = 0;

    /*
     * Pairs with readers of the bitmaps: a ring is read before the pages that
     * its entries name.
     */
    smp_mb();
    RCU_READ_LOCK_GUARD();
    if (global_dirty_tracking) {
        count_redirtied(pages, n);
    }
    for (size_t i = 1; i <= n; i++) {
        if (i == n || pages[i] != pages[i - 1] + 1) {
            publish_range(pages[start], i - start, clients);
            start = i;
        }
    }
}
