/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The thread that maps guest memory, when the kernel does not return.
 *
 * Time limits pass when the test says so (limit_passes()).
 *
 * Limits: the bench's.
 */
#include <sys/mman.h>

#include "map-worker-bench.h"

static Bench *left_behind;      /* reachable, hence no leak */

static void nothing(void *opaque)
{
}

static void pass_first(void *opaque)
{
    pass_one(opaque);
    shim_on_limit = nothing;
}

static void must_not_wait(void *opaque)
{
    g_assert_not_reached();
}

static bool is_mapped(void *at)
{
    return !msync(at, 4 * KiB, MS_ASYNC);
}

/*
 * The kernel does not return from a message of QEMU's memory: the wait ends, and
 * so do later ones at once. That memory stays until it is unmapped from the device.
 */
static void test_late(void)
{
    Bench *b = bench_new();
    void *at = mmap(NULL, 4 * KiB, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    VdpaIovaMap host = { 64 * MiB, 4 * KiB, 64 * MiB + 0x7f0000000000,
                         VDPA_IOVA_NONE, VDPA_IOVA_RW };
    int *result = g_new0(int, 1);
    Error *err = NULL;

    hold(b, true);
    for (unsigned i = 0; i < 3; i++) {
        vdpa_worker_host_map(b->worker, 1, &host, result);
    }
    await_held(b);
    g_assert_false(vdpa_worker_late(b->worker));
    limit_passes(b, pass_first);
    g_assert_false(vdpa_worker_drain(b->worker));
    limit_passes(b, must_not_wait);
    g_assert_false(vdpa_worker_drain(b->worker));
    g_assert_true(vdpa_worker_late(b->worker));
    vdpa_worker_late_error(b->worker, &err);
    g_assert_nonnull(strstr(error_get_pretty(err), "more than 40 s"));
    error_free(err);
    vdpa_worker_forget(b->worker, result);
    g_free(result);
    vdpa_worker_host_unmap(b->worker, 1, host.iova, at, host.size);
    g_assert_true(is_mapped(at));
    b->kernel.bad = host.iova;
    b->kernel.error = ENOMEM;       /* ignored */
    limit_passes(b, NULL);
    hold(b, false);
    while (vdpa_worker_busy(b->worker)) {
        g_usleep(100);
    }
    g_assert_false(vdpa_worker_late(b->worker));
    g_assert_true(vdpa_worker_drain(b->worker));
    g_assert_cmpint(vdpa_worker_error(b->worker, NULL), ==, 0);
    check(b, 3, VHOST_IOTLB_INVALIDATE, host.iova, host.size);
    g_assert_false(is_mapped(at));
    bench_free(b);
}

/* A kernel that gets on is not late, however long all of it takes. */
static void test_slow(void)
{
    Bench *b = bench_new();
    MemoryRegion mr = { 0 };

    b->kernel.slow_us = 12000;      /* so each message is one RANGE */
    hold(b, true);
    give_map(b, 0, 16 * RANGE, &mr);
    await_held(b);
    limit_passes(b, pass_one);
    g_assert_true(vdpa_worker_drain(b->worker));
    limit_passes(b, NULL);
    hold(b, false);
    g_assert_cmpuint(b->kernel.logged, ==, 16);
    bench_free(b);
}

/* A bench whose kernel holds a map of two ranges at 0; another range waits behind. */
static Bench *bench_held(MemoryRegion *mr)
{
    Bench *b = bench_new();

    hold(b, true);
    give_map(b, 0, 2 * RANGE, mr);
    give_map(b, 2 * RANGE, RANGE, mr);
    await_held(b);
    return b;
}

/* Maps that were given up stay given up, and their failure is no failure. */
static void test_abandon_held(void)
{
    MemoryRegion mr = { 0 };
    Bench *b = bench_held(&mr);

    vdpa_worker_abandon(b->worker);
    vdpa_worker_unmap(b->worker, 0, 0, 3 * RANGE);
    vdpa_worker_reset(b->worker);
    give_map(b, 4 * RANGE, RANGE, &mr);
    b->kernel.error = EFAULT;       /* of the one at 0 */
    hold(b, false);
    vdpa_worker_drain(b->worker);
    g_assert_cmpint(vdpa_worker_error(b->worker, NULL), ==, 0);
    g_assert_cmpuint(b->kernel.logged, ==, 3);
    check(b, 1, VHOST_IOTLB_INVALIDATE, 0, 3 * RANGE);
    check(b, 2, VHOST_IOTLB_UPDATE, 4 * RANGE, RANGE);
    bench_free(b);
    g_assert_cmpint(mr.refs, ==, 0);
}

/* A device that goes while the kernel is late: nothing waits, nothing more is sent. */
static void test_free_late(void)
{
    MemoryRegion mr = { 0 };
    Bench *b = bench_held(&mr);

    limit_passes(b, nothing);
    g_assert_false(vdpa_worker_free(b->worker));
    limit_passes(b, NULL);
    hold(b, false);
    g_usleep(20000);
    g_assert_cmpuint(messages(b), ==, 1);
    /* The thread may still be in the kernel: so b stays, as a VdpaFd does. */
    left_behind = b;
}

void add_late_tests(void)
{
    g_test_add_func("/vdpa-map-worker/late", test_late);
    g_test_add_func("/vdpa-map-worker/slow", test_slow);
    g_test_add_func("/vdpa-map-worker/abandon-held", test_abandon_held);
    g_test_add_func("/vdpa-map-worker/free-late", test_free_late);
}
