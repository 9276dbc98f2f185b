/*
 * KVM dirty ring: looking at a ring, and taking entries from it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * To harvest and to release are two things.  A ring has three positions:
 *
 *      armed <= released <= seen
 *
 *   [released, seen)    F_DIRTY: counted, and perhaps read; the page is writable
 *   [armed, released)   read into a batch and marked F_RESET
 *   before armed        reset: the page is protected again, the entry is KVM's
 *
 * Looking counts the entries that the kernel has added.  It fills entries in
 * order, so dirty ones adjoin, and a search by doubling and halving finds their
 * end: a look at a ring of 65,536 entries reads some 30 flags.
 *
 * Taking copies {slot, offset} of the oldest entries into a batch, translated to
 * page numbers, and may release them: marks them for the next
 * KVM_RESET_DIRTY_RINGS.  A page whose entry is not released costs the guest no
 * further fault.
 *
 * A take stops after as many entries as the ring has.  More cannot have been
 * there when it began, so a guest that continues to write does not keep it busy.
 *
 * Limits: a chunk of entries is translated at a time, see HARVEST_CHUNK.
 */
#include "dirty-ring-internal.h"

/* Entries translated at a time: what fits comfortably on a stack. */
#define HARVEST_CHUNK 256

/* Looking */

static inline bool entry_is_dirty(DirtyRing *ring, uint64_t pos)
{
    return entry_flags(entry_at(ring, pos)) == KVM_DIRTY_GFN_F_DIRTY;
}

/*
 * The first position from @from up to @to whose entry is not dirty.  The kernel
 * fills entries in order, so dirty ones adjoin: steps that double pass the end of
 * them, halves find it.
 */
static uint64_t first_clean(DirtyRing *ring, uint64_t from, uint64_t to)
{
    uint64_t step = 1;

    while (from < to &&
           entry_is_dirty(ring, from + MIN(step, to - from) - 1)) {
        from += MIN(step, to - from);
        step *= 2;
    }
    to = MIN(to, from + step);
    while (from < to) {
        uint64_t middle = from + (to - from) / 2;

        if (entry_is_dirty(ring, middle)) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

static void ring_set_seen_locked(DirtyRing *ring, uint64_t seen)
{
    uint64_t more = seen - ring->seen;

    if (more) {
        ring->seen = seen;
        ring->most = MAX(ring->most, seen - ring->armed);
        count(&ring->set->stats.harvested, more);
        if (ring->page_counter) {
            count(ring->page_counter, more);
        }
    }
}

/*
 * A kernel that keeps its soft limit always leaves reserved entries free.  If
 * the entry just before the oldest one that is not released is dirty again, the
 * ring is full to the last entry: it has been overrun, or will be by the next
 * write.
 */
static void ring_check_overrun_locked(DirtyRing *ring)
{
    if (entry_is_dirty(ring, ring->released - 1)) {
        dirty_ring_set_overflowed(ring);
    }
}

void dirty_ring_look_locked(DirtyRing *ring)
{
    ring_check_overrun_locked(ring);
    ring_set_seen_locked(ring, first_clean(ring, ring->seen,
                                           ring->armed + ring->set->size));
}

uint64_t dirty_ring_look(DirtyRing *ring)
{
    uint64_t seen;

    pthread_mutex_lock(&ring->lock);
    dirty_ring_look_locked(ring);
    seen = ring->seen;
    pthread_mutex_unlock(&ring->lock);
    return seen;
}

/* Taking */

static inline void entry_mark_released(struct kvm_dirty_gfn *entry)
{
    /*
     * Pairs with the kernel's load-acquire in KVM_RESET_DIRTY_RINGS: our
     * reads of slot and offset come before the entry may be filled again.
     */
    __atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
}

/*
 * True for the entry that a build with a planted fault loses, one in 100,000
 * released.  It exists to show that the tests notice.
 */
static inline bool fault_drops(DirtyRingSet *set)
{
#ifdef CONFIG_DIRTY_RING_FAULT_DROP
    return __atomic_add_fetch(&set->fault_clock, 1, __ATOMIC_RELAXED) %
           100000 == 0;
#else
    (void)set;
    return false;
#endif
}

/*
 * Makes room for one more in ring->copies.  There is none while an ioctl is
 * running that has reset a whole ring: the guest fills it anew, and it is
 * released, before the ioctl's end is noted.  Entries that are passed over then
 * are suspects, wherever they stood.  They are reset, or the kernel could not
 * have filled them; code that judges by ring->armed waits for the ioctl first.
 */
static void ring_make_copy_room_locked(DirtyRing *ring)
{
    uint32_t size = ring->set->size;

    if (ring->released - ring->armed == size) {
        g_array_append_val(ring->passed,
                           ring->copies[ring->armed & (size - 1)]);
        ring->armed++;
    }
}

/*
 * Copies the two words of at most @max dirty entries from position @at on into
 * @slots and @pages.  Returns how many; fewer than @max once an entry is not
 * dirty.
 */
static size_t read_chunk_locked(DirtyRing *ring, uint64_t at, uint32_t *slots,
                                uint64_t *pages, size_t max)
{
    size_t n;

    for (n = 0; n < max && entry_is_dirty(ring, at + n); n++) {
        const struct kvm_dirty_gfn *entry = entry_at(ring, at + n);

        slots[n] = entry->slot;
        pages[n] = entry->offset;
    }
    return n;
}

/* Marks @n entries, which are in @slots and @pages, for the kernel to reset. */
static void release_chunk_locked(DirtyRing *ring, const uint32_t *slots,
                                 const uint64_t *pages, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ring_make_copy_room_locked(ring);
        ring->copies[ring->released & (ring->set->size - 1)] =
            (DirtyRingEntry){ .slot = slots[i], .offset = pages[i] };
        entry_mark_released(entry_at(ring, ring->released));
        ring->released++;
    }
}

/* Leaves out what the planted fault loses; returns how many remain. */
static size_t drop_faulty(DirtyRingSet *set, uint32_t *slots, uint64_t *pages,
                          size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        if (!fault_drops(set)) {
            slots[kept] = slots[i];
            pages[kept++] = pages[i];
        }
    }
    return kept;
}

