/*
 * vDPA: disjoint ranges of 64-bit addresses, found by an address
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What every buffer of a guest is looked up in: made for finding, in a few
 * cache lines.  The index owns its own memory and nothing that its items
 * point to.
 *
 * Life cycle: zeroed -> insert, remove, find -> vdpa_lookup_clear(), which
 * leaves it as it began.
 *
 * Thread model: the caller's lock; lookups change nothing.
 *
 * The theory of operation is at the top of vdpa-lookup.c.
 */
#ifndef HW_VIRTIO_VDPA_LOOKUP_H
#define HW_VIRTIO_VDPA_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

typedef struct VdpaLookupBlock VdpaLookupBlock;

typedef struct VdpaLookup {
    uint64_t *low;              /* of each block: where its first range begins */
    VdpaLookupBlock **block;    /* in the order of addresses, none empty */
    size_t nblocks, room;
} VdpaLookup;

/* Adds [@first, @last], which overlaps none that is there; @item not NULL. */
void vdpa_lookup_insert(VdpaLookup *lookup, uint64_t first, uint64_t last,
                        void *item);

/* Removes the range that begins at @first, which must be there. */
void vdpa_lookup_remove(VdpaLookup *lookup, uint64_t first);

void vdpa_lookup_clear(VdpaLookup *lookup);

/*
 * The item of the range that holds @point; of the lowest that ends at @point
 * or above.  NULL if none.
 */
void *vdpa_lookup_find(const VdpaLookup *lookup, uint64_t point);
void *vdpa_lookup_at_or_above(const VdpaLookup *lookup, uint64_t point);

#endif
