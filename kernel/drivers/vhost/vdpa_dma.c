// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost_vdpa: how a device is told of mappings.
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
 * device's accesses coherent with the CPU caches, for nobody here flushes them.
 *
 * Limits: ranges that the platform reserves (MSI windows) are not kept out of the range offered.
 */

#include <linux/device.h>

#include "vdpa_priv.h"

static int incremental_map(struct vv_as *as, u64 iova, u64 size, u64 addr, u32 perm, void *opaque)
{
	struct vdpa_device *vdpa = as->session->vdpa;

	return vdpa->config->dma_map(vdpa, as->id, iova, size, addr, perm, opaque);
}

static int incremental_unmap(struct vv_as *as, u64 iova, u64 size)
{
	struct vdpa_device *vdpa = as->session->vdpa;

	return vdpa->config->dma_unmap(vdpa, as->id, iova, size);
}

static const struct vv_dma_ops incremental = {
	.map	= incremental_map,
	.unmap	= incremental_unmap,
};

static int tree_commit(struct vv_as *as, struct vhost_iotlb *tree)
{
	struct vdpa_device *vdpa = as->session->vdpa;

	return vdpa->config->set_map(vdpa, as->id, tree);
}

static const struct vv_dma_ops whole_tree = {
	.commit	= tree_commit,
};

static int platform_attach(struct vv_session *s)
{
	struct device *dma_dev = vdpa_get_dma_dev(s->vdpa);
	int err;

	if (!dma_dev || !dma_dev->bus || !device_iommu_mapped(dma_dev) ||
	    !device_iommu_capable(dma_dev, IOMMU_CAP_CACHE_COHERENCY)) {
		dev_warn_ratelimited(&s->node->dev,
				     "no coherent IOMMU before the device; see intel_iommu=, amd_iommu=\n");
		return -EOPNOTSUPP;
	}
	s->domain = iommu_domain_alloc(dma_dev->bus);
	if (!s->domain)
		return -ENOMEM;
	err = iommu_attach_device(s->domain, dma_dev);
	if (err) {
		iommu_domain_free(s->domain);
		s->domain = NULL;
	}
	return err;
}

static void platform_detach(struct vv_session *s)
{
	iommu_detach_device(s->domain, vdpa_get_dma_dev(s->vdpa));
	iommu_domain_free(s->domain);
	s->domain = NULL;
}

static int platform_map(struct vv_as *as, u64 iova, u64 size, u64 addr, u32 perm, void *opaque)
{
	int prot = IOMMU_CACHE;

	if (perm & VHOST_ACCESS_RO)
		prot |= IOMMU_READ;
	if (perm & VHOST_ACCESS_WO)
		prot |= IOMMU_WRITE;
	return iommu_map(as->session->domain, iova, addr, size, prot);
}

static int platform_unmap(struct vv_as *as, u64 iova, u64 size)
{
	return iommu_unmap(as->session->domain, iova, size) == size ? 0 : -EIO;
}

static const struct vv_dma_ops platform = {
	.attach	= platform_attach,
	.detach	= platform_detach,
	.map	= platform_map,
	.unmap	= platform_unmap,
};

/* Never NULL: what has no IOMMU of its own depends on the platform's. */
const struct vv_dma_ops *vv_dma_ops_of(const struct vdpa_device *vdpa)
{
	if (vdpa->config->dma_map)
		return &incremental;
	if (vdpa->config->set_map)
		return &whole_tree;
	return &platform;
}

/* Which addresses may be mapped.  After attach. */
void vv_dma_set_range(struct vv_session *s)
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
