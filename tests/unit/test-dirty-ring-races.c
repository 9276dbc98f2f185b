/*
 * Dirty ring: the rules that take two threads to break
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Hooks of ring-bench.h hold a thread at the place where a rule matters: in the
 * ioctl, in the middle of a harvest, before it publishes.  So each test meets its
 * interleaving in every run.  Where a rule is about the order of two accesses to
 * memory, a second thread makes the conflicting access all the time, and
 * ThreadSanitizer judges.
 *
 * Limits: chosen interleavings; test-dirty-ring-model.c tries random ones.
 */
#include <errno.h>
#include <glib.h>

#include "ring-bench.h"
#include "named-tests.h"

static void set_flag(Bench *b, int i)
{
    __atomic_store_n(&b->flag[i], true, __ATOMIC_RELEASE);
}

static void wait_flag(Bench *b, int i)
{
    while (!__atomic_load_n(&b->flag[i], __ATOMIC_ACQUIRE)) {
        nap_ms(1);
    }
}

/* The kernel resets by itself, on a thread of the test's. */
static int no_reset(void *opaque)
{
    (void)opaque;
    return -EINTR;
}

static void *reap_all_thread(void *opaque)
{
    Bench *b = opaque;

    b->reaped = dirty_ring_reap_all(&b->set);
    return NULL;
}

static void refill_and_sync(Bench *b)
{
    bench_push_run(b, 0, 500, 5);
    pthread_create(&b->thread, NULL, reap_all_thread, b);
    nap_ms(50);
}

/*
 * A sync that finds the whole ring harvested by a thread whose ioctl is still
 * running, and filled anew behind: it has to take the new entries.
 */
static void test_sync_behind_another(void)
{
    static const Step script[] = {
        { ALL, refill_and_sync }, { ALL, NULL }, {},
    };
    Bench *b = bench_new(script);

    bench_push_run(b, 0, 0, SIZE - 1);
    dirty_ring_reap(b->ring[0]);
    pthread_join(b->thread, NULL);
    g_assert_cmpuint(b->reaped, ==, 5);
    g_assert_cmpuint(b->published->len, ==,
                     SIZE - 1 + 5 + bench_stats(b).republished);
    bench_free(b);
}

static void *wait_published(void *opaque)
{
    Bench *b = opaque;

    dirty_ring_wait_published(&b->set);
    __atomic_store_n(&b->waited, true, __ATOMIC_RELEASE);
    return NULL;
}

/* dirty_ring_wait_published() waits for pages that another thread has not published yet. */
static void test_wait(void)
{
    Bench *b = bench_new(reset_all);
    pthread_t waiter;

    pthread_mutex_lock(&b->gate[0]);
    pthread_mutex_lock(&b->gate[1]);
    bench_push_run(b, 0, 0, 3);
    pthread_create(&b->thread, NULL, reap_all_thread, b);
    while (!dirty_ring_harvested(b->ring[0])) {
        nap_ms(1);
    }
    pthread_create(&waiter, NULL, wait_published, b);
    nap_ms(50);
    g_assert_false(__atomic_load_n(&b->waited, __ATOMIC_ACQUIRE));

    pthread_mutex_unlock(&b->gate[0]);
    pthread_mutex_unlock(&b->gate[1]);
    pthread_join(waiter, NULL);
    g_assert_cmpuint(b->published->len, ==, 3);
    pthread_join(b->thread, NULL);
    bench_free(b);
}

static void *reap_first_thread(void *opaque)
{
    dirty_ring_reap(((Bench *)opaque)->ring[0]);
    return NULL;
}

static void *reap_second_thread(void *opaque)
{
    dirty_ring_reap(((Bench *)opaque)->ring[1]);
    return NULL;
}

