/*
 * vDPA: which memory a device sees at which I/O virtual address
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Each map is in two indexes, both by IOVA:
 *
 *   lookups   sorted blocks (vdpa-lookup.c): a shadow ring asks for every
 *             descriptor of the guest
 *   holes     a balanced tree of intervals (vdpa-interval.c), where
 *             vdpa_iova_alloc() looks for room
 *
 * Guest RAM is best put at IOVA = GPA, with vdpa_iova_add(): a device that
 * the guest drives directly then finds the guest's own addresses, and the same
 * maps serve when its rings are shadowed.  QEMU's rings go to the top of the
 * range, with vdpa_iova_alloc() and limits that are top_down, where no RAM
 * will be plugged in later.
 *
 * Nothing changes until a call is known to succeed.
 *
 * Failures: what does not fit is refused, with an errno that says which way.
 *
 * Limits: 128 bytes per map, and 24 to 100 in the index of lookups.  A map of all
 * 2^64 bytes cannot be said.
 * Neighbouring maps are not merged: the kernel was told of them one by one,
 * and will be told so again when they go.
 */
#include "vdpa-iova.h"

#include <assert.h>
#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "vdpa-interval.h"
#include "vdpa-lookup.h"

#define CACHE_LINE 64

/* What a lookup reads of each node is in one cache line. */
typedef struct Node {
    VdpaIovaMap map;
    VdpaInterval room           /* in the index of holes */
        __attribute__((aligned(CACHE_LINE)));
} Node;

struct VdpaIovaTable {
    uint64_t first, last;
    uint64_t page_mask;         /* low bits that have to be 0 */
    VdpaLookup by_iova;
    VdpaIntervals holes;
};

static const VdpaIovaMap *map_of(const Node *node)
{
    return node ? &node->map : NULL;
}

static bool is_power_of_two(uint64_t value)
{
    return value && !(value & (value - 1));
}

VdpaIovaTable *vdpa_iova_new(uint64_t first, uint64_t last,
                             uint64_t page_size)
{
    VdpaIovaTable *table = g_new0(VdpaIovaTable, 1);

    assert(is_power_of_two(page_size) && first <= last);
    table->first = first;
    table->last = last;
    table->page_mask = page_size - 1;
    return table;
}

/* Whether [@start, @start + @size) is in whole pages and does not wrap. */
static bool range_fit(const VdpaIovaTable *table, uint64_t start,
                      uint64_t size)
{
    return !((start | size) & table->page_mask) && size &&
           size - 1 <= UINT64_MAX - start;
}

/* Whether all but its IOVA make sense of @map. */
static bool map_fit(const VdpaIovaTable *table, const VdpaIovaMap *map)
{
    return map->perm && !(map->perm & ~VDPA_IOVA_RW) &&
           range_fit(table, map->hva, map->size) &&
           (map->gpa == VDPA_IOVA_NONE ||
            range_fit(table, map->gpa, map->size));
}

static bool iova_taken(const VdpaIovaTable *table, const VdpaIovaMap *map)
{
    const Node *next = vdpa_lookup_at_or_above(&table->by_iova, map->iova);

    return next && next->map.iova <= map->iova + (map->size - 1);
}

static Node *new_node(void)
{
    Node *node = aligned_alloc(CACHE_LINE, sizeof(Node));

    if (!node) {
        g_error("vdpa-iova: no memory for a map");
    }
    memset(node, 0, sizeof(Node));
    return node;
}

static void insert_node(VdpaIovaTable *table, const VdpaIovaMap *map)
{
    Node *node = new_node();
    uint64_t last = map->iova + (map->size - 1);

    node->map = *map;
    node->room.first = map->iova;
    node->room.last = last;
    vdpa_lookup_insert(&table->by_iova, map->iova, last, node);
    vdpa_intervals_insert(&table->holes, &node->room);
}

static void remove_node(VdpaIovaTable *table, Node *node)
{
    vdpa_lookup_remove(&table->by_iova, node->map.iova);
    vdpa_intervals_remove(&table->holes, &node->room);
    free(node);
}

void vdpa_iova_free(VdpaIovaTable *table)
{
    if (!table) {
        return;
    }
    while (table->holes.root) {
        remove_node(table, (Node *)((char *)table->holes.root -
                                    offsetof(Node, room)));
    }
    vdpa_lookup_clear(&table->by_iova);
    g_free(table);
}

int vdpa_iova_add(VdpaIovaTable *table, const VdpaIovaMap *map)
{
    if (!range_fit(table, map->iova, map->size) || !map_fit(table, map)) {
        return -EINVAL;
    }
    if (map->iova < table->first ||
        map->iova + (map->size - 1) > table->last) {
        return -ERANGE;
    }
    if (iova_taken(table, map)) {
        return -EEXIST;
    }
    insert_node(table, map);
    return 0;
}

