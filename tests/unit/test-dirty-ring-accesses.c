/*
 * Dirty ring: in which order a release reads and writes an entry
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Once an entry is marked, KVM may reset it and fill it again.  So it must have been
 * read before, and not be touched afterwards.  No other thread is needed to see
 * that: access-log.c logs all accesses to the ring.
 *
 * Accesses are logged up to the reset ioctl, during which signals are blocked.
 *
 * Limits: those of access-log.c.
 */
#include <glib.h>
#include <stddef.h>

#include "accel/kvm/core/dirty-ring-core.h"
#include "access-log.h"
#include "named-tests.h"

#define SIZE 64
#define PUSHED 40

static struct kvm_dirty_gfn *ring;

/* Resets all; from here on nothing is logged. */
static int reset(void *opaque)
{
    int n = 0;

    access_log_stop();
    for (int i = 0; i < SIZE; i++) {
        n += ring[i].flags == KVM_DIRTY_GFN_F_RESET;
        ring[i].flags = 0;
    }
    return n;
}

static size_t translate(void *opaque, const uint32_t *slots, uint64_t *pages,
                        size_t n)
{
    return n;
}

static void publish(void *opaque, const uint64_t *pages, size_t n)
{
}

static const DirtyRingOps ops = {
    .reset = reset,
    .translate = translate,
    .publish = publish,
};

/* @step: pages between two neighbours; 1 is dense, so entries are sorted. */
static void push(unsigned step)
{
    for (unsigned i = 0; i < PUSHED; i++) {
        ring[i] = (struct kvm_dirty_gfn){
            .flags = KVM_DIRTY_GFN_F_DIRTY,
            .offset = (PUSHED - i) * step,
        };
    }
}

static bool is_flags(const Access *access)
{
    return access->at % sizeof(*ring) == offsetof(struct kvm_dirty_gfn, flags);
}

/* Each entry: read, marked once, and then left alone. */
static void check_entry(unsigned entry)
{
    unsigned marked = 0, words = 0;

    for (unsigned i = 0; i < access_log_n; i++) {
        if (access_log[i].at / sizeof(*ring) != entry) {
            continue;
        }
        g_assert_cmpuint(marked, ==, 0);
        if (!is_flags(&access_log[i])) {
            words += !access_log[i].writes;
        } else if (access_log[i].writes) {
            g_assert_cmpuint(words, >=, 2);
            marked++;
        }
    }
    g_assert_cmpuint(marked, ==, 1);
}

static void check_release(unsigned step)
{
    DirtyRingSet set;

    ring = access_log_map(4096);
    dirty_ring_set_init(&set, SIZE, 1, &ops, NULL);
    dirty_ring_add(&set, 0, ring);
    push(step);
    access_log_start();
    g_assert_cmpuint(dirty_ring_reap_all(&set), ==, PUSHED);
    for (unsigned i = 0; i < PUSHED; i++) {
        check_entry(i);
    }
    dirty_ring_set_destroy(&set);
    access_log_unmap();
}

static void test_as_it_is(void)
{
    check_release(1000);
}

static void test_sorted(void)
{
    check_release(1);
}

static const NamedTest tests[] = {
    { "as-it-is", test_as_it_is },
    { "sorted", test_sorted },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    named_tests_add("dirty-ring-accesses", tests, G_N_ELEMENTS(tests));
    return g_test_run();
}
