/*
 * Dirty summary: beside a plain bitmap, and with threads
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Limits: which accesses come in which order is test-dirty-summary-order.c's subject;
 * threads meet the interesting moments by chance only.
 */
#include <glib.h>
#include <string.h>

#include "named-tests.h"
#include "system/core/dirty-summary.h"

#define LONG_BITS DIRTY_SUMMARY_LONG_BITS
#define GROUP_PAGES (LONG_BITS * DIRTY_CHUNK_PAGES)
#define SUMMARIES 2
#define PAGES (SUMMARIES * DIRTY_SUMMARY_PAGES)
#define NO_PAGE (~0ul)

/* A log with its summaries, and the bitmap that its bits are moved to. */
typedef struct Log {
    DirtySummary summaries[SUMMARIES];
    unsigned long bits[PAGES / LONG_BITS];
    unsigned long to[PAGES / LONG_BITS];
    DirtySummary to_summaries[SUMMARIES];
} Log;

static bool get(const unsigned long *bits, unsigned long page)
{
    return bits[page / LONG_BITS] >> page % LONG_BITS & 1;
}

static void set_atomic(unsigned long *bits, unsigned long page)
{
    __atomic_fetch_or(&bits[page / LONG_BITS], 1ul << page % LONG_BITS,
                      __ATOMIC_SEQ_CST);
}

static void dirty(Log *log, unsigned long page)
{
    set_atomic(log->bits, page);
    dirty_summaries_mark(log->summaries, page, page + 1);
}

static unsigned long ntaken, taken_first, taken_end;

static void note_taken(void *opaque, unsigned long first, unsigned long end)
{
    taken_first = MIN(taken_first, first);
    taken_end = MAX(taken_end, end);
    ntaken++;
}

/* Takes pages of the first summary. */
static uint64_t take(Log *log, unsigned long first, unsigned long end)
{
    ntaken = taken_end = 0;
    taken_first = NO_PAGE;
    return dirty_summary_take(&log->summaries[0], log->bits, first, end,
                              &log->to[first / LONG_BITS], note_taken, NULL);
}

/* Pages around each boundary come over once, and others of their words do not. */
static void test_edges(void)
{
    static const unsigned long ranges[][2] = {
        { 0, DIRTY_SUMMARY_PAGES },
        { 0, 1 },
        { 64, 65 },
        { 64, 576 },
        { 512, 1024 },
        { 512, 1023 },
        { 448, 1025 },
        { 0, GROUP_PAGES },
        { 64, GROUP_PAGES },
        { GROUP_PAGES, 2 * GROUP_PAGES },
        { GROUP_PAGES - 512, 2 * GROUP_PAGES + 512 },
        { GROUP_PAGES - 64, 2 * GROUP_PAGES + 1 },
        { DIRTY_SUMMARY_PAGES - 64, DIRTY_SUMMARY_PAGES },
    };
    g_autofree Log *log = g_new0(Log, 1);

    for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++) {
        unsigned long first = ranges[i][0], end = ranges[i][1];
        unsigned long pages[] = { first, end - 1, (first + end) / 2,
                                  first ? first - 1 : NO_PAGE,
                                  end < DIRTY_SUMMARY_PAGES ? end : NO_PAGE };
        unsigned inside = end - first > 2 ? 3 : end - first;

        memset(log, 0, sizeof(*log));
        for (size_t j = 0; j < G_N_ELEMENTS(pages); j++) {
            if (pages[j] != NO_PAGE) {
                dirty(log, pages[j]);
            }
        }
        g_assert_cmpuint(take(log, first, end), ==, inside);
        g_assert_cmpuint(taken_first, ==, first);
        g_assert_cmpuint(taken_end, ==, end);
        for (size_t j = 0; j < G_N_ELEMENTS(pages); j++) {
            if (pages[j] != NO_PAGE) {
                g_assert_cmpint(get(log->to, pages[j]), ==, j < 3);
                g_assert_cmpint(get(log->bits, pages[j]), ==, j >= 3);
            }
        }
        g_assert_cmpuint(take(log, first, end), ==, 0);
        g_assert_cmpuint(ntaken, ==, 0);
        take(log, 0, DIRTY_SUMMARY_PAGES);
        g_assert_true(pages[3] == NO_PAGE || get(log->to, pages[3]));
        g_assert_true(pages[4] == NO_PAGE || get(log->to, pages[4]));
    }
}

