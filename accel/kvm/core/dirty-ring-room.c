/*
 * KVM dirty ring: making room before a ring is full
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * For the reaper: looks at each ring, lets the caller decide how many of the
 * oldest entries to release, and releases, arms and publishes these.
 *
 * Limits: one thread, since each ring keeps what was counted at the call before.
 */
#include "dirty-ring-internal.h"

static void ring_level_locked(DirtyRing *ring, DirtyRingLevel *level)
{
    dirty_ring_look_locked(ring);
    level->usable = ring->set->usable;
    level->occupied = ring_occupied_locked(ring);
    level->uptake = ring->seen - ring->uptake_counted;
    ring->uptake_counted = ring->seen;
}

uint64_t dirty_ring_make_room(DirtyRingSet *set, DirtyRingDecide decide,
                              void *opaque)
{
    DirtyBatch *batch = dirty_batch_start(set);
    GArray *goals = dirty_goals_new();
    DirtyRing *ring;

    for (ring = dirty_ring_first(set); ring; ring = dirty_ring_next(ring)) {
        DirtyRingLevel level;

        pthread_mutex_lock(&ring->lock);
        ring_level_locked(ring, &level);
        dirty_goal_set_locked(ring, batch, goals, decide(opaque, &level));
        pthread_mutex_unlock(&ring->lock);
    }
    return dirty_goals_release(set, goals, batch,
                               &set->stats.released_reaper);
}
