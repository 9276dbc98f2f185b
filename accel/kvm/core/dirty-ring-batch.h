/*
 * KVM dirty ring: pages between harvest and publication
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle: dirty_batch_start() -> harvest into it, arm it, publish it ->
 * dirty_batch_published(), which keeps it for the next start.  A batch belongs to the
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

/* Pages between harvest and publication; belongs to one thread. */
typedef struct DirtyBatch {
    struct DirtyBatch *next;    /* protected by batch_lock */
    uint64_t seq;            /* protected by batch_lock */
    GArray *pages;              /* of uint64_t */
    GArray *marks;              /* of DirtyMark, not yet armed */
    uint64_t harvested;         /* entries, known or not */
} DirtyBatch;

/* A batch with nothing in it, in flight from now on. */
DirtyBatch *dirty_batch_start(DirtyRingSet *set);

/* @batch is published: takes it out of the list of batches in flight. */
void dirty_batch_published(DirtyRingSet *set, DirtyBatch *batch);

/* Frees a published batch that will not be used again. */
void dirty_batch_free(DirtyBatch *batch);

#endif
