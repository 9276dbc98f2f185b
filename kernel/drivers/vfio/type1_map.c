// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vfio_iommu_type1: mappings.
 *
 * Theory of operation
 *
 * A mapping is a range of I/O addresses and the range of the process's memory that lies there.  None
 * overlaps another; they are found by page in a maple tree.
 *
 *	map	checked, entered, and, if the container has IOMMU domains, pinned and given to them
 *		(type1_pin.c); if that fails, it goes again
 *	unmap	first the devices that have pinned pages of it are asked to let go of them; then the
 *		bitmap is written, if one was asked for; then the mappings go.  A bitmap that cannot be
 *		written leaves them all where they are.
 *
 * Asking the devices means to give up the lock (type1_user.c), so the range is checked anew after
 * each of them.  After UNPIN_TRIES of a mapping, or passes over the range, the call fails (EBUSY).
 *
 * Version 2 of the interface removes mappings that lie within the range and refuses (EINVAL) to cut
 * one.  Version 1 removes those that begin in it; if the first begins before, none.
 *
 * A mapping's address in the process can be taken away for a while (VFIO_DMA_UNMAP_FLAG_VADDR) and
 * given anew (VFIO_DMA_MAP_FLAG_VADDR), by another process as well, which then is the one that the
 * pages are counted for.  Not while devices without an IOMMU are there, as those need the address.
 *
 * Locks: container->lock.
 */

#include <linux/capability.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "type1_priv.h"

#define UNPIN_TRIES 10

/* The mapping that @iova lies in, or NULL.  Often it is the one that was asked for last. */
struct type1_map *type1_map_at(struct type1_container *c, u64 iova)
{
	struct type1_map *map = c->recent;

	if (!map || iova - map->iova >= map->size)
		c->recent = map = mtree_load(&c->maps, iova >> PAGE_SHIFT);
	return map;
}

/* Does [@first, @last] cut a mapping? */
bool type1_bisects(struct type1_container *c, u64 first, u64 last)
{
	struct type1_map *map = type1_map_at(c, first);

	if (map && map->iova != first)
		return true;
	map = type1_map_at(c, last);
	return map && map->iova + (map->size - 1) != last;
}

static void type1_free(struct type1_map *map)
{
	mmdrop(map->mm);
	put_task_struct(map->task);
	kfree(map);
}

static struct type1_map *type1_new(const struct vfio_iommu_type1_dma_map *arg, int prot)
{
	struct type1_map *map = kzalloc(sizeof(*map), GFP_KERNEL_ACCOUNT);

	if (!map)
		return NULL;
	map->iova = arg->iova;
	map->size = arg->size;
	map->vaddr = arg->vaddr;
	map->prot = prot;
	map->may_exceed = capable(CAP_IPC_LOCK);
	map->task = get_task_struct(current->group_leader);
	map->mm = current->mm;
	mmgrab(map->mm);
	return map;
}

static void type1_set_no_vaddr(struct type1_container *c, struct type1_map *map, bool no_vaddr)
{
	if (map->no_vaddr == no_vaddr)
		return;
	map->no_vaddr = no_vaddr;
	c->no_vaddr_maps += no_vaddr ? 1 : -1;
}

static void type1_remove(struct type1_container *c, struct type1_map *map)
{
	if (map->in_iommu)
		type1_iommu_unmap(c, map, map->size);
	type1_unpin_map(c, map);
	type1_track_reported(&c->track, type1_first(map), type1_last(map));
	type1_charge(map, 0);
	type1_set_no_vaddr(c, map, false);
	type1_set_dirty(c, map, false);
	mtree_erase(&c->maps, type1_first(map));
	if (c->recent == map)
		c->recent = NULL;
	type1_free(map);
	c->maps_left++;
}

void type1_remove_all(struct type1_container *c)
{
	struct type1_map *map;
	unsigned long index;

	type1_for_each_map(c, map, index, 0, ULONG_MAX)
		type1_remove(c, map);
}

