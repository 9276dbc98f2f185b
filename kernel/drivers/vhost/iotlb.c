// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost_iotlb: a table of IOVA ranges.
 *
 * A map says that the IOVA range [start, last] is found at addr, with permissions and a context
 * (opaque) that belongs to the caller that added it.  Two structures hold every map:
 *
 *	root	interval tree, by range: finds maps that overlap [a, b]	O(log n)
 *	list	by age, the oldest first: finds the map to retire	O(1)
 *
 * Maps may overlap each other; a search gives them by ascending start.
 *
 *	init or alloc -> add, del, search, map_free in any order -> reset or free
 *
 * Deleting a range deletes that range and nothing else: of a map that sticks out on one side the
 * rest stays, one that sticks out on both becomes two.  A hole in the middle needs one map more.
 * Where none can be had (limit reached, or no memory, and the caller cannot be told) the part above
 * the hole goes as well: a missing map makes an access fail, a surplus one would let it through.  A
 * map with a context is never cut, it goes as a whole: its owner holds one reference per map and
 * would not learn that it has become two.
 *
 * limit is the most maps there may be at a time, 0 for none at all.  A full table refuses to add;
 * with VHOST_IOTLB_FLAG_RETIRE it is a cache and gives up its oldest map instead.
 *
 * Nothing here takes a lock or sleeps, except that vhost_iotlb_alloc() does the latter: callers
 * serialise, and a map that a search returned is valid until the next change to the table.
 *
 * This module takes the place of the stock one of the same name: names, layouts and symbol
 * versions are the kernel's (<linux/vhost_iotlb.h>).
 *
 * Limits: a retired map's context is dropped silently; the interface has no way to return it.
 * A map cannot be as large as 2^64 (its size has 64 bits); that range is kept as two halves.
 */
#include <linux/limits.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vhost_iotlb.h>

#define vhost_iotlb_map_first(map) ((map)->start)
#define vhost_iotlb_map_last(map)  ((map)->last)

INTERVAL_TREE_DEFINE(struct vhost_iotlb_map, rb, u64, __subtree_last, vhost_iotlb_map_first,
		     vhost_iotlb_map_last, static inline, vhost_iotlb_tree)

/* The contents of a map to be added. */
struct vhost_iotlb_new_map {
	u64 start, last;
	u64 addr;
	unsigned int perm;
	void *opaque;
};

static bool vhost_iotlb_is_full(const struct vhost_iotlb *iotlb, unsigned int wanted)
{
	return iotlb->limit < wanted || iotlb->nmaps > iotlb->limit - wanted;
}

static void vhost_iotlb_unlink(struct vhost_iotlb *iotlb, struct vhost_iotlb_map *map)
{
	vhost_iotlb_tree_remove(map, &iotlb->root);
	list_del(&map->link);
	iotlb->nmaps--;
}

/* Give @map its range and its place in the tree; it must not be in the tree yet. */
static void vhost_iotlb_insert_range(struct vhost_iotlb *iotlb, struct vhost_iotlb_map *map,
				     u64 start, u64 last, u64 addr)
{
	map->start = start;
	map->last = last;
	map->size = last - start + 1;
	map->addr = addr;
	vhost_iotlb_tree_insert(map, &iotlb->root);
}

/* Memory for one more map: new, or the oldest one's where the table is a cache. */
static struct vhost_iotlb_map *vhost_iotlb_alloc_map(struct vhost_iotlb *iotlb)
{
	struct vhost_iotlb_map *oldest;

	if (!vhost_iotlb_is_full(iotlb, 1))
		return kmalloc(sizeof(struct vhost_iotlb_map), GFP_ATOMIC);
	oldest = list_first_entry(&iotlb->list, struct vhost_iotlb_map, link);
	vhost_iotlb_unlink(iotlb, oldest);
	return oldest;
}

static int vhost_iotlb_add_one(struct vhost_iotlb *iotlb, const struct vhost_iotlb_new_map *m)
{
	struct vhost_iotlb_map *map = vhost_iotlb_alloc_map(iotlb);

	if (!map)
		return -ENOMEM;
	map->perm = m->perm;
	map->flags_padding = 0;
	map->opaque = m->opaque;
	vhost_iotlb_insert_range(iotlb, map, m->start, m->last, m->addr);
	list_add_tail(&map->link, &iotlb->list);
	iotlb->nmaps++;
	return 0;
}

