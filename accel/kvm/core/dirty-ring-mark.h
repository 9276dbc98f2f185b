/*
 * KVM dirty ring: published pages into a dirty log
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef ACCEL_KVM_DIRTY_RING_MARK_H
#define ACCEL_KVM_DIRTY_RING_MARK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pages from first up to end, which is not one of them. */
typedef struct DirtyRange {
    uint64_t first, end;
} DirtyRange;

/* A dirty log, and the blocks of memory that its pages are in. */
typedef struct DirtyLogOps {
    /*
     * Sets *@block to the pages of the block that holds @page; it has @page in any
     * case.  Returns true if pages of the block have to be marked although
     * is_dirty() says that they are: another log has them, too.
     */
    bool (*find_block)(void *opaque, uint64_t page, DirtyRange *block);

    /* Returns true if @page is marked. */
    bool (*is_dirty)(void *opaque, uint64_t page);

    /* Marks the pages of @range, which are of one block. */
    void (*mark)(void *opaque, const DirtyRange *range);

    /*
     * is_dirty() and, where it says no, mark() of @n pages of one block, each by
     * itself, in one go.  Returns how many were dirty.  Not called for blocks whose
     * pages have to be marked in any case.
     */
    uint64_t (*mark_apart)(void *opaque, const uint64_t *pages, size_t n);
} DirtyLogOps;

/*
 * Marks @n pages.  Pages that follow each other in @pages and in a block are one
 * range; a range whose pages are all dirty is left out.  Returns how many of the
 * pages were dirty before.  Takes no lock.
 */
uint64_t dirty_ring_mark(const uint64_t *pages, size_t n,
                         const DirtyLogOps *ops, void *opaque);

#endif
