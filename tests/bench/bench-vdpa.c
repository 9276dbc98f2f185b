/*
 * Lookups in an IOVA table and descriptors through a shadow ring, ours and
 * the base's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *     bench-vdpa SUBJECT find MAPS LOOKUPS             ns a lookup
 *     bench-vdpa SUBJECT alloc MAPS                    ns a map
 *     bench-vdpa SUBJECT ring MAPS SEGMENTS ROUNDS     ns a descriptor, and
 *                                                      notifications a chain
 *
 * Theory of operation
 *
 * Addresses are looked up in an order that no cache foresees.  The ring is
 * driven by the unit tests' guest and device: the guest offers 64 chains, the
 * shadow ring forwards them, the device returns them, the shadow ring gives
 * them back; only what the shadow ring does is timed, in CPU time of this
 * thread.  The sum of all answers is printed so that none can be left out.
 *
 * Limits: everything is in one thread, so caches are warmer than in life.
 */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fake-vdpa.h"

#include "bench-vdpa.h"

#define BATCH 64

static uint64_t sum;

static double cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1e9 + now.tv_nsec;
}

/* --- ours ----------------------------------------------------------------- */

static bool ours_add(VdpaIovaTable *table, size_t i)
{
    VdpaIovaMap map = {
        .iova = bench_iova(i),
        .size = BENCH_PAGE,
        .hva = bench_hva(i),
        .gpa = bench_iova(i),
        .perm = VDPA_IOVA_RW,
    };

    return !vdpa_iova_add(table, &map);
}

static void *ours_make_empty(void)
{
    return vdpa_iova_new(0, UINT64_MAX, BENCH_PAGE);
}

static void *ours_make(size_t n)
{
    void *table = ours_make_empty();

    for (size_t i = 0; i < n; i++) {
        g_assert_true(ours_add(table, i));
    }
    return table;
}

static uint64_t ours_look_up(void *table, uint64_t iova)
{
    return vdpa_iova_find(table, iova)->hva;
}

static bool ours_alloc(void *table, size_t i)
{
    VdpaIovaMap map = {
        .size = BENCH_PAGE,
        .hva = bench_hva(i),
        .gpa = VDPA_IOVA_NONE,
        .perm = VDPA_IOVA_RW,
    };

    return !vdpa_iova_alloc(table, &map, NULL);
}

static void ours_free(void *table)
{
    vdpa_iova_free(table);
}

const BenchTable table_ours = {
    ours_make, ours_look_up, ours_free, ours_make_empty, ours_alloc,
};

typedef struct OursRing {
    VdpaShadowRing *ring;
    VdpaRingMemory memory;
} OursRing;

static void *ours_ring_make(FakeVdpa *vdpa, FakeDriver *driver,
                            FakeDevice *device, bool event_idx)
{
    OursRing *r = g_new0(OursRing, 1);
    const VdpaShadowState state = {};

    r->memory.driver = fake_pages(vdpa_ring_driver_area_size(RING_NUM));
    r->memory.device = fake_pages(vdpa_ring_device_area_size(RING_NUM));
    r->ring = vdpa_shadow_ring_new(&fake_vdpa_ops, vdpa);
    g_assert_cmpint(vdpa_shadow_ring_start(r->ring, &driver->layout, RING_NUM,
                                           &r->memory, &state), ==, 0);
    fake_device_on_shadow(device, &r->memory, RING_NUM, event_idx);
    return r;
}

static void ours_forward(void *ring)
{
    g_assert_cmpint(vdpa_shadow_ring_forward(((OursRing *)ring)->ring, 0), >=,
                    0);
}

static void ours_complete(void *ring)
{
    g_assert_cmpint(vdpa_shadow_ring_complete(((OursRing *)ring)->ring, 0),
                    >=, 0);
}

static uint64_t ours_kicks(void *ring)
{
    const VdpaShadowStats *stats =
        vdpa_shadow_ring_stats(((OursRing *)ring)->ring);

    return stats->kicks + stats->calls;
}

const BenchRing ring_ours = {
    ours_ring_make, ours_forward, ours_complete, ours_kicks,
};

/* --- measuring ------------------------------------------------------------ */

static size_t scatter(size_t i, size_t n)
{
    return i * 2654435761u % n;
}

static double measure_lookups(const BenchTable *subject, size_t maps,
                              size_t lookups)
{
    void *table = subject->make(maps);
    double start = cpu_ns();

    for (size_t i = 0; i < lookups; i++) {
        sum += subject->look_up(table, bench_iova(scatter(i, maps)) + 100);
    }
    start = cpu_ns() - start;
    subject->free(table);
    return start / lookups;
}

static double measure_alloc(const BenchTable *subject, size_t maps)
{
    void *table = subject->make_empty();
    double start = cpu_ns();

    for (size_t i = 0; i < maps; i++) {
        g_assert_true(subject->alloc(table, i));
    }
    start = cpu_ns() - start;
    subject->free(table);
    return start / maps;
}

