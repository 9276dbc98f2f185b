/*
 * KVM dirty ring: from harvest to publication
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * KVM keeps one ring of entries {slot, offset} per vCPU, in memory that it
 * shares with QEMU (Linux, Documentation/virt/kvm/api.rst, "KVM_CAP_DIRTY_LOG_
 * RING").  An entry's flags take three values, in turn:
 *
 *          kernel pushes            harvest              kernel resets
 *   invalid ------------> F_DIRTY ------------> F_RESET ------------> invalid
 *
 * The kernel write-protects a page again when it resets its entry, and tells
 * all CPUs before KVM_RESET_DIRTY_RINGS returns.  A page that is published
 * (handed to those who copy it) before that can be written once more without
 * a trace, after it was copied: silent corruption.  So a page goes through
 *
 *   harvest   copy {slot, offset} into a batch, translate it, mark the entry;
 *             under the ring lock (dirty-ring-harvest.c)
 *   arm       KVM_RESET_DIRTY_RINGS until the batch's entries are reset; under
 *             the reset lock (dirty-ring-reset.c)
 *   publish   hand the pages over; under no lock
 *
 * A sync must also see pages that another thread has harvested and not yet
 * published.  Each batch takes a sequence number before it harvests, and is in
 * flight until it is published; dirty_ring_wait_published() waits for all batches
 * with lower numbers than the next one (dirty-ring-batch.c).
 *
 * Locks, in order: reset lock, ring lock.  The batch lock is taken with neither
 * of them held.  No lock is held while pages are published.  No thread holds a
 * ring lock during an ioctl.
 *
 * Failures: the kernel may refuse to reset, may reset nothing, or may report a
 * full ring that has nothing in it (a kernel that overran its ring).  In each
 * case pages can be lost: the set is marked broken, and its user decides what
 * that means.
 *
 * Limits: the number of entries per ring is fixed at creation; rings are never
 * removed; positions are 64-bit counters and assumed not to wrap.
 */
#include "dirty-ring-internal.h"

/* Hands suspects to a batch, a chunk at a time; see DirtySuspectsTake. */
typedef struct Republish {
    DirtyRingSet *set;
    DirtyBatch *batch;
} Republish;

static void republish_chunk(void *opaque, const uint32_t *slots,
                            uint64_t *pages, size_t n)
{
    Republish *to = opaque;

    n = to->set->ops->translate(to->set->opaque, slots, pages, n);
    g_array_append_vals(to->batch->pages, pages, n);
    count(&to->set->stats.republished, n);
}

/* Appends all suspects to @batch. */
static void suspects_republish(DirtyRingSet *set, DirtyBatch *batch)
{
    Republish to = { set, batch };

    pthread_mutex_lock(&set->reset_lock);
    dirty_suspects_take(&set->suspects, republish_chunk, &to);
    pthread_mutex_unlock(&set->reset_lock);
}

static void batch_publish(DirtyRingSet *set, DirtyBatch *batch)
{
    if (!batch->pages->len) {
        return;
    }
    set->ops->publish(set->opaque, (const uint64_t *)batch->pages->data,
                      batch->pages->len);
    count(&set->stats.published, batch->pages->len);
}

uint64_t dirty_batch_finish(DirtyRingSet *set, DirtyBatch *batch)
{
    uint64_t harvested = batch->harvested;

    dirty_batch_arm(set, batch);
    batch_publish(set, batch);
    dirty_batch_published(set, batch);
    return harvested;
}

uint64_t dirty_ring_reap(DirtyRing *ring)
{
    DirtyBatch *batch = dirty_batch_start(ring->set);

    dirty_ring_harvest(ring, batch);
    return dirty_batch_finish(ring->set, batch);
}

uint64_t dirty_ring_reap_all(DirtyRingSet *set)
{
    DirtyBatch *batch = dirty_batch_start(set);
    DirtyRing *ring;

    for (ring = dirty_ring_first(set); ring; ring = dirty_ring_next(ring)) {
        dirty_ring_harvest(ring, batch);
    }
    suspects_republish(set, batch);
    return dirty_batch_finish(set, batch);
}

/* Returns the entries harvested since the last call.  For the reaper only. */
static uint64_t ring_uptake(DirtyRing *ring)
{
    uint64_t fetch = dirty_ring_harvested(ring);
    uint64_t uptake = fetch - ring->uptake_counted;

    ring->uptake_counted = fetch;
    return uptake;
}

static bool ring_left_alone(DirtyRing *ring)
{
    const DirtyRingOps *ops = ring->set->ops;
    bool left_alone = false;

    pthread_mutex_lock(&ring->lock);
    if (ops->leave_alone && ring->owner) {
        left_alone = ops->leave_alone(ring->set->opaque, ring->owner);
    }
    pthread_mutex_unlock(&ring->lock);
    return left_alone;
}

uint64_t dirty_ring_reap_idle(DirtyRingSet *set, uint64_t *fastest)
{
    DirtyBatch *batch = dirty_batch_start(set);
    DirtyRing *ring;

    *fastest = 0;
    for (ring = dirty_ring_first(set); ring; ring = dirty_ring_next(ring)) {
        if (!ring_left_alone(ring)) {
            uint64_t uptake;

            dirty_ring_harvest(ring, batch);
            uptake = ring_uptake(ring);
            *fastest = MAX(*fastest, uptake);
        }
    }
    return dirty_batch_finish(set, batch);
}
