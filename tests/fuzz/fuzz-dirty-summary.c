/*
 * Fuzz target: a dirty bitmap with its summary under any sequence of calls
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * The input is a sequence of calls: one byte says which, others give page numbers, most
 * of them near the ends of words, chunks and groups.  Pages are dirtied, taken in ranges
 * and found, as a migration does.  A model says which pages are dirty in which of
 * the two bitmaps; the summaries must never hide one.
 *
 * Limits: one thread; pages of the first group and of a part of the second only.
 */
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz-input.h"
#include "system/core/dirty-summary.h"

#define LONG_BITS DIRTY_SUMMARY_LONG_BITS
#define GROUP (LONG_BITS * DIRTY_CHUNK_PAGES)
#define PAGES (GROUP + 4 * DIRTY_CHUNK_PAGES)

/* The log, the bitmap that bits are moved to, and where a page is dirty by the model. */
static struct {
    DirtySummary log_summary;
    DirtySummary to_summary;
    unsigned long log[DIRTY_SUMMARY_PAGES / LONG_BITS];
    unsigned long to[DIRTY_SUMMARY_PAGES / LONG_BITS];
    unsigned char in_log[PAGES];
    unsigned char in_to[PAGES];
} state;

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* A page near a seam, or any. */
static unsigned long eat_page(Input *in)
{
    static const unsigned long seams[] = { LONG_BITS, DIRTY_CHUNK_PAGES, GROUP };
    uint8_t kind = eat(in, 1);
    unsigned long page = kind < 200
                         ? eat(in, 1) * seams[kind % 3] + (kind >> 3) % 4 - 2
                         : eat(in, 4);

    return page % PAGES;
}

static void set(unsigned long *bits, unsigned long page)
{
    __atomic_fetch_or(&bits[page / LONG_BITS], 1ul << page % LONG_BITS,
                      __ATOMIC_SEQ_CST);
}

static void op_dirty(Input *in)
{
    unsigned long first = eat_page(in), n = 1 + eat(in, 1) % 70;
    unsigned long end = MIN(PAGES, first + n);

    for (unsigned long page = first; page < end; page++) {
        set(state.log, page);
        state.in_log[page] = 1;
    }
    dirty_summaries_mark(&state.log_summary, first, end);
}

static void taken(void *opaque, unsigned long first, unsigned long end)
{
    dirty_summary_mark(&state.to_summary, first, end);
}

static void take(unsigned long first, unsigned long end)
{
    uint64_t fresh = dirty_summary_take(&state.log_summary, state.log, first,
                                        end, &state.to[first / LONG_BITS],
                                        taken, NULL);

    for (unsigned long page = first; page < end; page++) {
        fresh -= state.in_log[page] && !state.in_to[page];
        state.in_to[page] |= state.in_log[page];
        state.in_log[page] = 0;
    }
    check(fresh == 0);
}

static void op_take(Input *in)
{
    unsigned long first = eat_page(in) / LONG_BITS * LONG_BITS;
    unsigned long end = eat_page(in);

    take(first, MAX(first, end));
}

static void op_clear(Input *in)
{
    unsigned long first = eat_page(in) / LONG_BITS * LONG_BITS;
    unsigned long end = eat_page(in);

    end = MAX(first, end);
    check(dirty_summary_take(&state.log_summary, state.log, first, end, NULL,
                             NULL, NULL) == 0);
    memset(&state.in_log[first], 0, end - first);
}

/* Finds pages from somewhere on, and sends each. */
static void op_send(Input *in)
{
    unsigned long page = eat_page(in), end = eat_page(in);
    unsigned char *next;

    end = MAX(page, end);
    for (unsigned n = eat(in, 1) % 8; n; n--) {
        next = memchr(&state.in_to[page], 1, end - page);
        page = dirty_summary_find(&state.to_summary, state.to, end, page);
        check(page == (next ? (unsigned long)(next - state.in_to) : end));
        if (page < end) {
            state.to[page / LONG_BITS] &= ~(1ul << page % LONG_BITS);
            state.in_to[page] = 0;
        }
    }
}

/* What the model has is in the bitmaps, and nothing else is. */
static void check_bitmaps(void)
{
    for (unsigned long page = 0; page < PAGES; page++) {
        unsigned long at = page / LONG_BITS, bit = page % LONG_BITS;

        check((state.log[at] >> bit & 1) == state.in_log[page]);
        check((state.to[at] >> bit & 1) == state.in_to[page]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const ops[])(Input *in) = {
        op_dirty, op_dirty, op_take, op_send, op_clear,
    };
    Input in = { data, size };

    memset(&state, 0, sizeof(state));
    for (unsigned i = 0; in.left && i < 256; i++) {
        ops[eat(&in, 1) % G_N_ELEMENTS(ops)](&in);
    }
    check_bitmaps();
    /* Whatever was done before, a sync finds all that is dirty. */
    take(0, PAGES);
    check_bitmaps();
    return 0;
}