/* Pages that are dirty in the other bitmap are not counted again. */
static void test_count(void)
{
    g_autofree Log *log = g_new0(Log, 1);

    set_atomic(log->to, 700);
    dirty(log, 700);
    dirty(log, 701);
    g_assert_cmpuint(take(log, 0, 1024), ==, 1);
    g_assert_cmpuint(ntaken, ==, 1);
    g_assert_true(get(log->to, 700) && get(log->to, 701));
}

/* Clean chunks are not looked at: bits that were set without a mark stay. */
static void test_skips(void)
{
    g_autofree Log *log = g_new0(Log, 1);

    set_atomic(log->bits, 5 * DIRTY_CHUNK_PAGES + 3);
    set_atomic(log->bits, GROUP_PAGES + 3);
    dirty(log, 4 * DIRTY_CHUNK_PAGES);
    g_assert_cmpuint(take(log, 0, DIRTY_SUMMARY_PAGES), ==, 1);
    g_assert_true(get(log->bits, 5 * DIRTY_CHUNK_PAGES + 3));
    g_assert_true(get(log->bits, GROUP_PAGES + 3));
    g_assert_cmpuint(log->summaries[0].groups[0], ==, 0);
    g_assert_cmpuint(log->summaries[0].chunks[0], ==, 0);
}

/* Another thread has set the bit of the chunk, but not yet that of the group. */
static void test_mark_goes_on(void)
{
    g_autofree Log *log = g_new0(Log, 1);

    set_atomic(log->bits, 1000);
    set_atomic(log->summaries[0].chunks, 1000 / DIRTY_CHUNK_PAGES);
    dirty(log, 1001);
    g_assert_cmpuint(take(log, 0, DIRTY_SUMMARY_PAGES), ==, 2);
}

static bool done_again;

static void dirty_again(void *opaque, unsigned long first, unsigned long end)
{
    Log *log = opaque;

    if (!done_again) {
        done_again = true;
        dirty(log, first);
        dirty(log, end - 1);
    }
}

/* Pages that are dirtied while their chunk is taken come over with the next take. */
static void test_dirty_meanwhile(void)
{
    g_autofree Log *log = g_new0(Log, 1);

    done_again = false;
    dirty(log, 3 * DIRTY_CHUNK_PAGES + 7);
    dirty_summary_take(&log->summaries[0], log->bits, 0, DIRTY_SUMMARY_PAGES,
                       log->to, dirty_again, log);
    g_assert_cmpuint(take(log, 0, DIRTY_SUMMARY_PAGES), ==, 2);
}

/* Bits that need not be moved are cleared, those of the range only, and told of. */
static void test_clear(void)
{
    static const unsigned long pages[] = { 64, 1000, GROUP_PAGES + 5, 99999 };
    g_autofree Log *log = g_new0(Log, 1);

    for (size_t i = 0; i < G_N_ELEMENTS(pages); i++) {
        dirty(log, pages[i]);
    }
    dirty(log, 63);
    dirty(log, 100001);
    ntaken = 0;
    g_assert_cmpuint(dirty_summary_take(&log->summaries[0], log->bits, 64,
                                        100001, NULL, note_taken, NULL), ==, 0);
    g_assert_cmpuint(ntaken, ==, 4);
    for (size_t i = 0; i < G_N_ELEMENTS(pages); i++) {
        g_assert_false(get(log->bits, pages[i]));
    }
    g_assert_cmpuint(take(log, 0, DIRTY_SUMMARY_PAGES), ==, 2);
    g_assert_true(get(log->to, 63) && get(log->to, 100001));
}

/* Ranges of one bitmap that several summaries describe. */
static void test_mark_ranges(void)
{
    g_autofree Log *log = g_new0(Log, 1);

    dirty_summaries_mark(log->summaries, DIRTY_SUMMARY_PAGES - 1,
                         DIRTY_SUMMARY_PAGES + 1);
    g_assert_cmpuint(log->summaries[0].chunks[DIRTY_SUMMARY_LONGS - 1], ==,
                     1ul << (LONG_BITS - 1));
    g_assert_cmpuint(log->summaries[1].chunks[0], ==, 1);
    dirty_summaries_mark(log->summaries, 0, PAGES);
    for (unsigned i = 0; i < SUMMARIES; i++) {
        for (unsigned j = 0; j < DIRTY_SUMMARY_LONGS; j++) {
            g_assert_cmpuint(log->summaries[i].chunks[j], ==, ~0ul);
        }
        for (unsigned j = 0; j < DIRTY_SUMMARY_GROUP_LONGS; j++) {
            g_assert_cmpuint(log->summaries[i].groups[j], ==, ~0ul);
        }
    }
    g_assert_cmpuint(dirty_summaries_count(PAGES), ==, SUMMARIES);
    g_assert_cmpuint(dirty_summaries_count(PAGES + 1), ==, SUMMARIES + 1);
    g_assert_cmpuint(dirty_summaries_count(0), ==, 0);
}

