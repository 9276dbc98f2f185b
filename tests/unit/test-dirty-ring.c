/*
 * Dirty ring: each rule of the ring state machine on its own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * One or two rings in plain memory and a scripted kernel: each call of reset
 * takes the next step of a script, which says how many entries to reset or
 * which error to return, and what else happens meanwhile.  Publishing appends
 * to a list, with the number of ioctls made so far.
 *
 * Limits: deterministic by construction; interleavings that only threads
 * find are test-dirty-ring-model.c's.
 */
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <time.h>

#include "accel/kvm/dirty-ring-core.h"
#include "accel/kvm/dirty-ring-slots.h"

#define SIZE 16
#define SLOT_PAGES 1000
#define ALL 1000

typedef struct Bench Bench;

/* One call of reset: how many entries, or -errno; then what happens. */
typedef struct Step {
    int ret;
    void (*meanwhile)(Bench *bench);
} Step;

struct Bench {
    DirtyRingSet set;
    DirtySlotTable slots;
    struct kvm_dirty_gfn entries[2][SIZE];
    DirtyRing *ring[2];
    uint64_t pushed[2];
    uint64_t reset[2];
    const Step *script;         /* the last step repeats */
    unsigned calls;             /* atomic */
    GArray *published;          /* of uint64_t: protected by lock */
    unsigned calls_at_publish;
    pthread_mutex_t lock;
    pthread_t thread;
    uint64_t reaped;            /* by thread */
    bool landed;                /* atomic: settle() has returned */
    pthread_mutex_t gate;       /* publish() passes through it */
    uint64_t counter;
};

static void bench_push(Bench *b, int r, uint32_t slot, uint64_t offset)
{
    struct kvm_dirty_gfn *entry = &b->entries[r][b->pushed[r]++ % SIZE];

    entry->slot = slot;
    entry->offset = offset;
    __atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_DIRTY, __ATOMIC_RELEASE);
}

static void bench_push_run(Bench *b, int r, uint64_t first, int n)
{
    for (int i = 0; i < n; i++) {
        bench_push(b, r, 0, first + i);
    }
}

static int bench_reset(void *opaque)
{
    Bench *b = opaque;
    const Step *step = b->script;
    int done = 0;

    __atomic_fetch_add(&b->calls, 1, __ATOMIC_RELAXED);
    for (int r = 0; r < 2; r++) {
        struct kvm_dirty_gfn *entry = &b->entries[r][b->reset[r] % SIZE];

        while (done < step->ret &&
               __atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) ==
               KVM_DIRTY_GFN_F_RESET) {
            __atomic_store_n(&entry->flags, 0, __ATOMIC_RELEASE);
            done++;
            entry = &b->entries[r][++b->reset[r] % SIZE];
        }
    }
    if (step->meanwhile) {
        step->meanwhile(b);
    }
    if (step[1].ret || step[1].meanwhile) {
        b->script++;
    }
    return step->ret < 0 ? step->ret : done;
}

static size_t bench_translate(void *opaque, const uint32_t *slots,
                              uint64_t *pages, size_t n)
{
    return dirty_slots_translate(&((Bench *)opaque)->slots, slots, pages, n);
}

static void bench_publish(void *opaque, const uint64_t *pages, size_t n)
{
    Bench *b = opaque;

    pthread_mutex_lock(&b->gate);
    pthread_mutex_unlock(&b->gate);
    pthread_mutex_lock(&b->lock);
    b->calls_at_publish = __atomic_load_n(&b->calls, __ATOMIC_RELAXED);
    g_array_append_vals(b->published, pages, n);
    pthread_mutex_unlock(&b->lock);
}

static bool bench_leave_alone(void *opaque, void *owner)
{
    return owner == opaque;
}

static const DirtyRingOps bench_ops = {
    .reset = bench_reset,
    .translate = bench_translate,
    .publish = bench_publish,
    .leave_alone = bench_leave_alone,
};

static const Step reset_all[] = { { ALL, NULL }, {} };

