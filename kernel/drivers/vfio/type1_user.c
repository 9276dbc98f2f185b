// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vfio_iommu_type1: devices without an IOMMU of their own.
 *
 * Theory of operation
 *
 * The driver of such a device (a mediated one) asks for each page that the device is to reach, and
 * gives it back; or it has the CPU read and write for it.  Which pages are pinned, and which are
 * dirty, is type1_track.h's.
 *
 * A mapping with pinned pages cannot go.  Its devices are told (dma_unmap) and give the pages back,
 * through type1_unpin_pages(), which takes container->lock.  So that lock is given up first, and
 * device_lock keeps the devices where they are.  The order is device_lock, container->lock, always:
 * the other way round two processes' threads that unmap at the same time would wait for each other.
 *
 * A group behind an IOMMU whose driver pins says from then on which pages it uses, and is *aware*.
 * What it wrote before is not known, so everything is dirty once.
 *
 * The CPU's writes are entered before they happen: no page is written and then not reported.
 */

#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>

#include "type1_priv.h"

/* Pages that are not pinned for devices are counted for the IOMMU or not at all. */
static int type1_charge_user(struct type1_map *map)
{
	return map->in_iommu ? 0 : type1_charge(map, map->user_pages);
}

static void type1_unpin_user(struct type1_map *map, unsigned long pfn)
{
	map->user_pages -= !type1_is_reserved(pfn);
	type1_charge_user(map);
	type1_unpin_page(map, pfn);
}

static int type1_pin_first(struct type1_container *c, struct type1_map *map, u64 iova,
			   struct page **page)
{
	unsigned long pfn;
	int got, err;

	got = type1_pin_memory(map, iova - map->iova, 1, page, &pfn);
	if (got < 0)
		return got;
	if (got)
		pfn = page_to_pfn(*page);
	else if (!pfn_valid(pfn))
		return -EINVAL;
	*page = pfn_to_page(pfn);
	map->user_pages += !type1_is_reserved(pfn);
	err = type1_charge_user(map);
	if (!err)
		err = type1_track_first(&c->track, iova >> PAGE_SHIFT, pfn);
	if (err)
		type1_unpin_user(map, pfn);
	return err;
}

static int type1_pin_one(struct type1_container *c, u64 iova, int prot, struct page **page)
{
	struct type1_map *map = type1_map_at(c, iova);
	unsigned long pfn;
	int err;

	if (!map)
		return -EINVAL;
	if ((map->prot & prot) != prot)
		return -EPERM;
	err = type1_track_again(&c->track, iova >> PAGE_SHIFT, &pfn);
	if (err == -ENOENT)
		return type1_pin_first(c, map, iova, page);
	if (!err)
		*page = pfn_to_page(pfn);
	return err;
}

static bool type1_unpin_one(struct type1_container *c, u64 iova)
{
	struct type1_map *map = type1_map_at(c, iova);
	unsigned long pfn;

	if (!map)
		return false;
	if (!type1_track_unpin(&c->track, iova >> PAGE_SHIFT, &pfn))
		type1_unpin_user(map, pfn);
	return true;
}

static int type1_pin_all(struct type1_container *c, u64 iova, int count, int prot,
			 struct page **pages)
{
	int i, err;

	/* A page can be given back only by a device that is told when it has to be. */
	if (list_empty(&c->devices))
		return -EINVAL;
	if (c->no_vaddr_maps)
		return -EBUSY;
	for (i = 0; i < count; i++) {
		err = type1_pin_one(c, iova + (u64)i * PAGE_SIZE, prot, &pages[i]);
		if (err)
			goto undo;
	}
	return 0;
undo:
	pages[i] = NULL;
	while (i--) {
		type1_unpin_one(c, iova + (u64)i * PAGE_SIZE);
		pages[i] = NULL;
	}
	return err;
}

/**
 * type1_pin_pages() - a device is to reach pages
 *
 * @data:	 the container
 * @iommu_group: the device's
 * @iova:	 address of the first
 * @count:	 how many
 * @prot:	 IOMMU_READ, IOMMU_WRITE: what it will do
 * @pages:	 where they are
 *
 * Return: @count; EINVAL an address is not mapped, or no device would be told when that changes;
 * EPERM the mapping does not allow it; EBUSY the process is changing its addresses; EACCES version 1;
 * EOVERFLOW a page is pinned too often; type1_pin.c's.  Then none is pinned.
 */
