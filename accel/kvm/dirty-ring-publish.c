/*
 * KVM dirty ring: pages into the RAM list's dirty bitmaps
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Runs in any thread and without the BQL: the bitmaps are protected by RCU and
 * set atomically.
 *
 * RAM blocks are looked up, since only some have a display that logs.  A page's block
 * and its memory region are there: before a memory slot goes, all pages that were
 * harvested from it are published.
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/rcu.h"
#include "exec/memory.h"
#include "exec/ram_addr.h"
#include "exec/ramblock.h"
#include "core/dirty-ring-mark.h"
#include "dirty-ring-state.h"

/* Migration's bitmap, NULL while nothing tracks; valid under the RCU lock. */
typedef struct Publication {
    DirtyMemoryBlocks *log;
    uint8_t clients;        /* bitmaps in which pages of the last block are marked */
    bool same_pages;        /* a host page is one of the target's */
} Publication;

/* Needs the RCU lock. */
static RAMBlock *find_ram_block(ram_addr_t addr)
{
    RAMBlock *block;

    RAMBLOCK_FOREACH(block) {
        if (addr - block->offset < block->max_length) {
            return block;
        }
    }
    return NULL;
}

/* DirtyLogOps.find_block: where a display logs, its bitmap has the pages, too. */
static bool publish_find_block(void *opaque, uint64_t page, DirtyRange *range)
{
    Publication *to = opaque;
    uint64_t page_size = qemu_real_host_page_size();
    RAMBlock *block = find_ram_block(page * page_size);
    bool vga = !block || !block->mr ||
               memory_region_is_logging(block->mr, DIRTY_MEMORY_VGA);

    to->clients = (vga ? 1 << DIRTY_MEMORY_VGA : 0) |
                  (to->log ? 1 << DIRTY_MEMORY_MIGRATION : 0);
    *range = block ? (DirtyRange){
        .first = block->offset / page_size,
        .end = (block->offset + block->max_length) / page_size,
    } : (DirtyRange){ page, page + 1 };
    return vga;
}

/* DirtyLogOps.is_dirty: a host page may be several of the target's. */
static bool publish_is_dirty(void *opaque, uint64_t page)
{
    Publication *to = opaque;
    uint64_t per_page = qemu_real_host_page_size() / TARGET_PAGE_SIZE;

    for (uint64_t i = page * per_page; to->log && i < (page + 1) * per_page;
         i++) {
        if (!test_bit(i % DIRTY_MEMORY_BLOCK_SIZE,
                      to->log->blocks[i / DIRTY_MEMORY_BLOCK_SIZE])) {
            return false;
        }
    }
    return to->log;
}

/* Marks pages of the target in migration's bitmap and no other. */
static void mark_for_migration(DirtyMemoryBlocks *log, uint64_t first,
                               uint64_t end)
{
    uint64_t idx, at, n;

    for (; first < end; first += n) {
        idx = first / DIRTY_MEMORY_BLOCK_SIZE;
        at = first % DIRTY_MEMORY_BLOCK_SIZE;
        n = MIN(end - first, DIRTY_MEMORY_BLOCK_SIZE - at);
        bitmap_set_atomic(log->blocks[idx], at, n);
        dirty_log_mark(idx, at, at + n);
    }
}

/* DirtyLogOps.mark */
static void publish_mark(void *opaque, const DirtyRange *range)
{
    Publication *to = opaque;
    uint64_t page_size = qemu_real_host_page_size();
    uint64_t per_page = page_size / TARGET_PAGE_SIZE;

    if (to->clients == 1 << DIRTY_MEMORY_MIGRATION) {
        mark_for_migration(to->log, range->first * per_page,
                           range->end * per_page);
    } else {
        cpu_physical_memory_set_dirty_range(
            range->first * page_size, (range->end - range->first) * page_size,
            to->clients);
    }
}

/* DirtyLogOps.mark_apart */
static uint64_t publish_mark_apart(void *opaque, const uint64_t *pages,
                                   size_t n)
{
    Publication *to = opaque;
    uint64_t dirty = 0;

    if (!to->log) {
        return 0;
    }
    if (to->same_pages && !dirty_fault_is("summary")) {
        return dirty_log_set_pages(to->log, pages, n);
    }
    for (size_t i = 0; i < n; i++) {
        if (publish_is_dirty(to, pages[i])) {
            dirty++;
        } else {
            publish_mark(to, &(DirtyRange){ pages[i], pages[i] + 1 });
        }
    }
    return dirty;
}

static const DirtyLogOps publish_ops = {
    .find_block = publish_find_block,
    .is_dirty = publish_is_dirty,
    .mark = publish_mark,
    .mark_apart = publish_mark_apart,
};

/*
 * The thread that clears migration's bitmap does so by qatomic_xchg() and copies the
 * page later, as dirty_ring_mark() needs it.
 */
void kvm_dirty_ring_publish(void *opaque, const uint64_t *pages, size_t n)
{
    Publication to = {
        .same_pages = qemu_real_host_page_size() == TARGET_PAGE_SIZE,
    };
    uint64_t redirtied;

    /*
     * Pairs with readers of the bitmaps: a ring is read before the pages that
     * its entries name, and before their bits.
     */
    smp_mb();
    RCU_READ_LOCK_GUARD();
    if (global_dirty_tracking) {
        to.log = qatomic_rcu_read(
            &ram_list.dirty_memory[DIRTY_MEMORY_MIGRATION]);
    }
    redirtied = dirty_ring_mark(pages, n, &publish_ops, &to);
    if (redirtied) {
        qatomic_add(&kvm_dirty_rings.redirtied, redirtied);
    }
}
