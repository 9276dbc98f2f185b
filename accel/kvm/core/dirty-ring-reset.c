/*
 * KVM dirty ring: write-protecting harvested pages again
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * KVM_RESET_DIRTY_RINGS is VM-wide: it may reset entries that other threads have
 * harvested, and it may stop anywhere (at a limit).  Its return value therefore
 * says nothing about a batch; the flags do, under two conditions:
 *
 *  - The ioctl has returned.  The kernel clears flags first and flushes TLBs
 *    last, so a flag that is clear while another thread is still inside the ioctl
 *    proves nothing.  All ioctls run under the reset lock, and flags are judged
 *    under it.  That is also why a thread that finds its batch armed by another
 *    thread's ioctl needs none.
 *  - No signal interrupted the ioctl.  Linux 6.17 and newer clear the flags of up
 *    to 64 pages before they protect any of them, look for a pending signal in
 *    between, and return without protecting them if there is one.  Neither the
 *    flags nor the return value show this.  So every signal is blocked around
 *    the ioctl (reset_with_signals_blocked()).  A signal that arrives meanwhile is
 *    delivered afterwards; QEMU's kick of a vCPU is not lost by that, since it
 *    sets a flag that the next KVM_RUN obeys.
 *
 * Signals that cannot be blocked interrupt the ioctl all the same.  Pages that
 * the ioctl may have left writable then are suspects (dirty-ring-suspects.c): the
 * end of each ioctl's work in a ring is noted, and each sync publishes these pages
 * again.
 *
 * Entries in [armed, released) are released and not known to be reset.  Once an
 * entry is reset, the kernel may fill it again and another thread may release it
 * again, a whole ring further on; its
 * flag then stands for the later entry, which errs on the safe side: the earlier
 * one was reset, or the kernel could not have used the entry again.
 *
 * The kernel may refuse to reset (the VM is dead), or reset nothing until a timeout
 * ends.  A thread may hold locks of its own meanwhile, the BQL among them, so a set
 * whose entries were not reset once gets one ioctl per batch from then on.
 *
 * Limits: one ioctl at a time.
 */
#include "dirty-ring-internal.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

/* Between two KVM_RESET_DIRTY_RINGS of which the first reset nothing. */
#define RESET_STEP_NS (50ull * 1000)

bool dirty_ring_reset_refused(const DirtyRingSet *set)
{
    return __atomic_load_n(&set->reset_refused, __ATOMIC_ACQUIRE);
}

static bool entry_is_reset(DirtyRing *ring, uint64_t pos)
{
    return !(entry_flags(entry_at(ring, pos)) & KVM_DIRTY_GFN_F_RESET);
}

/*
 * Advances armed over the entries that the kernel has reset.  It resets in order, so
 * the last entry stands for all before it.  The caller holds the reset lock too,
 * since flags prove nothing while an ioctl runs.
 */
static void ring_note_resets_locked(DirtyRing *ring)
{
    uint64_t from = ring->armed;

    if (from < ring->released && entry_is_reset(ring, ring->released - 1)) {
        ring->armed = ring->released;
    }
    while (ring->armed < ring->released && entry_is_reset(ring, ring->armed)) {
        ring->armed++;
    }
    if (ring->armed > from) {
        dirty_suspects_note(&ring->set->suspects, ring->copies,
                            ring->set->size, from, ring->armed);
    }
    dirty_suspects_note_passed(&ring->set->suspects, ring->passed);
}

static bool mark_is_armed(const DirtyMark *mark)
{
    bool armed;

    pthread_mutex_lock(&mark->ring->lock);
    armed = mark->ring->armed >= mark->upto;
    pthread_mutex_unlock(&mark->ring->lock);
    return armed;
}

/* Needs the reset lock. */
static bool batch_is_armed_locked(DirtyBatch *batch)
{
    while (batch->marks->len) {
        guint last = batch->marks->len - 1;

        if (!mark_is_armed(&g_array_index(batch->marks, DirtyMark, last))) {
            return false;
        }
        g_array_set_size(batch->marks, last);
    }
    return true;
}

/* Counts an ioctl that took @ns and returned @ret. */
static void count_reset(DirtyRingStats *stats, int ret, uint64_t ns)
{
    count(&stats->resets, 1);
    count(&stats->reset_ns, ns);
    count_max(&stats->reset_max_ns, ns);
    if (ret > 0) {
        count(&stats->reset_entries, ret);
        count_max(&stats->reset_entries_max, ret);
    }
}

/*
 * Calls ops->reset() once with all signals blocked and returns its result.  Then
 * notes for each ring how far the ioctl got, since the end of an ioctl's work
 * leaves suspects.
 */
static int reset_with_signals_blocked(DirtyRingSet *set)
{
    sigset_t all, before;
    uint64_t start_ns;
    DirtyRing *ring;
    int ret;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    start_ns = dirty_ring_now_ns();
    ret = set->ops->reset(set->opaque);
    count_reset(&set->stats, ret, dirty_ring_now_ns() - start_ns);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (ring = dirty_ring_first(set); ring; ring = dirty_ring_next(ring)) {
        pthread_mutex_lock(&ring->lock);
        ring_note_resets_locked(ring);
        pthread_mutex_unlock(&ring->lock);
    }
    __atomic_store_n(&set->stats.suspects,
                     dirty_suspects_noted(&set->suspects), __ATOMIC_RELAXED);
    return ret;
}

/*
 * Calls ops->reset() once.  Returns true if another try may help: the call was
 * interrupted, or has reset entries.  *@progress_ns is the time at which a call
 * last reset entries.
 */
static bool reset_once_locked(DirtyRingSet *set, uint64_t *progress_ns)
{
    int ret = reset_with_signals_blocked(set);
    struct timespec step = { .tv_nsec = RESET_STEP_NS };

    if (ret > 0) {
        *progress_ns = dirty_ring_now_ns();
        return true;
    }
    if (ret < 0) {
        count(&set->stats.resets_failed, 1);
        if (ret != -EINTR && ret != -EAGAIN) {
            return false;
        }
    }
    if (dirty_ring_reset_refused(set) ||
        dirty_ring_now_ns() - *progress_ns >= set->reset_timeout_ns) {
        return false;
    }
    /* Let the thread run that keeps the kernel from resetting entries. */
    nanosleep(&step, NULL);
    return true;
}

void dirty_batch_arm(DirtyRingSet *set, DirtyBatch *batch)
{
    uint64_t progress_ns;

    if (!batch->marks->len) {
        return;
    }
    pthread_mutex_lock(&set->reset_lock);
    if (batch_is_armed_locked(batch)) {
        count(&set->stats.resets_skipped, 1);
    } else {
        progress_ns = dirty_ring_now_ns();
        while (true) {
            bool again = reset_once_locked(set, &progress_ns);

            if (batch_is_armed_locked(batch)) {
                break;
            }
            count(&set->stats.resets_incomplete, 1);
            if (!again) {
                __atomic_store_n(&set->reset_refused, true, __ATOMIC_RELEASE);
                dirty_ring_set_broken(set, DIRTY_RING_FAULT_RESET);
                break;
            }
        }
    }
    pthread_mutex_unlock(&set->reset_lock);
}
