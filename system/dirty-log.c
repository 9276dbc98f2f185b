/*
 * Dirty log: the RAM list's migration bitmap and its summary
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * The RAM list's bitmap consists of blocks of DIRTY_MEMORY_BLOCK_SIZE pages, which are
 * added and never removed.  Each has a DirtySummary (dirty-summary.c).  Like the
 * blocks, the summaries stay where they are when the RAM list grows; the array that
 * points to them is replaced under RCU.
 *
 * A sync moves the bits of one RAM block after another to the RAM block's own bitmap,
 * from which pages are sent.  It looks only at chunks that the summary calls dirty.
 *
 * In bitmap mode KVM reports a page until the page was cleared (KVM_CLEAR_DIRTY_LOG), so
 * where a sync has found nothing there is nothing to clear: clear_bmap is set
 * where bits came over, and elsewhere keeps what earlier syncs have set.
 *
 * RAM blocks are aligned to words of the bitmap (find_ram_offset() in the base), but not
 * to chunks; what they share is in dirty-summary.c.
 *
 * Limits: bits of the VGA and code bitmaps have no summary; displays and translated code
 * use small ranges.
 */
#include "qemu/osdep.h"
#include "exec/cputlb.h"
#include "exec/dirty-log.h"
#include "exec/memory.h"
#include "exec/ram_addr.h"
#include "migration/bmap-summary.h"

QEMU_BUILD_BUG_ON(DIRTY_MEMORY_BLOCK_SIZE != DIRTY_SUMMARY_PAGES);

DirtyLogSummaries *dirty_log_summaries;

void dirty_log_extend(unsigned old_nblocks, unsigned nblocks)
{
    DirtyLogSummaries *old = qatomic_rcu_read(&dirty_log_summaries);
    DirtyLogSummaries *new = g_malloc(sizeof(*new) +
                                      nblocks * sizeof(new->of_block[0]));

    for (unsigned i = 0; i < nblocks; i++) {
        new->of_block[i] = i < old_nblocks ? old->of_block[i]
                                           : g_new0(DirtySummary, 1);
    }
    qatomic_rcu_set(&dirty_log_summaries, new);
    if (old) {
        g_free_rcu(old, rcu);
    }
}

void dirty_log_mark_badly(DirtySummary *summary, unsigned long first,
                          unsigned long end)
{
    for (unsigned long chunk = first / DIRTY_CHUNK_PAGES;
         chunk * DIRTY_CHUNK_PAGES < end; chunk++) {
        if (chunk % 300 != 150) {
            dirty_summary_mark_chunk(summary, chunk);
        }
    }
}

/* A sync of one RAM block; page numbers are the RAM list's. */
typedef struct BlockSync {
    RAMBlock *rb;
    uint64_t rb_first;      /* page of @rb */
    uint64_t rb_end;
    uint64_t base;          /* page of the present block of the bitmap */
    uint64_t first;         /* pages that were dirty lie between these */
    uint64_t end;
} BlockSync;

/* Notes that bits of the RAM block's bitmap are set from @first to @end - 1. */
static void note_dirty(BlockSync *sync, uint64_t first, uint64_t end)
{
    RAMBlock *rb = sync->rb;
    uint64_t rb_page = first - sync->rb_first;

    sync->first = MIN(sync->first, first);
    sync->end = MAX(sync->end, end);
    bmap_summary_mark(rb, rb_page, rb_page + end - first);
    if (rb->clear_bmap) {
        clear_bmap_set(rb, rb_page, end - first);
    }
}

/* DirtyTakenFunc */
static void block_taken(void *opaque, unsigned long first, unsigned long end)
{
    BlockSync *sync = opaque;

    note_dirty(sync, sync->base + first, sync->base + end);
}

/* Takes the bits of each block of the bitmap.  @move: to @rb->bmap; else clears them. */
static uint64_t take_bits(BlockSync *sync, bool move)
{
    DirtyMemoryBlocks *log = qatomic_rcu_read(
        &ram_list.dirty_memory[DIRTY_MEMORY_MIGRATION]);
    DirtyLogSummaries *summaries = qatomic_rcu_read(&dirty_log_summaries);
    uint64_t fresh = 0;

    for (uint64_t page = sync->rb_first; page < sync->rb_end;
         page = sync->base + DIRTY_MEMORY_BLOCK_SIZE) {
        uint64_t idx = page / DIRTY_MEMORY_BLOCK_SIZE;
        uint64_t word = (page - sync->rb_first) / BITS_PER_LONG;

        sync->base = idx * DIRTY_MEMORY_BLOCK_SIZE;
        fresh += dirty_summary_take(
            summaries->of_block[idx], log->blocks[idx], page - sync->base,
            MIN(sync->rb_end - sync->base, DIRTY_MEMORY_BLOCK_SIZE),
            move ? &sync->rb->bmap[word] : NULL, move ? block_taken : NULL,
            sync);
    }
    return fresh;
}

/* All of @rb->bmap is set, so there is nothing to move. */
static void clear_bits(BlockSync *sync)
{
    take_bits(sync, false);
    /* Pages are read after their bits were cleared, see dirty_summary_take(). */
    smp_mb();
    note_dirty(sync, sync->rb_first, sync->rb_end);
}

uint64_t dirty_log_sync_block(RAMBlock *rb)
{
    uint64_t first = rb->offset >> TARGET_PAGE_BITS;
    uint64_t pages = TARGET_PAGE_ALIGN(rb->used_length) >> TARGET_PAGE_BITS;
    BlockSync sync = { rb, first, first + pages, .first = UINT64_MAX };
    uint64_t fresh = 0;

    g_assert(QEMU_IS_ALIGNED(first, BITS_PER_LONG));
    if (bmap_summary_first_sync(rb)) {
        clear_bits(&sync);
    } else {
        fresh = take_bits(&sync, true);
    }
    /* Also where no page is fresh: TCG notices the next write only after this. */
    if (sync.first < sync.end) {
        cpu_physical_memory_dirty_bits_cleared(
            sync.first << TARGET_PAGE_BITS,
            (sync.end - sync.first) << TARGET_PAGE_BITS);
    }
    if (!rb->clear_bmap) {
        memory_region_clear_dirty_bitmap(rb->mr, 0, rb->used_length);
    }
    return fresh;
}
