/*
 * KVM dirty ring: the rings of one virtual machine, their faults and counters
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Rings are added, never removed, so that any thread may iterate over them
 * without a lock: dirty_ring_add() publishes a complete ring at the head of the
 * list.
 *
 * A set that has lost pages is broken, and stays so: no retry brings them back.
 * The first fault is kept, and reported once.
 *
 * Limits: see dirty-ring-core.h.
 */
#include "dirty-ring-internal.h"

#include <assert.h>
#include <string.h>

/* How long KVM_RESET_DIRTY_RINGS may go without progress. */
#define RESET_TIMEOUT_NS (1000ull * 1000 * 1000)

/* Set-up and tear-down */

void dirty_ring_set_init(DirtyRingSet *set, uint32_t size, uint32_t reserve,
                         const DirtyRingOps *ops, void *opaque)
{
    assert(size >= 2 && !(size & (size - 1)) && reserve < size);

    memset(set, 0, sizeof(*set));
    set->ops = ops;
    set->opaque = opaque;
    set->size = size;
    set->usable = size - reserve;
    set->reset_timeout_ns = RESET_TIMEOUT_NS;
    pthread_mutex_init(&set->add_lock, NULL);
    pthread_mutex_init(&set->reset_lock, NULL);
    pthread_mutex_init(&set->batch_lock, NULL);
    pthread_cond_init(&set->batch_published, NULL);
    dirty_suspects_init(&set->suspects);
}

void dirty_ring_set_destroy(DirtyRingSet *set)
{
    DirtyRing *ring = set->rings;

    assert(!set->in_flight);
    while (ring) {
        DirtyRing *next = ring->next;

        pthread_mutex_destroy(&ring->lock);
        g_free(ring->copies);
        g_array_unref(ring->passed);
        g_free(ring);
        ring = next;
    }
    set->rings = NULL;
    while (set->free_batches) {
        DirtyBatch *batch = set->free_batches;

        set->free_batches = batch->next;
        dirty_batch_free(batch);
    }
    dirty_suspects_destroy(&set->suspects);
    pthread_cond_destroy(&set->batch_published);
    pthread_mutex_destroy(&set->batch_lock);
    pthread_mutex_destroy(&set->reset_lock);
    pthread_mutex_destroy(&set->add_lock);
}

DirtyRing *dirty_ring_add(DirtyRingSet *set, unsigned long id,
                          struct kvm_dirty_gfn *entries)
{
    DirtyRing *ring = g_new0(DirtyRing, 1);

    ring->set = set;
    ring->id = id;
    ring->entries = entries;
    ring->copies = g_new(DirtyRingEntry, set->size);
    ring->passed = g_array_new(FALSE, FALSE, sizeof(DirtyRingEntry));
    pthread_mutex_init(&ring->lock, NULL);

    pthread_mutex_lock(&set->add_lock);
    ring->next = set->rings;
    /* Pairs with dirty_ring_first(): publishes the ring's contents. */
    __atomic_store_n(&set->rings, ring, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&set->add_lock);
    return ring;
}

DirtyRing *dirty_ring_first(DirtyRingSet *set)
{
    /* Pairs with the store in dirty_ring_add(). */
    return __atomic_load_n(&set->rings, __ATOMIC_ACQUIRE);
}

DirtyRing *dirty_ring_next(DirtyRing *ring)
{
    return ring->next;
}

DirtyRing *dirty_ring_find(DirtyRingSet *set, unsigned long id)
{
    DirtyRing *ring = dirty_ring_first(set);

    while (ring && ring->id != id) {
        ring = dirty_ring_next(ring);
    }
    return ring;
}

void dirty_ring_bind(DirtyRing *ring, void *owner, uint64_t *page_counter)
{
    pthread_mutex_lock(&ring->lock);
    ring->page_counter = page_counter;
    __atomic_store_n(&ring->owner, owner, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&ring->lock);
}

void *dirty_ring_owner(const DirtyRing *ring)
{
    return __atomic_load_n(&ring->owner, __ATOMIC_ACQUIRE);
}

/* Faults */

void dirty_ring_set_broken(DirtyRingSet *set, DirtyRingFault fault)
{
    int none = DIRTY_RING_FAULT_NONE;

    if (__atomic_compare_exchange_n(&set->fault, &none, fault, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) &&
        set->ops->broken) {
        set->ops->broken(set->opaque, fault);
    }
}

void dirty_ring_set_overflowed(DirtyRing *ring)
{
    count(&ring->set->stats.overflows, 1);
    __atomic_store_n(&ring->overflowed, true, __ATOMIC_RELAXED);
    dirty_ring_set_broken(ring->set, DIRTY_RING_FAULT_OVERFLOW);
}

DirtyRingFault dirty_ring_fault(const DirtyRingSet *set)
{
    return __atomic_load_n(&set->fault, __ATOMIC_ACQUIRE);
}

bool dirty_ring_broken(const DirtyRingSet *set)
{
    return dirty_ring_fault(set) != DIRTY_RING_FAULT_NONE;
}

/* Counters */

void dirty_ring_time_add(DirtyRingTime *time, uint64_t ns)
{
    count(&time->count, 1);
    count(&time->total_ns, ns);
    count_max(&time->max_ns, ns);
}

void dirty_ring_stats(const DirtyRingSet *set, DirtyRingStats *stats)
{
    const uint64_t *from = (const uint64_t *)&set->stats;
    uint64_t *to = (uint64_t *)stats;

    for (size_t i = 0; i < sizeof(*stats) / sizeof(*to); i++) {
        to[i] = counted(&from[i]);
    }
}

uint64_t dirty_ring_harvested(DirtyRing *ring)
{
    uint64_t harvested;

    pthread_mutex_lock(&ring->lock);
    harvested = ring->seen;
    pthread_mutex_unlock(&ring->lock);
    return harvested;
}

uint64_t dirty_ring_occupied(DirtyRing *ring, uint64_t *most)
{
    uint64_t occupied;

    pthread_mutex_lock(&ring->lock);
    occupied = ring_occupied_locked(ring);
    *most = ring->most;
    pthread_mutex_unlock(&ring->lock);
    return occupied;
}
