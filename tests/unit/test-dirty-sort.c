/*
 * Dirty ring: entries are released in the order of their pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <glib.h>
#include <malloc.h>
#include <string.h>

#include "accel/kvm/core/dirty-ring-batch.h"
#include "accel/kvm/core/dirty-ring-core.h"
#include "accel/kvm/core/dirty-ring-sort.h"
#include "fake-kvm.h"
#include "named-tests.h"

#define MOST 5000

#define RING 4096
#define NPAGES 1024

/* The kernel protects 64 neighbouring pages together. */
#define TOGETHER 64

/* Entries of a ring of RING that are released together, at most. */
#define SLICE 2048

/* Two entries of each slice that change places are protected by themselves. */
#define EXCHANGED 2

/* sort */

static int compare(const void *a, const void *b)
{
    const DirtyRingEntry *one = a, *other = b;

    if (one->slot != other->slot) {
        return one->slot < other->slot ? -1 : 1;
    }
    return one->offset < other->offset ? -1 : one->offset > other->offset;
}

/* Sorts @n random entries in which only bits of the two masks differ. */
static void check_sort(size_t n, uint64_t offset_mask, uint32_t slot_mask)
{
    g_autofree DirtyRingEntry *entries = g_new0(DirtyRingEntry, n + 1);
    g_autofree DirtyRingEntry *expected = g_new0(DirtyRingEntry, n + 1);
    g_autofree DirtyRingEntry *spare = g_new0(DirtyRingEntry, n + 1);

    for (size_t i = 0; i <= n; i++) {
        uint64_t high = g_test_rand_int(), low = (uint32_t)g_test_rand_int();

        entries[i].offset = (high << 32 | low) & offset_mask;
        entries[i].slot = g_test_rand_int() & slot_mask;
    }
    memcpy(expected, entries, (n + 1) * sizeof(*entries));
    qsort(expected, n, sizeof(*expected), compare);
    dirty_ring_sort(entries, spare, n);
    for (size_t i = 0; i <= n; i++) {
        g_assert_cmpuint(entries[i].slot, ==, expected[i].slot);
        g_assert_cmpuint(entries[i].offset, ==, expected[i].offset);
    }
}

static void test_sort(void)
{
    static const size_t counts[] = { 0, 1, 2, 3, 16, 255, 256, 257, MOST };

    for (size_t i = 0; i < G_N_ELEMENTS(counts); i++) {
        check_sort(counts[i], 0, 0);
        check_sort(counts[i], 0xff, 0);
        check_sort(counts[i], 0xfffff, 0x10003);
        check_sort(counts[i], 0xff00ff, 0x1);
        check_sort(counts[i], 0xffff00, 0);
        check_sort(counts[i], UINT64_MAX, 0);
        check_sort(counts[i], UINT64_MAX, UINT32_MAX);
    }
}

/* A ring whose kernel protects neighbours together */

typedef struct Lab {
    FakeKvm *kvm;
    DirtyRingSet set;
    DirtyRing *ring;
    GArray *published;      /* of uint64_t */
} Lab;

static int lab_reset(void *opaque)
{
    Lab *lab = opaque;

    return fake_kvm_reset(lab->kvm);
}

static size_t lab_translate(void *opaque, const uint32_t *slots,
                            uint64_t *pages, size_t n)
{
    return n;
}

static void lab_publish(void *opaque, const uint64_t *pages, size_t n)
{
    Lab *lab = opaque;

    g_array_append_vals(lab->published, pages, n);
}

static const DirtyRingOps lab_ops = {
    .reset = lab_reset,
    .translate = lab_translate,
    .publish = lab_publish,
};

static Lab *lab_new(void)
{
    Lab *lab = g_new0(Lab, 1);

    lab->kvm = fake_kvm_new(1, RING, NPAGES);
    lab->kvm->reset_mode = FAKE_RESET_GATHERS;
    lab->published = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    dirty_ring_set_init(&lab->set, RING, 64, &lab_ops, lab);
    lab->ring = dirty_ring_add(&lab->set, 0, lab->kvm->vcpus[0].ring);
    return lab;
}

static void lab_free(Lab *lab)
{
    dirty_ring_set_destroy(&lab->set);
    fake_kvm_free(lab->kvm);
    g_array_unref(lab->published);
    g_free(lab);
}

/* Writes @n pages from 0 on, each once, far from its neighbours in time. */
static void write_scattered(Lab *lab, unsigned n)
{
    for (unsigned i = 0; i < NPAGES; i++) {
        unsigned page = i * 389 % NPAGES;

        if (page < n) {
            g_assert_true(fake_kvm_write(lab->kvm, 0, page));
        }
    }
}

/* All pages from @first up to @end are published once, slice by slice. */
static void assert_published(Lab *lab, unsigned first, unsigned end)
{
    g_assert_cmpuint(lab->published->len, ==, end - first);
    for (unsigned page = first; page < end; page += SLICE) {
        uint64_t sum = 0;

        for (unsigned i = page; i < MIN(page + SLICE, end); i++) {
            uint64_t at = g_array_index(lab->published, uint64_t, i - first);

            g_assert_cmpuint(at, >=, page);
            g_assert_cmpuint(at, <, page + SLICE);
            sum += at - i;
        }
        g_assert_cmpuint(sum, ==, 0);
    }
}

