/*
 * Dirty ring: the reaper's pace, and that it sleeps when it should
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <glib.h>
#include <time.h>

#include "accel/kvm/core/dirty-ring-reaper.h"

#define MS 1000000ull
#define SIZE 4096

static void nap_ms(int ms)
{
    struct timespec nap = { .tv_nsec = ms * 1000000l };

    nanosleep(&nap, NULL);
}

static void test_pause(void)
{
    static const struct {
        uint64_t pause, elapsed, fastest, expected;
    } rows[] = {
        /* half full is 2,048 entries: as fast as that, keep the pace */
        { 10 * MS, 10 * MS, 2048, 10 * MS },
        /* twice as fast: half the pause, at once */
        { 10 * MS, 10 * MS, 4096, 5 * MS },
        { 10 * MS, 10 * MS, 20480, 1 * MS },
        /* slower: at most twice the pause */
        { 10 * MS, 10 * MS, 1366, 14992679 },
        { 10 * MS, 10 * MS, 10, 20 * MS },
        /* quiet: back off, up to the bound */
        { 10 * MS, 10 * MS, 0, 20 * MS },
        { 800 * MS, 800 * MS, 0, DIRTY_REAPER_MAX_NS },
        { 1000 * MS, 1000 * MS, 1, DIRTY_REAPER_MAX_NS },
        /* never below the bound */
        { 1 * MS, 1 * MS, 1000000, DIRTY_REAPER_MIN_NS },
        { 0, 0, 0, DIRTY_REAPER_MIN_NS },
        /* the thread was late: the rate counts, not the pause */
        { 10 * MS, 40 * MS, 4096, 20 * MS },
        { 10 * MS, 40 * MS, 16384, 5 * MS },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_assert_cmpuint(dirty_reaper_pause(rows[i].pause, rows[i].elapsed,
                                            rows[i].fastest, SIZE), ==,
                         rows[i].expected);
    }
}

static int no_reset(void *opaque)
{
    (void)opaque;
    return 0;
}

static const DirtyRingOps no_ops = { .reset = no_reset };

static void *reaper_thread(void *opaque)
{
    dirty_reaper_run(opaque);
    return NULL;
}

static void test_sleeps(void)
{
    DirtyRingSet set;
    DirtyReaper reaper;
    pthread_t thread;
    uint64_t wakeups;

    dirty_ring_set_init(&set, SIZE, &no_ops, NULL);
    dirty_reaper_init(&reaper, &set);
    pthread_create(&thread, NULL, reaper_thread, &reaper);
    nap_ms(50);
    g_assert_cmpuint(dirty_reaper_wakeups(&reaper), ==, 0);

    dirty_reaper_set_active(&reaper, true);
    while (dirty_reaper_wakeups(&reaper) < 4) {
        nap_ms(1);
    }
    g_assert_cmpuint(dirty_reaper_interval_ns(&reaper), >=, 4 * MS);

    /* The pause doubles: 1, 2, 4, ... ms, whatever the wall clock says. */
    for (int i = 0; i < 6; i++) {
        nap_ms(200);
    }
    g_assert_cmpuint(dirty_reaper_wakeups(&reaper), <=, 16);

    dirty_reaper_set_active(&reaper, false);
    nap_ms(50);
    wakeups = dirty_reaper_wakeups(&reaper);
    nap_ms(100);
    g_assert_cmpuint(dirty_reaper_wakeups(&reaper), ==, wakeups);

    dirty_reaper_set_active(&reaper, true);
    while (dirty_reaper_wakeups(&reaper) == wakeups) {
        nap_ms(1);
    }
    dirty_reaper_quit(&reaper);
    pthread_join(thread, NULL);
    dirty_reaper_destroy(&reaper);
    dirty_ring_set_destroy(&set);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dirty-reaper/pause", test_pause);
    g_test_add_func("/dirty-reaper/sleeps", test_sleeps);
    return g_test_run();
}
