/*
 * Dirty summary: in which order bitmap, chunks and groups are accessed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * A page is lost if a thread that takes looks at the bitmap before it has cleared the
 * bit of the chunk, or at the chunks before it has cleared the bit of the group, or if a
 * thread that marks looks at the group before the chunk.  Each happens rarely, and
 * access-log.c shows it always.
 *
 * Limits: those of access-log.c; that the processor keeps the order is not seen.
 */
#include <glib.h>
#include <stddef.h>

#include "access-log.h"
#include "named-tests.h"
#include "system/core/dirty-summary.h"

#define LONG_BITS DIRTY_SUMMARY_LONG_BITS

typedef struct Log {
    DirtySummary summary;
    unsigned long bits[DIRTY_SUMMARY_PAGES / LONG_BITS];
} Log;

typedef enum Level { BITS, CHUNKS, GROUPS, LEVELS } Level;

static Log *log_map(void)
{
    return access_log_map((sizeof(Log) + 4095) & ~4095ul);
}

static Level level_of(const Access *access)
{
    if (access->at >= offsetof(Log, bits)) {
        return BITS;
    }
    return access->at >= offsetof(Log, summary.chunks) ? CHUNKS : GROUPS;
}

/* Counts accesses; @writes: only those that write. */
static unsigned count(Level level, bool writes)
{
    unsigned n = 0;

    for (unsigned i = 0; i < access_log_n; i++) {
        n += level_of(&access_log[i]) == level &&
             (access_log[i].writes || !writes);
    }
    return n;
}

/* Checks that all accesses to @first come before all accesses to @then. */
static void check_order(Level first, Level then)
{
    bool begun = false;

    for (unsigned i = 0; i < access_log_n; i++) {
        Level level = level_of(&access_log[i]);

        begun |= level == then;
        g_assert_false(begun && level == first);
    }
}

static void mark(Log *log, unsigned long page)
{
    log->bits[page / LONG_BITS] |= 1ul << page % LONG_BITS;
    access_log_start();
    dirty_summary_mark(&log->summary, page, page + 1);
    access_log_stop();
}

static void test_mark(void)
{
    Log *log = log_map();

    mark(log, 1000);
    check_order(CHUNKS, GROUPS);
    g_assert_cmpuint(count(CHUNKS, true), ==, 1);
    g_assert_cmpuint(count(GROUPS, true), ==, 1);
    /* Marked already: nothing is written, but both are asked. */
    mark(log, 1001);
    check_order(CHUNKS, GROUPS);
    g_assert_cmpuint(count(CHUNKS, false), ==, 1);
    g_assert_cmpuint(count(GROUPS, false), ==, 1);
    g_assert_cmpuint(count(CHUNKS, true) + count(GROUPS, true), ==, 0);
    access_log_unmap();
}

/* A page: its bit first; nothing is written, nor is the summary read, if that is set. */
static void test_set_page(void)
{
    Log *log = log_map();

    access_log_start();
    g_assert_false(dirty_summary_set_page(&log->summary, log->bits, 1000));
    access_log_stop();
    check_order(BITS, CHUNKS);
    check_order(CHUNKS, GROUPS);
    for (Level level = BITS; level < LEVELS; level++) {
        g_assert_cmpuint(count(level, true), ==, 1);
    }
    access_log_start();
    g_assert_true(dirty_summary_set_page(&log->summary, log->bits, 1000));
    access_log_stop();
    g_assert_cmpuint(access_log_n, ==, 1);
    g_assert_false(access_log[0].writes);
    access_log_unmap();
}

static void test_take(void)
{
    static unsigned long to[DIRTY_SUMMARY_PAGES / LONG_BITS];
    Log *log = log_map();

    mark(log, 1000);
    mark(log, 1800);
    access_log_start();
    g_assert_cmpuint(dirty_summary_take(&log->summary, log->bits, 0,
                                        DIRTY_SUMMARY_PAGES, to, NULL, NULL),
                     ==, 2);
    access_log_stop();
    g_assert_cmpuint(count(GROUPS, true), ==, 1);
    g_assert_cmpuint(count(CHUNKS, true), ==, 1);
    g_assert_cmpuint(count(BITS, true), ==, 2);
    /* Two chunks, eight words each, read once, and written where a bit was set. */
    g_assert_cmpuint(count(BITS, false), ==, 18);
    check_order(CHUNKS, BITS);
    for (unsigned i = 0, cleared = false; i < access_log_n; i++) {
        cleared |= level_of(&access_log[i]) == GROUPS && access_log[i].writes;
        g_assert_true(cleared || level_of(&access_log[i]) == GROUPS);
    }
    access_log_unmap();
}

/* A clean log of 8 GiB costs one look at the groups. */
static void test_idle(void)
{
    static unsigned long to[DIRTY_SUMMARY_PAGES / LONG_BITS];
    Log *log = log_map();

    access_log_start();
    g_assert_cmpuint(dirty_summary_take(&log->summary, log->bits, 0,
                                        DIRTY_SUMMARY_PAGES, to, NULL, NULL),
                     ==, 0);
    access_log_stop();
    g_assert_cmpuint(access_log_n, ==, DIRTY_SUMMARY_GROUP_LONGS);
    g_assert_cmpuint(count(GROUPS, true), ==, 0);
    access_log_unmap();
}

static const NamedTest tests[] = {
    { "mark", test_mark },
    { "set-page", test_set_page },
    { "take", test_take },
    { "idle", test_idle },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    named_tests_add("dirty-summary-order", tests, G_N_ELEMENTS(tests));
    return g_test_run();
}