/* Translates @n entries and appends them to @batch. */
static void batch_append(DirtyRingSet *set, DirtyBatch *batch,
                         uint32_t *slots, uint64_t *pages, size_t n)
{
    size_t kept = drop_faulty(set, slots, pages, n);
    size_t known = kept ? set->ops->translate(set->opaque, slots, pages, kept)
                        : 0;

    g_array_append_vals(batch->pages, pages, known);
    count(&set->stats.unknown, kept - known);
}

/*
 * Moves at most @max of the oldest entries of @ring into @batch and, with
 * @release, marks them; without, they stay where they are.  Returns how many.
 */
uint64_t dirty_ring_take_locked(DirtyRing *ring, DirtyBatch *batch,
                                 uint64_t max, bool release)
{
    uint64_t at = ring->released;
    uint32_t slots[HARVEST_CHUNK];
    uint64_t pages[HARVEST_CHUNK];
    uint64_t taken = 0;
    size_t n;

    ring_check_overrun_locked(ring);
    do {
        n = read_chunk_locked(ring, at + taken, slots, pages,
                              MIN(HARVEST_CHUNK, max - taken));
        if (release) {
            release_chunk_locked(ring, slots, pages, n);
        }
        taken += n;
        if (n) {
            batch_append(ring->set, batch, slots, pages, n);
        }
    } while (n);
    ring_set_seen_locked(ring, MAX(ring->seen, at + taken));
    return taken;
}

/*
 * Releases at most @max of the oldest entries of @ring into @batch, and notes
 * there what has to be armed: all that is released, by other threads, too, since
 * to wait for those is harmless.
 */
uint64_t dirty_ring_release_locked(DirtyRing *ring, DirtyBatch *batch,
                                    uint64_t max)
{
    DirtyMark mark = { .ring = ring };
    uint64_t taken = dirty_ring_take_locked(ring, batch, max, true);

    if (taken) {
        mark.upto = ring->released;
        g_array_append_val(batch->marks, mark);
    }
    batch->harvested += taken;
    return taken;
}
