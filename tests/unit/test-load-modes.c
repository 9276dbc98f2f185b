/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which pages the payload's load writes, mode by mode, by the counts in the oracle's table.
 *
 * Limits: one worker; shares are within a tenth of what is expected, which the fixed seeds keep or do not.
 */
#include <stdlib.h>

#include "oracle-machine.h"
#include "workers.h"

#define WRITES 100000u

static uint32_t counts[PAGES];

/* How often each page is written, most often first. */
static int by_count(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x < y) - (x > y);
}

static uint32_t sum(uint32_t from, uint32_t to)
{
    uint32_t all = 0;

    while (from < to) {
        all += counts[from++];
    }
    return all;
}

static void count_writes(LoadMode mode)
{
    LoadPlan plan = { .mode = mode, .stride = 16, .workers = 1 };
    uint32_t before[PAGES];
    Workers workers = { 0 };
    Machine m;

    machine_new(&m, PAGES);
    workers_init(&workers, &m.o, 1, 1000);
    for (uint32_t i = 0; i < PAGES; i++) {
        before[i] = m.o.a[i];
    }
    workers_start_load(&workers, &plan, 0);
    while (oracle_writes(&m.o) < WRITES) {
        worker_step(&workers, 0, 0);
    }
    for (uint32_t i = 0; i < PAGES; i++) {
        counts[i] = m.o.a[i] - before[i];
    }
    check(good(&m), "the oracle finds nothing");
    machine_free(&m);
    qsort(counts, PAGES, sizeof(*counts), by_count);
}

static int about(uint32_t value, uint32_t expected)
{
    return value > expected * 0.9 && value < expected * 1.1;
}

static void test_even(LoadMode mode, const char *what)
{
    count_writes(mode);
    check(counts[0] < 2 * WRITES / PAGES && counts[PAGES - 1] > WRITES / PAGES / 2, what);
}

/* 1,152 pages are 11 octaves; pages in the upper ones are drawn by chance for each rank. */
static void test_zipf(void)
{
    uint32_t each = WRITES / 11;

    count_writes(LOAD_ZIPF);
    check(about(counts[0], each), "zipf: the first page has an octave of its own");
    check(about(counts[1], each / 2) && about(counts[2], each / 2), "zipf: the next two share one");
    check(about(sum(3, 7), each), "zipf: so do four");
    check(sum(PAGES / 2, PAGES) < WRITES / 10, "zipf: half of the pages are hardly written");
    check(counts[PAGES / 2] > 0, "zipf: but they are");
}

int main(void)
{
    test_even(LOAD_RANDOM, "random: all pages alike");
    test_even(LOAD_SEQ, "seq: all pages alike");
    test_even(LOAD_STRIDE, "stride: all pages alike");
    test_zipf();
    return check_end();
}