static Bench *bench_new(const Step *script)
{
    Bench *b = g_new0(Bench, 1);

    b->script = script;
    b->published = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    pthread_mutex_init(&b->lock, NULL);
    pthread_mutex_init(&b->gate, NULL);
    dirty_slots_init(&b->slots);
    dirty_slots_add(&b->slots, 0, 0, SLOT_PAGES);
    dirty_ring_set_init(&b->set, SIZE, &bench_ops, b);
    for (int r = 0; r < 2; r++) {
        b->ring[r] = dirty_ring_add(&b->set, r, b->entries[r]);
    }
    return b;
}

static void bench_free(Bench *b)
{
    dirty_ring_set_destroy(&b->set);
    dirty_slots_destroy(&b->slots);
    g_array_unref(b->published);
    g_free(b);
}

static DirtyRingStats bench_stats(Bench *b)
{
    DirtyRingStats stats;

    dirty_ring_stats(&b->set, &stats);
    return stats;
}

static void nap_ms(int ms)
{
    struct timespec nap = { .tv_nsec = ms * 1000000l };

    nanosleep(&nap, NULL);
}

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
    g_assert_cmpuint(bench_stats(b).resets_partial, ==, 5);
    g_assert_cmpuint(bench_stats(b).resets_failed, ==, 2);
    g_assert_false(dirty_ring_broken(&b->set));
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

