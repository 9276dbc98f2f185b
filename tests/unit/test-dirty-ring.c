/*
 * Dirty ring: each rule of the ring state machine on its own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One thread and the scripted kernel of ring-bench.h.
 *
 * Limits: what takes two threads is in test-dirty-ring-races.c.
 */
#include <errno.h>
#include <glib.h>
#include <signal.h>

#include "ring-bench.h"
#include "named-tests.h"

static void test_order(void)
{
    Bench *b = bench_new(reset_all);

    bench_push(b, 0, 0, 7);
    bench_push(b, 0, 0, 3);
    bench_push(b, 0, 0, 7);
    g_assert_cmpuint(dirty_ring_reap(b->ring[0]), ==, 3);
    g_assert_cmpuint(b->published->len, ==, 3);
    g_assert_cmpuint(g_array_index(b->published, uint64_t, 0), ==, 7);
    g_assert_cmpuint(g_array_index(b->published, uint64_t, 1), ==, 3);
    g_assert_cmpuint(g_array_index(b->published, uint64_t, 2), ==, 7);
    g_assert_cmpuint(b->calls, ==, 1);
    g_assert_cmpuint(b->entries[0][0].flags, ==, 0);
    bench_free(b);
}

static void test_nothing_to_do(void)
{
    Bench *b = bench_new(reset_all);

    g_assert_cmpuint(dirty_ring_reap(b->ring[0]), ==, 0);
    g_assert_cmpuint(dirty_ring_reap_all(&b->set), ==, 0);
    g_assert_cmpuint(b->calls, ==, 0);
    bench_free(b);
}

static void test_many_rounds(void)
{
    Bench *b = bench_new(reset_all);

    for (int i = 0; i < 100; i++) {
        bench_push_run(b, 0, i, 1 + i % (SIZE - 1));
        g_assert_cmpuint(dirty_ring_reap(b->ring[0]), ==, 1 + i % (SIZE - 1));
    }
    g_assert_cmpuint(bench_stats(b).overflows, ==, 0);
    g_assert_cmpuint(bench_stats(b).released_sync, ==, b->pushed[0]);
    g_assert_cmpuint(dirty_ring_harvested(b->ring[0]), ==, b->pushed[0]);
    bench_free(b);
}

/* Nothing is published before the last of its entries is reset. */
static void test_partial(void)
{
    static const Step script[] = {
        { 1, NULL }, { 2, NULL }, { -EINTR, NULL }, { 1, NULL },
        { -EAGAIN, NULL }, { ALL, NULL }, {},
    };
    Bench *b = bench_new(script);

    bench_push_run(b, 0, 0, 10);
    g_assert_cmpuint(dirty_ring_reap(b->ring[0]), ==, 10);
    g_assert_cmpuint(b->calls_at_publish, ==, 6);
    g_assert_cmpuint(b->published->len, ==, 10);
    g_assert_cmpuint(bench_stats(b).resets, ==, 6);
    g_assert_cmpuint(bench_stats(b).reset_entries, ==, 10);
    g_assert_cmpuint(bench_stats(b).reset_entries_max, ==, 6);
    g_assert_cmpuint(bench_stats(b).reset_max_ns, >, 0);
    g_assert_cmpuint(bench_stats(b).reset_ns, >, bench_stats(b).reset_max_ns);
    g_assert_cmpuint(bench_stats(b).resets_incomplete, ==, 5);
    g_assert_cmpuint(bench_stats(b).resets_failed, ==, 2);
    g_assert_false(dirty_ring_broken(&b->set));
    bench_free(b);
}

/* A batch of one entry, and the last entry of a batch, are waited for, too. */
static void test_last_entry(void)
{
    static const Step one[] = { { -EINTR, NULL }, { ALL, NULL }, {} };
    static const Step last[] = { { 4, NULL }, { ALL, NULL }, {} };
    Bench *b = bench_new(one);

    bench_push(b, 0, 0, 7);
    dirty_ring_reap(b->ring[0]);
    g_assert_cmpuint(b->calls_at_publish, ==, 2);
    bench_push(b, 0, 0, 8);
    dirty_ring_reap(b->ring[0]);
    g_assert_cmpuint(b->calls_at_publish, ==, 3);
    g_assert_cmpuint(b->published->len, ==, 2);
    bench_free(b);

    b = bench_new(last);
    bench_push_run(b, 0, 0, 5);
    dirty_ring_reap(b->ring[0]);
    g_assert_cmpuint(b->calls_at_publish, ==, 2);
    bench_free(b);
}

