// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost_vdpa: three ways to give mappings to a device.
 *
 * Theory of operation
 *
 *	incremental	an IOMMU of the device's own, told entry by entry (dma_map, dma_unmap)
 *	whole tree	an IOMMU of the device's own, given everything at once (set_map)
 *	platform	the machine's IOMMU, one domain for the device and one address space
 *
 * A device that offers both kinds of its own is used entry by entry, as it costs less.
 *
 * A device of the last kind without an IOMMU before it would reach all of the machine's memory with
 * addresses that user space chose; it cannot be opened (EOPNOTSUPP).  The IOMMU has to keep the
 * device's accesses coherent with the CPU caches, for this driver does not flush them.
 *
 * A device that writes a message signalled interrupt writes to memory.  Without interrupt remapping the
 * process that drives the device chooses vector and CPU of such a write, so the platform has to remap
 * interrupts; allow_unsafe_interrupts=1 gives that up (EPERM without it), as the parameter of VFIO does.
 *
 * Addresses that the platform reserves, as the window for those interrupts, never reach the domain's
 * page tables: a mapping there would have no effect.  It is refused.
 *
 * unmap only changes the page tables; sync invalidates the IOTLB, once for all gathered ranges.
 *
 * Limits: the range that is reported includes the reserved addresses; a driver sees EINVAL there.
 */

#include <linux/device.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

#include "vdpa_priv.h"

static bool allow_unsafe_interrupts;
module_param(allow_unsafe_interrupts, bool, 0644);
MODULE_PARM_DESC(allow_unsafe_interrupts,
		 "Open devices behind an IOMMU that does not remap interrupts");

static int vhost_vdpa_incremental_map(struct vhost_vdpa_as *as, u64 iova, u64 size, u64 addr,
				      u32 perm, void *opaque)
{
	struct vdpa_device *vdpa = as->session->vdpa;

	return vdpa->config->dma_map(vdpa, as->id, iova, size, addr, perm, opaque);
}

static int vhost_vdpa_incremental_unmap(struct vhost_vdpa_as *as, u64 iova, u64 size,
					struct iommu_iotlb_gather *gather)
{
	struct vdpa_device *vdpa = as->session->vdpa;

	return vdpa->config->dma_unmap(vdpa, as->id, iova, size);
}

static const struct vhost_vdpa_dma_ops vhost_vdpa_incremental_ops = {
	.map = vhost_vdpa_incremental_map,
	.unmap = vhost_vdpa_incremental_unmap,
};

static int vhost_vdpa_tree_commit(struct vhost_vdpa_as *as, struct vhost_iotlb *tree)
{
	struct vdpa_device *vdpa = as->session->vdpa;

	return vdpa->config->set_map(vdpa, as->id, tree);
}

static const struct vhost_vdpa_dma_ops vhost_vdpa_whole_tree_ops = {
	.commit = vhost_vdpa_tree_commit,
};

static void vhost_vdpa_reserved_free(struct vhost_vdpa_session *s)
{
	struct iommu_resv_region *region, *next;

	list_for_each_entry_safe(region, next, &s->reserved, list)
		kfree(region);
	INIT_LIST_HEAD(&s->reserved);
}

static int vhost_vdpa_reserved_read(struct vhost_vdpa_session *s, struct device *dma_dev)
{
	struct iommu_group *group = iommu_group_get(dma_dev);
	int err;

	if (!group)
		return -ENODEV;
	err = iommu_get_group_resv_regions(group, &s->reserved);
	iommu_group_put(group);
	return err;
}

