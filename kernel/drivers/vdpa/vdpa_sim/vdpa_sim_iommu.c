// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The simulator's on-chip IOMMU.
 *
 * One vhost_iotlb per address space, from I/O virtual to physical addresses.  The bus driver that
 * has the device writes it:
 *
 *	vhost_vdpa	hands in mappings, as a whole tree (set_map) or range by range (dma_map and
 *			dma_unmap).  A space without mappings translates nothing: queues reach only
 *			memory that the process mapped.
 *	virtio_vdpa	maps through the kernel's DMA interface.  That is the kernel itself, so there an
 *			address is the physical one, and nothing is recorded by mapping.  The first such
 *			mapping marks the device as owned by the kernel until the next reset; queues
 *			that start in this time use the one identity translation.  A driver allocates
 *			its rings after reset and before it enables queues, so the mark is always
 *			there in time and never left behind for a process.
 *
 * Mappings survive a reset.  They go when they are unmapped, by reset_map, or by a reset that asks
 * for it.
 *
 * A unit that translates holds the space's semaphore for reading until it has done with the memory;
 * a change of mappings holds it for writing.  Pages of a completed unmap are therefore not touched
 * any more, and can be unpinned.
 *
 * A new tree is built beside the old one and takes its place only when complete, so a set_map that
 * fails leaves the device with the mappings it had.
 *
 * A process may add any number of entries to a table.  Loops over them reschedule, and entries are
 * freed when the semaphore has been dropped.
 *
 * Limits: memory above the direct mapping (CONFIG_HIGHMEM) is not reached.  User virtual addresses
 * are not supported: memory is pinned.
 */
#include <linux/dma-map-ops.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/scatterlist.h>

#include "vdpa_sim_core.h"

static_assert(!IS_ENABLED(CONFIG_HIGHMEM));

static unsigned int max_iotlb_entries = UINT_MAX;
module_param(max_iotlb_entries, uint, 0444);
MODULE_PARM_DESC(max_iotlb_entries,
		 "mappings that an address space holds; more fail with ENOSPC (default: no limit)");

/* Every physical address as itself, for queues of the kernel's own drivers; never changes. */
static struct vhost_iotlb *vdpa_sim_identity;
const struct vhost_iotlb *vdpa_sim_identity_tlb;

int vdpa_sim_iommu_init(void)
{
	int ret;

	vdpa_sim_identity = vhost_iotlb_alloc(1, 0);
	if (!vdpa_sim_identity)
		return -ENOMEM;
	ret = vhost_iotlb_add_range(vdpa_sim_identity, 0, S64_MAX, 0, VHOST_MAP_RW);
	if (ret) {
		vhost_iotlb_free(vdpa_sim_identity);
		return ret;
	}
	vdpa_sim_identity_tlb = vdpa_sim_identity;
	return 0;
}

void vdpa_sim_iommu_exit(void)
{
	vhost_iotlb_free(vdpa_sim_identity);
}

int vdpa_sim_spaces_init(struct vdpa_sim_device *sim)
{
	unsigned int i;

	sim->spaces = kcalloc(sim->kind->nspaces, sizeof(*sim->spaces), GFP_KERNEL);
	if (!sim->spaces)
		return -ENOMEM;
	for (i = 0; i < sim->kind->nspaces; i++) {
		init_rwsem(&sim->spaces[i].sem);
		vhost_iotlb_init(&sim->spaces[i].tlb, max_iotlb_entries, 0);
	}
	return 0;
}

/* Replace or change the maps of an address space; its semaphore is held for writing. */
static void vdpa_sim_space_set_bytes(struct vdpa_sim_device *sim, struct vdpa_sim_space *space,
				     u64 bytes)
{
	vdpa_sim_meter_map(sim, space->bytes, bytes);
	space->bytes = bytes;
}

/* Exchange both trees; no unit translates by either. */
static void vdpa_sim_swap_tlbs(struct vhost_iotlb *a, struct vhost_iotlb *b)
{
	LIST_HEAD(list);

	list_splice_init(&a->list, &list);
	list_splice_init(&b->list, &a->list);
	list_splice_init(&list, &b->list);
	swap(a->root, b->root);
	swap(a->nmaps, b->nmaps);
}

/* As vhost_iotlb_reset(), which never reschedules. */
static void vdpa_sim_free_maps(struct vhost_iotlb *tlb)
{
	struct vhost_iotlb_map *map;

	while ((map = list_first_entry_or_null(&tlb->list, struct vhost_iotlb_map, link))) {
		vhost_iotlb_map_free(tlb, map);
		cond_resched();
	}
}