/* All 2^64 bytes: both halves, or neither. */
static int vhost_iotlb_add_halves(struct vhost_iotlb *iotlb, const struct vhost_iotlb_new_map *m)
{
	const u64 half = 1ULL << 63;
	struct vhost_iotlb_new_map low = *m, high = *m;
	int ret;

	low.last = half - 1;
	high.start = half;
	high.addr += half;

	ret = vhost_iotlb_add_one(iotlb, &low);
	if (ret)
		return ret;
	ret = vhost_iotlb_add_one(iotlb, &high);
	if (ret)
		vhost_iotlb_map_free(iotlb,
				     list_last_entry(&iotlb->list, struct vhost_iotlb_map, link));
	return ret;
}

/**
 * vhost_iotlb_add_range_ctx - map [start, last]
 * @iotlb:  the table
 * @start:  first IOVA
 * @last:   last IOVA, inclusive
 * @addr:   where @start is found
 * @perm:   VHOST_MAP_RO, VHOST_MAP_WO, VHOST_MAP_RW
 * @opaque: the caller's own; stored, never used
 *
 * Any context.  The range may overlap maps that are there.
 *
 * Return: 0; -EFAULT if @last is before @start, -EINVAL for a table that may hold nothing,
 * -ENOSPC if it is full and no cache, -ENOMEM.  On error the table is as it was, except that a
 * cache may have given up its oldest map.
 */
int vhost_iotlb_add_range_ctx(struct vhost_iotlb *iotlb, u64 start, u64 last, u64 addr,
			      unsigned int perm, void *opaque)
{
	const struct vhost_iotlb_new_map m = {
		.start = start,
		.last = last,
		.addr = addr,
		.perm = perm,
		.opaque = opaque,
	};
	bool everything = !start && last == U64_MAX;
	unsigned int wanted = everything ? 2 : 1;

	if (last < start)
		return -EFAULT;
	if (!iotlb->limit)
		return -EINVAL;
	if (iotlb->limit < wanted)
		return -ENOSPC;
	if (vhost_iotlb_is_full(iotlb, wanted) && !(iotlb->flags & VHOST_IOTLB_FLAG_RETIRE))
		return -ENOSPC;
	return everything ? vhost_iotlb_add_halves(iotlb, &m) : vhost_iotlb_add_one(iotlb, &m);
}
EXPORT_SYMBOL_GPL(vhost_iotlb_add_range_ctx);

/**
 * vhost_iotlb_add_range - the same for a map without a context
 * @iotlb: the table
 * @start: first IOVA
 * @last:  last IOVA, inclusive
 * @addr:  where @start is found
 * @perm:  VHOST_MAP_RO, VHOST_MAP_WO, VHOST_MAP_RW
 *
 * Return: as vhost_iotlb_add_range_ctx().
 */
int vhost_iotlb_add_range(struct vhost_iotlb *iotlb, u64 start, u64 last, u64 addr,
			  unsigned int perm)
{
	return vhost_iotlb_add_range_ctx(iotlb, start, last, addr, perm, NULL);
}
EXPORT_SYMBOL_GPL(vhost_iotlb_add_range);

/**
 * vhost_iotlb_map_free - remove one map
 * @iotlb: the table that it is in
 * @map:   freed; its context is the caller's to release
 */
void vhost_iotlb_map_free(struct vhost_iotlb *iotlb, struct vhost_iotlb_map *map)
{
	vhost_iotlb_unlink(iotlb, map);
	kfree(map);
}
EXPORT_SYMBOL_GPL(vhost_iotlb_map_free);

/* The part of @old above @last as a map of its own, as old as @old; nothing if that cannot be. */
static void vhost_iotlb_split_above(struct vhost_iotlb *iotlb, struct vhost_iotlb_map *old,
				    u64 last)
{
	struct vhost_iotlb_map *above;

	if (vhost_iotlb_is_full(iotlb, 1))
		return;
	above = kmalloc(sizeof(*above), GFP_ATOMIC | __GFP_NOWARN);
	if (!above)
		return;
	above->perm = old->perm;
	above->flags_padding = 0;
	above->opaque = NULL;
	vhost_iotlb_insert_range(iotlb, above, last + 1, old->last,
				 old->addr + (last + 1 - old->start));
	list_add(&above->link, &old->link);
	iotlb->nmaps++;
}

/* Take [start, last] out of @map, which overlaps it and has no context. */
static void vhost_iotlb_trim(struct vhost_iotlb *iotlb, struct vhost_iotlb_map *map, u64 start,
			     u64 last)
{
	bool below = map->start < start;
	bool above = map->last > last;

	if (!below && !above) {
		vhost_iotlb_map_free(iotlb, map);
		return;
	}
	if (below && above)
		vhost_iotlb_split_above(iotlb, map, last);
	vhost_iotlb_tree_remove(map, &iotlb->root);
	if (below)
		vhost_iotlb_insert_range(iotlb, map, map->start, start - 1, map->addr);
	else
		vhost_iotlb_insert_range(iotlb, map, last + 1, map->last,
					 map->addr + (last + 1 - map->start));
}

