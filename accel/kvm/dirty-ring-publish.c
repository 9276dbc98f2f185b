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

static bool page_is_dirty(DirtyMemoryBlocks *log, uint64_t page)
{
    uint64_t per_page = qemu_real_host_page_size() / TARGET_PAGE_SIZE;

    for (uint64_t i = page * per_page; i < (page + 1) * per_page; i++) {
        if (!test_bit(i % DIRTY_MEMORY_BLOCK_SIZE,
                      log->blocks[i / DIRTY_MEMORY_BLOCK_SIZE])) {
            return false;
        }
    }
    return true;
}

/*
 * Returns how many of @len pages from @first on are dirty in @log, migration's
 * bitmap: it has not looked at them since they were marked last, so they were
 * protected again in vain.
 */
static uint64_t count_redirtied(DirtyMemoryBlocks *log, uint64_t first,
                                size_t len)
{
    uint64_t dirty = 0;

    for (size_t i = 0; i < len; i++) {
        dirty += page_is_dirty(log, first + i);
    }
    return dirty;
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

/*
 * Publishes entries that follow each other in a ring and in memory as one range.
 *
 * A bit that is set already need not be set again.  The thread that clears it does
 * so by an atomic operation with a full barrier and copies the page afterwards; our
 * barrier comes after the ring was read and before the bit is.  So either we see the
 * bit clear, or the copy has what the guest wrote before its entry.
 */
void kvm_dirty_ring_publish(void *opaque, const uint64_t *pages, size_t n)
{
    uint64_t page_size = qemu_real_host_page_size();
    DirtyMemoryBlocks *log = NULL;
    RAMBlock *block = NULL, *last = NULL;
    uint64_t redirtied = 0, dirty;
    uint8_t clients = 0;
    size_t len;

    /*
     * Pairs with readers of the bitmaps: a ring is read before the pages that
     * its entries name.
     */
    smp_mb();
    RCU_READ_LOCK_GUARD();
    if (global_dirty_tracking) {
        log = qatomic_rcu_read(&ram_list.dirty_memory[DIRTY_MEMORY_MIGRATION]);
    }
    for (size_t start = 0; start < n; start += len) {
        block = find_block(pages[start] * page_size, last);
        if (!block || block != last) {
            clients = block_clients(block);
            last = block;
        }
        len = range_length(&pages[start], n - start, block);
        dirty = log ? count_redirtied(log, pages[start], len) : 0;
        if (dirty < len || clients != 1 << DIRTY_MEMORY_MIGRATION) {
            publish_range(pages[start], len, clients);
        }
        redirtied += dirty;
    }
    if (redirtied) {
        qatomic_add(&kvm_dirty_rings.redirtied, redirtied);
    }
}
