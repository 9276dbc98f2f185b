/*
 * KVM dirty ring: pages into the RAM list's dirty bitmaps
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Runs in any thread and without the BQL: the bitmaps are protected by RCU and
 * set atomically.
 *
 * A RAM block is looked up per range of pages, since only some have a display that
 * logs.  A page's block and its memory region are there: before a memory slot goes,
 * all pages that were harvested from it are published.
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/rcu.h"
#include "exec/memory.h"
#include "exec/ram_addr.h"
#include "exec/ramblock.h"
#include "dirty-ring-state.h"

/* Returns the block that holds @addr, in most cases @last.  Needs an RCU lock. */
static RAMBlock *find_block(ram_addr_t addr, RAMBlock *last)
{
    RAMBlock *block;

    if (last && addr - last->offset < last->max_length) {
        return last;
    }
    RAMBLOCK_FOREACH(block) {
        if (addr - block->offset < block->max_length) {
            return block;
        }
    }
    return NULL;
}

/* Returns the dirty bitmaps in which a written page of @block is marked. */
static uint8_t block_clients(const RAMBlock *block)
{
    bool vga = !block || !block->mr ||
               memory_region_is_logging(block->mr, DIRTY_MEMORY_VGA);

    return (vga ? 1 << DIRTY_MEMORY_VGA : 0) |
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

/* Returns how many of @n pages adjoin in memory, within @block. */
static size_t range_length(const uint64_t *pages, size_t n,
                           const RAMBlock *block)
{
    uint64_t page_size = qemu_real_host_page_size();
    size_t len = 1;

    while (len < n && pages[len] == pages[len - 1] + 1 && block &&
           pages[len] * page_size - block->offset < block->max_length) {
        len++;
    }
    return len;
}

/* Publishes entries that follow each other in a ring and in memory as one range. */
void kvm_dirty_ring_publish(void *opaque, const uint64_t *pages, size_t n)
{
    uint64_t page_size = qemu_real_host_page_size();
    RAMBlock *block = NULL;
    size_t len;

    /*
     * Pairs with readers of the bitmaps: a ring is read before the pages that
     * its entries name.
     */
    smp_mb();
    RCU_READ_LOCK_GUARD();
    if (global_dirty_tracking) {
        count_redirtied(pages, n);
    }
    for (size_t start = 0; start < n; start += len) {
        block = find_block(pages[start] * page_size, block);
        len = range_length(&pages[start], n - start, block);
        publish_range(pages[start], len, block_clients(block));
    }
}
