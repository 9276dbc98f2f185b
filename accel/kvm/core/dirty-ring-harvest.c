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
 * Entries that are released are sorted first if they are dense, and written back in
 * their new order, since KVM protects neighbouring pages together
 * (dirty-ring-sort.c).  Until they
 * are marked they are ours, so KVM does not see them change.
 *
 * Entries at the end of what KVM resets become suspects, all that it may protect
 * together (dirty-ring-suspects.c).  In a sorted batch these are up to 64 pages, so
 * its last entry changes places with its first: KVM protects it by itself then.
 *
 * A take stops after as many entries as the ring has.  More cannot have been
 * there when it began, so a guest that continues to write does not keep it busy.
 *
 * Limits: a chunk of entries is translated at a time, see DIRTY_BATCH_CHUNK.
 */
#include "system/core/dirty-fault.h"
#include "dirty-ring-internal.h"
#include "dirty-ring-sort.h"

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
        ring->most = MAX(ring->most, ring_occupied_locked(ring));
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
 * write.  Counted once for each position at which it is seen.
 */
static void ring_check_overrun_locked(DirtyRing *ring)
{
    if (ring->overrun_at != ring->released + 1 &&
        entry_is_dirty(ring, ring->released - 1)) {
        ring->overrun_at = ring->released + 1;
        dirty_ring_set_overflowed(ring);
    }
}