static void all_signals_blocked(Bench *b)
{
    sigset_t now;

    pthread_sigmask(SIG_BLOCK, NULL, &now);
    b->counter = sigismember(&now, SIGUSR1) && sigismember(&now, SIGALRM) &&
                 sigismember(&now, SIGTERM);
}

/* Linux 6.17 and newer forget pages when a signal interrupts the ioctl. */
static void test_signals_blocked(void)
{
    static const Step script[] = { { ALL, all_signals_blocked }, {} };
    Bench *b = bench_new(script);
    sigset_t before, after;

    pthread_sigmask(SIG_BLOCK, NULL, &before);
    g_assert_false(sigismember(&before, SIGUSR1));
    bench_push(b, 0, 0, 7);
    dirty_ring_reap(b->ring[0]);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    g_assert_cmpuint(b->counter, ==, 1);
    for (int sig = 1; sig < 32; sig++) {
        g_assert_cmpint(sigismember(&before, sig), ==,
                        sigismember(&after, sig));
    }
    bench_free(b);
}

static void push_one_more(Bench *b)
{
    bench_push(b, 0, 0, 99);
}

/* A vCPU that dirties pages meanwhile does not keep a batch from arming. */
static void test_refilled_meanwhile(void)
{
    static const Step script[] = { { ALL, push_one_more }, {} };
    Bench *b = bench_new(script);

    bench_push_run(b, 0, 0, 5);
    g_assert_cmpuint(dirty_ring_reap(b->ring[0]), ==, 5);
    g_assert_cmpuint(b->calls, ==, 1);
    g_assert_cmpuint(b->published->len, ==, 5);
    bench_free(b);
}

/* A kernel that refuses: the pages still go out, the set is broken. */
static void test_refused(void)
{
    static const Step script[] = { { -EIO, NULL }, {} };
    Bench *b = bench_new(script);

    bench_push_run(b, 0, 0, 5);
    g_assert_cmpuint(dirty_ring_reap(b->ring[0]), ==, 5);
    g_assert_cmpuint(b->published->len, ==, 5);
    g_assert_true(dirty_ring_broken(&b->set));
    bench_free(b);
}

/* The timeout is waited for once; later batches get one ioctl, and may recover. */
static void test_no_progress(void)
{
    static const Step script[] = { { 0, push_one_more }, { -EINTR, NULL }, {} };
    Bench *b = bench_new(script);
    unsigned calls;

    b->set.reset_timeout_ns = 200 * 1000 * 1000;
    bench_push_run(b, 0, 0, 5);
    g_assert_cmpuint(dirty_ring_reap(b->ring[0]), ==, 5);
    g_assert_cmpuint(b->calls, >, 3);
    g_assert_true(dirty_ring_broken(&b->set));
    g_assert_cmpint(b->fault, ==, DIRTY_RING_FAULT_RESET);

    calls = b->calls;
    bench_push_run(b, 0, 0, 5);
    dirty_ring_reap(b->ring[0]);
    g_assert_cmpuint(b->calls, ==, calls + 1);
    g_assert_cmpuint(b->broken, ==, 1);
    bench_free(b);
}

/* A kernel that answers 0 for ever takes no longer than the timeout. */
static void test_never(void)
{
    static const Step script[] = { { 0, NULL }, { 0, NULL }, {} };
    Bench *b = bench_new(script);

    b->set.reset_timeout_ns = 2 * 1000 * 1000;
    bench_push_run(b, 0, 0, 5);
    g_assert_cmpuint(dirty_ring_reap(b->ring[0]), ==, 5);
    g_assert_cmpuint(b->published->len, ==, 5);
    g_assert_true(dirty_ring_broken(&b->set));
    bench_free(b);
}

