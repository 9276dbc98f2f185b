/*
 * What a dirty page costs in the ring's core, with nothing around it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * One fake vCPU (tests/unit/fake-kvm.c) writes pages; each time that BATCH of
 * them are on its ring, the ring is reaped: harvested, armed by one reset,
 * published.  One thread, no chance: two runs execute the same instructions,
 * so tests/bench counts those (callgrind) and divides them by the entries.
 * What of them is the core's own is told by the source file that they are in;
 * the fake kernel's part does not count.
 *
 *     bench-core BATCH ENTRIES      prints "entries N"
 *
 * Limits: uncontended locks; translation and publication are no-ops here, as
 * they are QEMU's.
 */
#include <stdio.h>
#include <stdlib.h>

#include "accel/kvm/core/dirty-ring-core.h"
#include "fake-kvm.h"

#define RING_SIZE 4096
#define NPAGES 8192

static uint64_t published;

static int bench_reset(void *opaque)
{
    return fake_kvm_reset(opaque);
}

static size_t bench_translate(void *opaque, const uint32_t *slots,
                              uint64_t *pages, size_t n)
{
    return n;
}

static void bench_publish(void *opaque, const uint64_t *pages, size_t n)
{
    published += n;
}

static const DirtyRingOps bench_ops = {
    .reset = bench_reset,
    .translate = bench_translate,
    .publish = bench_publish,
};

/* Puts @n entries on the ring, for pages from @page on. */
static void fill(FakeKvm *kvm, uint64_t page, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (!fake_kvm_write(kvm, 0, (page + i) % NPAGES)) {
            fprintf(stderr, "bench-core: the ring is full\n");
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    unsigned batch = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
    uint64_t entries = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    uint64_t done = 0;
    FakeKvm *kvm;
    DirtyRing *ring;
    DirtyRingSet set;

    if (!batch || batch > RING_SIZE / 2 || !entries) {
        fprintf(stderr, "usage: bench-core BATCH ENTRIES (BATCH up to %d)\n",
                RING_SIZE / 2);
        return 2;
    }
    kvm = fake_kvm_new(1, RING_SIZE, NPAGES);
    dirty_ring_set_init(&set, RING_SIZE, 64, &bench_ops, kvm);
    ring = dirty_ring_add(&set, 0, kvm->vcpus[0].ring);
    while (done < entries) {
        fill(kvm, done, batch);
        done += dirty_ring_reap(ring);
    }
    if (published != done) {
        fprintf(stderr, "bench-core: %llu harvested, %llu published\n",
                (unsigned long long)done, (unsigned long long)published);
        return 1;
    }
    printf("entries %llu\n", (unsigned long long)done);
    dirty_ring_set_destroy(&set);
    fake_kvm_free(kvm);
    return 0;
}
