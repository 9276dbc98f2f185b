/*
 * KVM dirty ring: pages between harvest and publication
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle: dirty_batch_start() -> harvest into it, arm it, publish it ->
 * dirty_batch_published(), which keeps it for the next start.  A batch belongs to the
 * thread that started it.  The batch lock protects the list of batches in flight; no
 * other lock of the set is held with it.
 */
#ifndef ACCEL_KVM_DIRTY_RING_BATCH_H
#define ACCEL_KVM_DIRTY_RING_BATCH_H

#include "dirty-ring-core.h"

/* The end of a batch's harvest in one ring. */
typedef struct DirtyMark {
    DirtyRing *ring;
    uint64_t upto;
} DirtyMark;

/* Entries translated at a time. */
#define DIRTY_BATCH_CHUNK 256

/* Pages between harvest and publication; belongs to one thread. */
typedef struct DirtyBatch {
    struct DirtyBatch *next;    /* protected by batch_lock */
    uint64_t seq;               /* protected by batch_lock */
    GArray *pages;              /* of uint64_t */
    GArray *marks;              /* of DirtyMark, not yet armed */
    uint64_t harvested;         /* entries, translated or not */
    DirtyRingEntry *spare;      /* for sorting: nspare entries */
    size_t nspare;
    uint32_t slots[DIRTY_BATCH_CHUNK];  /* entries that are being translated */
    uint64_t offsets[DIRTY_BATCH_CHUNK];
    uint64_t start_ns;          /* dirty_ring_now_ns() at its begin */
} DirtyBatch;

/* Returns an empty batch, which is in flight from now on. */
DirtyBatch *dirty_batch_start(DirtyRingSet *set);

/* Returns room for @n entries that the batch keeps; its contents are undefined. */
DirtyRingEntry *dirty_batch_spare(DirtyBatch *batch, size_t n);

/* Takes @batch, which is published, out of the list of batches in flight. */
void dirty_batch_published(DirtyRingSet *set, DirtyBatch *batch);

/* Frees a published batch that will not be used again. */
void dirty_batch_free(DirtyBatch *batch);

#endif
