// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vfio_iommu_type1: groups of devices and their IOMMU domains.
 *
 * Theory of operation
 *
 * A group without an IOMMU is entered in a list, and that is all.  A group with one gets a domain:
 * that of another group, if the same IOMMU driver and the same treatment of the caches serve both,
 * otherwise one of its own.  Every domain has every mapping.  For the first domain of a
 * container the mappings' memory is pinned; a further one gets a copy of the first.  When the last
 * domain leaves, their memory is unpinned; when the last group leaves, the mappings are gone.
 *
 * Addresses that may be mapped are those that all domains have, without those that the platform
 * reserves for some group: a mapping there would have no effect.  They are computed anew whenever a
 * group comes or goes, and take the place of the old ones when nothing can fail any more.
 *
 *	domain 1   |------------------------|
 *	domain 2       |------------------------------|
 *	reserved              |xx|
 *	ranges         |-----|    |---------|
 *
 * A device that writes a message signalled interrupt writes to memory.  Without interrupt remapping
 * the process that drives the device chooses vector and CPU of such a write, so the platform has to
 * remap interrupts; allow_unsafe_interrupts=1 gives that up (EPERM without it).
 *
 * Locks: container->lock.
 */

#include <linux/irqdomain.h>
#include <linux/slab.h>

#include "type1_priv.h"

static bool allow_unsafe_interrupts;
module_param(allow_unsafe_interrupts, bool, 0644);
MODULE_PARM_DESC(allow_unsafe_interrupts,
		 "Take devices behind an IOMMU that does not remap interrupts");

bool type1_has_emulated(struct type1_container *c)
{
	return !list_empty(&c->emulated);
}

bool type1_may_map(struct type1_container *c, u64 first, u64 last)
{
	unsigned int i;

	for (i = 0; i < c->nr_ranges; i++)
		if (first >= c->ranges[i].first && last <= c->ranges[i].last)
			return true;
	return !c->ranges;
}

/* Does no device get around the CPU's caches? */
bool type1_coherent(struct type1_container *c)
{
	struct type1_domain *d;

	list_for_each_entry(d, &c->domains, list)
		if (!d->coherent)
			return false;
	return true;
}

static struct type1_group *type1_find_group(struct list_head *groups,
					    struct iommu_group *iommu_group)
{
	struct type1_group *group;

	list_for_each_entry(group, groups, list)
		if (group->iommu_group == iommu_group)
			return group;
	return NULL;
}

static struct type1_domain *type1_find_domain(struct type1_container *c,
					      struct iommu_group *iommu_group)
{
	struct type1_domain *d;

	list_for_each_entry(d, &c->domains, list)
		if (type1_find_group(&d->groups, iommu_group))
			return d;
	return NULL;
}

struct type1_group *type1_group_of(struct type1_container *c, struct iommu_group *iommu_group)
{
	struct type1_domain *d = type1_find_domain(c, iommu_group);

	return type1_find_group(d ? &d->groups : &c->emulated, iommu_group);
}

struct iommu_domain *type1_domain_of(void *data, struct iommu_group *iommu_group)
{
	struct type1_container *c = data;
	struct type1_domain *d;

	if (!c || !iommu_group)
		return ERR_PTR(-EINVAL);
	mutex_lock(&c->lock);
	d = type1_find_domain(c, iommu_group);
	mutex_unlock(&c->lock);
	return d ? d->domain : ERR_PTR(-ENODEV);
}

/*
 * Page sizes below the CPU's are as good as the CPU's.  Domains that have none in common get it, too:
 * no mapping will succeed, and no size of 0 is divided by.
 */
static void type1_set_page_sizes(struct type1_container *c)
{
	struct type1_domain *d;
	u64 sizes = U64_MAX;

	list_for_each_entry(d, &c->domains, list)
		sizes &= d->domain->pgsize_bitmap;
	c->page_sizes = sizes & PAGE_MASK;
	if (!c->page_sizes || sizes & ~PAGE_MASK)
		c->page_sizes |= PAGE_SIZE;
}

/* What is needed to compute ranges: all regions that are reserved for the groups. */
struct type1_addresses {
	struct list_head reserved;
	u64 first;
	u64 last;
};

static int type1_narrow(struct type1_addresses *all, struct iommu_domain *domain,
			struct iommu_group *iommu_group)
{
	all->first = max_t(u64, all->first, domain->geometry.aperture_start);
	all->last = min_t(u64, all->last, domain->geometry.aperture_end);
	return iommu_get_group_resv_regions(iommu_group, &all->reserved);
}

static void type1_addresses_free(struct type1_addresses *all)
{
	struct iommu_resv_region *region, *next;

	list_for_each_entry_safe(region, next, &all->reserved, list)
		kfree(region);
}

