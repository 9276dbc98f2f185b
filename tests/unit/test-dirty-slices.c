/*
 * Dirty ring: many entries are released a slice at a time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kernel is fake-kvm.c.  How many entries each of its resets resets is noted;
 * what other threads do between two of them is done in hooks.
 *
 * Limits: one thread; test-dirty-ring-model.c has more.
 */
#include <glib.h>

#include "accel/kvm/core/dirty-ring-core.h"
#include "fake-kvm.h"
#include "named-tests.h"

#define NPAGES 65536
#define VCPUS 8

/* Pages that are dirtied while entries are released. */
#define LATER 16384

typedef struct Lab {
    FakeKvm *kvm;
    DirtyRingSet set;
    DirtyRing *rings[VCPUS];
    GArray *resets;         /* of uint64_t: entries of each */
    unsigned published[NPAGES];
    void (*after_reset)(struct Lab *lab);   /* may be NULL */
    void (*in_publish)(struct Lab *lab);    /* may be NULL */
} Lab;

static int lab_reset(void *opaque)
{
    Lab *lab = opaque;
    int ret = fake_kvm_reset(lab->kvm);
    uint64_t entries = ret;

    if (ret > 0) {
        g_array_append_val(lab->resets, entries);
    }
    if (lab->after_reset) {
        lab->after_reset(lab);
    }
    return ret;
}

static size_t lab_translate(void *opaque, const uint32_t *slots,
                            uint64_t *pages, size_t n)
{
    return n;
}

static void lab_publish(void *opaque, const uint64_t *pages, size_t n)
{
    Lab *lab = opaque;

    for (size_t i = 0; i < n; i++) {
        lab->published[pages[i]]++;
    }
    if (lab->in_publish) {
        lab->in_publish(lab);
    }
}

static const DirtyRingOps lab_ops = {
    .reset = lab_reset,
    .translate = lab_translate,
    .publish = lab_publish,
};

static Lab *lab_new(uint32_t size)
{
    Lab *lab = g_new0(Lab, 1);

    lab->kvm = fake_kvm_new(VCPUS, size, NPAGES);
    lab->resets = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    dirty_ring_set_init(&lab->set, size, 64, &lab_ops, lab);
    for (int i = 0; i < VCPUS; i++) {
        lab->rings[i] = dirty_ring_add(&lab->set, i, lab->kvm->vcpus[i].ring);
    }
    return lab;
}

static void lab_free(Lab *lab)
{
    dirty_ring_set_destroy(&lab->set);
    fake_kvm_free(lab->kvm);
    g_array_unref(lab->resets);
    g_free(lab);
}

/* vCPU @vcpu writes @n pages from @first on, the last one first. */
static void lab_write(Lab *lab, int vcpu, unsigned first, unsigned n)
{
    for (unsigned page = first + n; page-- > first; ) {
        g_assert_true(fake_kvm_write(lab->kvm, vcpu, page));
    }
}

static uint64_t largest_reset(const Lab *lab)
{
    uint64_t most = 0;

    for (guint i = 0; i < lab->resets->len; i++) {
        most = MAX(most, g_array_index(lab->resets, uint64_t, i));
    }
    return most;
}

