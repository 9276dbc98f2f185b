/*
 * KVM dirty ring: a vCPU that leaves the guest with its ring full
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * The vCPU's thread releases a part of its own ring, the oldest entries; pages of
 * the others stay writable.  If there is nothing to release, another thread has
 * released all of it and may not have reset the entries yet: the vCPU
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

/* Most entries that a full ring's vCPU releases: a bound on its pause. */
#define FULL_RELEASE_MAX 2048

/*
 * Releases a part of the ring: the fewer, the longer the other pages stay
 * writable; the more, the fewer ioctls.  The bound keeps the vCPU's pause short in
 * a large ring.
 */
static uint64_t full_part_locked(DirtyRing *ring)
{
    uint64_t part = MIN(ring->set->usable / 4, FULL_RELEASE_MAX);

    return MAX(part, 1);
}

/*
 * Releases a part of @ring.  If there is nothing to release, notes in @batch what
 * other threads have released and not yet reset.
 */
static void ring_release_full(DirtyRing *ring, DirtyBatch *batch)
{
    DirtyMark mark = { .ring = ring };

    pthread_mutex_lock(&ring->lock);
    dirty_ring_look_locked(ring);
    if (!dirty_ring_release_locked(ring, batch, full_part_locked(ring))) {
        mark.upto = ring->released;
        g_array_append_val(batch->marks, mark);
    }
    pthread_mutex_unlock(&ring->lock);
}

/*
 * Counts full exits between which nothing could be harvested.  One or two
 * happen when another thread empties the ring between the exit and us.
 */
static DirtyRingFull ring_count_full_locked(DirtyRing *ring)
{
    if (ring->full_at != ring->released) {
        ring->full_at = ring->released;
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

/* Judges a ring-full exit, after entries of @ring were released and armed. */
static DirtyRingFull ring_judge_full(DirtyRing *ring)
{
    DirtyRingFull full;

    pthread_mutex_lock(&ring->lock);
    full = ring->armed < ring->released && dirty_ring_reset_refused(ring->set)
           ? DIRTY_RING_FULL_STUCK : ring_count_full_locked(ring);
    pthread_mutex_unlock(&ring->lock);
    return full;
}

static void count_full(DirtyRing *ring, uint64_t ns, bool empty)
{
    DirtyRingStats *stats = &ring->set->stats;
    uint64_t us = MAX(ns / 1000, 1);
    unsigned bucket = MIN(63 - __builtin_clzll(us),
                          DIRTY_RING_FULL_BUCKETS - 1);

    count(&ring->full_exits, 1);
    count(&stats->full_exits, 1);
    count(&stats->full_exits_empty, empty);
    count(&stats->full_ns, ns);
    count(&stats->full_hist[bucket], 1);
    count_max(&stats->full_max_ns, ns);
}

DirtyRingFull dirty_ring_full(DirtyRing *ring)
{
    DirtyRingSet *set = ring->set;
    uint64_t start = dirty_ring_now_ns();
    DirtyBatch *batch = dirty_batch_start(set);
    uint64_t released;

    ring_release_full(ring, batch);
    count(&set->stats.released_full, batch->harvested);
    released = dirty_batch_finish(set, batch);
    count_full(ring, dirty_ring_now_ns() - start, !released);
    return ring_judge_full(ring);
}