static unsigned long find_plainly(const unsigned long *bits, unsigned long end,
                                  unsigned long start)
{
    while (start < end && !get(bits, start)) {
        start += bits[start / LONG_BITS] ? 1 : LONG_BITS - start % LONG_BITS;
    }
    return MIN(start, end);
}

static unsigned long find(Log *log, unsigned long end, unsigned long start)
{
    return dirty_summary_find(log->summaries, log->bits, end, start);
}

/* What a search leaves behind does not hide a page from the next. */
static void test_find(void)
{
    static const unsigned long pages[] = {
        0, 3, 511, 512, 5000, GROUP_PAGES - 1, GROUP_PAGES,
        DIRTY_SUMMARY_PAGES - 1, DIRTY_SUMMARY_PAGES, PAGES - 1,
    };
    g_autofree Log *log = g_new0(Log, 1);

    for (size_t i = 0; i < G_N_ELEMENTS(pages); i++) {
        dirty(log, pages[i]);
    }
    /* Begins behind a page of its chunk, whose bit has to stay. */
    g_assert_cmpuint(find(log, PAGES, 4), ==, 511);
    g_assert_cmpuint(find(log, 511, 4), ==, 511);
    g_assert_cmpuint(find(log, 510, 4), ==, 510);
    g_assert_cmpuint(find(log, 5000, 513), ==, 5000);
    g_assert_cmpuint(find(log, 6000, 5001), ==, 6000);
    for (size_t i = 0, from = 0; i < G_N_ELEMENTS(pages); i++) {
        g_assert_cmpuint(find(log, PAGES, from), ==, pages[i]);
        from = pages[i] + 1;
    }
    g_assert_cmpuint(find(log, PAGES, PAGES), ==, PAGES);
    memset(log->bits, 0, sizeof(log->bits));
    g_assert_cmpuint(find(log, PAGES, 0), ==, PAGES);
    for (unsigned i = 0; i < SUMMARIES; i++) {
        g_assert_cmpuint(log->summaries[i].groups[0], ==, 0);
    }
    /* Clean chunks are not looked at. */
    set_atomic(log->bits, 9000);
    g_assert_cmpuint(find(log, PAGES, 0), ==, PAGES);
}

/* Returns a random page, now and then one near the one before. */
static unsigned long some_page(GRand *rand, unsigned long *last)
{
    unsigned kind = g_rand_int_range(rand, 0, 4);

    if (kind == 0) {
        *last = g_rand_int_range(rand, 0, PAGES);
    } else if (kind == 1) {
        *last = MIN(PAGES - 1, *last / DIRTY_CHUNK_PAGES * DIRTY_CHUNK_PAGES +
                    g_rand_int_range(rand, 0, 2) * DIRTY_CHUNK_PAGES);
    } else {
        *last = MIN(PAGES - 1, *last + g_rand_int_range(rand, 0, 80));
    }
    return *last;
}

/* As a sync: moves a part of each summary, and marks what it moved. */
static void mark_taken(void *opaque, unsigned long first, unsigned long end)
{
    DirtySummary *to = opaque;

    dirty_summary_mark(to, first, end);
}

static void sync_part(Log *log, unsigned i, unsigned long first,
                      unsigned long end, uint64_t *moved)
{
    unsigned long *bits = &log->bits[i * DIRTY_SUMMARY_PAGES / LONG_BITS];
    unsigned long *to = &log->to[i * DIRTY_SUMMARY_PAGES / LONG_BITS];

    *moved += dirty_summary_take(&log->summaries[i], bits, first, end,
                                 &to[first / LONG_BITS], mark_taken,
                                 &log->to_summaries[i]);
}

/*
 * Random pages, ranges and searches: a page that was dirtied is found once, whatever the
 * ranges are that it is taken with.
 */
