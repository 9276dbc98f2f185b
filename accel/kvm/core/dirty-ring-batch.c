/*
 * KVM dirty ring: pages between harvest and publication
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Each batch takes a sequence number before it harvests, and is in flight until
 * it is published.  The batches in flight are a list in the order of their
 * sequence numbers.  Batches are published in any order, so
 * dirty_ring_wait_published() waits until the oldest in the list is younger than
 * its own call.  A published batch goes to the free list.  It keeps the memory that
 * its arrays have grown to, unless that is more than a full ring's exit needs.
 *
 * Limits: as many batches are kept as were in flight at once.
 */
#include "dirty-ring-internal.h"

/* A batch on the free list keeps room for this many entries at most. */
#define KEPT_ENTRIES 2048

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
    g_free(batch->spare);
    g_free(batch);
}

DirtyRingEntry *dirty_batch_spare(DirtyBatch *batch, size_t n)
{
    if (batch->nspare < n) {
        g_free(batch->spare);
        batch->nspare = MAX(n, KEPT_ENTRIES);
        batch->spare = g_new(DirtyRingEntry, batch->nspare);
    }
    return batch->spare;
}

/* Empties a published batch. */
static void batch_clear(DirtyBatch *batch)
{
    if (batch->pages->len > KEPT_ENTRIES) {
        g_array_unref(batch->pages);
        batch->pages = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    }
    if (batch->nspare > KEPT_ENTRIES) {
        g_free(batch->spare);
        batch->spare = NULL;
        batch->nspare = 0;
    }
    g_array_set_size(batch->pages, 0);
    g_array_set_size(batch->marks, 0);
}

/* Takes a batch from the free list; NULL if the list is empty. */
static DirtyBatch *batch_recycle_locked(DirtyRingSet *set)
{
    DirtyBatch *batch = set->free_batches;

    if (batch) {
        set->free_batches = batch->next;
        batch->next = NULL;
        batch->harvested = 0;
    }
    return batch;
}

static void in_flight_append_locked(DirtyRingSet *set, DirtyBatch *batch)
{
    batch->seq = set->next_seq++;
    if (set->in_flight_tail) {
        set->in_flight_tail->next = batch;
    } else {
        set->in_flight = batch;
    }
    set->in_flight_tail = batch;
}

DirtyBatch *dirty_batch_start(DirtyRingSet *set)
{
    DirtyBatch *batch;

    pthread_mutex_lock(&set->batch_lock);
    batch = batch_recycle_locked(set);
    if (!batch) {
        batch = batch_new();
    }
    in_flight_append_locked(set, batch);
    batch->start_ns = dirty_ring_now_ns();
    pthread_mutex_unlock(&set->batch_lock);
    return batch;
}

static void batch_unlink_locked(DirtyRingSet *set, DirtyBatch *batch)
{
    DirtyBatch *prev = NULL, *cur = set->in_flight;

    while (cur != batch) {
        prev = cur;
        cur = cur->next;
    }
    if (prev) {
        prev->next = batch->next;
    } else {
        set->in_flight = batch->next;
    }
    if (set->in_flight_tail == batch) {
        set->in_flight_tail = prev;
    }
}

void dirty_batch_published(DirtyRingSet *set, DirtyBatch *batch)
{
    batch_clear(batch);
    pthread_mutex_lock(&set->batch_lock);
    batch_unlink_locked(set, batch);
    batch->next = set->free_batches;
    set->free_batches = batch;
    pthread_cond_broadcast(&set->batch_published);
    pthread_mutex_unlock(&set->batch_lock);
}

void dirty_ring_wait_published(DirtyRingSet *set)
{
    uint64_t seq;

    pthread_mutex_lock(&set->batch_lock);
    seq = set->next_seq;
    while (set->in_flight && set->in_flight->seq < seq) {
        pthread_cond_wait(&set->batch_published, &set->batch_lock);
    }
    pthread_mutex_unlock(&set->batch_lock);
}
