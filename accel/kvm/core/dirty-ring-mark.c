/*
 * KVM dirty ring: published pages into a dirty log
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * To mark a range costs less than to mark its pages one by one, and to look whether
 * a page is dirty costs less than to mark it.  A guest whose hot set does not fit
 * into its ring has most pages marked already when they are published.  Pages that
 * stand alone are looked at and marked in one call for all that follow each other.
 *
 * A page that is dirty already need not be marked again if the thread that clears the
 * log does so by an atomic operation with a full barrier and copies the page
 * afterwards, and if a full barrier comes after the ring was read and before
 * is_dirty() is asked: either is_dirty() says no, or the copy has what the guest wrote
 * before its entry.  The caller has to see to both.
 *
 * Limits: pages that are dirty within a range that is not are marked once more.
 */
#include "dirty-ring-mark.h"

/* Returns the range that begins with the first of @n pages. */
static DirtyRange range_from(const uint64_t *pages, size_t n,
                             const DirtyRange *block)
{
    DirtyRange range = { pages[0], pages[0] + 1 };

    for (size_t i = 1; i < n && pages[i] == range.end &&
                       range.end < block->end; i++) {
        range.end++;
    }
    return range;
}

/* Returns how many of the first of @n pages are of @block and stand alone. */
static size_t pages_apart(const uint64_t *pages, size_t n,
                          const DirtyRange *block)
{
    uint64_t size = block->end - block->first;
    size_t i = 0;

    while (i < n && pages[i] - block->first < size &&
           (i + 1 == n || pages[i + 1] != pages[i] + 1)) {
        i++;
    }
    return i;
}

static uint64_t count_dirty(const DirtyRange *range, const DirtyLogOps *ops,
                            void *opaque)
{
    uint64_t dirty = 0;

    for (uint64_t page = range->first; page < range->end; page++) {
        dirty += ops->is_dirty(opaque, page);
    }
    return dirty;
}

uint64_t dirty_ring_mark(const uint64_t *pages, size_t n,
                         const DirtyLogOps *ops, void *opaque)
{
    DirtyRange block = {}, range;
    bool always = false;
    uint64_t redirtied = 0, dirty;
    size_t done;

    for (size_t i = 0; i < n; i += done) {
        if (pages[i] < block.first || pages[i] >= block.end) {
            always = ops->find_block(opaque, pages[i], &block);
        }
        done = always ? 0 : pages_apart(&pages[i], n - i, &block);
        if (done) {
            redirtied += ops->mark_apart(opaque, &pages[i], done);
            continue;
        }
        range = range_from(&pages[i], n - i, &block);
        done = range.end - range.first;
        dirty = count_dirty(&range, ops, opaque);
        if (always || dirty < range.end - range.first) {
            ops->mark(opaque, &range);
        }
        redirtied += dirty;
    }
    return redirtied;
}