static void test_neighbours_together(void)
{
    Lab *lab = lab_new();

    write_scattered(lab, NPAGES);
    g_assert_cmpuint(dirty_ring_reap_all(&lab->set), ==, NPAGES);
    g_assert_cmpuint(lab->kvm->protects, ==,
                     NPAGES / TOGETHER + EXCHANGED);
    assert_published(lab, 0, NPAGES);
    lab_free(lab);
}

/* Each ioctl leaves one suspect, though KVM protects 64 pages together. */
static void test_few_suspects(void)
{
    Lab *lab = lab_new();

    write_scattered(lab, NPAGES);
    dirty_ring_reap_all(&lab->set);
    g_array_set_size(lab->published, 0);
    dirty_ring_reap_all(&lab->set);
    g_assert_cmpuint(lab->published->len, ==, 1);
    lab_free(lab);
}

/* 1,000 does not divide the ring's size, so some round reaches beyond its end. */
static void test_around_the_end(void)
{
    Lab *lab = lab_new();
    unsigned n = 1000, rounds = 5;

    for (unsigned i = 0; i < rounds; i++) {
        unsigned before = lab->kvm->protects;

        write_scattered(lab, n);
        g_assert_cmpuint(dirty_ring_reap_all(&lab->set), ==, n);
        g_assert_cmpuint(lab->published->len, >=, n);
        g_array_set_size(lab->published, 0);
        if (i == RING / n) {
            /* 96 entries before the end, which are not dense, and 904 after it. */
            g_assert_cmpuint(lab->kvm->protects - before, <=,
                             RING % n + n / TOGETHER + 1 + EXCHANGED);
            g_assert_cmpuint(lab->kvm->protects - before, >,
                             n / TOGETHER + 1 + EXCHANGED);
        } else {
            g_assert_cmpuint(lab->kvm->protects - before, ==,
                             n / TOGETHER + 1 + EXCHANGED);
        }
    }
    lab_free(lab);
}

/* The oldest entries are released, whatever their pages. */
static uint64_t decide(void *opaque, const DirtyRingLevel *level)
{
    return *(uint64_t *)opaque;
}

static void test_oldest_first(void)
{
    Lab *lab = lab_new();
    uint64_t max = 100;

    for (unsigned page = NPAGES; page-- > 0; ) {
        g_assert_true(fake_kvm_write(lab->kvm, 0, page));
    }
    g_assert_cmpuint(dirty_ring_make_room(&lab->set, decide, &max), ==, max);
    assert_published(lab, NPAGES - max, NPAGES);
    g_assert_cmpuint(lab->kvm->protects, ==, 2 + EXCHANGED);
    lab_free(lab);
}

/* Writes each @step-th page, from the last to the first; returns how many. */
static unsigned write_each(Lab *lab, unsigned step)
{
    unsigned n = 0;

    for (unsigned page = NPAGES; page >= step; page -= step) {
        g_assert_true(fake_kvm_write(lab->kvm, 0, page - step));
        n++;
    }
    return n;
}

/* Where half of the pages are dirty, entries are sorted; else they stay. */
static void test_only_if_dense(void)
{
    for (unsigned step = 1; step <= 4; step++) {
        Lab *lab = lab_new();
        unsigned n = write_each(lab, step);
        uint64_t second;

        g_assert_cmpuint(dirty_ring_reap_all(&lab->set), ==, n);
        /* The first has changed places with the last. */
        second = g_array_index(lab->published, uint64_t, 1);
        if (step <= 2) {
            g_assert_cmpuint(second / step, ==, 1);
        } else {
            g_assert_cmpuint(second, ==, NPAGES - 2 * step);
        }
        lab_free(lab);
    }
}

/* Memory that a large batch has grown to is given back. */
static void test_batches_shrink(void)
{
    FakeKvm *kvm = fake_kvm_new(1, 65536, 40000);
    Lab lab = { .kvm = kvm };
    DirtyBatch *batch;
    DirtyRing *ring;

    lab.published = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    dirty_ring_set_init(&lab.set, 65536, 64, &lab_ops, &lab);
    ring = dirty_ring_add(&lab.set, 0, kvm->vcpus[0].ring);
    for (unsigned page = 100; page-- > 0; ) {
        g_assert_true(fake_kvm_write(kvm, 0, page));
    }
    g_assert_cmpuint(dirty_ring_reap(ring), ==, 100);
    for (unsigned page = 40000; page-- > 0; ) {
        g_assert_true(fake_kvm_write(kvm, 0, page));
    }
    g_assert_cmpuint(dirty_ring_reap(ring), ==, 40000);
    /* Reaping is done in slices; this is not. */
    for (unsigned page = 40000; page-- > 0; ) {
        g_assert_true(fake_kvm_write(kvm, 0, page));
    }
    g_assert_cmpuint(dirty_ring_publish_all(&lab.set), ==, 40000);
    batch = lab.set.free_batches;
    g_assert_cmpuint(batch->nspare, <=, 2048);
    g_assert_cmpuint(malloc_usable_size(batch->pages->data), <=, 32 << 10);
    dirty_ring_set_destroy(&lab.set);
    fake_kvm_free(kvm);
    g_array_unref(lab.published);
}

static const NamedTest tests[] = {
    { "sort", test_sort },
    { "neighbours-together", test_neighbours_together },
    { "few-suspects", test_few_suspects },
    { "around-the-end", test_around_the_end },
    { "oldest-first", test_oldest_first },
    { "only-if-dense", test_only_if_dense },
    { "batches-shrink", test_batches_shrink },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    named_tests_add("dirty-sort", tests, G_N_ELEMENTS(tests));
    return g_test_run();
}
