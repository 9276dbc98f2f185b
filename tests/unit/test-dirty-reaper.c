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
#define RESERVE 96
#define USABLE (SIZE - RESERVE)

static void nap_ms(int ms)
{
    struct timespec nap = { .tv_nsec = ms * 1000000l };

    nanosleep(&nap, NULL);
}

/*
 * Room for what comes in 2 ms; the pause lasts until there is no more room than that.
 * A ring that is filled in less than 64 ms is left to its vCPU.
 */
static void test_pace(void)
{
    static const struct {
        uint64_t occupied, uptake, elapsed;
        uint64_t want, release, lasts;
    } rows[] = {
        /* nothing comes: nothing is wanted, however full the ring is */
        { 0, 0, 10 * MS, 0, 0, DIRTY_REAPER_MAX_NS },
        { USABLE, 0, 10 * MS, 0, 0, DIRTY_REAPER_MAX_NS },
        /* 50 a ms: room for 100; of 4,000 entries of room, 3,900 last 78 ms */
        { 0, 500, 10 * MS, 100, 0, 78 * MS },
        { 2000, 500, 10 * MS, 100, 0, 38 * MS },
        { 3900, 500, 10 * MS, 100, 0, 0 },
        /* no room for 100: make room for 200, which lasts 2 ms */
        { 3950, 500, 10 * MS, 100, 150, 2 * MS },
        { 4000, 500, 10 * MS, 100, 200, 2 * MS },
        { 4100, 500, 10 * MS, 100, 200, 2 * MS },
        /* full within 64 ms, and within less */
        { 4000, 625, 10 * MS, 125, 250, 2 * MS },
        { 4000, 626, 10 * MS, 0, 0, DIRTY_REAPER_MAX_NS },
        { 3000, 100000, 10 * MS, 0, 0, DIRTY_REAPER_MAX_NS },
        /* slow: a second at most */
        { 0, 1, 10 * MS, 0, 0, DIRTY_REAPER_MAX_NS },
        /* the first look, at once */
        { 10, 10, 0, 0, 0, DIRTY_REAPER_MAX_NS },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        DirtyRingLevel level = {
            .usable = USABLE,
            .occupied = rows[i].occupied,
            .uptake = rows[i].uptake,
        };
        uint64_t want = dirty_reaper_want(&level, rows[i].elapsed);
        uint64_t release = dirty_reaper_release(&level, want);

        g_test_message("row %zu", i);
        g_assert_cmpuint(want, ==, rows[i].want);
        g_assert_cmpuint(release, ==, rows[i].release);
        g_assert_cmpuint(dirty_reaper_lasts_ns(&level, want, release,
                                               rows[i].elapsed), ==,
                         rows[i].lasts);
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

/* How often the reaper told of each event: by the reaper thread. */
enum { EVENT_INIT, EVENT_WAIT, EVENT_WAKEUP, EVENTS };
static unsigned events[EVENTS];

static void note_event(const char *event)
{
    events[strcmp(event, "init") == 0 ? EVENT_INIT
           : strcmp(event, "wait") == 0 ? EVENT_WAIT : EVENT_WAKEUP]++;
}

static int reset_first(void *opaque)
{
    struct kvm_dirty_gfn *entries = opaque;
    int done = 0;

    for (int i = 0; i < SIZE; i++) {
        if (entries[i].flags & KVM_DIRTY_GFN_F_RESET) {
            __atomic_store_n(&entries[i].flags, 0, __ATOMIC_RELEASE);
            done++;
        }
    }
    return done;
}

static size_t translate_all(void *opaque, const uint32_t *slots,
                            uint64_t *pages, size_t n)
{
    return n;
}

static void publish_nothing(void *opaque, const uint64_t *pages, size_t n)
{
}

static const DirtyRingOps one_ring_ops = {
    .reset = reset_first,
    .translate = translate_all,
    .publish = publish_nothing,
};

/* Once logging ends, the reaper empties the rings, and sleeps. */
static void test_drains(void)
{
    g_autofree struct kvm_dirty_gfn *entries = g_new0(struct kvm_dirty_gfn,
                                                      SIZE);
    DirtyRingSet set;
    DirtyReaper reaper;
    DirtyRing *ring;
    pthread_t thread;
    uint64_t most, wakeups;

    dirty_ring_set_init(&set, SIZE, RESERVE, &one_ring_ops, entries);
    ring = dirty_ring_add(&set, 0, entries);
    dirty_reaper_init(&reaper, &set);
    for (int i = 0; i < 100; i++) {
        entries[i].flags = KVM_DIRTY_GFN_F_DIRTY;
    }
    pthread_create(&thread, NULL, reaper_thread, &reaper);
    dirty_reaper_set_active(&reaper, true);
    while (dirty_reaper_wakeups(&reaper) < 3) {
        nap_ms(1);
    }
    g_assert_cmpuint(dirty_ring_occupied(ring, &most), ==, 100);

    dirty_reaper_set_active(&reaper, false);
    while (dirty_ring_occupied(ring, &most)) {
        nap_ms(1);
    }
    nap_ms(50);
    wakeups = dirty_reaper_wakeups(&reaper);
    nap_ms(50);
    g_assert_cmpuint(dirty_reaper_wakeups(&reaper), ==, wakeups);
    dirty_reaper_quit(&reaper);
    pthread_join(thread, NULL);
    dirty_reaper_destroy(&reaper);
    dirty_ring_set_destroy(&set);
}

static void test_sleeps(void)
{
    DirtyRingSet set;
    DirtyReaper reaper;
    pthread_t thread;
    uint64_t wakeups;

    dirty_ring_set_init(&set, SIZE, RESERVE, &no_ops, NULL);
    dirty_reaper_init(&reaper, &set);
    reaper.trace = note_event;
    memset(events, 0, sizeof(events));
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
    g_assert_cmpuint(events[EVENT_INIT], ==, 1);
    g_assert_cmpuint(events[EVENT_WAKEUP], ==, dirty_reaper_wakeups(&reaper));
    g_assert_cmpuint(events[EVENT_WAIT], ==, events[EVENT_WAKEUP] + 1);
    dirty_reaper_destroy(&reaper);
    dirty_ring_set_destroy(&set);
}

/* A ring that is nearly full makes the reaper no faster than it may be. */
static void test_least_pause(void)
{
    static struct kvm_dirty_gfn entries[SIZE];
    DirtyRingSet set;
    DirtyReaper reaper;

    dirty_ring_set_init(&set, SIZE, RESERVE, &no_ops, NULL);
    dirty_ring_add(&set, 0, entries);
    dirty_reaper_init(&reaper, &set);
    for (int i = 0; i < USABLE - 10; i++) {
        entries[i].flags = KVM_DIRTY_GFN_F_DIRTY;
    }
    g_assert_cmpuint(dirty_reaper_step(&reaper, 1000 * MS), ==,
                     DIRTY_REAPER_MIN_NS);
    dirty_reaper_destroy(&reaper);
    dirty_ring_set_destroy(&set);
}

/* A ring that is left to its vCPU lets the reaper sleep, however often it is full. */
static void test_leaves(void)
{
    static struct kvm_dirty_gfn entries[SIZE];
    DirtyRingSet set;
    DirtyReaper reaper;
    uint64_t now = 0, pause_ns = DIRTY_REAPER_MIN_NS;

    dirty_ring_set_init(&set, SIZE, RESERVE, &no_ops, NULL);
    dirty_ring_add(&set, 0, entries);
    dirty_reaper_init(&reaper, &set);
    dirty_reaper_set_active(&reaper, true);
    reaper.interval_ns = 1000 * MS;
    for (int i = 0; i < 1000; i++) {
        now += pause_ns;
        for (int n = 0; n < 400 && i < 6; n++) {
            entries[400 * i + n].flags = KVM_DIRTY_GFN_F_DIRTY;
        }
        pause_ns = dirty_reaper_step(&reaper, now);
        g_assert_cmpuint(pause_ns, ==, MIN(MS << (i + 1), 1000 * MS));
        dirty_reaper_hurry(&reaper);
        if (now >= 1000 * MS) {
            break;
        }
        /* 400 entries in 1, 2 and 4 ms are a ring in less than 64. */
        g_assert_true(reaper.hurry == (i >= 3));
    }
    dirty_reaper_destroy(&reaper);
    dirty_ring_set_destroy(&set);
}

/* A full ring that a vCPU has met ends a long pause, and so does a stop. */
static void test_hurry(void)
{
    DirtyRingSet set;
    DirtyReaper reaper;
    pthread_t thread;
    uint64_t wakeups;
    gint64 start_us;

    dirty_ring_set_init(&set, SIZE, RESERVE, &no_ops, NULL);
    dirty_reaper_init(&reaper, &set);
    dirty_reaper_hurry(&reaper);
    pthread_create(&thread, NULL, reaper_thread, &reaper);
    dirty_reaper_set_active(&reaper, true);
    while (dirty_reaper_interval_ns(&reaper) < 1000 * MS) {
        nap_ms(1);
    }
    nap_ms(20);
    wakeups = dirty_reaper_wakeups(&reaper);
    dirty_reaper_hurry(&reaper);
    nap_ms(300);
    g_assert_cmpuint(dirty_reaper_wakeups(&reaper), >, wakeups);

    /* Switched on again, it begins with short pauses: 1, 2, 4, ... ms. */
    while (dirty_reaper_interval_ns(&reaper) < 1000 * MS) {
        nap_ms(1);
    }
    wakeups = dirty_reaper_wakeups(&reaper);
    dirty_reaper_set_active(&reaper, false);
    while (dirty_reaper_wakeups(&reaper) == wakeups) {
        nap_ms(1);
    }
    nap_ms(50);
    start_us = g_get_monotonic_time();
    wakeups = dirty_reaper_wakeups(&reaper);
    dirty_reaper_set_active(&reaper, true);
    while (dirty_reaper_wakeups(&reaper) < wakeups + 5) {
        nap_ms(1);
    }
    g_assert_cmpint(g_get_monotonic_time() - start_us, <, 3000000);

    dirty_reaper_quit(&reaper);
    pthread_join(thread, NULL);
    dirty_reaper_destroy(&reaper);
    dirty_ring_set_destroy(&set);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dirty-reaper/pace", test_pace);
    g_test_add_func("/dirty-reaper/sleeps", test_sleeps);
    g_test_add_func("/dirty-reaper/drains", test_drains);
    g_test_add_func("/dirty-reaper/least-pause", test_least_pause);
    g_test_add_func("/dirty-reaper/hurry", test_hurry);
    g_test_add_func("/dirty-reaper/leaves", test_leaves);
    return g_test_run();
}