static void nap_100_ms(Bench *b)
{
    (void)b;
    nap_ms(100);
}

/* Progress starts the timeout anew: three times 100 ms are not too long for 250. */
static void test_slow_progress(void)
{
    static const Step script[] = {
        { -EINTR, nap_100_ms }, { 1, NULL }, { -EINTR, nap_100_ms }, { 1, NULL },
        { -EINTR, nap_100_ms }, { ALL, NULL }, {},
    };
    Bench *b = bench_new(script);

    b->set.reset_timeout_ns = 250 * 1000 * 1000;
    bench_push_run(b, 0, 0, 5);
    dirty_ring_reap(b->ring[0]);
    g_assert_cmpuint(b->calls, ==, 6);
    g_assert_false(dirty_ring_broken(&b->set));
    bench_free(b);
}

static void test_all_rings_one_ioctl(void)
{
    Bench *b = bench_new(reset_all);

    bench_push_run(b, 0, 0, 5);
    bench_push_run(b, 1, 100, 6);
    g_assert_cmpuint(dirty_ring_reap_all(&b->set), ==, 11);
    g_assert_cmpuint(b->calls, ==, 1);
    g_assert_cmpuint(b->published->len, ==, 11);
    bench_free(b);
}

static void test_unknown_entries(void)
{
    Bench *b = bench_new(reset_all);

    bench_push(b, 0, 0, SLOT_PAGES);
    bench_push(b, 0, 5, 0);
    bench_push(b, 0, 1 << 16, 0);
    bench_push(b, 0, UINT32_MAX, UINT64_MAX);
    bench_push(b, 0, 0, SLOT_PAGES - 1);
    g_assert_cmpuint(dirty_ring_reap(b->ring[0]), ==, 5);
    g_assert_cmpuint(b->published->len, ==, 1);
    g_assert_cmpuint(bench_stats(b).unknown, ==, 4);

    /* Entries that stay in the ring are counted when they are released. */
    bench_push(b, 1, 5, 0);
    dirty_ring_publish_all(&b->set);
    g_assert_cmpuint(bench_stats(b).unknown, ==, 4);
    dirty_ring_reap_all(&b->set);
    g_assert_cmpuint(bench_stats(b).unknown, ==, 5);
    bench_free(b);
}

static void test_bind(void)
{
    Bench *b = bench_new(reset_all);
    uint64_t counter = 40;

    dirty_ring_bind(b->ring[1], &counter, &counter);
    g_assert_true(dirty_ring_owner(b->ring[1]) == &counter);
    bench_push_run(b, 1, 0, 2);
    dirty_ring_reap(b->ring[1]);
    g_assert_cmpuint(counter, ==, 42);

    dirty_ring_bind(b->ring[1], NULL, NULL);
    bench_push_run(b, 1, 0, 2);
    g_assert_cmpuint(dirty_ring_reap(b->ring[1]), ==, 2);
    g_assert_cmpuint(counter, ==, 42);
    g_assert_true(dirty_ring_find(&b->set, 1) == b->ring[1]);
    g_assert_null(dirty_ring_find(&b->set, 2));
    bench_free(b);
}

/* A look counts entries once, and leaves them where they are. */
static void test_look_once(void)
{
    Bench *b = bench_new(reset_all);

    dirty_ring_bind(b->ring[0], b, &b->counter);
    g_assert_cmpuint(dirty_ring_look(b->ring[0]), ==, 0);
    bench_push_run(b, 0, 0, 5);
    g_assert_cmpuint(dirty_ring_look(b->ring[0]), ==, 5);
    g_assert_cmpuint(dirty_ring_look(b->ring[0]), ==, 5);
    g_assert_cmpuint(b->counter, ==, 5);
    g_assert_cmpuint(b->calls, ==, 0);
    bench_push_run(b, 0, 0, 2);
    g_assert_cmpuint(dirty_ring_reap_all(&b->set), ==, 7);
    g_assert_cmpuint(dirty_ring_look(b->ring[0]), ==, 7);
    g_assert_cmpuint(b->counter, ==, 7);
    bench_free(b);
}

/* What the reaper was shown of ring 0, which comes last. */
static DirtyRingLevel shown;