/**
 * vhost_iotlb_del_range - unmap [start, last]
 * @iotlb: the table
 * @start: first IOVA
 * @last:  last IOVA, inclusive; nothing is done if it is before @start
 *
 * Any context.  See the head of this file about maps that stick out.
 */
void vhost_iotlb_del_range(struct vhost_iotlb *iotlb, u64 start, u64 last)
{
	struct vhost_iotlb_map *map;

	if (last < start)
		return;
	/* The rest of a map does not overlap: every turn finds one less. */
	while ((map = vhost_iotlb_tree_iter_first(&iotlb->root, start, last))) {
		if (map->opaque)
			vhost_iotlb_map_free(iotlb, map);
		else
			vhost_iotlb_trim(iotlb, map, start, last);
	}
}
EXPORT_SYMBOL_GPL(vhost_iotlb_del_range);

/**
 * vhost_iotlb_init - make an empty table of memory of the caller's
 * @iotlb: the table
 * @limit: most maps at a time
 * @flags: VHOST_IOTLB_FLAG_RETIRE or 0
 */
void vhost_iotlb_init(struct vhost_iotlb *iotlb, unsigned int limit, unsigned int flags)
{
	*iotlb = (struct vhost_iotlb) {
		.root = RB_ROOT_CACHED,
		.limit = limit,
		.flags = flags,
	};
	INIT_LIST_HEAD(&iotlb->list);
}
EXPORT_SYMBOL_GPL(vhost_iotlb_init);

/**
 * vhost_iotlb_alloc - make an empty table
 * @limit: most maps at a time
 * @flags: VHOST_IOTLB_FLAG_RETIRE or 0
 *
 * May sleep.  Return: the table, for vhost_iotlb_free(); NULL without memory.
 */
struct vhost_iotlb *vhost_iotlb_alloc(unsigned int limit, unsigned int flags)
{
	struct vhost_iotlb *iotlb = kmalloc(sizeof(struct vhost_iotlb), GFP_KERNEL);

	if (iotlb)
		vhost_iotlb_init(iotlb, limit, flags);
	return iotlb;
}
EXPORT_SYMBOL_GPL(vhost_iotlb_alloc);

/**
 * vhost_iotlb_reset - remove all maps
 * @iotlb: the table; limit and flags stay
 *
 * The tree is dropped rather than taken apart: no caller reads it meanwhile.
 */
void vhost_iotlb_reset(struct vhost_iotlb *iotlb)
{
	struct vhost_iotlb_map *map, *next;

	list_for_each_entry_safe(map, next, &iotlb->list, link)
		kfree(map);
	vhost_iotlb_init(iotlb, iotlb->limit, iotlb->flags);
}
EXPORT_SYMBOL_GPL(vhost_iotlb_reset);

/**
 * vhost_iotlb_free - the end of a table that vhost_iotlb_alloc() made
 * @iotlb: the table, with all its maps; may be NULL
 */
void vhost_iotlb_free(struct vhost_iotlb *iotlb)
{
	if (!iotlb)
		return;
	vhost_iotlb_reset(iotlb);
	kfree(iotlb);
}
EXPORT_SYMBOL_GPL(vhost_iotlb_free);

/**
 * vhost_iotlb_itree_first - the map with the lowest start that overlaps [start, last]
 * @iotlb: the table
 * @start: first IOVA
 * @last:  last IOVA, inclusive
 *
 * Return: the map, or NULL.
 */
struct vhost_iotlb_map *vhost_iotlb_itree_first(struct vhost_iotlb *iotlb, u64 start, u64 last)
{
	return vhost_iotlb_tree_iter_first(&iotlb->root, start, last);
}
EXPORT_SYMBOL_GPL(vhost_iotlb_itree_first);

/**
 * vhost_iotlb_itree_next - the map after @map that overlaps [start, last]
 * @map:   the result of the search before
 * @start: first IOVA
 * @last:  last IOVA, inclusive
 *
 * Return: the map, or NULL.
 */
struct vhost_iotlb_map *vhost_iotlb_itree_next(struct vhost_iotlb_map *map, u64 start, u64 last)
{
	return vhost_iotlb_tree_iter_next(map, start, last);
}
EXPORT_SYMBOL_GPL(vhost_iotlb_itree_next);

MODULE_DESCRIPTION("Table of IOVA ranges for vhost and vDPA");
MODULE_AUTHOR("qemu-live");
MODULE_LICENSE("GPL");