void dirty_ring_look_locked(DirtyRing *ring)
{
    ring_check_overrun_locked(ring);
    /* Released entries are dirty only if KVM has reset and filled them again. */
    ring_set_seen_locked(ring, first_clean(ring, ring->seen,
                                           ring->released + ring->set->size));
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

static inline DirtyRingEntry *copy_at(DirtyRing *ring, uint64_t pos)
{
    return &ring->copies[pos & (ring->set->size - 1)];
}

static inline void entry_mark_released(struct kvm_dirty_gfn *entry)
{
    /*
     * Pairs with the kernel's load-acquire in KVM_RESET_DIRTY_RINGS: our
     * reads of slot and offset come before the entry may be filled again.
     */
    __atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
}

/* True for the entry that a build with planted faults loses. */
static inline bool fault_drops(DirtyRingSet *set)
{
    return dirty_fault_is("ring") &&
           __atomic_add_fetch(&set->fault_clock, 1, __ATOMIC_RELAXED) %
           100000 == 0;
}

/*
 * Makes room for one more in ring->copies.  There is none while an ioctl is
 * running that has reset a whole ring: the guest fills it anew, and it is
 * released, before the ioctl's end is noted.  Entries that are passed over then
 * are suspects, wherever they stood.  They are reset, or the kernel could not
 * have filled them; code that judges by ring->armed waits for the ioctl first.
 */
static void ring_make_copy_room_locked(DirtyRing *ring, uint64_t at)
{
    uint32_t size = ring->set->size;

    if (at - ring->armed == size) {
        g_array_append_val(ring->passed,
                           ring->copies[ring->armed & (size - 1)]);
        ring->armed++;
    }
}

/*
 * Copies at most @max dirty entries, the oldest that are not released, into
 * ring->copies.  Returns how many.  *@sorted is set if they are in order.
 */
static uint64_t copy_entries_locked(DirtyRing *ring, uint64_t max, bool *sorted)
{
    struct kvm_dirty_gfn *entries = ring->entries;
    DirtyRingEntry *copies = ring->copies, last = {};
    uint64_t from = ring->released, mask = ring->set->size - 1, n;
    bool roomy = from + max - ring->armed <= mask + 1, ascend = true;

    for (n = 0; n < max; n++) {
        struct kvm_dirty_gfn *entry = &entries[(from + n) & mask];
        DirtyRingEntry copy;

        if (entry_flags(entry) != KVM_DIRTY_GFN_F_DIRTY) {
            break;
        }
        copy = (DirtyRingEntry){ .slot = entry->slot, .offset = entry->offset };
        if (!roomy) {
            ring_make_copy_room_locked(ring, from + n);
        }
        copies[(from + n) & mask] = copy;
        if (copy.slot < last.slot ||
            (copy.slot == last.slot && copy.offset < last.offset)) {
            ascend = false;
        }
        last = copy;
    }
    *sorted = ascend;
    return n;
}

static void sort_if_dense(DirtyRingEntry *entries, DirtyRingEntry *spare,
                          size_t n)
{
    if (dirty_ring_is_dense(entries, spare, n)) {
        dirty_ring_sort(entries, spare, n);
    }
}

/*
 * Sorts the @n entries of ring->copies from position ring->released on, if that
 * pays.  Where they reach beyond the array's end, each part is sorted for itself.
 */
static void sort_copies_locked(DirtyRing *ring, DirtyBatch *batch, uint64_t n)
{
    uint32_t size = ring->set->size;
    uint32_t first = ring->released & (size - 1);
    uint64_t part = MIN(n, size - first);
    DirtyRingEntry *spare = dirty_batch_spare(batch, n);

    sort_if_dense(&ring->copies[first], spare, part);
    sort_if_dense(ring->copies, spare, n - part);
}

static bool protected_together(const DirtyRingEntry *a, const DirtyRingEntry *b)
{
    uint64_t apart = a->offset > b->offset ? a->offset - b->offset
                                           : b->offset - a->offset;

    return a->slot == b->slot && apart < DIRTY_MASK_PAGES;
}

/*
 * Of the @n entries of ring->copies from position ring->released on, puts one last
 * that KVM does not protect together with the one before it, if the first is such
 * an entry.
 */
static void isolate_last_locked(DirtyRing *ring, uint64_t n)
{
    DirtyRingEntry *first = copy_at(ring, ring->released);
    DirtyRingEntry *last = copy_at(ring, ring->released + n - 1);
    DirtyRingEntry *before = copy_at(ring, ring->released + n - 2);
    DirtyRingEntry swap = *first;

    if (n > 2 && protected_together(before, last) &&
        !protected_together(before, first)) {
        *first = *last;
        *last = swap;
    }
}

/*
 * Writes @n entries of ring->copies back into the ring, marked for the kernel to
 * reset, and into @batch's chunk.
 */
static void release_chunk_locked(DirtyRing *ring, DirtyBatch *batch, size_t n)
{
    struct kvm_dirty_gfn *entries = ring->entries;
    const DirtyRingEntry *copies = ring->copies;
    uint64_t from = ring->released, mask = ring->set->size - 1;

    for (size_t i = 0; i < n; i++) {
        struct kvm_dirty_gfn *entry = &entries[(from + i) & mask];
        const DirtyRingEntry *copy = &copies[(from + i) & mask];

        batch->slots[i] = entry->slot = copy->slot;
        batch->offsets[i] = entry->offset = copy->offset;
        entry_mark_released(entry);
    }
    ring->released = from + n;
}

/* Leaves out of @batch's chunk what the planted fault loses; returns how many remain. */
static size_t drop_faulty(DirtyRingSet *set, DirtyBatch *batch, size_t n)
{
    size_t kept = 0;

    if (!dirty_fault_is("ring")) {
        return n;
    }
    for (size_t i = 0; i < n; i++) {
        if (!fault_drops(set)) {
            batch->slots[kept] = batch->slots[i];
            batch->offsets[kept++] = batch->offsets[i];
        }
    }
    return kept;
}

/*
 * Translates the @n entries of @batch's chunk and appends them to its pages.  Returns
 * how many it left out because they name no page.
 */
static size_t batch_append(DirtyRingSet *set, DirtyBatch *batch, size_t n)
{
    size_t kept = drop_faulty(set, batch, n);
    size_t known = kept ? set->ops->translate(set->opaque, batch->slots,
                                              batch->offsets, kept)
                        : 0;

    g_array_append_vals(batch->pages, batch->offsets, known);
    return kept - known;
}

/* The last answer of DirtyRingPeek.wants, as most entries are of a few slots. */
typedef struct Filter {
    const DirtyRingPeek *peek;  /* NULL: all entries */
    uint32_t slot;
    bool asked, wanted;
} Filter;

static bool filter_wants(Filter *filter, uint32_t slot)
{
    if (filter->peek && (!filter->asked || filter->slot != slot)) {
        filter->wanted = filter->peek->wants(filter->peek->opaque, slot);
        filter->slot = slot;
        filter->asked = true;
    }
    return !filter->peek || filter->wanted;
}

uint64_t dirty_ring_read_locked(DirtyRing *ring, DirtyBatch *batch,
                                const DirtyRingPeek *peek)
{
    uint64_t at = ring->released;
    Filter filter = { .peek = peek };
    size_t n;

    /* What was read of the flags of the last one stands for those before it. */
    dirty_ring_look_locked(ring);
    do {
        for (n = 0; n < DIRTY_BATCH_CHUNK && at < ring->seen; at++) {
            const struct kvm_dirty_gfn *entry = entry_at(ring, at);

            if (filter_wants(&filter, entry->slot)) {
                batch->slots[n] = entry->slot;
                batch->offsets[n++] = entry->offset;
            }
        }
        if (n) {
            batch_append(ring->set, batch, n);
        }
    } while (n == DIRTY_BATCH_CHUNK);
    return at - ring->released;
}

void dirty_ring_order_locked(DirtyRing *ring, DirtyBatch *batch, uint64_t n)
{
    bool sorted;

    n = copy_entries_locked(ring, n, &sorted);
    if (sorted) {
        return;
    }
    sort_copies_locked(ring, batch, n);
    for (uint64_t at = ring->released; at < ring->released + n; at++) {
        struct kvm_dirty_gfn *entry = entry_at(ring, at);
        const DirtyRingEntry *copy = copy_at(ring, at);

        entry->slot = copy->slot;
        entry->offset = copy->offset;
    }
}

uint64_t dirty_ring_release_locked(DirtyRing *ring, DirtyBatch *batch,
                                   uint64_t max)
{
    DirtyMark mark = { .ring = ring };
    uint64_t taken;
    bool sorted;

    taken = copy_entries_locked(ring, max, &sorted);
    if (!sorted) {
        sort_copies_locked(ring, batch, taken);
    }
    isolate_last_locked(ring, taken);
    mark.upto = ring->released + taken;
    while (ring->released < mark.upto) {
        size_t n = MIN(DIRTY_BATCH_CHUNK, mark.upto - ring->released);

        release_chunk_locked(ring, batch, n);
        count(&ring->set->stats.unknown,
              batch_append(ring->set, batch, n));
    }
    ring_set_seen_locked(ring, MAX(ring->seen, ring->released));
    if (taken) {
        g_array_append_val(batch->marks, mark);
    }
    batch->harvested += taken;
    return taken;
}