static uint64_t decide_two(void *opaque, const DirtyRingLevel *level)
{
    (void)opaque;
    shown = *level;
    return level->occupied ? 2 : 0;
}

/* Room is made from the oldest entries; the others stay, and are counted once. */
static void test_make_room(void)
{
    Bench *b = bench_new(reset_all);
    uint64_t most;

    bench_push_run(b, 0, 0, 9);
    g_assert_cmpuint(dirty_ring_make_room(&b->set, decide_two, NULL), ==, 2);
    g_assert_cmpuint(shown.usable, ==, SIZE - RESERVE);
    g_assert_cmpuint(shown.occupied, ==, 9);
    g_assert_cmpuint(shown.uptake, ==, 9);
    g_assert_cmpuint(b->published->len, ==, 2);
    g_assert_cmpuint(g_array_index(b->published, uint64_t, 1), ==, 1);
    g_assert_cmpuint(b->entries[0][2].flags, ==, KVM_DIRTY_GFN_F_DIRTY);

    bench_push_run(b, 0, 50, 1);
    g_assert_cmpuint(dirty_ring_make_room(&b->set, decide_two, NULL), ==, 2);
    g_assert_cmpuint(shown.occupied, ==, 8);
    g_assert_cmpuint(shown.uptake, ==, 1);
    g_assert_cmpuint(dirty_ring_harvested(b->ring[0]), ==, 10);
    g_assert_cmpuint(dirty_ring_occupied(b->ring[0], &most), ==, 6);
    g_assert_cmpuint(most, ==, 9);

    g_assert_cmpuint(dirty_ring_reap_all(&b->set), ==, 6);
    g_assert_cmpuint(b->published->len, ==, 10 + bench_stats(b).republished);
    g_assert_cmpuint(bench_stats(b).harvested, ==, 10);
    g_assert_cmpuint(bench_stats(b).released_reaper, ==, 4);
    g_assert_cmpuint(bench_stats(b).released_sync, ==, 6);
    bench_free(b);
}

/* Entries that are released and not reset yet are no room. */
static void test_room_not_reset(void)
{
    static const Step nothing[] = { { 0, NULL }, {} };
    Bench *b = bench_new(nothing);

    b->set.reset_timeout_ns = 0;
    bench_push_run(b, 0, 0, 9);
    g_assert_cmpuint(dirty_ring_make_room(&b->set, decide_two, NULL), ==, 2);
    dirty_ring_make_room(&b->set, decide_two, NULL);
    g_assert_cmpuint(shown.occupied, ==, 9);
    bench_free(b);
}

/* Rings of which nothing is to be released cost no ioctl. */
static void test_room_enough(void)
{
    Bench *b = bench_new(reset_all);

    g_assert_cmpuint(dirty_ring_make_room(&b->set, decide_two, NULL), ==, 0);
    g_assert_cmpuint(b->calls, ==, 0);
    bench_free(b);
}

/* How far the kernel has got is found wherever that is, round the end, too. */
static void test_look(void)
{
    Bench *b = bench_new(reset_all);

    for (int start = 0; start < SIZE; start++) {
        for (int n = 0; n <= SIZE - RESERVE; n++) {
            uint64_t before = dirty_ring_harvested(b->ring[0]);

            bench_push_run(b, 0, 0, n);
            bench_make_room(b);
            g_assert_cmpuint(dirty_ring_harvested(b->ring[0]) - before, ==, n);
        }
        bench_push_run(b, 0, 0, 1);
        dirty_ring_reap(b->ring[0]);
    }
    g_assert_false(dirty_ring_broken(&b->set));
    bench_free(b);
}

/*
 * The last sync of a stopped machine takes no ioctl; what it has published stays
 * in the ring, and goes out with the next sync if the machine runs on.
 */