/* Two batches are on their way, and the younger one is published first. */
static void test_wait_out_of_order(void)
{
    Bench *b = bench_new(reset_all);
    pthread_t older, younger, waiter;

    pthread_mutex_lock(&b->gate[0]);
    pthread_mutex_lock(&b->gate[1]);
    bench_push(b, 0, 0, 2);
    pthread_create(&older, NULL, reap_first_thread, b);
    while (!dirty_ring_harvested(b->ring[0])) {
        nap_ms(1);
    }
    bench_push(b, 1, 0, 3);
    pthread_create(&younger, NULL, reap_second_thread, b);
    while (!dirty_ring_harvested(b->ring[1])) {
        nap_ms(1);
    }
    pthread_create(&waiter, NULL, wait_published, b);
    nap_ms(50);
    pthread_mutex_unlock(&b->gate[1]);
    pthread_join(younger, NULL);
    nap_ms(50);
    g_assert_false(__atomic_load_n(&b->waited, __ATOMIC_ACQUIRE));

    pthread_mutex_unlock(&b->gate[0]);
    pthread_join(waiter, NULL);
    g_assert_cmpuint(bench_published(b), ==, 2);
    pthread_join(older, NULL);
    bench_free(b);
}

enum { MARKED, CLEARED };

/* The second ring's harvester: its entries are marked, it is not done yet. */
static void pause_in_harvest(Bench *b)
{
    if (!__atomic_load_n(&b->flag[MARKED], __ATOMIC_ACQUIRE)) {
        set_flag(b, MARKED);
        wait_flag(b, CLEARED);
    }
}

static void dawdle_in_ioctl(Bench *b)
{
    set_flag(b, CLEARED);
    nap_ms(100);
    b->counter = bench_published(b);
}

/*
 * The ioctl of one thread has cleared the flags of another one's batch and is
 * still running: the other one must not publish yet.
 */
static void test_judged_after_ioctl(void)
{
    static const Step script[] = { { ALL, dawdle_in_ioctl }, { ALL, NULL }, {} };
    Bench *b = bench_new(script);

    b->translating = pause_in_harvest;
    bench_push(b, 1, 0, 3);
    pthread_create(&b->thread, NULL, reap_second_thread, b);
    wait_flag(b, MARKED);
    bench_push(b, 0, 0, 2);
    dirty_ring_reap(b->ring[0]);
    pthread_join(b->thread, NULL);
    g_assert_cmpuint(b->counter, ==, 0);
    g_assert_cmpuint(bench_published(b), ==, 2);
    g_assert_cmpuint(b->calls, ==, 1);
    bench_free(b);
}

/* A guest fills the ring while the ioctl that has reset it is still running. */
static void overtake(Bench *b)
{
    for (int i = 0; i < SIZE - 2; i++) {
        bench_push(b, 0, 0, 100 + 65 * (i % 13));
    }
    pthread_create(&b->thread, NULL, reap_first_thread, b);
    while (dirty_ring_harvested(b->ring[0]) < 4 + SIZE - 2) {
        nap_ms(1);
    }
}

/*
 * Two of the four entries are passed over before the ioctl's end is noted, and
 * are suspects; so are the last of both ioctls.
 */
static void test_overtaken(void)
{
    static const Step script[] = { { ALL, overtake }, { ALL, NULL }, {} };
    Bench *b = bench_new(script);

    for (int i = 0; i < 4; i++) {
        bench_push(b, 0, 0, 70 * i + 1);
    }
    g_assert_cmpuint(dirty_ring_reap(b->ring[0]), ==, 4);
    pthread_join(b->thread, NULL);
    g_assert_cmpuint(bench_stats(b).suspects, ==, 4);
    bench_free(b);
}

/* Others reset, and the guest refills, for as long as the harvest goes on. */
static void refill(Bench *b)
{
    if (b->counter++ < 100) {
        bench_reset(b);
        bench_push_run(b, 0, 0, SIZE / 2);
    }
}

static void test_bounded(void)
{
    Bench *b = bench_new(reset_all);

    b->translating = refill;
    bench_push_run(b, 0, 0, SIZE / 2);
    g_assert_cmpuint(dirty_ring_reap(b->ring[0]), <=, SIZE);
    bench_free(b);
}

/* Fills each entry anew as soon as it is collected, as KVM may after a reset. */
static void *eager_thread(void *opaque)
{
    Bench *b = opaque;

    while (!__atomic_load_n(&b->flag[0], __ATOMIC_ACQUIRE)) {
        struct kvm_dirty_gfn *entry = &b->entries[0][b->reset[0] % SIZE];

        if (__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) ==
            KVM_DIRTY_GFN_F_RESET) {
            entry->slot = UINT32_MAX;
            entry->offset = UINT64_MAX;
            __atomic_store_n(&entry->flags, 0, __ATOMIC_RELEASE);
            b->reset[0]++;
        }
    }
    return NULL;
}

