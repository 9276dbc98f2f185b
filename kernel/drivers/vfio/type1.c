// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vfio_iommu_type1: memory of a process for its devices (the container of VFIO), with tracking of the
 * pages that they may have written.
 *
 *	     process					VFIO's core
 *	ioctl of /dev/vfio/vfio		attach, detach	pin, unpin, rw
 *		|				     |		     |
 *	     type1.c				type1_domain.c	type1_user.c	(mediated devices)
 *		|				     |		     |
 *	  type1_map.c  ---- map, unmap ------> type1_pin.c	type1_track.h
 *		|							     |
 *	   type1_dirty.c <---------------------------------------------------'
 *
 * Here: the module, a container's beginning and end, and arguments of the ioctls.
 *
 * Source of the interface: <linux/vfio.h> of the uapi headers, and the private header of VFIO's core.
 *
 * Limits: Linux 6.1.
 */

#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "type1_priv.h"

static unsigned int dma_entry_limit = U16_MAX;
module_param(dma_entry_limit, uint, 0644);
MODULE_PARM_DESC(dma_entry_limit, "Most mappings of a container");

static bool type1_is_kind(unsigned long kind)
{
	return kind == VFIO_TYPE1v2_IOMMU || kind == VFIO_TYPE1_IOMMU ||
	       kind == VFIO_TYPE1_NESTING_IOMMU;
}

static void *type1_open(unsigned long kind)
{
	struct type1_container *c;

	if (!type1_is_kind(kind))
		return ERR_PTR(-EINVAL);
	c = kzalloc(sizeof(*c), GFP_KERNEL_ACCOUNT);
	if (!c)
		return ERR_PTR(-ENOMEM);
	c->frames = (struct type1_frames *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (!c->frames) {
		kfree(c);
		return ERR_PTR(-ENOMEM);
	}
	mutex_init(&c->lock);
	init_rwsem(&c->device_lock);
	mt_init(&c->maps);
	INIT_LIST_HEAD(&c->domains);
	INIT_LIST_HEAD(&c->emulated);
	INIT_LIST_HEAD(&c->devices);
	type1_track_init(&c->track);
	c->maps_left = dma_entry_limit;
	c->page_sizes = PAGE_MASK;
	c->v2 = kind != VFIO_TYPE1_IOMMU;
	c->nesting = kind == VFIO_TYPE1_NESTING_IOMMU;
	return c;
}

static void type1_release(void *data)
{
	struct type1_container *c = data;

	mutex_lock(&c->lock);
	type1_remove_all(c);
	type1_track_stop(&c->track);
	type1_drop_domains(c);
	mutex_unlock(&c->lock);
	mtree_destroy(&c->maps);
	xa_destroy(&c->track.blocks);
	free_page((unsigned long)c->frames);
	kfree(c);
}

/* @c is NULL when the core asks before the container is one of this module's. */
static long type1_check_extension(struct type1_container *c, unsigned long arg)
{
	bool yes = false;

	if (type1_is_kind(arg) || arg == VFIO_UNMAP_ALL)
		return true;
	if (!c)
		return false;
	mutex_lock(&c->lock);
	if (arg == VFIO_UPDATE_VADDR)
		yes = !type1_has_emulated(c);
	else if (arg == VFIO_DMA_CC_IOMMU)
		yes = type1_coherent(c);
	mutex_unlock(&c->lock);
	return yes;
}

static int type1_info_migration(struct type1_container *c, struct vfio_info_cap *caps)
{
	struct vfio_iommu_type1_info_cap_migration cap = {
		.header = { .id = VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, .version = 1 },
		.pgsize_bitmap = type1_page_size(c),
		.max_dirty_bitmap_size = TYPE1_BITMAP_MAX,
	};

	return vfio_info_add_capability(caps, &cap.header, sizeof(cap));
}

static int type1_info_left(struct type1_container *c, struct vfio_info_cap *caps)
{
	struct vfio_iommu_type1_info_dma_avail cap = {
		.header = { .id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, .version = 1 },
		.avail = c->maps_left,
	};

	return vfio_info_add_capability(caps, &cap.header, sizeof(cap));
}

static int type1_info_ranges(struct type1_container *c, struct vfio_info_cap *caps)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct vfio_info_cap_header *header;
	unsigned int i;

	if (!c->nr_ranges)
		return 0;
	header = vfio_info_cap_add(caps, struct_size(cap, iova_ranges, c->nr_ranges),
				   VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 1);
	if (IS_ERR(header))
		return PTR_ERR(header);
	cap = container_of(header, struct vfio_iommu_type1_info_cap_iova_range, header);
	cap->nr_iovas = c->nr_ranges;
	for (i = 0; i < c->nr_ranges; i++) {
		cap->iova_ranges[i].start = c->ranges[i].first;
		cap->iova_ranges[i].end = c->ranges[i].last;
	}
	return 0;
}

