/*
 * KVM dirty ring: a vCPU that leaves the guest with its ring full
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * The vCPU's thread reaps its own ring.  If there was nothing to harvest, another
 * thread has emptied the ring and may not have reset its entries yet: the vCPU
 * waits until they are, since KVM would end KVM_RUN with the same exit.
 *
 * A kernel that reports the exit again and again for an empty ring has overrun
 * it.  A vCPU whose ring stays full cannot run any more, since KVM does not enter
 * the guest: it is stuck.
 *
 * Limits: exits are judged by their number, not by time.
 */
#include "dirty-ring-internal.h"

/* Repeated full exits of an empty ring before it counts as overrun. */
#define FULL_REPEATS_MAX 3

/* ... and before its vCPU is stuck. */
#define FULL_REPEATS_STUCK 1000

/* Resets entries that other threads have harvested from @ring. */
static void ring_arm(DirtyRing *ring)
{
    DirtyBatch *batch = dirty_batch_start(ring->set);
    DirtyMark mark = { .ring = ring };

    pthread_mutex_lock(&ring->lock);
    mark.upto = ring->fetch;
    pthread_mutex_unlock(&ring->lock);

    g_array_append_val(batch->marks, mark);
    dirty_batch_finish(ring->set, batch);
}

/*
 * Counts full exits between which nothing could be harvested.  One or two
 * happen when another thread empties the ring after the exit.
 */
static DirtyRingFull ring_count_full_locked(DirtyRing *ring)
{
    if (ring->full_at != ring->fetch) {
        ring->full_at = ring->fetch;
        ring->full_repeats = 0;
        return DIRTY_RING_FULL_FREED;
    }
    ring->full_repeats++;
    if (ring->full_repeats == FULL_REPEATS_MAX) {
        dirty_ring_set_overflowed(ring);
    }
    return ring->full_repeats < FULL_REPEATS_MAX ? DIRTY_RING_FULL_FREED
           : ring->full_repeats < FULL_REPEATS_STUCK ? DIRTY_RING_FULL_SPURIOUS
           : DIRTY_RING_FULL_STUCK;
}

/* Judges a ring-full exit, after @ring was harvested and its entries armed. */
static DirtyRingFull ring_judge_full(DirtyRing *ring)
{
    DirtyRingFull full;

    pthread_mutex_lock(&ring->lock);
    full = ring->armed < ring->fetch && dirty_ring_reset_refused(ring->set)
           ? DIRTY_RING_FULL_STUCK : ring_count_full_locked(ring);
    pthread_mutex_unlock(&ring->lock);
    return full;
}

DirtyRingFull dirty_ring_full(DirtyRing *ring)
{
    DirtyRingSet *set = ring->set;
    uint64_t found = dirty_ring_reap(ring);

    count(&set->stats.full_exits, 1);
    count(&ring->full_exits, 1);
    if (!found) {
        count(&set->stats.full_exits_empty, 1);
        ring_arm(ring);
    }
    return ring_judge_full(ring);
}
