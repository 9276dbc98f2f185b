/*
 * vDPA: intervals of 64-bit addresses, in a balanced tree
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An index over things that have an address range: embed a VdpaInterval, set
 * first, last and tie, insert.  The tree owns nothing and allocates nothing.
 * Thread model: the caller's lock; lookups change nothing.
 *
 * The theory of operation is at the top of vdpa-interval.c.
 */
#ifndef HW_VIRTIO_VDPA_INTERVAL_H
#define HW_VIRTIO_VDPA_INTERVAL_H

#include <stdbool.h>
#include <stdint.h>

/* What a lookup reads stands first: it costs one cache line a level. */
typedef struct VdpaInterval {
    struct VdpaInterval *kid[2];
    uint64_t first;
    uint64_t last;              /* inclusive */
    uint64_t left_high;         /* highest last left of here, if kid[0] */
    uint64_t tie;               /* orders those that have the same first */

    uint64_t low;               /* lowest first from here down */
    uint64_t high;              /* highest last from here down */
    uint64_t gap;               /* longest hole between neighbours, ditto */
    int height;
} VdpaInterval;

typedef struct VdpaIntervals {
    VdpaInterval *root;
} VdpaIntervals;

/* Inserts @node; no other may have the same first and tie. */
void vdpa_intervals_insert(VdpaIntervals *set, VdpaInterval *node);

/* Removes @node, which must be in @set. */
void vdpa_intervals_remove(VdpaIntervals *set, VdpaInterval *node);

/*
 * Any set.  The first interval, in the order (first, tie), that holds @point
 * and comes after @after (NULL: the first of all).  NULL if none.
 */
VdpaInterval *vdpa_intervals_holding(const VdpaIntervals *set, uint64_t point,
                                     const VdpaInterval *after);

/* A place looked for by vdpa_intervals_place(). */
typedef struct VdpaPlace {
    uint64_t first;             /* where to look, from ... */
    uint64_t last;              /* ... to, inclusive */
    uint64_t size;              /* bytes, at least 1 */
    uint64_t align;             /* a power of two */
    bool top_down;
} VdpaPlace;

/*
 * Sets without overlaps only.  Finds the first hole, in the direction asked
 * for, and stores the address in *@at.  False if there is none.
 */
bool vdpa_intervals_place(const VdpaIntervals *set, const VdpaPlace *place,
                          uint64_t *at);

#endif