static void vdpa_sim_clear_space(struct vdpa_sim_device *sim, struct vdpa_sim_space *space)
{
	struct vhost_iotlb old;

	vhost_iotlb_init(&old, 0, 0);
	down_write(&space->sem);
	vdpa_sim_swap_tlbs(&space->tlb, &old);
	vdpa_sim_space_set_bytes(sim, space, 0);
	up_write(&space->sem);
	vdpa_sim_free_maps(&old);
}

void vdpa_sim_spaces_clear(struct vdpa_sim_device *sim)
{
	unsigned int i;

	for (i = 0; i < sim->kind->nspaces; i++)
		vdpa_sim_clear_space(sim, &sim->spaces[i]);
}

void vdpa_sim_spaces_free(struct vdpa_sim_device *sim)
{
	if (!sim->spaces)
		return;
	vdpa_sim_spaces_clear(sim);
	kfree(sim->spaces);
}

static u32 vdpa_sim_unit_group(struct vdpa_sim_unit *unit)
{
	struct vdpa_sim_device *sim = unit->sim;

	return sim->kind->group_of ? sim->kind->group_of(sim, unit->queues->idx) : 0;
}

/* The unit's lock is held, and vdpa_sim_set_group_asid() passes through it: stable until it is dropped. */
struct vdpa_sim_space *vdpa_sim_space_of(struct vdpa_sim_unit *unit)
{
	lockdep_assert_held(&unit->lock);
	return &unit->sim->spaces[READ_ONCE(unit->sim->group_space[vdpa_sim_unit_group(unit)])];
}

static struct vdpa_sim_space *vdpa_sim_space_by_asid(struct vdpa_sim_device *sim, unsigned int asid)
{
	return asid < sim->kind->nspaces ? &sim->spaces[asid] : NULL;
}

static int vdpa_sim_copy_tlb(struct vhost_iotlb *to, struct vhost_iotlb *from, u64 *bytes)
{
	struct vhost_iotlb_map *map;
	int ret;

	*bytes = 0;
	for (map = vhost_iotlb_itree_first(from, 0, U64_MAX); map;
	     map = vhost_iotlb_itree_next(map, 0, U64_MAX)) {
		ret = vhost_iotlb_add_range(to, map->start, map->last, map->addr, map->perm);
		if (ret)
			return ret;
		*bytes += map->last - map->start + 1;
		cond_resched();
	}
	return 0;
}

int vdpa_sim_set_map(struct vdpa_device *vdpa, unsigned int asid, struct vhost_iotlb *iotlb)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);
	struct vdpa_sim_space *space = vdpa_sim_space_by_asid(sim, asid);
	struct vhost_iotlb next;
	u64 bytes;
	int ret;

	if (!space)
		return -EINVAL;
	ret = vdpa_sim_fault(sim, VDPA_SIM_FAULT_MAP);
	if (ret)
		return ret;
	vhost_iotlb_init(&next, max_iotlb_entries, 0);
	ret = vdpa_sim_copy_tlb(&next, iotlb, &bytes);
	if (!ret) {
		down_write(&space->sem);
		vdpa_sim_swap_tlbs(&space->tlb, &next);
		vdpa_sim_space_set_bytes(sim, space, bytes);
		up_write(&space->sem);
	}
	vdpa_sim_free_maps(&next);
	return ret;
}

int vdpa_sim_dma_map(struct vdpa_device *vdpa, unsigned int asid, u64 iova, u64 size, u64 pa,
		     u32 perm, void *opaque)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);
	struct vdpa_sim_space *space = vdpa_sim_space_by_asid(sim, asid);
	int ret;

	if (!space || !size || iova + size - 1 < iova)
		return -EINVAL;
	ret = vdpa_sim_fault(sim, VDPA_SIM_FAULT_MAP);
	if (ret)
		return ret;
	down_write(&space->sem);
	ret = vhost_iotlb_add_range(&space->tlb, iova, iova + size - 1, pa, perm);
	if (!ret)
		vdpa_sim_space_set_bytes(sim, space, space->bytes + size);
	up_write(&space->sem);
	return ret;
}

/* Unmap [@first, @last], one map at a time; the number of bytes. */
static u64 vdpa_sim_remove_range(struct vhost_iotlb *tlb, u64 first, u64 last)
{
	struct vhost_iotlb_map *map;
	u64 bytes = 0;

	while ((map = vhost_iotlb_itree_first(tlb, first, last))) {
		u64 from = max(map->start, first), to = min(map->last, last);

		bytes += to - from + 1;
		vhost_iotlb_del_range(tlb, from, to);
		cond_resched();
	}
	return bytes;
}

