/*
 * KVM dirty ring: taking entries from a ring
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * A harvest copies {slot, offset} of each dirty entry into a batch, translated
 * to page numbers, and marks the entry for the next KVM_RESET_DIRTY_RINGS.  The
 * caller's thread holds the ring lock meanwhile.
 *
 * A harvest stops after as many entries as the ring has.  More cannot have
 * been there when it began, so a guest that continues to write does not keep it
 * busy.
 *
 * Limits: a chunk of entries is translated at a time, see HARVEST_CHUNK.
 */
#include "dirty-ring-internal.h"

/* Entries translated at a time: what fits comfortably on a stack. */
#define HARVEST_CHUNK 256

static inline void entry_mark_collected(struct kvm_dirty_gfn *entry)
{
    /*
     * Pairs with the kernel's load-acquire in KVM_RESET_DIRTY_RINGS: slot
     * and offset are read before the kernel may fill the entry again.
     */
    __atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
}

/*
 * True for one in 100,000 entries in a build with a planted fault, which loses
 * them to show that the tests notice.
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
 * Makes room for one more entry in ring->seen, which holds a ring's worth.  It
 * is full if an ioctl that is still running has reset the whole ring, and the
 * guest has filled the ring again.  The oldest entry moves to ring->passed then,
 * and is a suspect wherever it stood.  It is reset, or the kernel could not have
 * filled it again; code that judges by ring->armed waits for the ioctl first.
 */
static void ring_make_room_locked(DirtyRing *ring)
{
    uint32_t size = ring->set->size;

    if (ring->fetch - ring->armed == size) {
        g_array_append_val(ring->passed, ring->seen[ring->armed & (size - 1)]);
        ring->armed++;
    }
}

/*
 * Takes at most @max entries, puts their two words into @slots and @pages,
 * and returns how many; 0 once the ring holds no further dirty entry.  An entry
 * that the planted fault loses is taken and left out.
 */
static size_t harvest_chunk_locked(DirtyRing *ring, uint32_t *slots,
                                   uint64_t *pages, size_t max, size_t *taken)
{
    size_t n = 0;

    *taken = 0;
    while (*taken < max) {
        struct kvm_dirty_gfn *entry = entry_at(ring, ring->fetch);
        DirtyRingEntry *seen = &ring->seen[ring->fetch & (ring->set->size - 1)];

        if (entry_flags(entry) != KVM_DIRTY_GFN_F_DIRTY) {
            break;
        }
        ring_make_room_locked(ring);
        seen->slot = entry->slot;
        seen->offset = entry->offset;
        if (!fault_drops(ring->set)) {
            slots[n] = seen->slot;
            pages[n] = seen->offset;
            n++;
        }
        entry_mark_collected(entry);
        ring->fetch++;
        ++*taken;
    }
    return n;
}

/*
 * Marks the set broken if @ring is full to the last entry: the entry before
 * fetch was harvested last, and is dirty again.  A kernel that keeps its soft
 * limit leaves reserved entries free; this one has overrun the ring, or will at
 * the next write.
 */
static void ring_check_overrun_locked(DirtyRing *ring)
{
    if (entry_flags(entry_at(ring, ring->fetch - 1)) ==
        KVM_DIRTY_GFN_F_DIRTY) {
        dirty_ring_set_overflowed(ring);
    }
}

static void count_harvest_locked(DirtyRing *ring, uint64_t found)
{
    count(&ring->set->stats.harvested, found);
    if (ring->page_counter) {
        count(ring->page_counter, found);
    }
}

/* Moves the dirty entries of @ring into @batch. */
static uint64_t harvest_ring_locked(DirtyRing *ring, DirtyBatch *batch)
{
    DirtyRingSet *set = ring->set;
    uint32_t slots[HARVEST_CHUNK];
    uint64_t pages[HARVEST_CHUNK];
    uint64_t found = 0;
    size_t taken;

    ring_check_overrun_locked(ring);
    do {
        size_t max = MIN(HARVEST_CHUNK, set->size - found);
        size_t n = harvest_chunk_locked(ring, slots, pages, max, &taken);
        size_t known = n ? set->ops->translate(set->opaque, slots, pages, n)
                         : 0;

        g_array_append_vals(batch->pages, pages, known);
        count(&set->stats.unknown, n - known);
        found += taken;
    } while (taken);
    count_harvest_locked(ring, found);
    return found;
}

uint64_t dirty_ring_harvest(DirtyRing *ring, DirtyBatch *batch)
{
    DirtyMark mark = { .ring = ring };
    uint64_t found;

    pthread_mutex_lock(&ring->lock);
    found = harvest_ring_locked(ring, batch);
    mark.upto = ring->fetch;
    pthread_mutex_unlock(&ring->lock);

    if (found) {
        g_array_append_val(batch->marks, mark);
    }
    batch->harvested += found;
    return found;
}
