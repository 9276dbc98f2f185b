/*
 * KVM dirty ring: pages on their way from a ring to whoever copies them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle: dirty_batch_start() -> harvest into it, arm it, publish it ->
 * dirty_batch_land(), which keeps it for the next start.  A batch belongs to the
 * thread that started it; the list of batches in flight has a lock of its own, and
 * no other lock of the set is held with it.
 */
#ifndef ACCEL_KVM_DIRTY_RING_BATCH_H
#define ACCEL_KVM_DIRTY_RING_BATCH_H

#include "dirty-ring-core.h"

/* Up to which position of which ring a batch has harvested. */
typedef struct DirtyMark {
    DirtyRing *ring;
    uint64_t upto;
} DirtyMark;

/* Pages on their way from harvest to publish; belongs to one thread. */
typedef struct DirtyBatch {
    struct DirtyBatch *next;    /* protected by flight_lock */
    uint64_t ticket;            /* protected by flight_lock */
    GArray *pages;              /* of uint64_t */
    GArray *marks;              /* of DirtyMark, not yet armed */
    uint64_t harvested;         /* entries, known or not */
} DirtyBatch;

/* A batch with nothing in it, in flight from now on. */
DirtyBatch *dirty_batch_start(DirtyRingSet *set);

/* @batch is published: not in flight any more. */
void dirty_batch_land(DirtyRingSet *set, DirtyBatch *batch);

/* Frees a batch that has landed and will not be used again. */
void dirty_batch_free(DirtyBatch *batch);

#endif