/* The capabilities behind @info, if they fit; otherwise how much room they need. */
static int type1_info_copy(struct vfio_iommu_type1_info *info, struct vfio_info_cap *caps,
			   unsigned long arg)
{
	int err = 0;

	info->flags |= VFIO_IOMMU_INFO_CAPS;
	if (info->argsz < sizeof(*info) + caps->size) {
		info->argsz = sizeof(*info) + caps->size;
	} else {
		vfio_info_cap_shift(caps, sizeof(*info));
		if (copy_to_user((void __user *)arg + sizeof(*info), caps->buf, caps->size))
			err = -EFAULT;
		info->cap_offset = sizeof(*info);
	}
	return err;
}

static long type1_get_info(struct type1_container *c, unsigned long arg)
{
	unsigned long size = offsetofend(struct vfio_iommu_type1_info, iova_pgsizes);
	struct vfio_info_cap caps = {};
	struct vfio_iommu_type1_info info = {};
	int err;

	if (copy_from_user(&info, (void __user *)arg, size))
		return -EFAULT;
	if (info.argsz < size)
		return -EINVAL;
	if (info.argsz >= offsetofend(struct vfio_iommu_type1_info, cap_offset))
		size = offsetofend(struct vfio_iommu_type1_info, cap_offset);
	mutex_lock(&c->lock);
	info.flags = VFIO_IOMMU_INFO_PGSIZES;
	info.iova_pgsizes = c->page_sizes;
	err = type1_info_migration(c, &caps);
	if (!err)
		err = type1_info_left(c, &caps);
	if (!err)
		err = type1_info_ranges(c, &caps);
	mutex_unlock(&c->lock);
	if (!err)
		err = type1_info_copy(&info, &caps, arg);
	if (!err && copy_to_user((void __user *)arg, &info, size))
		err = -EFAULT;
	kfree(caps.buf);
	return err;
}

static long type1_map_dma(struct type1_container *c, unsigned long arg)
{
	const u32 known = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE |
			  VFIO_DMA_MAP_FLAG_VADDR;
	unsigned long size = offsetofend(struct vfio_iommu_type1_dma_map, size);
	struct vfio_iommu_type1_dma_map map;

	if (copy_from_user(&map, (void __user *)arg, size))
		return -EFAULT;
	if (map.argsz < size || map.flags & ~known)
		return -EINVAL;
	return type1_do_map(c, &map);
}

static long type1_unmap_dma(struct type1_container *c, unsigned long arg)
{
	const u32 bitmap_flag = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
	const u32 others = VFIO_DMA_UNMAP_FLAG_ALL | VFIO_DMA_UNMAP_FLAG_VADDR;
	unsigned long size = offsetofend(struct vfio_iommu_type1_dma_unmap, size);
	struct vfio_iommu_type1_dma_unmap unmap;
	struct vfio_bitmap bitmap;
	bool wanted;
	long err;

	if (copy_from_user(&unmap, (void __user *)arg, size))
		return -EFAULT;
	wanted = unmap.flags & bitmap_flag;
	if (unmap.argsz < size || unmap.flags & ~(bitmap_flag | others) ||
	    (wanted && unmap.flags & others))
		return -EINVAL;
	if (wanted) {
		if (unmap.argsz < size + sizeof(bitmap))
			return -EINVAL;
		if (copy_from_user(&bitmap, (void __user *)(arg + size), sizeof(bitmap)))
			return -EFAULT;
		if (!type1_bitmap_fits(&bitmap, unmap.size))
			return -EINVAL;
	}
	err = type1_do_unmap(c, &unmap, wanted ? &bitmap : NULL);
	if (err)
		return err;
	return copy_to_user((void __user *)arg, &unmap, size) ? -EFAULT : 0;
}

static long type1_ioctl(void *data, unsigned int cmd, unsigned long arg)
{
	struct type1_container *c = data;

	switch (cmd) {
	case VFIO_CHECK_EXTENSION:
		return type1_check_extension(c, arg);
	case VFIO_IOMMU_GET_INFO:
		return type1_get_info(c, arg);
	case VFIO_IOMMU_MAP_DMA:
		return type1_map_dma(c, arg);
	case VFIO_IOMMU_UNMAP_DMA:
		return type1_unmap_dma(c, arg);
	case VFIO_IOMMU_DIRTY_PAGES:
		return type1_dirty_pages(c, arg);
	default:
		return -ENOTTY;
	}
}

static const struct vfio_iommu_driver_ops type1_ops = {
	.name = "vfio-iommu-type1",
	.owner = THIS_MODULE,
	.open = type1_open,
	.release = type1_release,
	.ioctl = type1_ioctl,
	.attach_group = type1_attach,
	.detach_group = type1_detach,
	.pin_pages = type1_pin_pages,
	.unpin_pages = type1_unpin_pages,
	.register_device = type1_register,
	.unregister_device = type1_unregister,
	.dma_rw = type1_rw,
	.group_iommu_domain = type1_domain_of,
};

static int __init type1_init(void)
{
	return vfio_register_iommu_driver(&type1_ops);
}

static void __exit type1_exit(void)
{
	vfio_unregister_iommu_driver(&type1_ops);
}

module_init(type1_init);
module_exit(type1_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("qemu-live");
MODULE_DESCRIPTION("VFIO containers on IOMMU domains, with tracking of dirty pages");
MODULE_ALIAS("vfio-iommu-type1");
