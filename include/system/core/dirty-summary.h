/*
 * Dirty summary: which chunks of a dirty bitmap may have bits set, free of QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle: a summary that is all zero describes a bitmap that is all zero.
 * Each thread that sets bits of the bitmap then calls dirty_summary_mark().
 *
 * Thread model: any number of threads mark.  One thread at a time takes or searches.
 *
 * The theory of operation is at the top of dirty-summary.c.
 */
#ifndef SYSTEM_CORE_DIRTY_SUMMARY_H
#define SYSTEM_CORE_DIRTY_SUMMARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIRTY_SUMMARY_LONG_BITS (8 * sizeof(unsigned long))

/* Pages per chunk; their bits are a cache line of 64 bytes. */
#define DIRTY_CHUNK_PAGES 512ul

/* Pages that one DirtySummary describes. */
#define DIRTY_SUMMARY_PAGES (1ul << 21)

#define DIRTY_SUMMARY_CHUNKS (DIRTY_SUMMARY_PAGES / DIRTY_CHUNK_PAGES)
#define DIRTY_SUMMARY_LONGS (DIRTY_SUMMARY_CHUNKS / DIRTY_SUMMARY_LONG_BITS)
#define DIRTY_SUMMARY_GROUP_LONGS \
    (DIRTY_SUMMARY_LONGS / DIRTY_SUMMARY_LONG_BITS)

/*
 * A bit of `chunks` is set if a page of that chunk may be dirty, a bit of `groups` if
 * a bit of that word of `chunks` may be set.  Accessed atomically.
 */
typedef struct DirtySummary {
    unsigned long groups[DIRTY_SUMMARY_GROUP_LONGS];
    unsigned long chunks[DIRTY_SUMMARY_LONGS];
} DirtySummary;

static inline void dirty_summary_set_bit(unsigned long *words,
                                         unsigned long bit)
{
    unsigned long *word = &words[bit / DIRTY_SUMMARY_LONG_BITS];
    unsigned long mask = 1ul << bit % DIRTY_SUMMARY_LONG_BITS;

    /* Pairs with clear_bits() in dirty-summary.c. */
    if (!(__atomic_load_n(word, __ATOMIC_SEQ_CST) & mask)) {
        __atomic_fetch_or(word, mask, __ATOMIC_SEQ_CST);
    }
}

/* dirty_summary_mark() for pages of chunk @chunk, below DIRTY_SUMMARY_CHUNKS. */
static inline void dirty_summary_mark_chunk(DirtySummary *summary,
                                            unsigned long chunk)
{
    dirty_summary_set_bit(summary->chunks, chunk);
    dirty_summary_set_bit(summary->groups, chunk / DIRTY_SUMMARY_LONG_BITS);
}

/*
 * Notes that bits of the pages from @first to @end - 1 were set in the bitmap that
 * @summary describes.  The thread has set them by an atomic operation, or has
 * executed a full barrier since.
 *
 * @first, @end: page numbers within the summary, @end up to DIRTY_SUMMARY_PAGES
 */
static inline void dirty_summary_mark(DirtySummary *summary,
                                      unsigned long first, unsigned long end)
{
    for (unsigned long chunk = first / DIRTY_CHUNK_PAGES;
         chunk * DIRTY_CHUNK_PAGES < end; chunk++) {
        dirty_summary_mark_chunk(summary, chunk);
    }
}

/*
 * Sets the bit of @page in @bitmap, which @summary describes, and notes that.  Returns
 * true, and does nothing, if the bit is set: the thread that has set it notes it.
 *
 * @page: page number within the summary
 */
static inline bool dirty_summary_set_page(DirtySummary *summary,
                                          unsigned long *bitmap,
                                          unsigned long page)
{
    unsigned long *word = &bitmap[page / DIRTY_SUMMARY_LONG_BITS];
    unsigned long mask = 1ul << page % DIRTY_SUMMARY_LONG_BITS;

    if (__atomic_load_n(word, __ATOMIC_RELAXED) & mask) {
        return true;
    }
    __atomic_fetch_or(word, mask, __ATOMIC_SEQ_CST);
    dirty_summary_mark_chunk(summary, page / DIRTY_CHUNK_PAGES);
    return false;
}

/*
 * Called for pages whose bits dirty_summary_take() has moved.
 *
 * @first, @end: page numbers within the summary; at least one of these pages was dirty
 */
typedef void DirtyTakenFunc(void *opaque, unsigned long first,
                            unsigned long end);

/*
 * Moves the bits of a range of pages from one bitmap to another.  Skips chunks that the
 * summary calls clean.  Returns the number of pages that were not dirty in @to before.
 *
 * Bits that were set, and marked, before the call are moved.  Bits that are set
 * meanwhile are moved, or stay where they are and stay marked.
 *
 * @from: the bitmap that @summary describes, DIRTY_SUMMARY_PAGES bits
 * @first, @end: page numbers within the summary; @first is a multiple of
 *               DIRTY_SUMMARY_LONG_BITS
 * @to: the other bitmap, from the word on that has page @first; changed without atomic
 *      operations.  NULL: bits are cleared and not moved, and those that are set
 *      meanwhile may be cleared, too.  The caller reads each of these pages
 *      later, after a full barrier.
 * @taken: may be NULL
 */
uint64_t dirty_summary_take(DirtySummary *summary, unsigned long *from,
                            unsigned long first, unsigned long end,
                            unsigned long *to, DirtyTakenFunc *taken,
                            void *opaque);

/*
 * Returns the first dirty page from @start on, @end if there is none before @end.
 * Skips chunks that the summaries call clean, and clears the mark of those that it has
 * found clean; so no other thread may set bits of the bitmap meanwhile.
 *
 * @summaries: one for each DIRTY_SUMMARY_PAGES pages of the bitmap
 * @bitmap: with @end bits at least
 */
unsigned long dirty_summary_find(DirtySummary *summaries,
                                 const unsigned long *bitmap,
                                 unsigned long end, unsigned long start);

/*
 * Notes that bits of the pages from @first to @end - 1 were set in a bitmap that
 * @summaries describe, one for each DIRTY_SUMMARY_PAGES pages.
 */
void dirty_summaries_mark(DirtySummary *summaries, unsigned long first,
                          unsigned long end);

/* Returns how many summaries a bitmap of @pages bits needs. */
static inline size_t dirty_summaries_count(unsigned long pages)
{
    return (pages + DIRTY_SUMMARY_PAGES - 1) / DIRTY_SUMMARY_PAGES;
}

#endif