/* Take [@first, @last] out of ascending ranges; there is room for one more.  How many there are. */
static unsigned int type1_cut(struct type1_range *ranges, unsigned int n, u64 first, u64 last)
{
	struct type1_range old;
	unsigned int i, kept = 0;

	for (i = 0; i < n; i++) {
		old = ranges[i];
		if (last < old.first || first > old.last) {
			ranges[kept++] = old;
			continue;
		}
		if (first > old.first && last < old.last) {
			memmove(&ranges[i + 2], &ranges[i + 1], (n - i - 1) * sizeof(*ranges));
			ranges[i].last = first - 1;
			ranges[i + 1] = (struct type1_range) { last + 1, old.last };
			return n + 1;
		}
		if (first > old.first)
			ranges[kept++] = (struct type1_range) { old.first, first - 1 };
		else if (last < old.last)
			ranges[kept++] = (struct type1_range) { last + 1, old.last };
	}
	return kept;
}

/* The ranges that remain; NULL and *@nr 0 if there is no memory, or none remains. */
static struct type1_range *type1_remaining(const struct type1_addresses *all, unsigned int *nr)
{
	struct iommu_resv_region *region;
	struct type1_range *ranges;
	unsigned int n = 0;

	list_for_each_entry(region, &all->reserved, list)
		n++;
	*nr = 0;
	ranges = kvmalloc_array(n + 1, sizeof(*ranges), GFP_KERNEL);
	if (!ranges)
		return NULL;
	if (all->first <= all->last) {
		ranges[0] = (struct type1_range) { all->first, all->last };
		*nr = 1;
	}
	list_for_each_entry(region, &all->reserved, list)
		if (region->type != IOMMU_RESV_DIRECT_RELAXABLE && region->length)
			*nr = type1_cut(ranges, *nr, region->start,
					region->start + (region->length - 1));
	return ranges;
}

/* Ranges of all groups and of another one; @domain is NULL if there is no other one. */
static int type1_compute_ranges(struct type1_container *c, struct iommu_domain *domain,
				struct iommu_group *iommu_group, struct type1_addresses *all,
				struct type1_range **ranges, unsigned int *nr)
{
	struct type1_group *group;
	struct type1_domain *d;
	int err = 0;

	INIT_LIST_HEAD(&all->reserved);
	all->first = 0;
	all->last = U64_MAX;
	if (domain)
		err = type1_narrow(all, domain, iommu_group);
	list_for_each_entry(d, &c->domains, list)
		list_for_each_entry(group, &d->groups, list)
			if (!err)
				err = type1_narrow(all, d->domain, group->iommu_group);
	if (err)
		return err;
	*ranges = type1_remaining(all, nr);
	return *ranges ? 0 : -ENOMEM;
}

static void type1_set_ranges(struct type1_container *c, struct type1_range *ranges, unsigned int nr)
{
	kvfree(c->ranges);
	c->ranges = ranges;
	c->nr_ranges = nr;
}

/* After a group has left.  Without memory the narrower ranges stay. */
static void type1_widen(struct type1_container *c)
{
	struct type1_addresses all;
	struct type1_range *ranges;
	unsigned int nr;

	if (!type1_compute_ranges(c, NULL, NULL, &all, &ranges, &nr))
		type1_set_ranges(c, ranges, nr);
	type1_addresses_free(&all);
}

static bool type1_maps_lie_in(struct type1_container *c, const struct type1_range *ranges,
			      unsigned int nr)
{
	struct type1_map *map;
	unsigned long index;
	unsigned int i;

	type1_for_each_map(c, map, index, 0, ULONG_MAX) {
		for (i = 0; i < nr; i++)
			if (map->iova >= ranges[i].first &&
			    map->iova + (map->size - 1) <= ranges[i].last)
				break;
		if (i == nr)
			return false;
	}
	return nr;
}

static int type1_alloc_domain(struct device *dev, void *data)
{
	struct iommu_domain **domain = data;

	*domain = iommu_domain_alloc(dev->bus);
	return 1; /* the first device speaks for all */
}

static int type1_remaps(struct device *dev, void *data)
{
	return device_iommu_capable(dev, IOMMU_CAP_INTR_REMAP);
}

static void type1_domain_free(struct type1_domain *d, struct iommu_group *attached)
{
	if (attached)
		iommu_detach_group(d->domain, attached);
	iommu_domain_free(d->domain);
	kfree(d);
}

/* A domain with the group attached. */
static struct type1_domain *type1_domain_new(struct type1_container *c,
					     struct iommu_group *iommu_group)
{
	struct type1_domain *d = kzalloc(sizeof(*d), GFP_KERNEL);
	int err = 0;

