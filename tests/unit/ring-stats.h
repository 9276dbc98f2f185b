/*
 * Dirty ring: do the counters of a ring set add up?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Call while no thread is in a function of the set.
 */
#ifndef TESTS_UNIT_RING_STATS_H
#define TESTS_UNIT_RING_STATS_H

#include <glib.h>

#include "accel/kvm/core/dirty-ring-core.h"

/* The counters beside those of the rings. */
static inline void ring_stats_check_rings(DirtyRingSet *set,
                                          const DirtyRingStats *stats)
{
    uint64_t seen = 0, released = 0, full_exits = 0;
    DirtyRing *ring;

    for (ring = dirty_ring_first(set); ring; ring = dirty_ring_next(ring)) {
        uint64_t most, occupied = dirty_ring_occupied(ring, &most);

        g_assert_cmpuint(occupied, <=, most);
        g_assert_cmpuint(most, <=, set->size);
        seen += dirty_ring_harvested(ring);
        released += ring->released;
        full_exits += ring->full_exits;
    }
    g_assert_cmpuint(stats->harvested, ==, seen);
    g_assert_cmpuint(stats->released_full + stats->released_reaper +
                     stats->released_sync, ==, released);
    g_assert_cmpuint(stats->full_exits, ==, full_exits);
    g_assert_cmpuint(released, <=, seen);
}

static inline void ring_stats_check(DirtyRingSet *set)
{
    DirtyRingStats stats;
    uint64_t exits = 0;

    dirty_ring_stats(set, &stats);
    ring_stats_check_rings(set, &stats);
    g_assert_cmpuint(stats.published - stats.republished -
                     stats.published_in_place + stats.unknown, ==,
                     stats.released_full + stats.released_reaper +
                     stats.released_sync);
    g_assert_cmpuint(stats.reset_entries, <=,
                     stats.released_full + stats.released_reaper +
                     stats.released_sync);
    g_assert_cmpuint(stats.reset_entries_max, <=, stats.reset_entries);
    g_assert_cmpuint(stats.reset_max_ns, <=, stats.reset_ns);
    for (int i = 0; i < DIRTY_RING_FULL_BUCKETS; i++) {
        exits += stats.full_hist[i];
    }
    g_assert_cmpuint(exits, ==, stats.full_exits);
    g_assert_cmpuint(stats.full_exits_empty, <=, stats.full_exits);
    g_assert_cmpuint(stats.full_max_ns, <=, stats.full_ns);
    g_assert_cmpuint(stats.resets_failed, <=, stats.resets);
    g_assert_cmpuint(stats.resets_incomplete, <=, stats.resets);
}

#endif