int vdpa_iova_alloc(VdpaIovaTable *table, VdpaIovaMap *map,
                    const VdpaIovaLimits *limits)
{
    const VdpaIovaLimits whole = { .first = 0, .last = UINT64_MAX };
    VdpaPlace place = { .size = map->size };

    limits = limits ? limits : &whole;
    place.first = MAX(limits->first, table->first);
    place.last = MIN(limits->last, table->last);
    place.align = MAX(limits->align, table->page_mask + 1);
    place.top_down = limits->top_down;
    if (!range_fit(table, 0, map->size) || !map_fit(table, map) ||
        !is_power_of_two(place.align)) {
        return -EINVAL;
    }
    if (!vdpa_intervals_place(&table->holes, &place, &map->iova)) {
        return -ENOSPC;
    }
    insert_node(table, map);
    return 0;
}

int vdpa_iova_remove(VdpaIovaTable *table, uint64_t iova, uint64_t size)
{
    Node *node = vdpa_lookup_find(&table->by_iova, iova);

    if (!node || node->map.iova != iova || node->map.size != size) {
        return -ENOENT;
    }
    remove_node(table, node);
    return 0;
}

const VdpaIovaMap *vdpa_iova_find(const VdpaIovaTable *table, uint64_t iova)
{
    return map_of(vdpa_lookup_find(&table->by_iova, iova));
}

const VdpaIovaMap *vdpa_iova_at_or_above(const VdpaIovaTable *table,
                                         uint64_t iova)
{
    const VdpaIovaMap *map =
        map_of(vdpa_lookup_at_or_above(&table->by_iova, iova));

    return map && map->iova < iova ? vdpa_iova_next(table, map) : map;
}

const VdpaIovaMap *vdpa_iova_next(const VdpaIovaTable *table,
                                  const VdpaIovaMap *map)
{
    uint64_t last = map->iova + (map->size - 1);

    return last == UINT64_MAX
           ? NULL
           : map_of(vdpa_lookup_at_or_above(&table->by_iova, last + 1));
}

const VdpaIovaMap *vdpa_iova_guest_in(const VdpaIovaTable *table,
                                      uint64_t iova, uint64_t last)
{
    const VdpaIovaMap *map =
        map_of(vdpa_lookup_at_or_above(&table->by_iova, iova));

    while (map && map->gpa == VDPA_IOVA_NONE) {
        map = vdpa_iova_next(table, map);
    }
    return map && map->iova <= last ? map : NULL;
}

int vdpa_iova_remove_guest(VdpaIovaTable *table, uint64_t iova, uint64_t last,
                           VdpaIovaMap *old, VdpaIovaMap rest[2])
{
    const VdpaIovaMap *map = vdpa_iova_guest_in(table, iova, last);
    uint64_t old_last;
    int n = 0;

    if (!map) {
        return -ENOENT;
    }
    iova &= ~table->page_mask;
    last |= table->page_mask;
    *old = *map;
    old_last = old->iova + (old->size - 1);
    vdpa_iova_remove(table, old->iova, old->size);
    if (old->iova < iova) {
        rest[n] = *old;
        rest[n++].size = iova - old->iova;
    }
    if (old_last > last) {
        uint64_t offset = last + 1 - old->iova;

        rest[n] = *old;
        rest[n].iova += offset;
        rest[n].hva += offset;
        rest[n].gpa += offset;
        rest[n++].size -= offset;
    }
    return n;
}

static bool request_fit(uint64_t addr, uint64_t len)
{
    return len && len - 1 <= UINT64_MAX - addr;
}

/* Cuts the request of @len bytes to what @map has from @offset on. */
static int fill_range(const VdpaIovaMap *map, uint64_t offset, uint64_t len,
                      unsigned need, VdpaIovaRange *range)
{
    if ((map->perm & need) != need) {
        return -EACCES;
    }
    range->iova = map->iova + offset;
    range->hva = map->hva + offset;
    range->gpa = map->gpa == VDPA_IOVA_NONE ? VDPA_IOVA_NONE
                                            : map->gpa + offset;
    range->len = MIN(len, map->size - offset);
    return 0;
}

int vdpa_iova_range(const VdpaIovaTable *table, uint64_t iova, uint64_t len,
                    unsigned need, VdpaIovaRange *range)
{
    const VdpaIovaMap *map;

    if (!request_fit(iova, len)) {
        return -EINVAL;
    }
    map = vdpa_iova_find(table, iova);
    return map ? fill_range(map, iova - map->iova, len, need, range) : -ENOENT;
}
