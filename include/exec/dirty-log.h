/*
 * Dirty log: the RAM list's migration bitmap and its summary
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ram_addr.h calls dirty_log_mark() wherever it sets bits of the bitmap; nothing else
 * sets any.
 */
#ifndef EXEC_DIRTY_LOG_H
#define EXEC_DIRTY_LOG_H

#include "qemu/atomic.h"
#include "qemu/rcu.h"
#include "exec/ramblock.h"
#include "exec/ramlist.h"
#include "system/core/dirty-fault.h"
#include "system/core/dirty-summary.h"

/* A summary for each block of the bitmap; replaced when the RAM list grows. */
typedef struct DirtyLogSummaries {
    struct rcu_head rcu;
    DirtySummary *of_block[];
} DirtyLogSummaries;

/* Protected by RCU, changed under the RAM list's mutex. */
extern DirtyLogSummaries *dirty_log_summaries;

/* dirty_summary_mark(), but for the chunks that a build with planted faults loses. */
void dirty_log_mark_badly(DirtySummary *summary, unsigned long first,
                          unsigned long end);

/*
 * Notes that bits of block @idx were set, those from @first to @end - 1.  The thread
 * has set them by an atomic operation, or has executed a full barrier since.  Any
 * thread; needs the RCU lock since before it looked up the block.
 */
static inline void dirty_log_mark(unsigned long idx, unsigned long first,
                                  unsigned long end)
{
    DirtyLogSummaries *summaries = qatomic_rcu_read(&dirty_log_summaries);

    if (dirty_fault_is("summary")) {
        dirty_log_mark_badly(summaries->of_block[idx], first, end);
    } else {
        dirty_summary_mark(summaries->of_block[idx], first, end);
    }
}

/*
 * Sets the bits of @n pages of the RAM list in @log, and marks them; returns how many
 * were set.
 */
static inline uint64_t dirty_log_set_pages(DirtyMemoryBlocks *log,
                                           const uint64_t *pages, size_t n)
{
    DirtyLogSummaries *summaries = qatomic_rcu_read(&dirty_log_summaries);
    uint64_t set = 0;

    for (size_t i = 0; i < n; i++) {
        unsigned long idx = pages[i] / DIRTY_MEMORY_BLOCK_SIZE;

        set += dirty_summary_set_page(summaries->of_block[idx],
                                      log->blocks[idx],
                                      pages[i] % DIRTY_MEMORY_BLOCK_SIZE);
    }
    return set;
}

/* dirty_log_mark() for word @word of block @idx. */
static inline void dirty_log_mark_word(unsigned long idx, unsigned long word)
{
    DirtyLogSummaries *summaries = qatomic_rcu_read(&dirty_log_summaries);
    unsigned long page = word * DIRTY_SUMMARY_LONG_BITS;

    if (dirty_fault_is("summary")) {
        dirty_log_mark_badly(summaries->of_block[idx], page, page + 1);
    } else {
        dirty_summary_mark_chunk(summaries->of_block[idx],
                                 page / DIRTY_CHUNK_PAGES);
    }
}

/*
 * Provides summaries for @nblocks blocks, @old_nblocks of which exist.  Called with the
 * RAM list's mutex held, before the RAM list has the blocks.
 */
void dirty_log_extend(unsigned old_nblocks, unsigned nblocks);

/*
 * Moves the bits of @rb's pages from the RAM list's bitmap to @rb->bmap, and remembers
 * in @rb->clear_bmap where KVM has yet to protect pages.  Returns how many pages were
 * not dirty in @rb->bmap before.  Costs what is dirty, not what there is.
 *
 * One thread at a time (migration's bitmap_mutex); needs the RCU lock.
 */
uint64_t dirty_log_sync_block(RAMBlock *rb);

#endif
