/*
 * KVM dirty ring: what the files of the core share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each function of one file that another one calls; dirty-ring-core.h has those
 * for users.
 */
#ifndef ACCEL_KVM_DIRTY_RING_CORE_INTERNAL_H
#define ACCEL_KVM_DIRTY_RING_CORE_INTERNAL_H

#include <time.h>

#include "dirty-ring-batch.h"
#include "dirty-ring-core.h"

/* The monotonic clock, in nanoseconds. */
static inline uint64_t dirty_ring_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static inline void count(uint64_t *counter, uint64_t n)
{
    __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static inline uint64_t counted(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Raises *@max to @n if it is less. */
static inline void count_max(uint64_t *max, uint64_t n)
{
    uint64_t before = counted(max);

    while (n > before &&
           !__atomic_compare_exchange_n(max, &before, n, true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        continue;
    }
}

static inline struct kvm_dirty_gfn *entry_at(DirtyRing *ring, uint64_t pos)
{
    return &ring->entries[pos & (ring->set->size - 1)];
}

static inline uint32_t entry_flags(struct kvm_dirty_gfn *entry)
{
    /*
     * Pairs with the kernel's store-release of the flags: for F_DIRTY, it
     * publishes slot and offset; for 0, it comes after our F_RESET was seen.
     */
    return __atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE);
}

/*
 * Entries that KVM has not reset.  While an ioctl runs, the kernel may have filled
 * entries again whose reset is not noted yet; those count once.
 */
static inline uint64_t ring_occupied_locked(const DirtyRing *ring)
{
    return MIN(ring->seen - ring->armed, ring->set->size);
}

/* dirty-ring-set.c */

/* Marks @set broken; reports @fault if it is the first.  Takes no lock. */
void dirty_ring_set_broken(DirtyRingSet *set, DirtyRingFault fault);

/* The kernel has overrun @ring: its set is broken. */
void dirty_ring_set_overflowed(DirtyRing *ring);

/* dirty-ring-harvest.c */

/* Counts the entries that the kernel has added.  Called with the ring lock held. */
void dirty_ring_look_locked(DirtyRing *ring);

/*
 * Copies all that @ring holds and that @peek (NULL: anything) wants into @batch, and
 * releases nothing.  Returns the number of entries that it looked at, a whole
 * ring at most.  Called with the ring lock held.
 */
uint64_t dirty_ring_read_locked(DirtyRing *ring, DirtyBatch *batch,
                                const DirtyRingPeek *peek);

/*
 * Releases at most @max of the oldest entries of @ring into @batch, and notes
 * there what has to be armed: all that is released, by other threads too, since
 * waiting for those is harmless.  Returns their number.  Called with the ring lock
 * held, after a look.
 */
uint64_t dirty_ring_release_locked(DirtyRing *ring, DirtyBatch *batch,
                                   uint64_t max);

/*
 * Sorts the @n oldest entries of @ring that are not released, if that pays; they
 * stay dirty.  @batch lends memory.  Called with the ring lock held.
 */
void dirty_ring_order_locked(DirtyRing *ring, DirtyBatch *batch, uint64_t n);

/* dirty-ring-slices.c */

/* Returns goals for dirty_goals_release(): none yet. */
GArray *dirty_goals_new(void);

/*
 * Adds a goal: at most @max of the oldest entries that were seen in @ring and are
 * not released.  Called with the ring lock held; the ring must have no goal yet.
 */
void dirty_goal_set_locked(DirtyRing *ring, DirtyBatch *batch, GArray *goals,
                           uint64_t max);

/*
 * Releases, arms and publishes all up to @goals, which it frees, and what @batch
 * holds already, in as many batches as it takes.  Adds the number of entries that
 * it releases to *@counter, and returns it.  For entries that other threads
 * release meanwhile, see dirty_ring_wait_published().
 */
uint64_t dirty_goals_release(DirtyRingSet *set, GArray *goals,
                             DirtyBatch *batch, uint64_t *counter);

/* dirty-ring-reset.c */

/*
 * Returns when every page of @batch is write-protected again on all CPUs.  If
 * the kernel will not do it, marks the set broken and returns all the same:
 * the caller still publishes, since a page sent too early may be stale and a
 * page not sent is stale for certain.  Takes the reset lock.
 */
void dirty_batch_arm(DirtyRingSet *set, DirtyBatch *batch);

/* True once the kernel has refused to reset entries; stays true. */
bool dirty_ring_reset_refused(const DirtyRingSet *set);

/* dirty-ring-reap.c */

/* Arms and publishes @batch.  Returns the number of entries it harvested. */
uint64_t dirty_batch_finish(DirtyRingSet *set, DirtyBatch *batch);

#endif