static void test_publish_all(void)
{
    Bench *b = bench_new(reset_all);

    bench_push_run(b, 0, 0, 3);
    bench_push_run(b, 1, 10, 2);
    g_assert_cmpuint(dirty_ring_publish_all(&b->set), ==, 5);
    g_assert_cmpuint(b->calls, ==, 0);
    g_assert_cmpuint(b->published->len, ==, 5);
    g_assert_cmpuint(bench_stats(b).harvested, ==, 5);
    g_assert_cmpuint(bench_stats(b).published_in_place, ==, 5);

    bench_push_run(b, 0, 3, 1);
    g_assert_cmpuint(dirty_ring_reap_all(&b->set), ==, 6);
    g_assert_cmpuint(b->calls, ==, 1);
    g_assert_cmpuint(b->published->len, ==, 11);
    g_assert_cmpuint(bench_stats(b).harvested, ==, 6);

    /* Pages that an interrupted reset may have left writable go out again. */
    g_assert_cmpuint(bench_stats(b).suspects, >, 0);
    g_assert_cmpuint(bench_stats(b).republished, ==, 0);
    g_assert_cmpuint(dirty_ring_publish_all(&b->set), ==, 0);
    g_assert_cmpuint(bench_stats(b).republished, ==, bench_stats(b).suspects);
    g_assert_cmpuint(b->published->len, ==, 11 + bench_stats(b).suspects);
    g_assert_cmpuint(bench_stats(b).published_in_place, ==, 5);
    g_assert_cmpuint(b->told, ==, 6);
    bench_free(b);
}

/* A ring that is dirty all around is read once. */
static void test_publish_overrun(void)
{
    Bench *b = bench_new(reset_all);

    bench_push_run(b, 0, 0, SIZE);
    g_assert_cmpuint(dirty_ring_publish_all(&b->set), ==, SIZE);
    g_assert_true(dirty_ring_broken(&b->set));
    bench_free(b);
}

static uint64_t peeked[SIZE];
static size_t npeeked;

static bool wants_slot_0(void *opaque, uint32_t slot)
{
    g_assert_cmpint(GPOINTER_TO_INT(opaque), ==, 42);
    return slot == 0;
}

static void note_peeked(void *opaque, const uint64_t *pages, size_t n)
{
    g_assert_cmpint(GPOINTER_TO_INT(opaque), ==, 42);
    g_assert_cmpuint(npeeked + n, <=, SIZE);
    memcpy(peeked + npeeked, pages, n * sizeof(pages[0]));
    npeeked += n;
}

static const DirtyRingPeek peek_slot_0 = {
    .wants = wants_slot_0,
    .visit = note_peeked,
    .opaque = GINT_TO_POINTER(42),
};

/* A display sees what lies in the rings, and everything stays as it was. */
static void test_peek(void)
{
    Bench *b = bench_new(reset_all);

    npeeked = 0;
    bench_push_run(b, 0, 5, 3);
    g_assert_cmpuint(dirty_ring_peek_all(&b->set, &peek_slot_0), ==, 3);
    g_assert_cmpuint(npeeked, ==, 3);
    g_assert_cmpuint(peeked[2], ==, 7);
    g_assert_cmpuint(b->published->len, ==, 0);
    g_assert_cmpuint(b->calls, ==, 0);
    g_assert_cmpuint(b->entries[0][0].flags, ==, KVM_DIRTY_GFN_F_DIRTY);

    dirty_ring_reap_all(&b->set);
    g_assert_cmpuint(b->published->len, ==, 3);
    g_assert_cmpuint(dirty_ring_peek_all(&b->set, &peek_slot_0), ==, 0);
    g_assert_cmpuint(npeeked, ==, 3);
    bench_free(b);
}

/* It is shown entries of the slots that it wants, wherever they stand. */
static void test_peek_slots(void)
{
    static const uint32_t order[] = { 3, 0, 0, 3, 3, 0, 4 };
    Bench *b = bench_new(reset_all);

    dirty_slots_add(&b->slots, 3, 2 * SLOT_PAGES, SLOT_PAGES);
    for (size_t i = 0; i < G_N_ELEMENTS(order); i++) {
        bench_push(b, 0, order[i], i);
    }
    npeeked = 0;
    g_assert_cmpuint(dirty_ring_peek_all(&b->set, &peek_slot_0), ==,
                     G_N_ELEMENTS(order));
    g_assert_cmpuint(npeeked, ==, 3);
    g_assert_cmpuint(peeked[0], ==, 1);
    g_assert_cmpuint(peeked[1], ==, 2);
    g_assert_cmpuint(peeked[2], ==, 5);
    g_assert_cmpuint(dirty_ring_harvested(b->ring[0]), ==,
                     G_N_ELEMENTS(order));
    bench_free(b);
}

