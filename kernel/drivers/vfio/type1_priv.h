/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vfio_iommu_type1: what its files share.
 *
 *	type1.c		the module; ioctls and their arguments
 *	type1_map.c	mappings: which addresses, whose memory
 *	type1_pin.c	memory: pinned, counted, given to IOMMU domains and taken away again
 *	type1_domain.c	groups of devices, IOMMU domains, addresses that may be used
 *	type1_user.c	devices without an IOMMU: pages that they pin, read and write
 *	type1_dirty.c	dirty bitmaps
 *	type1_track.h	which pages are dirty
 *
 * Locks: container->lock is held by everything but the module's entry points, which take it.
 * device_lock comes before it, and is held alone while devices are told that a mapping goes, since
 * what they do then takes container->lock (type1_user.c).
 */
#ifndef QEMU_LIVE_VFIO_TYPE1_PRIV_H
#define QEMU_LIVE_VFIO_TYPE1_PRIV_H

#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/maple_tree.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/vfio.h>

#include "type1_track.h"
#include "vfio.h"

/* The longest bitmap that is taken: the interface's own limit, 2^31 pages. */
#define TYPE1_BITMAP_MAX (1ull << 28)

/**
 * struct type1_range - addresses that may be mapped, both ends included
 */
struct type1_range {
	u64 first;
	u64 last;
};

/**
 * struct type1_container - what one /dev/vfio/vfio has
 *
 * @lock:	 everything here
 * @maps:	 struct type1_map by page of the I/O address
 * @recent:	 the one that was looked for last, or NULL
 * @maps_left:	 how many more there may be
 * @no_vaddr_maps:	 how many of them have no valid address in the process
 * @dirty_maps:	 how many of them are wholly dirty, once
 * @domains:	 struct type1_domain; each has all the maps
 * @emulated:	 struct type1_group: devices without an IOMMU
 * @unaware:	 groups behind an IOMMU that do not say which pages they use
 * @ranges:	 addresses that may be mapped, ascending; NULL: all
 * @nr_ranges:	 how many
 * @page_sizes:	 of all domains, none below PAGE_SIZE
 * @devices:	 struct vfio_device that want to know when a mapping goes; @device_lock for writing and
 *		 @lock to change, either to read
 * @track:	 pages that devices without an IOMMU use
 * @frames:	 room for the pages of one flush of the IOTLB
 */
struct type1_container {
	struct mutex lock;
	struct maple_tree maps;
	struct type1_map *recent;
	unsigned int maps_left;
	unsigned int no_vaddr_maps;
	unsigned int dirty_maps;
	struct list_head domains;
	struct list_head emulated;
	unsigned int unaware;
	struct type1_range *ranges;
	unsigned int nr_ranges;
	u64 page_sizes;
	struct rw_semaphore device_lock;
	struct list_head devices;
	struct type1_track track;
	struct type1_frames *frames;
	bool v2;
	bool nesting;
};

/**
 * struct type1_map - a range of I/O addresses
 *
 * @mm, @task, @may_exceed: whose memory it is, and how it is counted
 * @in_iommu:	all domains have it, its pages are pinned
 * @all_dirty:	the whole of it is dirty, until that was reported
 * @no_vaddr:	@vaddr is not valid for now
 * @iommu_pages: pinned for the domains, without reserved ones
 * @user_pages:	pinned by devices without an IOMMU, without reserved ones
 * @charged:	how many pages of it are counted in @mm
 */
struct type1_map {
	u64 iova;
	u64 size;
	unsigned long vaddr;
	int prot;
	struct mm_struct *mm;
	struct task_struct *task;
	bool may_exceed;
	bool in_iommu;
	bool all_dirty;
	bool no_vaddr;
	u64 iommu_pages;
	u64 user_pages;
	u64 charged;
};

struct type1_domain {
	struct list_head list;
	struct list_head groups;
	struct iommu_domain *domain;
	bool coherent;
};

struct type1_group {
	struct list_head list;
	struct iommu_group *iommu_group;
	bool aware;
};

/* Pages that are neighbours for the device and for the machine. */
struct type1_frames {
	phys_addr_t phys;
	u64 size;
};

static inline unsigned long type1_first(const struct type1_map *map)
{
	return map->iova >> PAGE_SHIFT;
}

static inline unsigned long type1_last(const struct type1_map *map)
{
	return (map->iova + (map->size - 1)) >> PAGE_SHIFT;
}

static inline u64 type1_page_size(const struct type1_container *c)
{
	return 1ull << __ffs64(c->page_sizes);
}

/* The map after @index; NULL behind the last.  Advances @index; @last included. */
static inline struct type1_map *type1_next_map(struct type1_container *c, unsigned long *index,
					       unsigned long last)
{
	return mt_find(&c->maps, index, last);
}

#define type1_for_each_map(c, map, index, first, last) \
	for ((index) = (first); ((map) = type1_next_map(c, &(index), last));)

/* type1_map.c */
struct type1_map *type1_map_at(struct type1_container *c, u64 iova);
long type1_do_map(struct type1_container *c, const struct vfio_iommu_type1_dma_map *arg);
long type1_do_unmap(struct type1_container *c, struct vfio_iommu_type1_dma_unmap *arg,
		    const struct vfio_bitmap *bitmap);
bool type1_bisects(struct type1_container *c, u64 first, u64 last);
void type1_remove_all(struct type1_container *c);

/* type1_pin.c */
int type1_charge(struct type1_map *map, u64 pages);
int type1_pin_memory(struct type1_map *map, u64 offset, int count, struct page **pages,
		     unsigned long *pfn);
void type1_unpin_page(struct type1_map *map, unsigned long pfn);
bool type1_is_reserved(unsigned long pfn);
int type1_iommu_map(struct type1_container *c, struct type1_map *map);
int type1_iommu_copy(struct type1_map *map, struct iommu_domain *from, struct iommu_domain *to);
void type1_iommu_unmap(struct type1_container *c, struct type1_map *map, u64 size);

/* type1_domain.c */
bool type1_has_emulated(struct type1_container *c);
bool type1_may_map(struct type1_container *c, u64 first, u64 last);
bool type1_coherent(struct type1_container *c);
struct type1_group *type1_group_of(struct type1_container *c, struct iommu_group *iommu_group);
int type1_attach(void *data, struct iommu_group *iommu_group, enum vfio_group_type type);
void type1_detach(void *data, struct iommu_group *iommu_group);
struct iommu_domain *type1_domain_of(void *data, struct iommu_group *iommu_group);
void type1_drop_domains(struct type1_container *c);

/* type1_user.c */
int type1_pin_pages(void *data, struct iommu_group *iommu_group, dma_addr_t iova, int count,
		    int prot, struct page **pages);
void type1_unpin_pages(void *data, dma_addr_t iova, int count);
int type1_rw(void *data, dma_addr_t iova, void *buf, size_t count, bool write);
void type1_register(void *data, struct vfio_device *device);
void type1_unregister(void *data, struct vfio_device *device);
void type1_notify_unmap(struct type1_container *c, u64 iova, u64 size);
void type1_unpin_map(struct type1_container *c, struct type1_map *map);

/* type1_dirty.c */
void type1_set_dirty(struct type1_container *c, struct type1_map *map, bool dirty);
void type1_dirty_all(struct type1_container *c);
int type1_report(struct type1_container *c, const struct vfio_bitmap *bitmap, u64 first, u64 last);
long type1_dirty_pages(struct type1_container *c, unsigned long arg);
bool type1_bitmap_fits(const struct vfio_bitmap *bitmap, u64 size);

#endif
