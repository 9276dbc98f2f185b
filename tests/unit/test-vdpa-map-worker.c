/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The thread that maps guest memory, against a kernel that returns
 * (map-worker-bench.h; one that does not: test-vdpa-map-late.c).
 *
 * Limits: the bench's.
 */
#include <sys/resource.h>

#include "map-worker-bench.h"

/* In the order they were asked for, and cut where huge pages end. */
static void test_messages(void)
{
    Bench *b = bench_new();
    MemoryRegion mr = { 0 };
    uint64_t maps, unmaps;

    vdpa_worker_batch(b->worker, true);
    give_map(b, 0, RANGE, &mr);
    give_map(b, 2 * RANGE - 4 * KiB, 8 * KiB, &mr);
    vdpa_worker_batch(b->worker, false);
    vdpa_worker_unmap(b->worker, 0, 2 * RANGE - 4 * KiB, 8 * KiB);
    vdpa_worker_drain(b->worker);
    check(b, 0, VHOST_IOTLB_BATCH_BEGIN, 0, 0);
    check(b, 1, VHOST_IOTLB_UPDATE, 0, RANGE);
    check(b, 2, VHOST_IOTLB_UPDATE, 2 * RANGE - 4 * KiB, 4 * KiB);
    check(b, 3, VHOST_IOTLB_UPDATE, 2 * RANGE, 4 * KiB);
    check(b, 4, VHOST_IOTLB_BATCH_END, 0, 0);
    check(b, 5, VHOST_IOTLB_INVALIDATE, 2 * RANGE - 4 * KiB, 8 * KiB);
    g_assert_cmpuint(b->kernel.logged, ==, 6);
    vdpa_worker_messages(b->worker, &maps, &unmaps);
    g_assert_cmpuint(maps, ==, 3);
    g_assert_cmpuint(unmaps, ==, 1);
    bench_free(b);
}

/* Maps @n times 32 MiB, without the last page; the size of the largest message. */
static uint64_t largest(Bench *b, unsigned n)
{
    MemoryRegion mr = { 0 };
    uint64_t at = 0, most = 0;

    for (unsigned i = 0; i < n; i++) {
        give_map(b, i * 32 * MiB, 32 * MiB - (i == n - 1 ? 4 * KiB : 0), &mr);
    }
    vdpa_worker_drain(b->worker);
    for (unsigned i = 0; i < b->kernel.logged; i++) {
        const Message *m = &b->kernel.log[i];

        check(b, i, VHOST_IOTLB_UPDATE, at, m->size);
        g_assert_cmpuint(m->iova % (2 * MiB), ==, 0);
        most = MAX(most, m->size);
        at += m->size;
    }
    g_assert_cmpuint(at, ==, n * 32 * MiB - 4 * KiB);
    return most;
}

/* A message maps little if the kernel is slow, and much if it is quick. */
static void test_ranges(void)
{
    Bench *b = bench_new();

    g_assert_cmpuint(largest(b, 32), ==, 32 * MiB);
    g_assert_cmpuint(b->kernel.log[0].size, ==, 2 * MiB);
    bench_free(b);
    b = bench_new();
    b->kernel.slow_us = 12000;
    g_assert_cmpuint(largest(b, 2), ==, 2 * MiB);
    bench_free(b);
}

/* How many messages a region of @size takes, and the largest of them. */
static unsigned region(Bench *b, uint64_t size, uint64_t *most)
{
    MemoryRegion mr = { 0 };
    unsigned before = b->kernel.logged;
    uint64_t sum = 0;

    *most = 0;
    give_map(b, 4096 * MiB, size, &mr);
    vdpa_worker_drain(b->worker);
    for (unsigned i = before; i < b->kernel.logged; i++) {
        *most = MAX(*most, b->kernel.log[i].size);
        sum += b->kernel.log[i].size;
    }
    g_assert_cmpuint(sum, ==, size);
    return b->kernel.logged - before;
}