static void test_random(void)
{
    g_autofree Log *log = g_new0(Log, 1);
    g_autofree bool *expected = g_new0(bool, PAGES);
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    unsigned long last = 0, page;
    uint64_t moved, before, after;

    for (unsigned round = 0; round < 30; round++) {
        for (unsigned n = g_rand_int_range(rand, 0, 300); n; n--) {
            page = some_page(rand, &last);
            expected[page] = true;
            dirty(log, page);
        }
        before = after = moved = 0;
        for (unsigned long i = 0; i < PAGES / LONG_BITS; i++) {
            before += __builtin_popcountl(log->to[i]);
        }
        for (unsigned i = 0; i < SUMMARIES; i++) {
            unsigned long cut = g_rand_int_range(
                rand, 0, DIRTY_SUMMARY_PAGES / LONG_BITS) * LONG_BITS;
            unsigned long end = cut - g_rand_int_range(rand, 0, 2) *
                                (cut ? 7 : 0);

            sync_part(log, i, 0, end, &moved);
            sync_part(log, i, cut, DIRTY_SUMMARY_PAGES, &moved);
            sync_part(log, i, 0, cut, &moved);
        }
        for (unsigned long i = 0; i < PAGES / LONG_BITS; i++) {
            after += __builtin_popcountl(log->to[i]);
            g_assert_cmpuint(log->bits[i], ==, 0);
        }
        g_assert_cmpuint(after - before, ==, moved);
        /* Send some of them, as a migration does. */
        page = 0;
        for (unsigned n = g_rand_int_range(rand, 0, 400); n; n--) {
            unsigned long next = dirty_summary_find(log->to_summaries, log->to,
                                                    PAGES, page);

            g_assert_cmpuint(next, ==, find_plainly(log->to, PAGES, page));
            if (next == PAGES) {
                page = 0;
                continue;
            }
            g_assert_true(expected[next]);
            expected[next] = false;
            log->to[next / LONG_BITS] &= ~(1ul << next % LONG_BITS);
            page = next + 1;
        }
    }
    for (page = 0; page < PAGES; page++) {
        g_assert_cmpint(get(log->to, page), ==, expected[page]);
    }
}

#define WRITERS 3
#define THREAD_PAGES (2 * GROUP_PAGES)
#define WRITES 200000

/* Pages with versions: what is copied after a take must be the last version. */
typedef struct Shared {
    DirtySummary summary;
    unsigned long bits[DIRTY_SUMMARY_PAGES / LONG_BITS];
    unsigned long to[DIRTY_SUMMARY_PAGES / LONG_BITS];
    unsigned versions[THREAD_PAGES];
    unsigned copied[THREAD_PAGES];
    int writing;
} Shared;

static Shared shared;

static void *write_pages(void *opaque)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(GPOINTER_TO_UINT(opaque));

    for (unsigned i = 0; i < WRITES; i++) {
        unsigned long page = g_rand_int_range(rand, 0, 64) * 1021 %
                             THREAD_PAGES;

        __atomic_fetch_add(&shared.versions[page], 1, __ATOMIC_SEQ_CST);
        if (i % 2) {
            dirty_summary_set_page(&shared.summary, shared.bits, page);
        } else {
            set_atomic(shared.bits, page);
            dirty_summary_mark(&shared.summary, page, page + 1);
        }
    }
    __atomic_fetch_sub(&shared.writing, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void copy_dirty(void)
{
    dirty_summary_take(&shared.summary, shared.bits, 0, THREAD_PAGES, shared.to,
                       NULL, NULL);
    for (unsigned long page = find_plainly(shared.to, THREAD_PAGES, 0);
         page < THREAD_PAGES;
         page = find_plainly(shared.to, THREAD_PAGES, page)) {
        shared.to[page / LONG_BITS] &= ~(1ul << page % LONG_BITS);
        shared.copied[page] = __atomic_load_n(&shared.versions[page],
                                              __ATOMIC_RELAXED);
    }
}

static void test_threads(void)
{
    GThread *threads[WRITERS];

    memset(&shared, 0, sizeof(shared));
    shared.writing = WRITERS;
    for (unsigned i = 0; i < WRITERS; i++) {
        threads[i] = g_thread_new("writer", write_pages,
                                  GUINT_TO_POINTER(i + 1));
    }
    while (__atomic_load_n(&shared.writing, __ATOMIC_SEQ_CST)) {
        copy_dirty();
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        g_thread_join(threads[i]);
    }
    copy_dirty();
    for (unsigned long page = 0; page < THREAD_PAGES; page++) {
        g_assert_cmpuint(shared.copied[page], ==, shared.versions[page]);
    }
}

static const NamedTest tests[] = {
    { "edges", test_edges },
    { "count", test_count },
    { "skips", test_skips },
    { "mark-goes-on", test_mark_goes_on },
    { "dirty-meanwhile", test_dirty_meanwhile },
    { "clear", test_clear },
    { "mark-ranges", test_mark_ranges },
    { "find", test_find },
    { "random", test_random },
    { "threads", test_threads },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    named_tests_add("dirty-summary", tests, G_N_ELEMENTS(tests));
    return g_test_run();
}