/* A full ring frees a quarter of what it can hold, the oldest entries. */
static void test_full(void)
{
    Bench *b = bench_new(reset_all);
    unsigned exits = 0, in_hist = 0;

    for (int i = 0; i < 20; i++) {
        bench_push_run(b, 0, i, i ? 3 : SIZE - RESERVE);
        g_assert_cmpint(dirty_ring_full(b->ring[0]), ==,
                        DIRTY_RING_FULL_FREED);
        exits++;
        g_assert_cmpuint(b->published->len, ==, 3 * exits);
    }
    g_assert_cmpuint(bench_stats(b).full_exits, ==, 20);
    g_assert_cmpuint(bench_stats(b).full_exits_empty, ==, 0);
    g_assert_cmpuint(bench_stats(b).released_full, ==, 60);
    g_assert_cmpuint(b->told, ==, 60);
    g_assert_cmpuint(bench_stats(b).full_max_ns, >, 0);
    g_assert_cmpuint(bench_stats(b).full_ns, >=, bench_stats(b).full_max_ns);
    for (int i = 0; i < DIRTY_RING_FULL_BUCKETS; i++) {
        in_hist += bench_stats(b).full_hist[i];
    }
    g_assert_cmpuint(in_hist, ==, 20);
    bench_free(b);
}

/* The other ring's entries are left for their own vCPU or the reaper. */
static void test_full_takes_its_own_only(void)
{
    Bench *b = bench_new(reset_all);

    bench_push_run(b, 0, 0, SIZE - 2);
    bench_push_run(b, 1, 0, 4);
    g_assert_cmpint(dirty_ring_full(b->ring[0]), ==,
                        DIRTY_RING_FULL_FREED);
    g_assert_cmpuint(dirty_ring_harvested(b->ring[1]), ==, 0);
    bench_free(b);
}

/* Another thread emptied the ring first: fine, any number of times. */
static void test_full_but_reaped(void)
{
    Bench *b = bench_new(reset_all);

    for (int i = 0; i < 20; i++) {
        bench_push_run(b, 0, 0, SIZE - 2);
        dirty_ring_reap_all(&b->set);
        g_assert_cmpint(dirty_ring_full(b->ring[0]), ==,
                        DIRTY_RING_FULL_FREED);
    }
    g_assert_cmpuint(bench_stats(b).full_exits_empty, ==, 20);
    g_assert_false(dirty_ring_broken(&b->set));
    bench_free(b);
}

/* A few empty exits between others are no fault, however many in all. */
static void test_full_scattered(void)
{
    Bench *b = bench_new(reset_all);

    for (int i = 0; i < 20; i++) {
        bench_push_run(b, 0, 0, 3);
        for (int exits = 0; exits < 3; exits++) {
            g_assert_cmpint(dirty_ring_full(b->ring[0]), ==,
                            DIRTY_RING_FULL_FREED);
        }
    }
    g_assert_false(dirty_ring_broken(&b->set));
    bench_free(b);
}

/* A kernel that goes on saying full: say so, do not spin, and then give up. */
static void test_full_spurious(void)
{
    Bench *b = bench_new(reset_all);
    int freed = 0, spurious = 0;

    bench_push_run(b, 0, 0, 3);
    while (freed < 100 &&
           dirty_ring_full(b->ring[0]) == DIRTY_RING_FULL_FREED) {
        freed++;
    }
    g_assert_cmpint(freed, <, 5);
    g_assert_true(dirty_ring_broken(&b->set));
    g_assert_cmpint(b->fault, ==, DIRTY_RING_FAULT_OVERFLOW);
    g_assert_true(b->ring[0]->overflowed);
    g_assert_false(b->ring[1]->overflowed);
    while (spurious < 2000 &&
           dirty_ring_full(b->ring[0]) == DIRTY_RING_FULL_SPURIOUS) {
        spurious++;
    }
    g_assert_cmpint(spurious, >, 900);
    g_assert_cmpint(spurious, <, 1000);
    g_assert_cmpint(dirty_ring_full(b->ring[0]), ==, DIRTY_RING_FULL_STUCK);
    g_assert_cmpuint(bench_stats(b).overflows, ==, 1);
    g_assert_cmpuint(b->broken, ==, 1);
    bench_free(b);
}