int vdpa_sim_dma_unmap(struct vdpa_device *vdpa, unsigned int asid, u64 iova, u64 size)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);
	struct vdpa_sim_space *space = vdpa_sim_space_by_asid(sim, asid);
	int ret;

	if (!space || !size || iova + size - 1 < iova)
		return -EINVAL;
	ret = vdpa_sim_fault(sim, VDPA_SIM_FAULT_UNMAP);
	if (ret)
		return ret;
	down_write(&space->sem);
	vdpa_sim_space_set_bytes(sim, space,
				 space->bytes -
					 vdpa_sim_remove_range(&space->tlb, iova, iova + size - 1));
	up_write(&space->sem);
	return 0;
}

int vdpa_sim_reset_map(struct vdpa_device *vdpa, unsigned int asid)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);
	struct vdpa_sim_space *space = vdpa_sim_space_by_asid(sim, asid);

	if (!space)
		return -EINVAL;
	vdpa_sim_clear_space(sim, space);
	return 0;
}

int vdpa_sim_set_group_asid(struct vdpa_device *vdpa, unsigned int group, unsigned int asid)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(vdpa);

	if (group >= sim->kind->ngroups || asid >= sim->kind->nspaces)
		return -EINVAL;
	WRITE_ONCE(sim->group_space[group], asid);
	vdpa_sim_wait_units(sim);
	return 0;
}

/* The kernel's DMA interface: addresses are physical ones. */

static void vdpa_sim_mark_kernel_owned(struct device *dev)
{
	struct vdpa_sim_device *sim = vdpa_sim_of(dev_to_vdpa(dev));

	if (!READ_ONCE(sim->kernel_owned))
		WRITE_ONCE(sim->kernel_owned, true);
}

static void *vdpa_sim_dma_alloc(struct device *dev, size_t size, dma_addr_t *handle, gfp_t gfp,
				unsigned long attrs)
{
	void *memory = alloc_pages_exact(size, gfp | __GFP_ZERO);

	if (!memory)
		return NULL;
	vdpa_sim_mark_kernel_owned(dev);
	*handle = virt_to_phys(memory);
	return memory;
}

static void vdpa_sim_dma_free(struct device *dev, size_t size, void *memory, dma_addr_t handle,
			      unsigned long attrs)
{
	free_pages_exact(memory, size);
}

static dma_addr_t vdpa_sim_map_page(struct device *dev, struct page *page, unsigned long offset,
				    size_t size, enum dma_data_direction dir, unsigned long attrs)
{
	vdpa_sim_mark_kernel_owned(dev);
	return page_to_phys(page) + offset;
}

static void vdpa_sim_unmap_page(struct device *dev, dma_addr_t handle, size_t size,
				enum dma_data_direction dir, unsigned long attrs)
{
}

static int vdpa_sim_map_sg(struct device *dev, struct scatterlist *list, int count,
			   enum dma_data_direction dir, unsigned long attrs)
{
	struct scatterlist *sg;
	int i;

	vdpa_sim_mark_kernel_owned(dev);
	for_each_sg(list, sg, count, i) {
		sg_dma_address(sg) = sg_phys(sg);
		sg_dma_len(sg) = sg->length;
	}
	return count;
}

static void vdpa_sim_unmap_sg(struct device *dev, struct scatterlist *list, int count,
			      enum dma_data_direction dir, unsigned long attrs)
{
}

static int vdpa_sim_dma_supported(struct device *dev, u64 mask)
{
	return 1;
}

static const struct dma_map_ops vdpa_sim_kernel_dma_ops = {
	.alloc = vdpa_sim_dma_alloc,
	.free = vdpa_sim_dma_free,
	.map_page = vdpa_sim_map_page,
	.unmap_page = vdpa_sim_unmap_page,
	.map_sg = vdpa_sim_map_sg,
	.unmap_sg = vdpa_sim_unmap_sg,
	.dma_supported = vdpa_sim_dma_supported,
};

void vdpa_sim_dma_setup(struct vdpa_sim_device *sim)
{
	struct device *dev = &sim->vdpa.dev;

	dev->coherent_dma_mask = DMA_BIT_MASK(64);
	dev->dma_mask = &dev->coherent_dma_mask;
	set_dma_ops(dev, &vdpa_sim_kernel_dma_ops);
	sim->vdpa.dma_dev = dev;
}