	if (!d)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&d->groups);
	iommu_group_for_each_dev(iommu_group, &d->domain, type1_alloc_domain);
	if (!d->domain) {
		kfree(d);
		return ERR_PTR(-EIO);
	}
	if (c->nesting)
		err = iommu_enable_nesting(d->domain);
	if (!err)
		err = iommu_attach_group(d->domain, iommu_group);
	if (err) {
		type1_domain_free(d, NULL);
		return ERR_PTR(err);
	}
	if (d->domain->ops->enforce_cache_coherency)
		d->coherent = d->domain->ops->enforce_cache_coherency(d->domain);
	return d;
}

/* Is there a window for interrupts that is software's business? */
static int type1_msi_window(const struct type1_addresses *all, struct iommu_domain *domain)
{
	struct iommu_resv_region *region, *window = NULL;
	int err;

	list_for_each_entry(region, &all->reserved, list) {
		if (region->type == IOMMU_RESV_MSI)
			return 0;
		if (region->type == IOMMU_RESV_SW_MSI)
			window = region;
	}
	if (!window)
		return 0;
	err = iommu_get_msi_cookie(domain, window->start);
	return err == -ENODEV ? 0 : err;
}

/* Give the mappings to a further domain. */
static int type1_iommu_copy_all(struct type1_container *c, struct iommu_domain *to)
{
	struct type1_domain *from = list_first_entry(&c->domains, struct type1_domain, list);
	struct type1_map *map, *bad;
	unsigned long index;
	int err;

	type1_for_each_map(c, map, index, 0, ULONG_MAX) {
		err = type1_iommu_copy(map, from->domain, to);
		if (err)
			goto undo;
	}
	return 0;
undo:
	bad = map;
	type1_for_each_map(c, map, index, 0, ULONG_MAX) {
		if (map == bad)
			break;
		iommu_unmap(to, map->iova, map->size);
	}
	return err;
}

/* Pin the mappings' memory and give it to the only domain. */
static int type1_iommu_map_all(struct type1_container *c)
{
	struct type1_map *map;
	unsigned long index;
	int err;

	type1_for_each_map(c, map, index, 0, ULONG_MAX) {
		err = type1_iommu_map(c, map);
		if (err)
			goto undo;
	}
	return 0;
undo:
	type1_for_each_map(c, map, index, 0, ULONG_MAX)
		if (map->in_iommu)
			type1_iommu_unmap(c, map, map->size);
	return err;
}

static int type1_give_maps(struct type1_container *c, struct type1_domain *d)
{
	int err;

	if (!list_empty(&c->domains)) {
		err = type1_iommu_copy_all(c, d->domain);
		if (!err)
			list_add_tail(&d->list, &c->domains);
		return err;
	}
	list_add(&d->list, &c->domains);
	err = type1_iommu_map_all(c);
	if (err)
		list_del(&d->list);
	return err;
}

/* A domain of the container that would do as well as @d; the group is in it, then. */
static struct type1_domain *type1_share(struct type1_container *c, struct type1_domain *d,
					struct iommu_group *iommu_group)
{
	struct type1_domain *other;

	list_for_each_entry(other, &c->domains, list) {
		if (other->domain->ops != d->domain->ops || other->coherent != d->coherent)
			continue;
		iommu_detach_group(d->domain, iommu_group);
		if (!iommu_attach_group(other->domain, iommu_group))
			return other;
		if (iommu_attach_group(d->domain, iommu_group))
			return ERR_PTR(-EIO);
	}
	return NULL;
}

/* Into a domain, @d or another one.  On error the group is in none, and @d is gone. */
static struct type1_domain *type1_place(struct type1_container *c, struct type1_domain *d,
					struct iommu_group *iommu_group,
					const struct type1_addresses *all)
{
	struct type1_domain *other = type1_share(c, d, iommu_group);
	int err;

	if (other) {
		type1_domain_free(d, NULL);
		return other;
	}
	err = type1_msi_window(all, d->domain);
	if (!err)
		err = type1_give_maps(c, d);
	if (!err)
		return d;
	type1_domain_free(d, iommu_group);
	return ERR_PTR(err);
}

static int type1_check_interrupts(struct iommu_group *iommu_group)
{
	if (irq_domain_check_msi_remap() ||
	    iommu_group_for_each_dev(iommu_group, NULL, type1_remaps))
		return 0;
	pr_warn_ratelimited(
		"vfio: interrupts are not remapped%s\n",
		allow_unsafe_interrupts
			? ""
			: "; vfio_iommu_type1.allow_unsafe_interrupts=1 takes the device anyway");
	return allow_unsafe_interrupts ? 0 : -EPERM;
}

