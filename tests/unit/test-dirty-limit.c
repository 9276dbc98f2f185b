/*
 * dirty-limit: what a vCPU sleeps for what it has dirtied
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One account, charged by hand.  The rates that come of it are test-dirty-limit-model.c's.
 */
#include <glib.h>

#include "system/core/dirty-limit.h"

static void test_ring_full(void)
{
    static const struct {
        uint32_t entries, page_bytes;
        uint64_t rate_mib, us;
    } rows[] = {
        { 4096, 4096, 16, 1000000 },
        { 65536, 4096, 1, 256000000 },
        /* less than one MiB: the ring still takes its time */
        { 128, 4096, 1, 500000 },
        { 1, 4096, 1, 3906 },
        /* less than 1 MiB/s is measured as 0 */
        { 1024, 4096, 0, 4000000 },
        /* the largest ring and pages */
        { 1 << 24, 65536, 1, 1048576000000 },
        { 0, 4096, 0, 0 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_assert_cmpuint(dirty_limit_ring_full_us(rows[i].entries,
                                                  rows[i].page_bytes,
                                                  rows[i].rate_mib), ==,
                         rows[i].us);
    }
}

#define MS G_GUINT64_CONSTANT(1000000)
#define PAGE 4096

/* 256 pages a second, so that each costs 3.9 ms. */
#define MIB_PER_S (1 << 20)

/* An account that has had its limit for 10 ms of a clock that begins anywhere. */
typedef struct Bench {
    DirtyLimitAccount account;
    uint64_t limit, pages, now_ns;
} Bench;

/* Charges after @ms and @pages more; returns the sleep in ms, rounded up. */
static uint64_t charge(Bench *b, uint64_t ms, uint64_t pages)
{
    b->now_ns += ms * MS;
    b->pages += pages;
    return (dirty_limit_charge(&b->account, b->limit, b->pages, PAGE,
                               b->now_ns) + MS - 1) / MS;
}

static void bench_init(Bench *b)
{
    *b = (Bench){ .limit = MIB_PER_S, .pages = 77, .now_ns = 5000 * MS };
    g_assert_true(dirty_limit_due(&b->account, b->limit, b->now_ns));
    g_assert_cmpuint(charge(b, 0, 0), ==, 0);
    /* Takes the credit of these 10 ms. */
    b->now_ns += 10 * MS;
    b->account.now_ns = b->now_ns;
    b->account.slice_start_ns = b->now_ns;
}

/* The milliseconds that a vCPU sleeps until it may run; none longer than 100. */
static uint64_t sleep_all(Bench *b, uint64_t sleep_ms)
{
    uint64_t slept_ms = 0;

    while (sleep_ms) {
        g_assert_cmpuint(sleep_ms, <=, 100);
        g_assert_true(dirty_limit_due(&b->account, b->limit, b->now_ns));
        slept_ms += sleep_ms;
        sleep_ms = charge(b, sleep_ms, 0);
    }
    return slept_ms;
}

static void test_no_limit(void)
{
    Bench b = { .now_ns = 5000 * MS };

    g_assert_false(dirty_limit_due(&b.account, 0, b.now_ns));
    g_assert_cmpuint(charge(&b, 1, 1 << 30), ==, 0);
    g_assert_false(dirty_limit_due(&b.account, 0, UINT64_MAX));
}

static void test_debt(void)
{
    Bench b;

    bench_init(&b);
    /* A second's worth in 10 ms. */
    g_assert_cmpuint(sleep_all(&b, charge(&b, 10, 256)), ==, 990);
    g_assert_cmpuint(b.account.slice_end_ns, >, b.now_ns);
    /* Just as fast as the limit. */
    g_assert_cmpuint(charge(&b, 1000, 256), ==, 0);
}

/* A sleep that is cut short leaves the rest to be slept. */
static void test_kick(void)
{
    Bench b;

    bench_init(&b);
    g_assert_cmpuint(charge(&b, 0, 64), ==, 100);
    for (unsigned i = 0; i < 10; i++) {
        g_assert_cmpuint(charge(&b, 3, 0), ==, 100);
    }
    g_assert_cmpuint(sleep_all(&b, charge(&b, 0, 0)), ==, 220);
}

/* Another limit, or none, clears all debt. */
static void test_change(void)
{
    Bench b;

    bench_init(&b);
    g_assert_cmpuint(charge(&b, 0, 256), ==, 100);
    b.limit = 0;
    g_assert_true(dirty_limit_due(&b.account, b.limit, b.now_ns));
    g_assert_cmpuint(charge(&b, 0, 0), ==, 0);
    g_assert_false(dirty_limit_due(&b.account, b.limit, UINT64_MAX));
    /* Nothing that was dirtied without a limit counts. */
    b.pages += 1 << 20;
    b.limit = 2 * MIB_PER_S;
    g_assert_true(dirty_limit_due(&b.account, b.limit, b.now_ns));
    g_assert_cmpuint(charge(&b, 0, 0), ==, 0);
    g_assert_cmpuint(sleep_all(&b, charge(&b, 0, 64)), ==, 125);
    b.limit = 4 * MIB_PER_S;
    g_assert_cmpuint(charge(&b, 0, 0), ==, 0);
    g_assert_cmpuint(sleep_all(&b, charge(&b, 0, 64)), ==, 63);
}

static void test_bounds(void)
{
    Bench b;

    bench_init(&b);
    g_assert_cmpuint(sleep_all(&b, charge(&b, 0, 1 << 20)), ==, 4000);
    g_assert_cmpuint(sleep_all(&b, charge(&b, 0, UINT32_MAX)), ==, 4000);

    /* An hour's idleness is one second's credit. */
    g_assert_cmpuint(charge(&b, 3600 * 1000, 0), ==, 0);
    g_assert_cmpuint(charge(&b, 0, 256), ==, 0);
    g_assert_cmpuint(sleep_all(&b, charge(&b, 0, 64)), ==, 250);
}

/* A sleep that lasts longer than asked for is made good. */
static void test_late(void)
{
    Bench b;

    bench_init(&b);
    g_assert_cmpuint(charge(&b, 0, 16), ==, 63);
    g_assert_cmpuint(charge(&b, 125, 0), ==, 0);
    g_assert_cmpuint(charge(&b, 0, 16), ==, 0);
}

static void test_wrap(void)
{
    Bench b;

    bench_init(&b);
    b.account.pages = b.pages = UINT64_MAX - 15;
    g_assert_cmpuint(sleep_all(&b, charge(&b, 0, 32)), ==, 125);
}

static void test_page_size(void)
{
    DirtyLimitAccount account = {};

    dirty_limit_charge(&account, MIB_PER_S, 0, 65536, MS);
    g_assert_cmpuint(dirty_limit_charge(&account, MIB_PER_S, 1, 65536, MS), ==,
                     62500000);
}

/* Charges at the end of each slice, @pages each; returns its length in us. */
static uint64_t slice(Bench *b, uint64_t pages)
{
    b->now_ns = b->account.slice_end_ns;
    b->pages += pages;
    g_assert_cmpuint(dirty_limit_charge(&b->account, b->limit, b->pages, PAGE,
                                        b->now_ns), ==, 0);
    return (b->account.slice_end_ns - b->now_ns) / 1000;
}

static void test_slices(void)
{
    Bench b = { .limit = MIB_PER_S, .now_ns = 5000 * MS };
    uint64_t last_us = 50;

    g_assert_cmpuint(charge(&b, 0, 0), ==, 0);
    g_assert_cmpuint(b.account.slice_end_ns - b.now_ns, ==, 50000);
    g_assert_false(dirty_limit_due(&b.account, b.limit,
                                   b.account.slice_end_ns - 1));
    g_assert_true(dirty_limit_due(&b.account, b.limit,
                                  b.account.slice_end_ns));
    while (last_us < 20000) {
        uint64_t next_us = slice(&b, 0);

        g_assert_cmpuint(next_us, ==, MIN(2 * last_us, 20000));
        last_us = next_us;
    }
    g_assert_cmpuint(slice(&b, 0), ==, 20000);
    /* Uses the credit up. */
    charge(&b, 1000, 0);
    sleep_all(&b, charge(&b, 0, 266));
    g_assert_cmpuint(b.account.slice_ns, ==, 20 * MS);

    /* 10 pages in 10 ms, 3.9 times the limit: 20 ms of debt come in 6.9 ms. */
    sleep_all(&b, charge(&b, 10, 10));
    g_assert_cmpuint(b.account.slice_ns, >, 6800000);
    g_assert_cmpuint(b.account.slice_ns, <, 7300000);

    /* 100 pages in 1 ms, 390 times the limit. */
    sleep_all(&b, charge(&b, 1, 100));
    g_assert_cmpuint(b.account.slice_ns, >, 51000);
    g_assert_cmpuint(b.account.slice_ns, <, 55000);

    /* A full ring does not wait for the end of the slice. */
    g_assert_false(dirty_limit_due(&b.account, b.limit, b.now_ns));
    dirty_limit_set_due(&b.account);
    g_assert_true(dirty_limit_due(&b.account, b.limit, b.now_ns));
}

/* Two thirds of the time asleep, for a third's pages. */
static void test_slept(void)
{
    Bench b;

    bench_init(&b);
    g_assert_cmpuint(dirty_limit_slept_us(&b.account, 1024), ==, 0);
    for (unsigned i = 0; i < 40; i++) {
        sleep_all(&b, charge(&b, 25, 19));
    }
    /* 19 pages cost 74.2 ms, 49.2 ms asleep: 1,024 pages 2.65 s, more or less a cycle. */
    g_assert_cmpuint(dirty_limit_slept_us(&b.account, 1024), >, 2400000);
    g_assert_cmpuint(dirty_limit_slept_us(&b.account, 1024), <, 2950000);
    charge(&b, 1000, 0);
    charge(&b, 1000, 0);
    g_assert_cmpuint(dirty_limit_slept_us(&b.account, 1024), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dirty-limit/ring-full", test_ring_full);
    g_test_add_func("/dirty-limit/no-limit", test_no_limit);
    g_test_add_func("/dirty-limit/debt", test_debt);
    g_test_add_func("/dirty-limit/kick", test_kick);
    g_test_add_func("/dirty-limit/change", test_change);
    g_test_add_func("/dirty-limit/bounds", test_bounds);
    g_test_add_func("/dirty-limit/late", test_late);
    g_test_add_func("/dirty-limit/wrap", test_wrap);
    g_test_add_func("/dirty-limit/page-size", test_page_size);
    g_test_add_func("/dirty-limit/slices", test_slices);
    g_test_add_func("/dirty-limit/slept", test_slept);
    return g_test_run();
}