/* A quick kernel gets large messages; a slow one that has little room, too. */
static void test_room(void)
{
    static const struct {
        unsigned slow_us, room, messages, most;     /* MiB */
    } cases[] = {
        { 0, 0, 15, 256 },          /* 2, 2, 4, 8 ... 128, then eight of 256 */
        { 12000, 0, 1024, 2 },
        { 12000, 2048, 1024, 2 },
        { 12000, 128, 64, 32 },
        { 12000, 2, 1, 2048 },
        { 0, 2, 1, 2048 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        Bench *b = bench_new();
        uint64_t most;
        unsigned n;

        vdpa_worker_set_room(b->worker, cases[i].room);
        b->kernel.slow_us = cases[i].slow_us;
        n = region(b, 2048 * MiB, &most);
        g_assert_cmpuint(n, ==, cases[i].messages);
        g_assert_cmpuint(most, ==, cases[i].most * MiB);
        bench_free(b);
    }
}

/* A full table is said as such, and how large it has to be. */
static void test_full(void)
{
    Bench *b = bench_new();
    uint64_t most;
    Error *err = NULL;

    vdpa_worker_set_room(b->worker, 4);
    b->kernel.bad = 4096 * MiB + 4 * MiB;
    b->kernel.error = EFAULT;
    give_map(b, 4096 * MiB, 8 * MiB, &(MemoryRegion) { 0 });
    vdpa_worker_drain(b->worker);
    g_assert_cmpint(vdpa_worker_error(b->worker, &err), ==, -EFAULT);
    g_assert_nonnull(strstr(error_get_pretty(err), "max_iotlb_entries is 4,"));
    g_assert_nonnull(strstr(error_get_pretty(err), "2048 are enough"));
    error_free(err);
    vdpa_worker_clear_error(b->worker);
    b->kernel.error = 0;
    region(b, 8 * MiB, &most);
    bench_free(b);
}

/* How long a small message takes says nothing about a range. */
static void test_small_maps(void)
{
    Bench *b = bench_new();
    MemoryRegion mr = { 0 };

    for (unsigned i = 0; i < 16; i++) {
        give_map(b, i * 4 * KiB, 4 * KiB, &mr);
    }
    give_map(b, 64 * MiB, 64 * MiB, &mr);
    vdpa_worker_drain(b->worker);
    check(b, 16, VHOST_IOTLB_UPDATE, 64 * MiB, 2 * MiB);
    bench_free(b);
}

static void abandon_now(void *opaque)
{
    Bench *b = opaque;

    vdpa_worker_abandon(b->worker);
}

/* Abandoned while the thread prepared the message: it is not sent. */
static void test_abandon_late(void)
{
    Bench *b = bench_new();
    MemoryRegion mr = { 0 };

    shim_on_populate_opaque = b;
    shim_on_populate = abandon_now;
    give_map(b, 0, RANGE, &mr);
    vdpa_worker_drain(b->worker);
    g_assert_cmpuint(b->kernel.logged, ==, 0);
    shim_on_populate = NULL;
    vdpa_worker_reset(b->worker);
    give_map(b, 0, RANGE, &mr);
    vdpa_worker_drain(b->worker);
    g_assert_cmpuint(b->kernel.logged, ==, 1);
    bench_free(b);
}

/* Of several failures the first is kept. */
static void test_first_error(void)
{
    Bench *b = bench_new();
    MemoryRegion mr = { 0 };

    b->kernel.error = ENOMEM;
    b->kernel.end_error = EIO;
    vdpa_worker_batch(b->worker, true);
    give_map(b, 0, RANGE, &mr);
    vdpa_worker_batch(b->worker, false);
    vdpa_worker_drain(b->worker);
    g_assert_cmpuint(b->kernel.logged, ==, 3);
    g_assert_cmpint(vdpa_worker_error(b->worker, NULL), ==, -ENOMEM);
    bench_free(b);
}

/* A worker that goes does what it was given, and lets all memory go. */
static void test_free(void)
{
    Bench *b = bench_new();
    MemoryRegion mr = { 0 };

    hold(b, true);
    give_map(b, 0, RANGE, &mr);
    give_map(b, RANGE, RANGE, &mr);
    await_held(b);
    hold(b, false);
    bench_free(b);
    g_assert_cmpint(mr.refs, ==, 0);
    g_assert_false(mr.astray);
}

/* One that was quick may become slow. */
static void test_slower(void)
{
    Bench *b = bench_new();
    unsigned before;

    largest(b, 8);
    before = b->kernel.logged;
    b->kernel.slow_us = 12000;
    give_map(b, 0, 256 * MiB, &(MemoryRegion) { 0 });
    vdpa_worker_drain(b->worker);
    g_assert_cmpuint(b->kernel.logged, >, before + 32);
    g_assert_cmpuint(b->kernel.log[b->kernel.logged - 1].size, ==, 2 * MiB);
    bench_free(b);
}

static ShimPopulated populated(bool pins, unsigned perm)
{
    Bench *b = bench_new_for(pins);
    MemoryRegion mr = { 0 };
    VdpaIovaMap map = { 0, RANGE + 4 * KiB, 64 * MiB, 0, perm };

    shim_populated();
    vdpa_worker_map(b->worker, 0, &map, &mr);
    vdpa_worker_drain(b->worker);
    g_assert_cmpuint(b->kernel.logged, ==, 2);
    bench_free(b);
    return shim_populated();
}

/* Memory is asked for before it is pinned, a little at a time, to be written. */
static void test_populate(void)
{
    ShimPopulated found = populated(true, VDPA_IOVA_RW);

    g_assert_cmpuint(found.bytes, ==, RANGE + 4 * KiB);
    g_assert_cmpuint(found.largest, <=, 128 * KiB);
    g_assert_cmpuint(populated(true, VDPA_IOVA_READ).bytes, ==, 0);
    g_assert_cmpuint(populated(false, VDPA_IOVA_RW).bytes, ==, 0);
}

/* Between two messages, a command is let pass. */
static void test_commands_first(void)
{
    Bench *b = bench_new();
    MemoryRegion mr = { 0 };

    hold(b, true);
    give_map(b, 0, RANGE, &mr);
    give_map(b, RANGE, RANGE, &mr);
    await_held(b);
    __atomic_store_n(&b->fd.busy, 1, __ATOMIC_RELAXED);
    hold(b, false);
    g_usleep(20000);
    g_assert_cmpuint(messages(b), ==, 1);
    __atomic_store_n(&b->fd.busy, 0, __ATOMIC_RELAXED);
    vdpa_worker_drain(b->worker);
    g_assert_cmpuint(messages(b), ==, 2);
    bench_free(b);
}

/* Nothing more is mapped after a failure, of that map or another; all is unmapped. */
static void test_failure(void)
{
    Bench *b = bench_new();
    MemoryRegion mr = { 0 };
    Error *err = NULL;

    b->kernel.bad = RANGE;
    b->kernel.error = EFAULT;
    give_map(b, 0, 4 * RANGE, &mr);
    give_map(b, 4 * RANGE, RANGE, &mr);
    vdpa_worker_unmap(b->worker, 0, 0, 4 * RANGE);
    vdpa_worker_unmap(b->worker, 0, 4 * RANGE, RANGE);
    vdpa_worker_drain(b->worker);
    g_assert_cmpuint(b->kernel.logged, ==, 4);
    check(b, 1, VHOST_IOTLB_UPDATE, RANGE, RANGE);
    check(b, 2, VHOST_IOTLB_INVALIDATE, 0, 4 * RANGE);
    check(b, 3, VHOST_IOTLB_INVALIDATE, 4 * RANGE, RANGE);
    g_assert_cmpint(vdpa_worker_error(b->worker, &err), ==, -EFAULT);
    error_free(err);
    vdpa_worker_clear_error(b->worker);
    give_map(b, 8 * RANGE, RANGE, &mr);
    vdpa_worker_drain(b->worker);
    g_assert_cmpint(vdpa_worker_error(b->worker, NULL), ==, 0);
    check(b, 4, VHOST_IOTLB_UPDATE, 8 * RANGE, RANGE);
    bench_free(b);
}

/* A failure is said once; of memory that is there, not of all there ever was. */
static void test_words(void)
{
    struct rlimit before, limit;
    Bench *b = bench_new();
    MemoryRegion mr = { 0 };
    Error *err = NULL;
    unsigned said = shim_reported();

    getrlimit(RLIMIT_MEMLOCK, &before);
    limit = before;
    limit.rlim_cur = MIN(before.rlim_max, 4 * MiB);
    g_assert_cmpint(setrlimit(RLIMIT_MEMLOCK, &limit), ==, 0);
    give_map(b, 0, 64 * MiB, &mr);
    vdpa_worker_unmap(b->worker, 0, 0, 64 * MiB);
    vdpa_worker_drain(b->worker);
    b->kernel.bad = 8 * MiB;
    b->kernel.error = ENOMEM;
    give_map(b, 8 * MiB, 8 * MiB, &mr);
    vdpa_worker_drain(b->worker);
    g_assert_cmpint(vdpa_worker_error(b->worker, &err), ==, -ENOMEM);
    g_assert_nonnull(strstr(error_get_pretty(err), "cannot pin 8 MiB"));
    g_assert_nonnull(strstr(error_get_pretty(err), "RLIMIT_MEMLOCK is 4 MiB"));
    error_free(err);
    vdpa_worker_report(b->worker);
    vdpa_worker_report(b->worker);
    g_assert_cmpuint(shim_reported(), ==, said + 1);
    vdpa_worker_clear_error(b->worker);
    b->kernel.bad = 24 * MiB;
    give_map(b, 24 * MiB, 8 * MiB, &mr);
    vdpa_worker_drain(b->worker);
    vdpa_worker_report(b->worker);
    g_assert_cmpuint(shim_reported(), ==, said + 2);
    vdpa_worker_reset(b->worker);
    give_map(b, 24 * MiB, 8 * MiB, &mr);
    vdpa_worker_drain(b->worker);
    err = NULL;
    g_assert_cmpint(vdpa_worker_error(b->worker, &err), ==, -ENOMEM);
    g_assert_nonnull(strstr(error_get_pretty(err), "cannot pin 8 MiB"));
    error_free(err);
    setrlimit(RLIMIT_MEMLOCK, &before);
    bench_free(b);
}

/* The kernel counts what all devices of a process pin together. */
static void test_words_of_two(void)
{
    struct rlimit before, limit;
    Bench *process = bench_new_for(false), *a = bench_new(), *b = bench_new();
    MemoryRegion mr = { 0 };
    Error *err = NULL;

    getrlimit(RLIMIT_MEMLOCK, &before);
    limit = before;
    limit.rlim_cur = MIN(before.rlim_max, 4 * MiB);
    g_assert_cmpint(setrlimit(RLIMIT_MEMLOCK, &limit), ==, 0);
    give_map(process, 0, 64 * MiB, &mr);
    give_map(a, 0, 3 * MiB, &mr);
    vdpa_worker_drain(process->worker);
    vdpa_worker_drain(a->worker);
    b->kernel.error = EFAULT;
    give_map(b, 0, 3 * MiB, &mr);
    vdpa_worker_drain(b->worker);
    g_assert_cmpint(vdpa_worker_error(b->worker, &err), ==, -EFAULT);
    g_assert_nonnull(strstr(error_get_pretty(err), "cannot pin 3 MiB"));
    g_assert_nonnull(strstr(error_get_pretty(err), "together pin 6 MiB"));
    error_free(err);
    bench_free(a);
    err = NULL;
    g_assert_cmpint(vdpa_worker_error(b->worker, &err), ==, -EFAULT);
    g_assert_null(strstr(error_get_pretty(err), "RLIMIT"));
    error_free(err);
    setrlimit(RLIMIT_MEMLOCK, &before);
    bench_free(b);
    bench_free(process);
}

/* Who wants to get rid of a device waits for one message. */
static void test_abandon(void)
{
    Bench *b = bench_new();
    MemoryRegion mr = { 0 };

    hold(b, true);
    give_map(b, 0, 16 * RANGE, &mr);
    give_map(b, 16 * RANGE, 16 * RANGE, &mr);
    await_held(b);
    vdpa_worker_abandon(b->worker);
    vdpa_worker_unmap(b->worker, 0, 0, 32 * RANGE);
    hold(b, false);
    vdpa_worker_drain(b->worker);
    g_assert_cmpuint(messages(b), ==, 2);
    check(b, 1, VHOST_IOTLB_INVALIDATE, 0, 32 * RANGE);
    vdpa_worker_reset(b->worker);
    give_map(b, 0, RANGE, &mr);
    vdpa_worker_drain(b->worker);
    g_assert_cmpuint(messages(b), ==, 3);
    bench_free(b);
    g_assert_cmpint(mr.refs, ==, 0);
}

/* Memory cannot go before its map is done, and goes in the main loop. */
static void test_references(void)
{
    Bench *b = bench_new();
    MemoryRegion mr = { 0 };

    hold(b, true);
    give_map(b, 0, 2 * RANGE, &mr);
    await_held(b);
    vdpa_worker_unmap(b->worker, 0, 0, 2 * RANGE);
    shim_main_loop();
    g_assert_cmpint(mr.refs, ==, 1);
    hold(b, false);
    vdpa_worker_drain(b->worker);
    g_assert_cmpint(mr.refs, ==, 0);
    g_assert_false(mr.astray);
    bench_free(b);
}

/* QEMU's own memory: one message each, its failure is its owner's alone. */
static void test_host(void)
{
    Bench *b = bench_new();
    VdpaIovaMap host = { 64 * MiB, 2 * RANGE, 64 * MiB + 0x7f0000000000,
                         VDPA_IOVA_NONE, VDPA_IOVA_RW };
    int result = 0;

    b->kernel.bad = host.iova;
    b->kernel.error = ENOMEM;
    vdpa_worker_host_batch(b->worker, 1, true, &result);
    vdpa_worker_host_map(b->worker, 1, &host, &result);
    vdpa_worker_host_batch(b->worker, 1, false, &result);
    vdpa_worker_drain(b->worker);
    g_assert_cmpint(result, ==, -ENOMEM);
    g_assert_cmpint(vdpa_worker_error(b->worker, NULL), ==, 0);
    g_assert_cmpuint(b->kernel.logged, ==, 3);
    check(b, 1, VHOST_IOTLB_UPDATE, host.iova, host.size);
    bench_free(b);
}

/* Said when there is nothing left to do, and not if more was given meanwhile. */
static void test_idle(void)
{
    Bench *b = bench_new();
    MemoryRegion mr = { 0 };

    give_map(b, 0, RANGE, &mr);
    vdpa_worker_drain(b->worker);
    hold(b, true);
    give_map(b, RANGE, RANGE, &mr);
    await_held(b);
    shim_main_loop();
    g_assert_cmpuint(b->idle, ==, 0);
    g_assert_true(vdpa_worker_busy(b->worker));
    hold(b, false);
    vdpa_worker_drain(b->worker);
    shim_main_loop();
    g_assert_cmpuint(b->idle, ==, 1);
    g_assert_false(vdpa_worker_busy(b->worker));
    bench_free(b);
}

/* In the end the last request counts, whatever was completed last. */
static void test_at_random(void)
{
    enum { PLACES = 16, ROUNDS = 400 };
    bool wanted[PLACES] = { false }, found[PLACES] = { false };
    MemoryRegion mr[PLACES] = { 0 };
    Bench *b = bench_new();

    for (int i = 0; i < ROUNDS; i++) {
        unsigned at = g_test_rand_int_range(0, PLACES);

        if (wanted[at]) {
            vdpa_worker_unmap(b->worker, 0, at * 2 * RANGE, 2 * RANGE);
        } else {
            give_map(b, at * 2 * RANGE, 2 * RANGE, &mr[at]);
        }
        wanted[at] = !wanted[at];
        shim_main_loop();
        if (!g_test_rand_int_range(0, 50)) {
            vdpa_worker_drain(b->worker);
        }
    }
    vdpa_worker_drain(b->worker);
    for (unsigned i = 0; i < b->kernel.logged; i++) {
        const Message *m = &b->kernel.log[i];

        found[m->iova / (2 * RANGE)] = m->type == VHOST_IOTLB_UPDATE;
    }
    for (unsigned i = 0; i < PLACES; i++) {
        g_assert_cmpint(found[i], ==, wanted[i]);
        g_assert_cmpint(mr[i].refs, ==, 0);
        g_assert_false(mr[i].astray);
    }
    bench_free(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vdpa-map-worker/messages", test_messages);
    g_test_add_func("/vdpa-map-worker/ranges", test_ranges);
    g_test_add_func("/vdpa-map-worker/slower", test_slower);
    g_test_add_func("/vdpa-map-worker/room", test_room);
    g_test_add_func("/vdpa-map-worker/full", test_full);
    g_test_add_func("/vdpa-map-worker/small-maps", test_small_maps);
    g_test_add_func("/vdpa-map-worker/abandon-late", test_abandon_late);
    g_test_add_func("/vdpa-map-worker/first-error", test_first_error);
    g_test_add_func("/vdpa-map-worker/free", test_free);
    g_test_add_func("/vdpa-map-worker/words-of-two", test_words_of_two);
    g_test_add_func("/vdpa-map-worker/populate", test_populate);
    g_test_add_func("/vdpa-map-worker/commands-first", test_commands_first);
    g_test_add_func("/vdpa-map-worker/failure", test_failure);
    g_test_add_func("/vdpa-map-worker/words", test_words);
    g_test_add_func("/vdpa-map-worker/abandon", test_abandon);
    g_test_add_func("/vdpa-map-worker/references", test_references);
    g_test_add_func("/vdpa-map-worker/host", test_host);
    g_test_add_func("/vdpa-map-worker/idle", test_idle);
    add_late_tests();
    g_test_add_func("/vdpa-map-worker/at-random", test_at_random);
    return g_test_run();
}
