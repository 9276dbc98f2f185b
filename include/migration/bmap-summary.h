/*
 * Migration's bitmap of a RAM block: where it may have dirty pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Needs migration's bitmap_mutex, or a migration that does not run.  Without a summary
 * (@rb->bmap_summary is NULL) marks are ignored and a search looks at all words.
 *
 * The theory of operation is at the top of bmap-summary.c.
 */
#ifndef MIGRATION_BMAP_SUMMARY_H
#define MIGRATION_BMAP_SUMMARY_H

#include "exec/ramblock.h"

/* Describes @rb->bmap, of which all bits are set. */
void bmap_summary_new(RAMBlock *rb);

void bmap_summary_free(RAMBlock *rb);

/*
 * Called once by each sync of @rb.  Returns true if it is the first since
 * bmap_summary_new(): all of @rb->bmap is still set.
 */
bool bmap_summary_first_sync(RAMBlock *rb);

/* Bits from @first to @end - 1 of @rb->bmap were set. */
void bmap_summary_mark(RAMBlock *rb, uint64_t first, uint64_t end);

/*
 * Returns the first dirty page of @rb from page @start on, @end if there is none before
 * @end.
 */
uint64_t bmap_summary_find(RAMBlock *rb, uint64_t end, uint64_t start);

#endif
