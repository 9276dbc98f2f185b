/*
 * What publishing a page costs, with and without a summary of the log
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Marks PAGES pages in a log by dirty_ring_mark(), ROUNDS times, and clears the bits
 * of the log between, as a sync does, but no bit of the summary: "a page whose chunk is
 * noted already".  tests/bench/publish counts the instructions of dirty_ring_mark().
 *
 *     bench-publish row|apart noted|plain ROUNDS      prints "pages N"
 *
 * Limits: one block of memory; what QEMU does per batch is not in it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accel/kvm/core/dirty-ring-mark.h"
#include "system/core/dirty-summary.h"

#define PAGES 65536u
#define STRIDE 31u      /* between pages that are apart */
#define LONGS (DIRTY_SUMMARY_PAGES / DIRTY_SUMMARY_LONG_BITS)

static unsigned long log_bits[LONGS];
static DirtySummary summary;
static uint64_t pages[PAGES];

static bool log_find_block(void *opaque, uint64_t page, DirtyRange *block)
{
    *block = (DirtyRange){ 0, DIRTY_SUMMARY_PAGES };
    return false;
}

static bool log_is_dirty(void *opaque, uint64_t page)
{
    return log_bits[page / DIRTY_SUMMARY_LONG_BITS] >>
           page % DIRTY_SUMMARY_LONG_BITS & 1;
}

static void set_range(const DirtyRange *range)
{
    uint64_t page = range->first, unit = DIRTY_SUMMARY_LONG_BITS;

    while (page < range->end) {
        uint64_t at = page % unit, n = unit - at;

        n = n < range->end - page ? n : range->end - page;
        __atomic_fetch_or(&log_bits[page / unit], (~0ul >> (unit - n)) << at,
                          __ATOMIC_SEQ_CST);
        page += n;
    }
}

static void mark_plain(void *opaque, const DirtyRange *range)
{
    set_range(range);
}

static void mark_noted(void *opaque, const DirtyRange *range)
{
    set_range(range);
    dirty_summary_mark(&summary, range->first, range->end);
}

static bool set_page(uint64_t page)
{
    unsigned long *word = &log_bits[page / DIRTY_SUMMARY_LONG_BITS];
    unsigned long mask = 1ul << page % DIRTY_SUMMARY_LONG_BITS;

    if (__atomic_load_n(word, __ATOMIC_RELAXED) & mask) {
        return true;
    }
    __atomic_fetch_or(word, mask, __ATOMIC_SEQ_CST);
    return false;
}

static uint64_t mark_apart_plain(void *opaque, const uint64_t *at, size_t n)
{
    uint64_t dirty = 0;

    for (size_t i = 0; i < n; i++) {
        dirty += set_page(at[i]);
    }
    return dirty;
}

static uint64_t mark_apart_noted(void *opaque, const uint64_t *at, size_t n)
{
    uint64_t dirty = 0;

    for (size_t i = 0; i < n; i++) {
        dirty += dirty_summary_set_page(&summary, log_bits, at[i]);
    }
    return dirty;
}

static const DirtyLogOps plain = {
    .find_block = log_find_block, .is_dirty = log_is_dirty,
    .mark = mark_plain, .mark_apart = mark_apart_plain,
}, noted = {
    .find_block = log_find_block, .is_dirty = log_is_dirty,
    .mark = mark_noted, .mark_apart = mark_apart_noted,
};

int main(int argc, char **argv)
{
    unsigned rounds = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
    bool apart = argc > 3 && !strcmp(argv[1], "apart");
    const DirtyLogOps *ops = argc > 3 && !strcmp(argv[2], "noted") ? &noted
                                                                  : &plain;

    if (!rounds) {
        fprintf(stderr, "usage: bench-publish row|apart noted|plain ROUNDS\n");
        return 2;
    }
    for (unsigned i = 0; i < PAGES; i++) {
        pages[i] = apart ? (uint64_t)i * STRIDE % DIRTY_SUMMARY_PAGES : i;
    }
    dirty_summary_mark(&summary, 0, DIRTY_SUMMARY_PAGES);
    for (unsigned i = 0; i < rounds; i++) {
        memset(log_bits, 0, sizeof(log_bits));
        if (dirty_ring_mark(pages, PAGES, ops, NULL)) {
            fprintf(stderr, "bench-publish: a page is dirty already\n");
            return 1;
        }
    }
    printf("pages %u\n", PAGES * rounds);
    return 0;
}
