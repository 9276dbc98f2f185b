/*
 * KVM dirty ring: pages on their way from a ring to whoever copies them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Each batch takes a ticket before it harvests.  Batches in flight are a list in
 * the order of their tickets; dirty_ring_settle() waits until the oldest is
 * younger than itself, since batches land in any order.  A landed batch is kept,
 * with the memory that its arrays have grown to.
 *
 * Limits: as many batches are kept as were in flight at once.
 */
#include "dirty-ring-batch.h"

static DirtyBatch *batch_new(void)
{
    DirtyBatch *batch = g_new0(DirtyBatch, 1);

    batch->pages = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    batch->marks = g_array_new(FALSE, FALSE, sizeof(DirtyMark));
    return batch;
}

void dirty_batch_free(DirtyBatch *batch)
{
    g_array_unref(batch->pages);
    g_array_unref(batch->marks);
    g_free(batch);
}

/* Takes a landed batch, whose arrays have grown to what is needed. */
static DirtyBatch *batch_recycle_locked(DirtyRingSet *set)
{
    DirtyBatch *batch = set->spares;

    if (batch) {
        set->spares = batch->next;
        batch->next = NULL;
        batch->harvested = 0;
    }
    return batch;
}

static void flights_append_locked(DirtyRingSet *set, DirtyBatch *batch)
{
    batch->ticket = set->next_ticket++;
    if (set->flights_tail) {
        set->flights_tail->next = batch;
    } else {
        set->flights = batch;
    }
    set->flights_tail = batch;
}

DirtyBatch *dirty_batch_start(DirtyRingSet *set)
{
    DirtyBatch *batch;

    pthread_mutex_lock(&set->flight_lock);
    batch = batch_recycle_locked(set);
    if (!batch) {
        batch = batch_new();
    }
    flights_append_locked(set, batch);
    pthread_mutex_unlock(&set->flight_lock);
    return batch;
}

static void batch_unlink_locked(DirtyRingSet *set, DirtyBatch *batch)
{
    DirtyBatch *prev = NULL, *cur = set->flights;

    while (cur != batch) {
        prev = cur;
        cur = cur->next;
    }
    if (prev) {
        prev->next = batch->next;
    } else {
        set->flights = batch->next;
    }
    if (set->flights_tail == batch) {
        set->flights_tail = prev;
    }
}

void dirty_batch_land(DirtyRingSet *set, DirtyBatch *batch)
{
    pthread_mutex_lock(&set->flight_lock);
    batch_unlink_locked(set, batch);
    g_array_set_size(batch->pages, 0);
    g_array_set_size(batch->marks, 0);
    batch->next = set->spares;
    set->spares = batch;
    pthread_cond_broadcast(&set->flight_landed);
    pthread_mutex_unlock(&set->flight_lock);
}

void dirty_ring_settle(DirtyRingSet *set)
{
    uint64_t ticket;

    pthread_mutex_lock(&set->flight_lock);
    ticket = set->next_ticket;
    while (set->flights && set->flights->ticket < ticket) {
        pthread_cond_wait(&set->flight_landed, &set->flight_lock);
    }
    pthread_mutex_unlock(&set->flight_lock);
}
