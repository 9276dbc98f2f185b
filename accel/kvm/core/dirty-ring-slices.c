/*
 * KVM dirty ring: releasing many entries, a slice at a time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * KVM_RESET_DIRTY_RINGS takes time for each entry, and runs once at a time.  A vCPU
 * whose ring is full would wait for all that a sync, or the reaper, has released.
 * So these set goals first, how far each ring is to be released, and then go there
 * in slices, each a batch of its own.  Between two slices a vCPU has its turn.
 *
 * An ioctl makes each vCPU flush its TLB, so a slice grows with the number of rings:
 * what the flushes cost a vCPU for each page that it dirties is the same then,
 * however many vCPUs there are.
 *
 * Entries between a ring and its goal are sorted together if they are more than
 * a slice, since more of them are neighbours than of a slice
 * (dirty-ring-sort.c).  They are still dirty then, and are released in this order by
 * any thread.
 *
 * Another thread may release entries before a goal, in batches of its own.
 *
 * Limits: each slice leaves suspects (dirty-ring-suspects.c).
 */
#include "dirty-ring-internal.h"

/* Least and most entries of a slice, for each ring that has a goal. */
#define SHARE_MIN 64
#define SHARE_MAX 512

/* A slice is not smaller than so many shares. */
#define SHARES_MIN 4

static uint64_t slice_size(const DirtyRingSet *set, guint ngoals)
{
    uint64_t share = CLAMP(set->size / 8, SHARE_MIN, SHARE_MAX);

    return MAX(ngoals, SHARES_MIN) * share;
}

GArray *dirty_goals_new(void)
{
    return g_array_new(FALSE, FALSE, sizeof(DirtyMark));
}

void dirty_goal_set_locked(DirtyRing *ring, DirtyBatch *batch, GArray *goals,
                           uint64_t max)
{
    uint64_t n = MIN(max, ring->seen - ring->released);
    DirtyMark goal = { .ring = ring, .upto = ring->released + n };

    if (n) {
        g_array_append_val(goals, goal);
    }
    if (n > slice_size(ring->set, 1)) {
        dirty_ring_order_locked(ring, batch, n);
    }
}

/*
 * Releases at most @max entries towards @goal.  Returns their number; fewer than
 * @max once the goal is reached.
 */
static uint64_t goal_release(const DirtyMark *goal, DirtyBatch *batch,
                             uint64_t max)
{
    DirtyRing *ring = goal->ring;
    uint64_t taken = 0;

    pthread_mutex_lock(&ring->lock);
    if (goal->upto > ring->released) {
        taken = dirty_ring_release_locked(ring, batch,
                                          MIN(max, goal->upto -
                                                   ring->released));
    }
    pthread_mutex_unlock(&ring->lock);
    return taken;
}

/* Releases @left entries, and takes the goals that are reached from @goals. */
static void goals_release_slice(GArray *goals, DirtyBatch *batch, uint64_t left)
{
    while (goals->len) {
        guint last = goals->len - 1;

        left -= goal_release(&g_array_index(goals, DirtyMark, last), batch,
                             left);
        if (!left) {
            break;
        }
        g_array_set_size(goals, last);
    }
}

uint64_t dirty_goals_release(DirtyRingSet *set, GArray *goals,
                             DirtyBatch *batch, uint64_t *counter)
{
    uint64_t slice = slice_size(set, goals->len);
    uint64_t released = 0;

    while (true) {
        goals_release_slice(goals, batch, slice);
        count(counter, batch->harvested);
        released += dirty_batch_finish(set, batch);
        if (!goals->len) {
            break;
        }
        batch = dirty_batch_start(set);
    }
    g_array_unref(goals);
    return released;
}