/* A ring that is not reset stays full: its vCPU is stuck, the other's is not. */
static void test_full_stuck(void)
{
    static const Step script[] = {
        { -EIO, NULL }, { -EIO, NULL }, { ALL, NULL }, {},
    };
    Bench *b = bench_new(script);

    bench_push_run(b, 0, 0, SIZE - 2);
    g_assert_cmpint(dirty_ring_full(b->ring[0]), ==, DIRTY_RING_FULL_STUCK);
    g_assert_cmpint(dirty_ring_full(b->ring[0]), ==, DIRTY_RING_FULL_STUCK);
    g_assert_cmpint(b->fault, ==, DIRTY_RING_FAULT_RESET);

    /* The kernel thinks better of it. */
    bench_push_run(b, 1, 0, 3);
    g_assert_cmpint(dirty_ring_full(b->ring[1]), ==, DIRTY_RING_FULL_FREED);
    g_assert_cmpint(dirty_ring_full(b->ring[0]), ==, DIRTY_RING_FULL_FREED);
    bench_free(b);
}

static void test_overrun(void)
{
    Bench *b = bench_new(reset_all);

    bench_push_run(b, 0, 0, SIZE - 1);
    dirty_ring_reap(b->ring[0]);
    g_assert_false(dirty_ring_broken(&b->set));
    bench_push_run(b, 0, 0, SIZE);
    dirty_ring_reap(b->ring[0]);
    g_assert_true(dirty_ring_broken(&b->set));
    g_assert_cmpuint(bench_stats(b).overflows, ==, 1);
    bench_free(b);
}

/* An overrun that several looks see counts once. */
static void test_overrun_once(void)
{
    Bench *b = bench_new(reset_all);

    bench_push_run(b, 0, 0, SIZE);
    dirty_ring_look(b->ring[0]);
    dirty_ring_full(b->ring[0]);
    g_assert_cmpuint(bench_stats(b).overflows, ==, 1);
    bench_push_run(b, 0, 0, 3);
    bench_make_room(b);
    g_assert_cmpuint(bench_stats(b).overflows, ==, 2);
    bench_make_room(b);
    g_assert_cmpuint(bench_stats(b).overflows, ==, 2);
    bench_free(b);
}

static void refill_and_peek(Bench *b)
{
    bench_push_run(b, 0, 0, SIZE - RESERVE);
    npeeked = 0;
    g_assert_cmpuint(dirty_ring_peek_all(&b->set, &peek_slot_0), ==,
                     SIZE - RESERVE);
    b->counter = dirty_ring_occupied(b->ring[0], &b->counter);
}

/* A ring that is filled again during the ioctl holds no more than it can. */
static void test_occupied_during_reset(void)
{
    static const Step script[] = {
        { ALL, refill_and_peek }, { ALL, NULL }, {},
    };
    Bench *b = bench_new(script);
    uint64_t most;

    bench_push_run(b, 0, 0, SIZE - RESERVE);
    dirty_ring_reap_all(&b->set);
    g_assert_cmpuint(b->counter, ==, SIZE);
    g_assert_cmpuint(dirty_ring_occupied(b->ring[0], &most), ==,
                     SIZE - RESERVE);
    g_assert_cmpuint(most, ==, SIZE);
    bench_free(b);
}

static void test_time(void)
{
    DirtyRingTime time = {};

    dirty_ring_time_add(&time, 5);
    dirty_ring_time_add(&time, 7);
    dirty_ring_time_add(&time, 6);
    g_assert_cmpuint(time.count, ==, 3);
    g_assert_cmpuint(time.total_ns, ==, 18);
    g_assert_cmpuint(time.max_ns, ==, 7);
}

