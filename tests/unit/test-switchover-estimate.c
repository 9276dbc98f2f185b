/*
 * Switchover estimate: what fits into the downtime limit
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The two functions by hand, and a model of a migration: a guest that writes at a steady
 * rate, a network, and syncs that take their time.  The model decides by our estimate
 * or by the base's, and says whether the migration completed and with which downtime.
 */
#include <glib.h>
#include <stdbool.h>

#include "migration/core/switchover-estimate.h"
#include "named-tests.h"

#define MS G_GUINT64_CONSTANT(1000000)
#define WINDOW_MS 100           /* the base computes the bandwidth this often */
#define BYTES_PER_MS 1250000.0  /* 10 Gbit/s */

static void test_time_apart(void)
{
    /* 73 ms of 100 are spent on syncs */
    g_assert_cmpfloat(switchover_bandwidth(2700, 100, 73 * MS, 0), ==, 100);
    g_assert_cmpfloat(switchover_bandwidth(2700, 100, 0, 0), ==, 27);
    g_assert_cmpfloat(switchover_bandwidth(0, 100, 50 * MS, 0), ==, 0);
}

static void test_nearly_all_apart(void)
{
    double most = 2700 / (100 * SWITCHOVER_SENDING_PART_MIN);

    g_assert_cmpfloat(switchover_bandwidth(2700, 100, 99 * MS, 0), ==, most);
    g_assert_cmpfloat(switchover_bandwidth(2700, 100, 100 * MS, 0), ==, most);
    /* the wait for a lock may have begun in the window before */
    g_assert_cmpfloat(switchover_bandwidth(2700, 100, 5000 * MS, 0), ==, most);
}

static void test_user_limit(void)
{
    /* 100 bytes per ms without the syncs, the user allows 40 */
    g_assert_cmpfloat(switchover_bandwidth(2700, 100, 73 * MS, 40000), ==, 40);
    g_assert_cmpfloat(switchover_bandwidth(2700, 100, 73 * MS, 200000), ==,
                      100);
    /* more was sent than the user allows: the quota is per 100 ms */
    g_assert_cmpfloat(switchover_bandwidth(2700, 100, 73 * MS, 20000), ==, 27);
}

static void test_threshold(void)
{
    g_assert_cmpuint(switchover_threshold(100, 100, 300, 0), ==, 30000);
    /* the last sync is a part of the downtime */
    g_assert_cmpuint(switchover_threshold(100, 27, 300, 73 * MS), ==, 22700);
    /* the base would have switched over */
    g_assert_cmpuint(switchover_threshold(100, 90, 300, 73 * MS), ==, 27000);
    g_assert_cmpuint(switchover_threshold(100, 27, 50, 73 * MS), ==, 1350);
    g_assert_cmpuint(switchover_threshold(100, 100, 0, 73 * MS), ==, 0);
}

typedef struct Model {
    double sync_ms, last_sync_ms;
    double dirty;               /* the guest's rate, of the network's */
    double limit_ms;
    unsigned idle_syncs;        /* after each that is sent: they find nothing */
    bool base;                  /* decide as the base does */
} Model;

/* Returns the downtime in ms, 0 if a minute was not enough. */
static double migrate(const Model *m)
{
    double threshold = 0, now = 0, rest = 1000 * BYTES_PER_MS;
    double window = 0, sent = 0, apart = 0;

    while (now < 60000) {
        double send_ms = rest / BYTES_PER_MS;

        sent += rest;
        now += send_ms;
        /* a sync, which looks at what was written during it as well */
        now += m->sync_ms * (1 + m->idle_syncs);
        apart += m->sync_ms * (1 + m->idle_syncs);
        rest = m->dirty * BYTES_PER_MS *
               (send_ms + m->sync_ms * (1 + m->idle_syncs));
        if (rest < threshold) {
            return m->last_sync_ms + rest / BYTES_PER_MS;
        }
        if (now - window >= WINDOW_MS) {
            double plain = sent / (now - window);

            threshold = m->base ? plain * m->limit_ms
                : switchover_threshold(
                    switchover_bandwidth(sent, now - window, apart * MS, 0),
                    plain, m->limit_ms, m->last_sync_ms * MS);
            window = now;
            sent = apart = 0;
        }
    }
    return 0;
}

/* The smallest limit, in ms, at which the migration completes. */
static unsigned least_limit(Model m)
{
    for (m.limit_ms = 1; m.limit_ms < 5000; m.limit_ms++) {
        if (migrate(&m)) {
            return m.limit_ms;
        }
    }
    return UINT_MAX;
}

static void test_last_sync_is_shorter(void)
{
    Model ours = { .sync_ms = 73, .last_sync_ms = 7, .dirty = 0.3 };
    Model base = ours;
    unsigned needed;

    base.base = true;
    needed = least_limit(ours);
    g_test_message("needed limit: %u ms, by the base %u ms", needed,
                   least_limit(base));
    g_assert_cmpuint(3 * needed, <, 2 * least_limit(base));
    ours.limit_ms = needed;
    /* the windows differ, so the estimate is not exact */
    g_assert_cmpfloat(migrate(&ours), <=, 1.05 * needed);
}

static void test_syncs_without_sending(void)
{
    Model ours = { .sync_ms = 20, .last_sync_ms = 20, .dirty = 0.3,
                   .idle_syncs = 3 };
    Model base = ours;

    base.base = true;
    g_test_message("needed limit: %u ms, by the base %u ms",
                   least_limit(ours), least_limit(base));
    g_assert_cmpuint(5 * least_limit(ours), <, 4 * least_limit(base));
    ours.limit_ms = least_limit(ours);
    g_assert_cmpfloat(migrate(&ours), <=, 1.05 * ours.limit_ms);
}

/* All syncs alike, each followed by sending: the base is right by two errors. */
static void test_never_later_than_the_base(void)
{
    for (double sync = 0; sync <= 100; sync += 5) {
        for (double dirty = 0.05; dirty < 1; dirty += 0.05) {
            Model ours = { .sync_ms = sync, .last_sync_ms = sync,
                           .dirty = dirty };
            Model base = ours;

            base.base = true;
            g_assert_cmpuint(least_limit(ours), <=, least_limit(base));
        }
    }
}

int main(int argc, char **argv)
{
    static const NamedTest tests[] = {
        { "time-apart", test_time_apart },
        { "nearly-all-apart", test_nearly_all_apart },
        { "user-limit", test_user_limit },
        { "threshold", test_threshold },
        { "last-sync-is-shorter", test_last_sync_is_shorter },
        { "syncs-without-sending", test_syncs_without_sending },
        { "never-later-than-the-base", test_never_later_than_the_base },
    };

    g_test_init(&argc, &argv, NULL);
    named_tests_add("switchover-estimate", tests, G_N_ELEMENTS(tests));
    return g_test_run();
}