/* An entry is read before it is marked: ThreadSanitizer sees it otherwise. */
static void test_read_before_mark(void)
{
    Bench *b = bench_new(reset_all);
    static const DirtyRingOps ops = {
        .reset = no_reset, .translate = bench_translate,
        .publish = bench_publish,
    };

    b->set.ops = &ops;
    /* On a busy machine the other thread may not run for a second. */
    b->set.reset_timeout_ns = 60ull * 1000 * 1000 * 1000;
    pthread_create(&b->thread, NULL, eager_thread, b);
    for (int i = 0; i < 3000; i++) {
        bench_push_run(b, 0, 0, SIZE / 2);
        dirty_ring_reap(b->ring[0]);
    }
    set_flag(b, 0);
    pthread_join(b->thread, NULL);
    g_assert_cmpuint(bench_stats(b).unknown, ==, 0);
    bench_free(b);
}

static void *bind_thread(void *opaque)
{
    Bench *b = opaque;

    while (!__atomic_load_n(&b->flag[0], __ATOMIC_ACQUIRE)) {
        dirty_ring_bind(b->ring[0], b, NULL);
        dirty_ring_bind(b->ring[0], NULL, NULL);
    }
    return NULL;
}

/* The owner is asked for under the ring's lock: ThreadSanitizer sees it. */
static void test_bind_while_reaping(void)
{
    Bench *b = bench_new(reset_all);

    pthread_create(&b->thread, NULL, bind_thread, b);
    for (int i = 0; i < 1000; i++) {
        bench_make_room(b);
    }
    set_flag(b, 0);
    pthread_join(b->thread, NULL);
    bench_free(b);
}

/* A thread whose entries another one's ioctl has reset makes none itself. */
static void test_spared(void)
{
    static const Step script[] = {
        { ALL, refill_and_sync }, { ALL, NULL }, {},
    };
    Bench *b = bench_new(script);

    bench_push_run(b, 0, 0, 4);
    dirty_ring_reap(b->ring[0]);
    pthread_join(b->thread, NULL);
    g_assert_cmpuint(b->published->len, ==, 9 + bench_stats(b).republished);
    g_assert_cmpuint(b->calls, ==, 2);
    bench_free(b);
}

static void *slots_thread(void *opaque)
{
    Bench *b = opaque;

    for (uint32_t slot = 1; !__atomic_load_n(&b->flag[0], __ATOMIC_ACQUIRE);
         slot = slot % 60000 + 1) {
        dirty_slots_add(&b->slots, slot, 0, 1);
    }
    return NULL;
}

/* Slots come while others translate: AddressSanitizer and ThreadSanitizer see. */
static void test_slots_come(void)
{
    Bench *b = bench_new(reset_all);
    const uint32_t slot = 0;

    pthread_create(&b->thread, NULL, slots_thread, b);
    for (int i = 0; i < 50000; i++) {
        uint64_t page = 5;

        g_assert_cmpuint(dirty_slots_translate(&b->slots, &slot, &page, 1), ==,
                         1);
    }
    set_flag(b, 0);
    pthread_join(b->thread, NULL);
    bench_free(b);
}

int main(int argc, char **argv)
{
    static const NamedTest tests[] = {
        { "reset/judged-after-ioctl", test_judged_after_ioctl },
        { "reset/spared", test_spared },
        { "sync-behind-another", test_sync_behind_another },
        { "wait", test_wait },
        { "wait/out-of-order", test_wait_out_of_order },
        { "overtaken", test_overtaken },
        { "bounded", test_bounded },
        { "read-before-mark", test_read_before_mark },
        { "bind-while-reaping", test_bind_while_reaping },
        { "slots/come", test_slots_come },
    };

    g_test_init(&argc, &argv, NULL);
    named_tests_add("dirty-ring-races", tests, G_N_ELEMENTS(tests));
    return g_test_run();
}
