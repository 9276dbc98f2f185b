/*
 * vDPA: disjoint intervals of 64-bit addresses, in a balanced tree
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An index of the room between things that have an address range: embed a
 * VdpaInterval, set first and last, insert.  The tree owns nothing and allocates nothing.
 * Thread model: the caller's lock; lookups change nothing.
 *
 * The theory of operation is at the top of vdpa-interval.c.
 */
#ifndef HW_VIRTIO_VDPA_INTERVAL_H
#define HW_VIRTIO_VDPA_INTERVAL_H

#include <stdbool.h>
#include <stdint.h>

typedef struct VdpaInterval {
    struct VdpaInterval *kid[2];
    uint64_t first;
    uint64_t last;              /* inclusive */
    uint64_t low;               /* lowest first from here down */
    uint64_t high;              /* highest last from here down */
    uint64_t gap;               /* longest hole between neighbours, ditto */
    int height;
} VdpaInterval;

typedef struct VdpaIntervals {
    VdpaInterval *root;
} VdpaIntervals;

/* Inserts @node, which overlaps none that is there. */
void vdpa_intervals_insert(VdpaIntervals *set, VdpaInterval *node);

/* Removes @node, which must be in @set. */
void vdpa_intervals_remove(VdpaIntervals *set, VdpaInterval *node);

/* A place looked for by vdpa_intervals_place(). */
typedef struct VdpaPlace {
    uint64_t first;             /* where to look, from ... */
    uint64_t last;              /* ... to, inclusive */
    uint64_t size;              /* bytes, at least 1 */
    uint64_t align;             /* a power of two */
    bool top_down;
} VdpaPlace;

/*
 * Finds the first hole, in the direction asked
 * for, and stores the address in *@at.  False if there is none.
 */
bool vdpa_intervals_place(const VdpaIntervals *set, const VdpaPlace *place,
                          uint64_t *at);

#endif