/* An eighth of a ring, 512 entries at most, for each ring that has entries, or four of them. */
static void test_bound(void)
{
    static const struct { uint32_t size, n, share; } cases[] = {
        { 1024, 900, 128 }, { 4096, 3000, 512 }, { 8192, 8000, 512 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (int vcpus = 1; vcpus <= VCPUS; vcpus *= 2) {
            uint64_t all = cases[i].n * vcpus;
            uint64_t bound = cases[i].share * MAX(vcpus, 4);
            Lab *lab = lab_new(cases[i].size);

            for (int vcpu = 0; vcpu < vcpus; vcpu++) {
                lab_write(lab, vcpu, vcpu * cases[i].n, cases[i].n);
            }
            g_assert_cmpuint(dirty_ring_reap_all(&lab->set), ==, all);
            g_assert_cmpuint(largest_reset(lab), ==, MIN(bound, all));
            g_assert_cmpuint(lab->resets->len, ==, (all - 1) / bound + 1);
            for (unsigned page = 0; page < all; page++) {
                g_assert_cmpuint(lab->published[page], ==, 1);
            }
            lab_free(lab);
        }
    }
}

/* Entries that come after the call has begun are left for the next one. */
static void write_more(Lab *lab)
{
    lab_write(lab, 0, LATER + 100 * lab->resets->len, 100);
}

static void test_ends(void)
{
    Lab *lab = lab_new(4096);

    lab_write(lab, 0, 0, 3000);
    lab->after_reset = write_more;
    g_assert_cmpuint(dirty_ring_reap_all(&lab->set), ==, 3000);
    g_assert_cmpuint(lab->published[LATER + 100], ==, 0);
    lab->after_reset = NULL;
    g_assert_cmpuint(dirty_ring_reap_all(&lab->set), ==, 200);
    g_assert_cmpuint(lab->published[LATER + 100], ==, 1);
    lab_free(lab);
}

/* A vCPU whose ring is full releases a part of it between two slices. */
static void full_exit(Lab *lab)
{
    lab->in_publish = NULL;
    g_assert_cmpint(dirty_ring_full(lab->rings[0]), ==, DIRTY_RING_FULL_FREED);
}

static void test_full_between(void)
{
    Lab *lab = lab_new(8192);
    DirtyRingStats stats;

    lab_write(lab, 0, 0, 6000);
    lab->in_publish = full_exit;
    dirty_ring_reap_all(&lab->set);
    dirty_ring_stats(&lab->set, &stats);
    g_assert_cmpuint(stats.released_full, ==, (8192 - 64) / 4);
    g_assert_cmpuint(stats.released_sync, ==, 6000 - (8192 - 64) / 4);
    for (unsigned page = 0; page < 6000; page++) {
        g_assert_cmpuint(lab->published[page], ==, 1);
    }
    lab_free(lab);
}

static uint64_t decide_half(void *opaque, const DirtyRingLevel *level)
{
    return level->occupied / 2;
}

/* The reaper goes in slices, too, and no further than it has decided. */
static void test_reaper(void)
{
    Lab *lab = lab_new(8192);

    lab_write(lab, 0, 0, 8000);
    g_assert_cmpuint(dirty_ring_make_room(&lab->set, decide_half, NULL), ==,
                     4000);
    g_assert_cmpuint(largest_reset(lab), ==, 2048);
    g_assert_cmpuint(lab->resets->len, ==, 2);
    lab_free(lab);
}

static uint64_t decide_some(void *opaque, const DirtyRingLevel *level)
{
    return MIN(level->occupied, 2100);
}

/* A vCPU that has released more than the goal between two slices ends the work. */
static void test_goal_passed(void)
{
    Lab *lab = lab_new(8192);

    lab_write(lab, 0, 0, 8000);
    lab->in_publish = full_exit;
    g_assert_cmpuint(dirty_ring_make_room(&lab->set, decide_some, NULL), ==,
                     2048);
    lab_free(lab);
}

/* All of a ring is sorted, not each slice: neighbours are dense in it only. */
static void test_order(void)
{
    Lab *lab = lab_new(8192);

    lab->kvm->reset_mode = FAKE_RESET_GATHERS;
    for (unsigned i = 0; i < 4096; i++) {
        g_assert_true(fake_kvm_write(lab->kvm, 0, i * 1021 % 4096));
    }
    g_assert_cmpuint(dirty_ring_reap_all(&lab->set), ==, 4096);
    /* Two entries of each slice are protected by themselves, see dirty-ring-harvest.c. */
    g_assert_cmpuint(lab->kvm->protects, ==, 4096 / 64 + 4096 / 2048 * 2);
    lab_free(lab);
}

static const NamedTest tests[] = {
    { "bound", test_bound },
    { "ends", test_ends },
    { "full-between", test_full_between },
    { "reaper", test_reaper },
    { "goal-passed", test_goal_passed },
    { "order", test_order },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    named_tests_add("dirty-slices", tests, G_N_ELEMENTS(tests));
    return g_test_run();
}