static void test_no_progress(void)
{
    static const Step script[] = { { 0, push_one_more }, { -EINTR, NULL }, {} };
    Bench *b = bench_new(script);

    b->set.patience_ns = 2 * 1000 * 1000;
    bench_push_run(b, 0, 0, 5);
    g_assert_cmpuint(dirty_ring_reap(b->ring[0]), ==, 5);
    g_assert_cmpuint(b->calls, >, 10);
    g_assert_true(dirty_ring_broken(&b->set));
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

static void test_leave_alone(void)
{
    Bench *b = bench_new(reset_all);
    uint64_t fastest;

    dirty_ring_bind(b->ring[0], b, NULL);
    dirty_ring_bind(b->ring[1], &fastest, NULL);
    bench_push_run(b, 0, 0, 5);
    bench_push_run(b, 1, 0, 3);
    g_assert_cmpuint(dirty_ring_reap_idle(&b->set, &fastest), ==, 3);
    g_assert_cmpuint(fastest, ==, 3);
    g_assert_cmpuint(dirty_ring_reap_all(&b->set), ==, 5);
    bench_free(b);
}

/* The reaper's measure counts what others have harvested, too. */
static void test_uptake(void)
{
    Bench *b = bench_new(reset_all);
    uint64_t fastest;

    bench_push_run(b, 0, 0, 5);
    dirty_ring_reap(b->ring[0]);
    bench_push_run(b, 0, 0, 4);
    g_assert_cmpuint(dirty_ring_reap_idle(&b->set, &fastest), ==, 4);
    g_assert_cmpuint(fastest, ==, 9);
    g_assert_cmpuint(dirty_ring_reap_idle(&b->set, &fastest), ==, 0);
    g_assert_cmpuint(fastest, ==, 0);
    bench_free(b);
}

static void test_full(void)
{
    Bench *b = bench_new(reset_all);

    for (int i = 0; i < 20; i++) {
        bench_push_run(b, 0, 0, SIZE - 2);
        g_assert_true(dirty_ring_full(b->ring[0]));
    }
    g_assert_cmpuint(bench_stats(b).full_exits, ==, 20);
    g_assert_cmpuint(bench_stats(b).full_empty, ==, 0);
    bench_free(b);
}

/* The other ring's entries are left for their own vCPU or the reaper. */
static void test_full_takes_its_own_only(void)
{
    Bench *b = bench_new(reset_all);

    bench_push_run(b, 0, 0, SIZE - 2);
    bench_push_run(b, 1, 0, 4);
    g_assert_true(dirty_ring_full(b->ring[0]));
    g_assert_cmpuint(dirty_ring_harvested(b->ring[1]), ==, 0);
    bench_free(b);
}

/* Somebody else emptied the ring first: fine, any number of times. */
static void test_full_but_reaped(void)
{
    Bench *b = bench_new(reset_all);

    for (int i = 0; i < 20; i++) {
        bench_push_run(b, 0, 0, SIZE - 2);
        dirty_ring_reap_all(&b->set);
        g_assert_true(dirty_ring_full(b->ring[0]));
    }
    g_assert_cmpuint(bench_stats(b).full_empty, ==, 20);
    g_assert_false(dirty_ring_broken(&b->set));
    bench_free(b);
}

/* A kernel that goes on saying full: say so, do not spin, do not trust it. */
static void test_full_nonsense(void)
{
    Bench *b = bench_new(reset_all);
    int sensible = 0;

    bench_push_run(b, 0, 0, SIZE - 2);
    g_assert_true(dirty_ring_full(b->ring[0]));
    while (sensible < 100 && dirty_ring_full(b->ring[0])) {
        sensible++;
    }
    g_assert_cmpint(sensible, <, 5);
    g_assert_true(dirty_ring_broken(&b->set));
    g_assert_true(b->ring[0]->overflowed);
    g_assert_false(b->ring[1]->overflowed);
    g_assert_cmpuint(bench_stats(b).overflows, ==, 1);
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
    bench_free(b);
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
 * A sync that finds the whole ring harvested by somebody whose ioctl is still
 * running, and filled anew behind: it has to take what is new.
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
    g_assert_cmpuint(b->published->len, ==, SIZE - 1 + 5);
    bench_free(b);
}

static void *reap_then_land(void *opaque)
{
    Bench *b = opaque;

    dirty_ring_settle(&b->set);
    __atomic_store_n(&b->landed, true, __ATOMIC_RELEASE);
    return NULL;
}

/* settle() waits for pages that another thread has not published yet. */
static void test_settle(void)
{
    Bench *b = bench_new(reset_all);
    pthread_t settler;

    pthread_mutex_lock(&b->gate);
    bench_push_run(b, 0, 0, 3);
    pthread_create(&b->thread, NULL, reap_all_thread, b);
    while (!dirty_ring_harvested(b->ring[0])) {
        nap_ms(1);
    }
    pthread_create(&settler, NULL, reap_then_land, b);
    nap_ms(50);
    g_assert_false(__atomic_load_n(&b->landed, __ATOMIC_ACQUIRE));

    pthread_mutex_unlock(&b->gate);
    pthread_join(settler, NULL);
    g_assert_cmpuint(b->published->len, ==, 3);
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
    g_assert_cmpuint(b->published->len, ==, 9);
    g_assert_cmpuint(b->calls, ==, 2);
    bench_free(b);
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

    dirty_slots_remove(&table, 2);
    dirty_slots_remove(&table, 77);
    pages[0] = 0;
    g_assert_cmpuint(dirty_slots_translate(&table, slots, pages, 1), ==, 0);
    dirty_slots_add(&table, 2, 5, 1);
    g_assert_cmpuint(dirty_slots_translate(&table, slots, pages, 1), ==, 1);
    g_assert_cmpuint(pages[0], ==, 5);
    dirty_slots_destroy(&table);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        { "order", test_order },
        { "nothing-to-do", test_nothing_to_do },
        { "many-rounds", test_many_rounds },
        { "reset/partial", test_partial },
        { "reset/refilled-meanwhile", test_refilled_meanwhile },
        { "reset/refused", test_refused },
        { "reset/no-progress", test_no_progress },
        { "reset/all-rings-one-ioctl", test_all_rings_one_ioctl },
        { "reset/spared", test_spared },
        { "unknown-entries", test_unknown_entries },
        { "bind", test_bind },
        { "leave-alone", test_leave_alone },
        { "uptake", test_uptake },
        { "full/ordinary", test_full },
        { "full/takes-its-own-only", test_full_takes_its_own_only },
        { "full/but-reaped", test_full_but_reaped },
        { "full/nonsense", test_full_nonsense },
        { "overrun", test_overrun },
        { "sync-behind-another", test_sync_behind_another },
        { "settle", test_settle },
        { "slots", test_slots },
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strconcat("/dirty-ring/", tests[i].name,
                                            NULL);

        g_test_add_func(path, tests[i].run);
    }
    return g_test_run();
}