static void test_slots(void)
{
    DirtySlotTable table;
    const uint32_t slots[] = { 2, 2, 3, 0x10002, 2, 0xffffffff };
    uint64_t pages[] = { 0, 9, 0, 1, 10, 0 };

    dirty_slots_init(&table);
    dirty_slots_add(&table, 2, 100, 10);
    dirty_slots_add(&table, 0x10002, 700, 2);
    g_assert_cmpuint(dirty_slots_translate(&table, slots, pages, 6), ==, 3);
    g_assert_cmpuint(pages[0], ==, 100);
    g_assert_cmpuint(pages[1], ==, 109);
    g_assert_cmpuint(pages[2], ==, 701);

    g_assert_true(dirty_slots_overlap(&table, 2, 100, 101));
    g_assert_true(dirty_slots_overlap(&table, 2, 109, UINT64_MAX));
    g_assert_true(dirty_slots_overlap(&table, 2, 0, 101));
    g_assert_false(dirty_slots_overlap(&table, 2, 0, 100));
    g_assert_false(dirty_slots_overlap(&table, 2, 110, UINT64_MAX));
    g_assert_false(dirty_slots_overlap(&table, 77, 0, UINT64_MAX));
    dirty_slots_remove(&table, 2);
    dirty_slots_remove(&table, 77);
    g_assert_false(dirty_slots_overlap(&table, 2, 0, UINT64_MAX));
    pages[0] = 0;
    g_assert_cmpuint(dirty_slots_translate(&table, slots, pages, 1), ==, 0);
    dirty_slots_add(&table, 2, 5, 1);
    g_assert_cmpuint(dirty_slots_translate(&table, slots, pages, 1), ==, 1);
    g_assert_cmpuint(pages[0], ==, 5);
    dirty_slots_destroy(&table);
}

/* Slots below the one that is added first are empty, not garbage. */
static void test_slots_between(void)
{
    DirtySlotTable table;
    const uint32_t slots[] = { 3, 0x20003 };
    uint64_t pages[] = { 0, 0 };

    dirty_slots_init(&table);
    dirty_slots_add(&table, 40, 100, 10);
    dirty_slots_add(&table, 0x30001, 100, 10);
    g_assert_cmpuint(dirty_slots_translate(&table, slots, pages, 2), ==, 0);
    dirty_slots_destroy(&table);
}

int main(int argc, char **argv)
{
    static const NamedTest tests[] = {
        { "order", test_order },
        { "nothing-to-do", test_nothing_to_do },
        { "many-rounds", test_many_rounds },
        { "reset/partial", test_partial },
        { "reset/refilled-meanwhile", test_refilled_meanwhile },
        { "reset/refused", test_refused },
        { "reset/no-progress", test_no_progress },
        { "reset/never", test_never },
        { "reset/slow-progress", test_slow_progress },
        { "reset/last-entry", test_last_entry },
        { "reset/signals-blocked", test_signals_blocked },
        { "reset/all-rings-one-ioctl", test_all_rings_one_ioctl },
        { "unknown-entries", test_unknown_entries },
        { "bind", test_bind },
        { "look-once", test_look_once },
        { "room/made", test_make_room },
        { "room/enough", test_room_enough },
        { "room/not-reset", test_room_not_reset },
        { "look", test_look },
        { "publish-all", test_publish_all },
        { "publish-overrun", test_publish_overrun },
        { "peek", test_peek },
        { "peek/slots", test_peek_slots },
        { "full/ordinary", test_full },
        { "full/takes-its-own-only", test_full_takes_its_own_only },
        { "full/but-reaped", test_full_but_reaped },
        { "full/scattered", test_full_scattered },
        { "full/spurious", test_full_spurious },
        { "full/stuck", test_full_stuck },
        { "overrun", test_overrun },
        { "overrun/once", test_overrun_once },
        { "occupied/during-reset", test_occupied_during_reset },
        { "time", test_time },
        { "slots", test_slots },
        { "slots/between", test_slots_between },
    };

    g_test_init(&argc, &argv, NULL);
    named_tests_add("dirty-ring", tests, G_N_ELEMENTS(tests));
    return g_test_run();
}
