/*
 * Dirty ring: two rings in plain memory and a scripted kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "ring-bench.h"

#include <time.h>

#include "ring-stats.h"

void bench_push(Bench *b, int r, uint32_t slot, uint64_t offset)
{
    struct kvm_dirty_gfn *entry = &b->entries[r][b->pushed[r]++ % SIZE];

    entry->slot = slot;
    entry->offset = offset;
    __atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_DIRTY, __ATOMIC_RELEASE);
}

void bench_push_run(Bench *b, int r, uint64_t first, int n)
{
    for (int i = 0; i < n; i++) {
        bench_push(b, r, 0, first + i);
    }
}

int bench_reset(void *opaque)
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

size_t bench_translate(void *opaque, const uint32_t *slots,
                              uint64_t *pages, size_t n)
{
    Bench *b = opaque;

    if (b->translating) {
        b->translating(b);
    }
    return dirty_slots_translate(&b->slots, slots, pages, n);
}

void bench_publish(void *opaque, const uint64_t *pages, size_t n)
{
    Bench *b = opaque;

    pthread_mutex_lock(&b->gate[pages[0] % 2]);
    pthread_mutex_unlock(&b->gate[pages[0] % 2]);
    pthread_mutex_lock(&b->lock);
    b->calls_at_publish = __atomic_load_n(&b->calls, __ATOMIC_RELAXED);
    g_array_append_vals(b->published, pages, n);
    pthread_mutex_unlock(&b->lock);
}

static void bench_reaped(void *opaque, uint64_t entries, uint64_t ns)
{
    Bench *b = opaque;

    g_assert_cmpuint(entries, >, 0);
    g_assert_cmpuint(ns, >, 0);
    g_assert_cmpuint(ns, <, 60 * 1000000000ull);
    __atomic_fetch_add(&b->told, entries, __ATOMIC_RELAXED);
}

static void bench_broken(void *opaque, DirtyRingFault fault)
{
    Bench *b = opaque;

    b->fault = fault;
    b->broken++;
}

static const DirtyRingOps bench_ops = {
    .reset = bench_reset,
    .translate = bench_translate,
    .publish = bench_publish,
    .reaped = bench_reaped,
    .broken = bench_broken,
};

const Step reset_all[] = { { ALL, NULL }, {} };

Bench *bench_new(const Step *script)
{
    Bench *b = g_new0(Bench, 1);

    b->script = script;
    b->published = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    pthread_mutex_init(&b->lock, NULL);
    pthread_mutex_init(&b->gate[0], NULL);
    pthread_mutex_init(&b->gate[1], NULL);
    dirty_slots_init(&b->slots);
    dirty_slots_add(&b->slots, 0, 0, SLOT_PAGES);
    dirty_ring_set_init(&b->set, SIZE, RESERVE, &bench_ops, b);
    for (int r = 0; r < 2; r++) {
        b->ring[r] = dirty_ring_add(&b->set, r, b->entries[r]);
    }
    return b;
}

void bench_free(Bench *b)
{
    ring_stats_check(&b->set);
    g_assert_cmpuint(bench_stats(b).published, ==, b->published->len);
    dirty_ring_set_destroy(&b->set);
    dirty_slots_destroy(&b->slots);
    g_array_unref(b->published);
    g_free(b);
}

DirtyRingStats bench_stats(Bench *b)
{
    DirtyRingStats stats;

    dirty_ring_stats(&b->set, &stats);
    return stats;
}

void nap_ms(int ms)
{
    struct timespec nap = { .tv_nsec = ms * 1000000l };

    nanosleep(&nap, NULL);
}

static uint64_t decide_all(void *opaque, const DirtyRingLevel *level)
{
    (void)opaque;
    return level->occupied;
}

uint64_t bench_make_room(Bench *b)
{
    return dirty_ring_make_room(&b->set, decide_all, b);
}

unsigned bench_published(Bench *b)
{
    unsigned n;

    pthread_mutex_lock(&b->lock);
    n = b->published->len;
    pthread_mutex_unlock(&b->lock);
    return n;
}
