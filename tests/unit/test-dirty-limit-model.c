/*
 * dirty-limit: the rate at which limited vCPUs dirty memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Runs the machine of limit-model.c for limits of 1 to 1,000 MiB/s, rings of 1,024
 * to 65,536 entries, 1 and 8 vCPUs, alone and while others sync and kick.  `--table`
 * prints the rates of both rules instead.
 *
 * Limits: each vCPU writes at the same speed.
 */
#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "limit-model.h"
#include "system/core/dirty-limit.h"

#define NS_PER_MS G_GUINT64_CONSTANT(1000000)

/* 1.9 GiB/s: each fault costs more than that on hardware. */
#define FAST_PAGE_NS 2000

/* 24 MiB/s: a nested guest in the lab. */
#define LAB_PAGE_NS 160000

static const uint64_t limits[] = { 1, 10, 100, 1000 };

/* Calls @visit for each limit, ring size, number of vCPUs, and polls. */
static void for_each_case(uint64_t page_ns, unsigned nlimits,
                          void (*visit)(const LimitCase *c))
{
    for (unsigned i = 0; i < nlimits * 4 * 2 * 2; i++) {
        LimitCase c = {
            .mib_per_s = limits[i / 16],
            .ring_size = 1024 << i / 4 % 4 * 2,
            .nvcpus = i / 2 % 2 ? 8 : 1,
            .polled = i % 2,
            .page_ns = page_ns,
        };

        visit(&c);
    }
}

static void print_row(const LimitCase *c)
{
    LimitResult base = limit_run(LIMIT_BASE, c);
    LimitResult ours = limit_run(LIMIT_OURS, c);

    printf("| %" G_GUINT64_FORMAT " | %u | %u | %s | %" G_GUINT64_FORMAT
           " | %.2f to %.2f | %.3f to %.3f | %" G_GUINT64_FORMAT
           " | %" G_GUINT64_FORMAT " | %.1f | %" G_GUINT64_FORMAT " |\n",
           c->mib_per_s, c->ring_size, c->nvcpus, c->polled ? "yes" : "no",
           1000000000 / c->page_ns / 256, base.slowest, base.fastest,
           ours.slowest, ours.fastest, base.longest_sleep_ns / NS_PER_MS,
           ours.longest_sleep_ns / NS_PER_MS,
           (double)ours.longest_rest_ns / NS_PER_MS, ours.charges);
}

static void print_table(void)
{
    puts("| limit, MiB/s | ring | vCPUs | polled | unlimited, MiB/s "
         "| rate under QEMU 10.0, limit = 1 | ours | longest sleep under QEMU 10.0, ms "
         "| ours | ours, longest out of the guest, ms | ours, charges per s |\n"
         "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for_each_case(LAB_PAGE_NS, 2, print_row);
    for_each_case(FAST_PAGE_NS, 4, print_row);
}

static void judge(const LimitCase *c)
{
    LimitResult r = limit_run(LIMIT_OURS, c);

    g_test_message("%" G_GUINT64_FORMAT " MiB/s, ring %u, %u vCPUs%s: %.3f to "
                   "%.3f of the limit", c->mib_per_s, c->ring_size, c->nvcpus,
                   c->polled ? ", polled" : "", r.slowest, r.fastest);
    g_assert_cmpfloat(r.slowest, >=, 0.9);
    g_assert_cmpfloat(r.fastest, <=, 1.1);
    g_assert_cmpuint(r.longest_sleep_ns, <=, 100 * NS_PER_MS);
    g_assert_cmpuint(r.longest_kick_ns, <=, NS_PER_MS);
}

static void test_fast(void)
{
    for_each_case(FAST_PAGE_NS, 4, judge);
}

static void test_lab(void)
{
    for_each_case(LAB_PAGE_NS, 2, judge);
}

/* A vCPU whose average is below the limit is hardly slowed. */
static void test_bursts(void)
{
    LimitCase c = {
        .mib_per_s = 10, .ring_size = 4096, .nvcpus = 1,
        .page_ns = FAST_PAGE_NS, .idle_ns = 120 * NS_PER_MS,
    };
    LimitResult r = limit_run(LIMIT_OURS, &c);

    /* 1 MiB each 120 ms, at most. */
    g_assert_cmpfloat(r.slowest, >=, 0.8);
    g_assert_cmpuint(r.longest_rest_ns, ==, 0);

    c.idle_ns = 60 * NS_PER_MS;
    r = limit_run(LIMIT_OURS, &c);
    g_assert_cmpfloat(r.slowest, >=, 0.9);
    g_assert_cmpfloat(r.fastest, <=, 1.1);
}

/*
 * The model shows what it is for: QEMU 10.0 does nothing while the rate is less than
 * 25 MiB/s beyond the limit, and nothing to a vCPU whose ring does not fill between
 * two syncs.
 */
static void test_base_misses(void)
{
    static const LimitCase cases[] = {
        { .mib_per_s = 10, .ring_size = 1024, .page_ns = LAB_PAGE_NS },
        { .mib_per_s = 1, .ring_size = 65536, .page_ns = LAB_PAGE_NS },
        { .mib_per_s = 100, .ring_size = 65536, .page_ns = 20000 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        LimitCase c = cases[i];

        c.nvcpus = 1;
        g_assert_cmpfloat(limit_run(LIMIT_BASE, &c).slowest, >, 1.9);
        g_assert_cmpfloat(limit_run(LIMIT_OURS, &c).fastest, <, 1.1);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--table")) {
        print_table();
        return 0;
    }
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dirty-limit/model/fast", test_fast);
    g_test_add_func("/dirty-limit/model/lab", test_lab);
    g_test_add_func("/dirty-limit/model/bursts", test_bursts);
    g_test_add_func("/dirty-limit/model/base-misses", test_base_misses);
    return g_test_run();
}