static int type1_attach_iommu(struct type1_container *c, struct type1_group *group)
{
	struct iommu_group *iommu_group = group->iommu_group;
	struct type1_range *ranges = NULL;
	struct type1_addresses all;
	struct type1_domain *d;
	unsigned int nr;
	int err;

	d = type1_domain_new(c, iommu_group);
	if (IS_ERR(d))
		return PTR_ERR(d);
	err = type1_compute_ranges(c, d->domain, iommu_group, &all, &ranges, &nr);
	if (!err && !type1_maps_lie_in(c, ranges, nr))
		err = -EINVAL;
	if (!err)
		err = type1_check_interrupts(iommu_group);
	if (err) {
		type1_domain_free(d, iommu_group);
		goto out;
	}
	d = type1_place(c, d, iommu_group, &all);
	err = PTR_ERR_OR_ZERO(d);
	if (err)
		goto out;
	list_add(&group->list, &d->groups);
	type1_set_page_sizes(c);
	type1_set_ranges(c, ranges, nr);
	ranges = NULL;
	c->unaware++;
out:
	kvfree(ranges);
	type1_addresses_free(&all);
	return err;
}

static int type1_attach_locked(struct type1_container *c, struct iommu_group *iommu_group,
			       enum vfio_group_type type)
{
	struct type1_group *group;
	int err = 0;

	/* Memory may have to be pinned. */
	if (c->no_vaddr_maps)
		return -EBUSY;
	if (type1_group_of(c, iommu_group))
		return -EINVAL;
	group = kzalloc(sizeof(*group), GFP_KERNEL);
	if (!group)
		return -ENOMEM;
	group->iommu_group = iommu_group;
	if (type == VFIO_EMULATED_IOMMU) {
		group->aware = true;
		list_add(&group->list, &c->emulated);
	} else {
		err = type1_attach_iommu(c, group);
	}
	if (err)
		kfree(group);
	return err;
}

/**
 * type1_attach() - a group of devices is to use the container's mappings
 *
 * @data:	 the container
 * @iommu_group: the devices
 * @type:	 VFIO_EMULATED_IOMMU: without an IOMMU
 *
 * Return: 0; EBUSY addresses are being changed; EINVAL it does already, or there are mappings that it
 * cannot have; EPERM interrupts are not remapped; EIO no domain; type1_pin.c's.
 */
int type1_attach(void *data, struct iommu_group *iommu_group, enum vfio_group_type type)
{
	struct type1_container *c = data;
	int err;

	mutex_lock(&c->lock);
	err = type1_attach_locked(c, iommu_group, type);
	mutex_unlock(&c->lock);
	return err;
}

/* No group is left in @d. */
static void type1_leave_domain(struct type1_container *c, struct type1_domain *d)
{
	struct type1_map *map;
	unsigned long index;

	if (list_is_singular(&c->domains)) {
		if (!type1_has_emulated(c))
			type1_remove_all(c);
		type1_for_each_map(c, map, index, 0, ULONG_MAX)
			type1_iommu_unmap(c, map, map->size);
	}
	list_del(&d->list);
	type1_domain_free(d, NULL);
	type1_set_page_sizes(c);
}

static void type1_detach_iommu(struct type1_container *c, struct type1_domain *d,
			       struct type1_group *group)
{
	iommu_detach_group(d->domain, group->iommu_group);
	list_del(&group->list);
	if (!group->aware) {
		c->unaware--;
		type1_dirty_all(c);
	}
	if (list_empty(&d->groups))
		type1_leave_domain(c, d);
	type1_widen(c);
}

void type1_detach(void *data, struct iommu_group *iommu_group)
{
	struct type1_container *c = data;
	struct type1_domain *d;
	struct type1_group *group;

	mutex_lock(&c->lock);
	d = type1_find_domain(c, iommu_group);
	group = type1_group_of(c, iommu_group);
	if (d && group) {
		type1_detach_iommu(c, d, group);
	} else if (group) {
		list_del(&group->list);
		if (!type1_has_emulated(c) && list_empty(&c->domains))
			type1_remove_all(c);
	}
	kfree(group);
	mutex_unlock(&c->lock);
}

/* When the container goes, after its mappings. */
void type1_drop_domains(struct type1_container *c)
{
	struct type1_group *group, *next_group;
	struct type1_domain *d, *next;

	list_for_each_entry_safe(group, next_group, &c->emulated, list)
		kfree(group);
	list_for_each_entry_safe(d, next, &c->domains, list) {
		list_for_each_entry_safe(group, next_group, &d->groups, list) {
			iommu_detach_group(d->domain, group->iommu_group);
			kfree(group);
		}
		type1_domain_free(d, NULL);
	}
	kvfree(c->ranges);
}
