/*
 * Dirty ring: every published page is marked, and how often one is in vain
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <glib.h>
#include <string.h>

#include "accel/kvm/core/dirty-ring-mark.h"
#include "named-tests.h"

#define PAGES 256
#define BLOCK 32

/* A log of PAGES pages in blocks of BLOCK; the blocks of `always` have another log. */
typedef struct Log {
    bool dirty[PAGES];
    bool marked[PAGES];     /* since log_reset() */
    bool always[PAGES / BLOCK];
    unsigned marks;
} Log;

static bool log_find_block(void *opaque, uint64_t page, DirtyRange *block)
{
    Log *log = opaque;

    g_assert_cmpuint(page, <, PAGES);
    block->first = page / BLOCK * BLOCK;
    block->end = block->first + BLOCK;
    return log->always[page / BLOCK];
}

static bool log_is_dirty(void *opaque, uint64_t page)
{
    Log *log = opaque;

    g_assert_cmpuint(page, <, PAGES);
    return log->dirty[page];
}

static void log_mark(void *opaque, const DirtyRange *range)
{
    Log *log = opaque;

    g_assert_cmpuint(range->first, <, range->end);
    g_assert_cmpuint(range->end, <=, PAGES);
    g_assert_cmpuint(range->first / BLOCK, ==, (range->end - 1) / BLOCK);
    for (uint64_t page = range->first; page < range->end; page++) {
        log->dirty[page] = log->marked[page] = true;
    }
    log->marks++;
}

/* Pages of one block, none of which is followed by its neighbour, nor has another log. */
static uint64_t log_mark_apart(void *opaque, const uint64_t *pages, size_t n)
{
    Log *log = opaque;
    uint64_t dirty = 0;

    g_assert_cmpuint(n, >, 0);
    for (size_t i = 0; i < n; i++) {
        g_assert_cmpuint(pages[i] / BLOCK, ==, pages[0] / BLOCK);
        g_assert_false(log->always[pages[i] / BLOCK]);
        g_assert_false(i + 1 < n && pages[i + 1] == pages[i] + 1);
        if (log_is_dirty(log, pages[i])) {
            dirty++;
        } else {
            log_mark(log, &(DirtyRange){ pages[i], pages[i] + 1 });
        }
    }
    return dirty;
}

static const DirtyLogOps log_ops = {
    .find_block = log_find_block,
    .is_dirty = log_is_dirty,
    .mark = log_mark,
    .mark_apart = log_mark_apart,
};

static uint64_t publish(Log *log, const uint64_t *pages, size_t n)
{
    log->marks = 0;
    memset(log->marked, 0, sizeof(log->marked));
    return dirty_ring_mark(pages, n, &log_ops, log);
}

/* Pages that adjoin are one range, which ends with its block. */
static void test_ranges(void)
{
    static const uint64_t pages[] = { 5, 6, 7, 9, 8, 30, 31, 32, 33, 2 };
    Log log = {};

    g_assert_cmpuint(publish(&log, pages, G_N_ELEMENTS(pages)), ==, 0);
    g_assert_cmpuint(log.marks, ==, 6);
    for (size_t i = 0; i < G_N_ELEMENTS(pages); i++) {
        g_assert_true(log.marked[pages[i]]);
    }
    g_assert_cmpuint(publish(&log, pages, 0), ==, 0);
    g_assert_cmpuint(log.marks, ==, 0);
}

/* A range is left out if all of its pages are dirty, and only then. */
static void test_dirty_already(void)
{
    static const uint64_t pages[] = { 10, 11, 12, 20, 21, 40 };
    Log log = {};

    log.dirty[10] = log.dirty[12] = log.dirty[20] = log.dirty[21] = true;
    g_assert_cmpuint(publish(&log, pages, G_N_ELEMENTS(pages)), ==, 4);
    g_assert_cmpuint(log.marks, ==, 2);
    g_assert_true(log.marked[10] && log.marked[11] && log.marked[12]);
    g_assert_false(log.marked[20] || log.marked[21]);
    g_assert_true(log.marked[40]);
}

/* A display's pages are marked each time: it may have cleared its own log. */
static void test_always(void)
{
    static const uint64_t pages[] = { 1, BLOCK, BLOCK + 1, BLOCK + 3, 2 * BLOCK, 2 };
    Log log = { .always[1] = true };

    publish(&log, pages, G_N_ELEMENTS(pages));
    g_assert_cmpuint(publish(&log, pages, G_N_ELEMENTS(pages)), ==, 6);
    g_assert_cmpuint(log.marks, ==, 2);
    g_assert_true(log.marked[BLOCK] && log.marked[BLOCK + 1] &&
                  log.marked[BLOCK + 3]);
}

/* Random pages on a random log. */
static void test_random(void)
{
    for (unsigned round = 0; round < 2000; round++) {
        uint64_t pages[PAGES], expected = 0;
        size_t n = g_test_rand_int_range(1, PAGES);
        Log log = {};

        for (unsigned i = 0; i < PAGES; i++) {
            log.dirty[i] = g_test_rand_bit();
        }
        for (size_t i = 0; i < n; i++) {
            pages[i] = i && g_test_rand_int_range(0, 3)
                       ? (pages[i - 1] + 1) % PAGES
                       : (uint64_t)g_test_rand_int_range(0, PAGES);
        }
        /* A page that comes twice is dirty at the second time, or marked with it. */
        for (size_t i = 0; i < n; i++) {
            expected += log.dirty[pages[i]];
        }
        g_assert_cmpuint(publish(&log, pages, n), >=, expected);
        for (size_t i = 0; i < n; i++) {
            g_assert_true(log.dirty[pages[i]]);
        }
    }
}

static const NamedTest tests[] = {
    { "ranges", test_ranges },
    { "dirty-already", test_dirty_already },
    { "always", test_always },
    { "random", test_random },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    named_tests_add("dirty-mark", tests, G_N_ELEMENTS(tests));
    return g_test_run();
}