/* A guest whose RAM is @maps maps of 1 MiB, as hardware memory slots are. */
static FakeVdpa *guest_with(size_t maps, GRand *rand)
{
    uint64_t size = (maps + 1) << 20;
    FakeVdpa *vdpa = fake_vdpa_new(size, size - FAKE_PAGE, rand);

    vdpa->quiet = true;
    vdpa_iova_free(vdpa->maps);
    vdpa->maps = vdpa_iova_new(0, UINT64_MAX, FAKE_PAGE);
    for (size_t i = 0; i <= maps; i++) {
        VdpaIovaMap map = {
            .iova = FAKE_IOVA + (i << 21),
            .size = 1 << 20,
            .hva = (uintptr_t)vdpa->ram + (i << 20),
            .gpa = i << 20,
            .perm = VDPA_IOVA_RW,
        };

        fake_vdpa_add(vdpa, &map);
    }
    return vdpa;
}

/* 64 chains of @nsegs segments, half to read and half to write if several. */
static void offer_batch(FakeDriver *driver, size_t maps, unsigned nsegs,
                        size_t *next)
{
    for (unsigned i = 0; i < BATCH; i++) {
        VdpaGuestSegment segments[8];

        for (unsigned k = 0; k < nsegs; k++) {
            uint64_t at = (1 + scatter((*next)++, maps)) << 20;

            segments[k] = (VdpaGuestSegment) { at + i * 2048, 1500, k >= nsegs / 2 };
        }
        g_assert_cmpint(fake_driver_offer(driver, segments, nsegs, 0), >=, 0);
    }
    fake_driver_publish(driver);
}

static void serve(FakeDevice *device)
{
    static FakeSegment segs[FAKE_SEGMENTS_MAX];
    unsigned n;
    int head;

    while ((head = fake_device_take(device, segs, &n)) >= 0) {
        sum += segs[0].addr;
        fake_device_return(device, head, 64);
    }
    fake_device_enable(device);
}

static void take_back(FakeDriver *driver)
{
    uint32_t len;
    unsigned n = 0;

    while (fake_driver_reap(driver, &len) >= 0) {
        sum += len;
        n++;
    }
    g_assert_cmpuint(n, ==, BATCH);
    fake_driver_enable(driver);
}

static double timed(void (*step)(void *ring), void *ring)
{
    double start = cpu_ns();

    step(ring);
    return cpu_ns() - start;
}

static double measure_ring(const BenchRing *subject, size_t maps,
                           unsigned nsegs, size_t rounds, double *kicks)
{
    const VdpaGuestLayout layout = {
        .desc = 0x1000, .avail = 0x3000, .used = 0x4000,
        .num = RING_NUM, .event_idx = true,
    };
    GRand *rand = g_rand_new_with_seed(1);
    FakeVdpa *vdpa = guest_with(maps, rand);
    FakeDriver driver;
    FakeDevice device;
    size_t next = 0;
    double ns = 0;
    void *ring;

    fake_driver_init(&driver, vdpa, &layout, 0);
    ring = subject->make(vdpa, &driver, &device, true);
    for (size_t i = 0; i < rounds; i++) {
        offer_batch(&driver, maps, nsegs, &next);
        ns += timed(subject->forward, ring);
        serve(&device);
        ns += timed(subject->complete, ring);
        take_back(&driver);
    }
    *kicks = (double)subject->kicks(ring) / (rounds * BATCH);
    return ns / (rounds * BATCH * nsegs);
}

int main(int argc, char **argv)
{
    bool ours = argc > 1 && !strcmp(argv[1], "ours");
    const BenchTable *table = ours ? &table_ours : &table_stock;
    size_t arg[3] = {};

    if (argc < 4 || (!ours && strcmp(argv[1], "stock"))) {
        fprintf(stderr, "usage: bench-vdpa ours|stock WHAT MAPS [N...]\n");
        return 2;
    }
    for (int i = 3; i < argc && i < 6; i++) {
        arg[i - 3] = strtoul(argv[i], NULL, 10);
    }
    if (!strcmp(argv[2], "find")) {
        printf("%.1f\n", measure_lookups(table, arg[0], arg[1]));
    } else if (!strcmp(argv[2], "alloc")) {
        printf("%.1f\n", measure_alloc(table, arg[0]));
    } else if (!strcmp(argv[2], "ring")) {
        double kicks, ns = measure_ring(ours ? &ring_ours : &ring_stock,
                                        arg[0], arg[1], arg[2], &kicks);

        printf("%.1f %.3f\n", ns, kicks);
    }
    fprintf(stderr, "sum %" G_GUINT64_FORMAT "\n", sum);
    return 0;
}