int type1_pin_pages(void *data, struct iommu_group *iommu_group, dma_addr_t iova, int count,
		    int prot, struct page **pages)
{
	struct type1_container *c = data;
	struct type1_group *group;
	int err;

	if (!c || !pages)
		return -EINVAL;
	if (!c->v2)
		return -EACCES;
	mutex_lock(&c->lock);
	err = type1_pin_all(c, iova, count, prot, pages);
	group = type1_group_of(c, iommu_group);
	if (!err && group && !group->aware) {
		group->aware = true;
		c->unaware--;
		type1_dirty_all(c);
	}
	mutex_unlock(&c->lock);
	return err ?: count;
}

/* The device does not reach them any more. */
void type1_unpin_pages(void *data, dma_addr_t iova, int count)
{
	struct type1_container *c = data;
	bool all = c->v2;
	int i;

	mutex_lock(&c->lock);
	for (i = 0; all && i < count; i++)
		all = type1_unpin_one(c, iova + (u64)i * PAGE_SIZE);
	mutex_unlock(&c->lock);
	WARN_ON_ONCE(!all);
}

/* Every pin that is left, when no device can use them any more. */
void type1_unpin_map(struct type1_container *c, struct type1_map *map)
{
	unsigned long index = type1_first(map);
	bool any = false;

	for (; type1_track_pinned(&c->track, &index, type1_last(map)); any = true)
		type1_unpin_one(c, (u64)index << PAGE_SHIFT);
	if (any)
		pr_warn_ratelimited("vfio: a device has left pages pinned\n");
}

/* In the address space of the mapping's process, which is the current one or has no thread here. */
static int type1_rw_map(struct type1_map *map, u64 offset, void *buf, size_t count, bool write)
{
	void __user *at = (void __user *)(map->vaddr + offset);
	bool own = current->mm == map->mm, borrow = !current->mm;
	unsigned long left = count;

	if (!mmget_not_zero(map->mm))
		return -EPERM;
	if (borrow)
		kthread_use_mm(map->mm);
	if (own || borrow)
		left = write ? copy_to_user(at, buf, count) : copy_from_user(buf, at, count);
	if (borrow)
		kthread_unuse_mm(map->mm);
	mmput(map->mm);
	return left ? -EFAULT : 0;
}

static int type1_rw_some(struct type1_container *c, u64 iova, void *buf, size_t count, bool write,
			 size_t *done)
{
	struct type1_map *map = type1_map_at(c, iova);
	int need = IOMMU_READ | (write ? IOMMU_WRITE : 0);
	int err = 0;

	if (!map)
		return -EINVAL;
	if ((map->prot & need) != need)
		return -EPERM;
	if (c->no_vaddr_maps)
		return -EBUSY;
	*done = min_t(u64, count, map->size - (iova - map->iova));
	if (write)
		err = type1_track_touch(&c->track, iova >> PAGE_SHIFT,
					(iova + (*done - 1)) >> PAGE_SHIFT);
	if (err)
		return err;
	return type1_rw_map(map, iova - map->iova, buf, *done, write);
}

/**
 * type1_rw() - read or write for a device
 *
 * @data:  the container
 * @iova:  from where, to where
 * @buf:   in the kernel
 * @count: bytes
 * @write: which of the two
 *
 * Return: 0; EINVAL it is not mapped; EPERM the mapping does not allow it, or its process has ended;
 * EFAULT the process has nothing there; ENOMEM.  Then part of it may have been done.
 */
int type1_rw(void *data, dma_addr_t iova, void *buf, size_t count, bool write)
{
	struct type1_container *c = data;
	size_t done;
	int err = 0;

	mutex_lock(&c->lock);
	while (count && !err) {
		err = type1_rw_some(c, iova, buf, count, write, &done);
		if (err)
			break;
		iova += done;
		buf += done;
		count -= done;
	}
	mutex_unlock(&c->lock);
	return err;
}

/* Both locks: either keeps the list as it is. */
static void type1_change_devices(struct type1_container *c, struct vfio_device *device, bool add)
{
	if (!device->ops->dma_unmap)
		return;
	down_write(&c->device_lock);
	mutex_lock(&c->lock);
	if (add)
		list_add(&device->iommu_entry, &c->devices);
	else
		list_del(&device->iommu_entry);
	mutex_unlock(&c->lock);
	up_write(&c->device_lock);
}

void type1_register(void *data, struct vfio_device *device)
{
	type1_change_devices(data, device, true);
}

void type1_unregister(void *data, struct vfio_device *device)
{
	type1_change_devices(data, device, false);
}

/* A mapping is going to go.  Gives container->lock up meanwhile. */
void type1_notify_unmap(struct type1_container *c, u64 iova, u64 size)
{
	struct vfio_device *device;

	mutex_unlock(&c->lock);
	down_read(&c->device_lock);
	list_for_each_entry(device, &c->devices, iommu_entry)
		device->ops->dma_unmap(device, iova, size);
	up_read(&c->device_lock);
	mutex_lock(&c->lock);
}
