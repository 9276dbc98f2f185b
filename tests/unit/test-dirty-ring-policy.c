/*
 * Dirty ring: when pages are protected again, compared with other policies
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Runs the machine of ring-policy.c and judges ours beside a bitmap and the ring
 * of QEMU 10.0.  `--table` prints the figures of all policies instead.
 *
 * Limits: one hot set per vCPU; the reaper is never late.
 */
#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "ring-policy.h"

/* Hot sets of 8, 13.7, 48 and 150 MiB. */
static const uint64_t hot_sets[] = { 2048, 3500, 12288, 38400 };
static const uint32_t ring_sizes[] = { 1024, 4096, 65536 };
static const unsigned vcpu_numbers[] = { 1, 4 };

/* Calls @visit for each load, hot set, ring size and number of vCPUs. */
static void for_each_case(void (*visit)(const PolicyCase *c))
{
    for (unsigned i = 0; i < 4 * 4 * 3 * 2; i++) {
        PolicyCase c = {
            .load = i / 24,
            .hot_pages = hot_sets[i / 6 % 4],
            .ring_size = ring_sizes[i / 2 % 3],
            .nvcpus = vcpu_numbers[i % 2],
        };

        /* A sequential load has no hot set. */
        if (c.load != LOAD_SEQUENTIAL || c.hot_pages == hot_sets[0]) {
            visit(&c);
        }
    }
}

static double share(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / whole : 0;
}

static void print_row(const PolicyCase *c)
{
    PolicyResult bitmap = policy_run(POLICY_BITMAP, c);

    for (PolicyKind kind = POLICY_STOCK; kind <= POLICY_OURS; kind++) {
        PolicyResult r = policy_run(kind, c);

        printf("| %s | %" G_GUINT64_FORMAT " | %u | %u | %s | %.3f | %.2f "
               "| %" G_GUINT64_FORMAT " | %" G_GUINT64_FORMAT
               " | %" G_GUINT64_FORMAT " |\n",
               policy_load_name(c->load), c->hot_pages, c->ring_size,
               c->nvcpus, policy_kind_name(kind),
               share(r.writes, bitmap.writes), share(r.redirtied, r.published),
               r.full_exits, r.stall_max_ns / 1000, r.wakeups);
    }
}

static void print_table(void)
{
    puts("| load | hot pages per vCPU | ring | vCPUs | policy | writes, bitmap = 1 "
         "| dirty already when published | ring-full exits | longest, us "
         "| reaper wake-ups |\n"
         "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for_each_case(print_row);
}

static bool hot_set_fits(const PolicyCase *c)
{
    return c->load != LOAD_SEQUENTIAL && c->hot_pages < c->ring_size - 64;
}

static void judge(const PolicyCase *c)
{
    PolicyResult bitmap = policy_run(POLICY_BITMAP, c);
    PolicyResult stock = policy_run(POLICY_STOCK, c);
    PolicyResult ours = policy_run(POLICY_OURS, c);

    g_test_message("%s, %" G_GUINT64_FORMAT " hot pages, ring %u, %u vCPUs: "
                   "writes %.3f of the bitmap's, %.3f of stock's",
                   policy_load_name(c->load), c->hot_pages, c->ring_size,
                   c->nvcpus, share(ours.writes, bitmap.writes),
                   share(ours.writes, stock.writes));
    /* Of 1,024 entries a vCPU frees 240: more flushes than stock's 960. */
    g_assert_cmpfloat(share(ours.writes, stock.writes), >=, 0.98);
    g_assert_cmpuint(ours.stall_max_ns * 10, <=, MAX(stock.stall_max_ns * 3, 1));
    if (hot_set_fits(c)) {
        g_assert_cmpfloat(share(ours.writes, bitmap.writes), >=, 0.99);
        g_assert_cmpfloat(share(ours.redirtied, ours.published), <, 0.05);
        g_assert_cmpuint(ours.full_exits, ==, 0);
    }
}

static void test_policy(void)
{
    for_each_case(judge);
}

/* The model shows what it is for: half full costs the guest its speed. */
static void test_half_full_is_worse(void)
{
    PolicyCase c = { LOAD_UNIFORM, 1, 2048, 4096 };
    PolicyResult bitmap = policy_run(POLICY_BITMAP, &c);
    PolicyResult half = policy_run(POLICY_HALF_FULL, &c);

    g_assert_cmpfloat(share(half.writes, bitmap.writes), <, 0.9);
    g_assert_cmpfloat(share(half.redirtied, half.published), >, 0.9);
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--table")) {
        print_table();
        return 0;
    }
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dirty-ring/policy", test_policy);
    g_test_add_func("/dirty-ring/policy/half-full-is-worse",
                    test_half_full_is_worse);
    return g_test_run();
}