static int vhost_vdpa_platform_attach(struct vhost_vdpa_session *s)
{
	struct device *dma_dev = vdpa_get_dma_dev(s->vdpa);
	int err;

	if (!dma_dev || !dma_dev->bus || !device_iommu_mapped(dma_dev) ||
	    !device_iommu_capable(dma_dev, IOMMU_CAP_CACHE_COHERENCY)) {
		dev_warn_ratelimited(
			&s->node->dev,
			"no coherent IOMMU before the device; see intel_iommu=, amd_iommu=\n");
		return -EOPNOTSUPP;
	}
	if (!device_iommu_capable(dma_dev, IOMMU_CAP_INTR_REMAP)) {
		dev_warn_ratelimited(
			&s->node->dev, "interrupts are not remapped%s\n",
			allow_unsafe_interrupts
				? ""
				: "; vhost_vdpa.allow_unsafe_interrupts=1 opens the device anyway");
		if (!allow_unsafe_interrupts)
			return -EPERM;
	}
	err = vhost_vdpa_reserved_read(s, dma_dev);
	if (err)
		goto free;
	err = -ENOMEM;
	s->domain = iommu_domain_alloc(dma_dev->bus);
	if (!s->domain)
		goto free;
	err = iommu_attach_device(s->domain, dma_dev);
	if (!err)
		return 0;
	iommu_domain_free(s->domain);
	s->domain = NULL;
free:
	vhost_vdpa_reserved_free(s);
	return err;
}

static void vhost_vdpa_platform_detach(struct vhost_vdpa_session *s)
{
	iommu_detach_device(s->domain, vdpa_get_dma_dev(s->vdpa));
	iommu_domain_free(s->domain);
	s->domain = NULL;
	vhost_vdpa_reserved_free(s);
}

static int vhost_vdpa_platform_map(struct vhost_vdpa_as *as, u64 iova, u64 size, u64 addr, u32 perm,
				   void *opaque)
{
	int prot = IOMMU_CACHE;

	if (perm & VHOST_ACCESS_RO)
		prot |= IOMMU_READ;
	if (perm & VHOST_ACCESS_WO)
		prot |= IOMMU_WRITE;
	return iommu_map(as->session->domain, iova, addr, size, prot);
}

static int vhost_vdpa_platform_unmap(struct vhost_vdpa_as *as, u64 iova, u64 size,
				     struct iommu_iotlb_gather *gather)
{
	return iommu_unmap_fast(as->session->domain, iova, size, gather) == size ? 0 : -EIO;
}

static void vhost_vdpa_platform_sync(struct vhost_vdpa_as *as, struct iommu_iotlb_gather *gather)
{
	iommu_iotlb_sync(as->session->domain, gather);
}

static const struct vhost_vdpa_dma_ops vhost_vdpa_platform_ops = {
	.attach = vhost_vdpa_platform_attach,
	.detach = vhost_vdpa_platform_detach,
	.map = vhost_vdpa_platform_map,
	.unmap = vhost_vdpa_platform_unmap,
	.sync = vhost_vdpa_platform_sync,
};

/* Never NULL: a device without an IOMMU of its own depends on the platform's. */
const struct vhost_vdpa_dma_ops *vhost_vdpa_dma_ops_of(const struct vdpa_device *vdpa)
{
	if (vdpa->config->dma_map)
		return &vhost_vdpa_incremental_ops;
	if (vdpa->config->set_map)
		return &vhost_vdpa_whole_tree_ops;
	return &vhost_vdpa_platform_ops;
}

/* Which addresses may be mapped.  After attach. */
void vhost_vdpa_dma_set_range(struct vhost_vdpa_session *s)
{
	struct vdpa_device *vdpa = s->vdpa;

	s->range = (struct vdpa_iova_range) { .first = 0, .last = U64_MAX };
	if (vdpa->config->get_iova_range)
		s->range = vdpa->config->get_iova_range(vdpa);
	else if (s->domain && s->domain->geometry.force_aperture)
		s->range = (struct vdpa_iova_range) {
			.first = s->domain->geometry.aperture_start,
			.last = s->domain->geometry.aperture_end,
		};
}

/* Can a mapping of [@first, @last] have no effect?  Regions that a driver gives up may be mapped. */
bool vhost_vdpa_dma_is_reserved(struct vhost_vdpa_session *s, u64 first, u64 last)
{
	struct iommu_resv_region *region;

	list_for_each_entry(region, &s->reserved, list)
		if (region->type != IOMMU_RESV_DIRECT_RELAXABLE && region->start <= last &&
		    region->start + (region->length - 1) >= first)
			return true;
	return false;
}