static int type1_add(struct type1_container *c, const struct vfio_iommu_type1_dma_map *arg,
		     int prot)
{
	struct type1_map *map;
	int err;

	if (!c->maps_left)
		return -ENOSPC;
	if (!type1_may_map(c, arg->iova, arg->iova + (arg->size - 1)))
		return -EINVAL;
	map = type1_new(arg, prot);
	if (!map)
		return -ENOMEM;
	err = mtree_insert_range(&c->maps, type1_first(map), type1_last(map), map, GFP_KERNEL);
	if (err) {
		type1_free(map);
		return err;
	}
	c->maps_left--;
	if (!list_empty(&c->domains))
		err = type1_iommu_map(c, map);
	if (err)
		type1_remove(c, map);
	return err;
}

/* The mapping belongs to the caller from now on, and so do the pages that are counted for it. */
static int type1_change_owner(struct type1_map *map)
{
	struct type1_map old = *map;
	int err;

	if (map->mm == current->mm)
		return 0;
	map->mm = current->mm;
	map->task = current->group_leader;
	map->may_exceed = capable(CAP_IPC_LOCK);
	map->charged = 0;
	err = type1_charge(map, old.charged);
	if (err) {
		*map = old;
		return err;
	}
	mmgrab(map->mm);
	get_task_struct(map->task);
	type1_charge(&old, 0);
	mmdrop(old.mm);
	put_task_struct(old.task);
	return 0;
}

static int type1_give_vaddr(struct type1_container *c, struct type1_map *map,
			    const struct vfio_iommu_type1_dma_map *arg)
{
	int err;

	if (!map)
		return -ENOENT;
	if (!map->no_vaddr || map->iova != arg->iova || map->size != arg->size)
		return -EINVAL;
	err = type1_change_owner(map);
	if (err)
		return err;
	map->vaddr = arg->vaddr;
	type1_set_no_vaddr(c, map, false);
	return 0;
}

/* VFIO_IOMMU_MAP_DMA; flags were checked to be known ones. */
long type1_do_map(struct type1_container *c, const struct vfio_iommu_type1_dma_map *arg)
{
	bool vaddr_only = arg->flags & VFIO_DMA_MAP_FLAG_VADDR;
	unsigned long index = arg->iova >> PAGE_SHIFT;
	u64 last = arg->iova + (arg->size - 1);
	struct type1_map *map;
	int prot = 0, err;

	if (arg->flags & VFIO_DMA_MAP_FLAG_READ)
		prot |= IOMMU_READ;
	if (arg->flags & VFIO_DMA_MAP_FLAG_WRITE)
		prot |= IOMMU_WRITE;
	if (vaddr_only ? prot : !prot)
		return -EINVAL;
	if (!arg->size || last < arg->iova || arg->vaddr + (arg->size - 1) < arg->vaddr)
		return -EINVAL;
	mutex_lock(&c->lock);
	err = -EINVAL;
	if (IS_ALIGNED(arg->iova | arg->vaddr | arg->size, type1_page_size(c))) {
		map = type1_next_map(c, &index, last >> PAGE_SHIFT);
		if (vaddr_only)
			err = type1_give_vaddr(c, map, arg);
		else
			err = map ? -EEXIST : type1_add(c, arg, prot);
	}
	mutex_unlock(&c->lock);
	return err;
}

/* Which mappings go: those that begin in [first, last]. */
struct type1_unmap {
	u64 first;
	u64 last;
	bool may_cut;
};

