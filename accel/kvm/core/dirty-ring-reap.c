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
    if (harvested && set->ops->reaped) {
        set->ops->reaped(set->opaque, harvested,
                         dirty_ring_now_ns() - batch->start_ns);
    }
    dirty_batch_published(set, batch);
    return harvested;
}

/* Sets the goal to release all that @ring holds now. */
static void ring_set_goal(DirtyRing *ring, DirtyBatch *batch, GArray *goals)
{
    pthread_mutex_lock(&ring->lock);
    dirty_ring_look_locked(ring);
    dirty_goal_set_locked(ring, batch, goals, ring->set->size);
    pthread_mutex_unlock(&ring->lock);
}

uint64_t dirty_ring_reap(DirtyRing *ring)
{
    DirtyRingSet *set = ring->set;
    DirtyBatch *batch = dirty_batch_start(set);
    GArray *goals = dirty_goals_new();

    ring_set_goal(ring, batch, goals);
    return dirty_goals_release(set, goals, batch, &set->stats.released_sync);
}

uint64_t dirty_ring_reap_all(DirtyRingSet *set)
{
    DirtyBatch *batch = dirty_batch_start(set);
    GArray *goals = dirty_goals_new();
    DirtyRing *ring;

    for (ring = dirty_ring_first(set); ring; ring = dirty_ring_next(ring)) {
        ring_set_goal(ring, batch, goals);
    }
    /* Before the ioctls of this call, whose suspects are for the next. */
    suspects_republish(set, batch);
    return dirty_goals_release(set, goals, batch, &set->stats.released_sync);
}

/* Reads all that @set's rings hold and @peek wants into @batch, and releases nothing. */
static uint64_t rings_read(DirtyRingSet *set, DirtyBatch *batch,
                           const DirtyRingPeek *peek)
{
    uint64_t taken = 0;
    DirtyRing *ring;

    for (ring = dirty_ring_first(set); ring; ring = dirty_ring_next(ring)) {
        pthread_mutex_lock(&ring->lock);
        taken += dirty_ring_read_locked(ring, batch, peek);
        pthread_mutex_unlock(&ring->lock);
    }
    return taken;
}

uint64_t dirty_ring_publish_all(DirtyRingSet *set)
{
    DirtyBatch *batch = dirty_batch_start(set);
    uint64_t taken = rings_read(set, batch, NULL);

    count(&set->stats.published_in_place, batch->pages->len);
    suspects_republish(set, batch);
    dirty_batch_finish(set, batch);
    return taken;
}

uint64_t dirty_ring_peek_all(DirtyRingSet *set, const DirtyRingPeek *peek)
{
    DirtyBatch *batch = dirty_batch_start(set);
    uint64_t taken = rings_read(set, batch, peek);

    if (batch->pages->len) {
        peek->visit(peek->opaque, (const uint64_t *)batch->pages->data,
                    batch->pages->len);
    }
    dirty_batch_published(set, batch);
    return taken;
}
