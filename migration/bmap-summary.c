/*
 * Migration's bitmap of a RAM block: where it may have dirty pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Migration looks for the next page to send in RAMBlock.bmap, one bit per page of the RAM
 * block.  Near the end of a migration few are set, and each pass over 960 GiB reads
 * 30 MiB of zeroes.  A summary (dirty-summary.c) lets a search skip them.
 *
 * All bits are set when a migration begins.  Later a sync sets bits (dirty-log.c), and
 * so do two functions of postcopy; ram.c.cocci has them mark the pages.  Bits that are
 * cleared are not noted: a search clears the marks of chunks that it finds clean.
 *
 * The bitmap of COLO's secondary has no summary: it is written page by page and read
 * as a whole.
 *
 * Limits: postcopy's discards and the bitmaps in a saved image still read every word,
 * once per migration.
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "exec/target_page.h"
#include "migration/bmap-summary.h"
#include "system/core/dirty-summary.h"

typedef struct BmapSummary {
    bool synced;                /* once at least */
    DirtySummary summaries[];
} BmapSummary;

void bmap_summary_new(RAMBlock *rb)
{
    uint64_t pages = rb->max_length >> qemu_target_page_bits();

    rb->bmap_summary = g_malloc0(sizeof(BmapSummary) +
                                 dirty_summaries_count(pages) *
                                 sizeof(DirtySummary));
    dirty_summaries_mark(rb->bmap_summary->summaries, 0, pages);
}

bool bmap_summary_first_sync(RAMBlock *rb)
{
    bool first = rb->bmap_summary && !rb->bmap_summary->synced;

    if (first) {
        rb->bmap_summary->synced = true;
    }
    return first;
}

void bmap_summary_free(RAMBlock *rb)
{
    g_free(rb->bmap_summary);
    rb->bmap_summary = NULL;
}

void bmap_summary_mark(RAMBlock *rb, uint64_t first, uint64_t end)
{
    if (rb->bmap_summary) {
        dirty_summaries_mark(rb->bmap_summary->summaries, first, end);
    }
}

uint64_t bmap_summary_find(RAMBlock *rb, uint64_t end, uint64_t start)
{
    return rb->bmap_summary
           ? dirty_summary_find(rb->bmap_summary->summaries, rb->bmap, end,
                                start)
           : find_next_bit(rb->bmap, end, start);
}