/* Until no page of the range is pinned by a device without an IOMMU. */
static int type1_release_pins(struct type1_container *c, const struct type1_unmap *range)
{
	unsigned long from = range->first >> PAGE_SHIFT, index = from;
	unsigned int tries = 0, passes = 0;
	struct type1_map *map;
	u64 before = 0;

	while (tries <= UNPIN_TRIES && passes < UNPIN_TRIES) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (!range->may_cut && type1_bisects(c, range->first, range->last))
			return -EINVAL;
		if (!type1_track_pinned(&c->track, &index, range->last >> PAGE_SHIFT)) {
			if (from == range->first >> PAGE_SHIFT)
				return 0;
			/* Behind us a page may have been pinned meanwhile. */
			index = from = range->first >> PAGE_SHIFT;
			passes++;
			continue;
		}
		from = index;
		map = type1_map_at(c, (u64)index << PAGE_SHIFT);
		tries = tries && map->iova == before ? tries + 1 : 1;
		before = map->iova;
		if (tries <= UNPIN_TRIES)
			type1_notify_unmap(c, map->iova, map->size);
	}
	pr_warn_ratelimited("vfio: a device does not unpin what is unmapped\n");
	return -EBUSY;
}

static long type1_take_vaddr(struct type1_container *c, const struct type1_unmap *range,
			     u64 *unmapped)
{
	unsigned long first = range->first >> PAGE_SHIFT, last = range->last >> PAGE_SHIFT, index;
	struct type1_map *map;

	if (type1_has_emulated(c))
		return -EBUSY;
	if (!range->may_cut && type1_bisects(c, range->first, range->last))
		return -EINVAL;
	type1_for_each_map(c, map, index, first, last)
		if (map->no_vaddr)
			return -EINVAL;
	type1_for_each_map(c, map, index, first, last) {
		type1_set_no_vaddr(c, map, true);
		*unmapped += map->size;
	}
	return 0;
}

static long type1_unmap_range(struct type1_container *c, const struct type1_unmap *range,
			      const struct vfio_bitmap *bitmap, u64 *unmapped)
{
	struct type1_map *map;
	unsigned long index;
	int err;

	err = type1_release_pins(c, range);
	if (!err && bitmap)
		err = type1_report(c, bitmap, range->first, range->last);
	if (err)
		return err;
	type1_for_each_map(c, map, index, range->first >> PAGE_SHIFT, range->last >> PAGE_SHIFT) {
		if (!c->v2 && map->iova < range->first)
			break;
		*unmapped += map->size;
		type1_remove(c, map);
		cond_resched();
	}
	return 0;
}

static bool type1_unmap_valid(struct type1_container *c,
			      const struct vfio_iommu_type1_dma_unmap *arg,
			      const struct vfio_bitmap *bitmap)
{
	u64 page = type1_page_size(c);

	if (bitmap && (!c->track.on || bitmap->pgsize != page))
		return false;
	if (arg->flags & VFIO_DMA_UNMAP_FLAG_ALL)
		return !arg->iova && !arg->size;
	return arg->size && IS_ALIGNED(arg->iova | arg->size, page) &&
	       arg->iova + (arg->size - 1) >= arg->iova;
}

/*
 * VFIO_IOMMU_UNMAP_DMA; flags were checked to be known ones.  @bitmap is NULL if none was asked for.
 * arg->size becomes the size of what was unmapped.
 */
long type1_do_unmap(struct type1_container *c, struct vfio_iommu_type1_dma_unmap *arg,
		    const struct vfio_bitmap *bitmap)
{
	struct type1_unmap range = { .last = U64_MAX, .may_cut = true };
	u64 unmapped = 0;
	long err = -EINVAL;

	mutex_lock(&c->lock);
	if (type1_unmap_valid(c, arg, bitmap)) {
		if (!(arg->flags & VFIO_DMA_UNMAP_FLAG_ALL))
			range = (struct type1_unmap) {
				.first = arg->iova,
				.last = arg->iova + (arg->size - 1),
				.may_cut = !c->v2,
			};
		if (arg->flags & VFIO_DMA_UNMAP_FLAG_VADDR)
			err = type1_take_vaddr(c, &range, &unmapped);
		else
			err = type1_unmap_range(c, &range, bitmap, &unmapped);
	}
	mutex_unlock(&c->lock);
	arg->size = unmapped;
	return err;
}
