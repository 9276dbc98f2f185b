// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vfio_iommu_type1: memory.
 *
 * Theory of operation
 *
 * Pages that a device may reach are pinned.  Pages that only the device reads are pinned as if it
 * wrote them: a read would pin the zero page, or one that the process shares with a child, and the
 * process's next write would go to a copy that the device does not see.  FOLL_FORCE lifts the
 * process's own write protection of private memory only; shared memory that it may not write is
 * pinned by reading, and is never copied.
 *
 * Some frames are *reserved*: registers of a device that are mapped into the process, or the zero
 * page.  They do not go away, so they are neither pinned nor counted.
 *
 * type1_iommu_map() gives a mapping to all domains: it pins batch by batch, and frames that are
 * neighbours become one entry of each domain, so that the IOMMU can use large pages.
 *
 *	pages	|a|a+1|a+2|c|d|d+1|
 *	frames	[a, 3][c, 1][d, 2]
 *
 * Which frames those were is known by the first domain's page tables alone.  So type1_iommu_unmap()
 * takes the mapping out of all other domains, then, neighbours at a time, out of the first.  It
 * unpins a batch after one flush of the IOTLB, when no device can reach the batch any more.
 *
 * Each page is counted once in the locked memory of the process that mapped it: all pages of a
 * mapping that is in the IOMMU, otherwise those that devices have pinned.  type1_charge() makes the
 * process's count what it should be now.
 *
 * Errors: ENOMEM the limit (RLIMIT_MEMLOCK, unless the process may exceed it), or no memory; EFAULT
 * nothing is mapped there, or it may not be written; ESRCH the process has ended; EINTR it is being
 * killed.
 *
 * Locks: container->lock; mmap_lock below it.
 */

#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "type1_priv.h"

#define PAGES_AT_ONCE  (PAGE_SIZE / sizeof(struct page *))
#define FRAMES_AT_ONCE (PAGE_SIZE / sizeof(struct type1_frames))

static bool disable_hugepages;
module_param(disable_hugepages, bool, 0644);
MODULE_PARM_DESC(disable_hugepages, "Give pages to the IOMMU one by one");

/* @pages of the mapping are counted in its process from now on.  Fewer than before: no error. */
int type1_charge(struct type1_map *map, u64 pages)
{
	bool more = pages > map->charged;
	struct mm_struct *mm = map->mm;
	int err = 0;

	if (pages == map->charged)
		return 0;
	if (mmget_not_zero(mm)) {
		if (!more)
			mmap_write_lock(mm);
		else if (mmap_write_lock_killable(mm))
			err = -EINTR;
		if (!err) {
			err = __account_locked_vm(
				mm, more ? pages - map->charged : map->charged - pages, more,
				map->task, map->may_exceed);
			mmap_write_unlock(mm);
		}
		mmput(mm);
	} else if (more) {
		err = -ESRCH;
	}
	if (!err || !more)
		map->charged = pages;
	return more ? err : 0;
}

static u64 type1_to_charge(const struct type1_map *map)
{
	return map->in_iommu ? map->iommu_pages : map->user_pages;
}

bool type1_is_reserved(unsigned long pfn)
{
	return !pfn_valid(pfn) || PageReserved(pfn_to_page(pfn));
}

/* The frame of an address where there is no page to pin.  mmap_lock is held for reading. */
static int type1_frame(struct mm_struct *mm, unsigned long vaddr, bool write, unsigned long *pfn)
{
	struct vm_area_struct *vma = vma_lookup(mm, vaddr);
	bool unlocked = false;
	spinlock_t *lock;
	pte_t *pte;
	int err;

	if (!vma || !(vma->vm_flags & VM_PFNMAP))
		return -EFAULT;
	err = follow_pte(mm, vaddr, &pte, &lock);
	if (err) {
		err = fixup_user_fault(
			mm, vaddr, FAULT_FLAG_REMOTE | (write ? FAULT_FLAG_WRITE : 0), &unlocked);
		if (unlocked)
			return -EAGAIN;
		if (!err)
			err = follow_pte(mm, vaddr, &pte, &lock);
		if (err)
			return err;
	}
	__acquire(lock); /* for sparse: follow_pte() has */
	if (write && !pte_write(*pte))
		err = -EFAULT;
	else
		*pfn = pte_pfn(*pte);
	pte_unmap_unlock(pte, lock);
	if (!err && !type1_is_reserved(*pfn))
		err = -EFAULT;
	return err;
}

static long type1_pin_some(struct mm_struct *mm, unsigned long vaddr, int count, int prot,
			   struct page **pages)
{
	long got;

	if (prot & IOMMU_WRITE)
		return pin_user_pages_remote(mm, vaddr, count, FOLL_LONGTERM | FOLL_WRITE, pages,
					     NULL, NULL);
	got = pin_user_pages_remote(mm, vaddr, count, FOLL_LONGTERM | FOLL_WRITE | FOLL_FORCE,
				    pages, NULL, NULL);
	if (got == -EFAULT)
		got = pin_user_pages_remote(mm, vaddr, count, FOLL_LONGTERM, pages, NULL, NULL);
	return got;
}

/*
 * Pin up to @count pages from @offset of the mapping on.  Reserved ones among them are not.
 *
 * Return: how many pages; 0 there is a frame without a page, which is *@pfn; or an error.
 */
int type1_pin_memory(struct type1_map *map, u64 offset, int count, struct page **pages,
		     unsigned long *pfn)
{
	unsigned long vaddr = untagged_addr(map->vaddr) + offset;
	struct mm_struct *mm = map->mm;
	long got, i;

	if (!mmget_not_zero(mm))
		return -ESRCH;
	do {
		mmap_read_lock(mm);
		got = type1_pin_some(mm, vaddr, count, map->prot, pages);
		if (got <= 0)
			got = type1_frame(mm, vaddr, map->prot & IOMMU_WRITE, pfn);
		mmap_read_unlock(mm);
		if (got == -EAGAIN && fatal_signal_pending(current))
			got = -EINTR;
	} while (got == -EAGAIN);
	mmput(mm);
	for (i = 0; i < got; i++)
		if (PageReserved(pages[i]))
			unpin_user_page(pages[i]);
	return got;
}

/* The opposite of type1_pin_memory(), for one page. */
void type1_unpin_page(struct type1_map *map, unsigned long pfn)
{
	if (!type1_is_reserved(pfn))
		unpin_user_page_range_dirty_lock(pfn_to_page(pfn), 1, map->prot & IOMMU_WRITE);
}

/* Unpin neighbours; how many of their pages were counted. */
static u64 type1_unpin_frames(struct type1_map *map, const struct type1_frames *frames)
{
	unsigned long pfn = PHYS_PFN(frames->phys), count = frames->size >> PAGE_SHIFT, start, n;
	u64 counted = 0;

	while (count) {
		for (n = 0; n < count && type1_is_reserved(pfn + n); n++)
			;
		for (start = n; n < count && !type1_is_reserved(pfn + n); n++)
			;
		if (n > start)
			unpin_user_page_range_dirty_lock(pfn_to_page(pfn + start), n - start,
							 map->prot & IOMMU_WRITE);
		counted += n - start;
		pfn += n;
		count -= n;
	}
	return counted;
}

static int type1_domains_map(struct type1_container *c, struct type1_map *map, u64 iova,
			     const struct type1_frames *frames)
{
	struct type1_domain *d;
	int err;

	list_for_each_entry(d, &c->domains, list) {
		err = iommu_map(d->domain, iova, frames->phys, frames->size,
				map->prot | IOMMU_CACHE);
		if (err)
			goto undo;
		cond_resched();
	}
	return 0;
undo:
	list_for_each_entry_continue_reverse(d, &c->domains, list)
		iommu_unmap(d->domain, iova, frames->size);
	return err;
}

/* Neighbours that are pinned and in no domain yet, and how much of the mapping is in the domains. */
struct type1_progress {
	struct type1_frames frames;
	u64 done;
};

static int type1_iommu_map_frames(struct type1_container *c, struct type1_map *map,
				  struct type1_progress *progress)
{
	struct type1_frames frames = progress->frames;
	int err;

	progress->frames.size = 0;
	if (!frames.size)
		return 0;
	err = type1_domains_map(c, map, map->iova + progress->done, &frames);
	if (err)
		map->iommu_pages -= type1_unpin_frames(map, &frames);
	else
		progress->done += frames.size;
	return err;
}

static int type1_iommu_map_page(struct type1_container *c, struct type1_map *map,
				struct type1_progress *progress, unsigned long pfn)
{
	struct type1_frames *frames = &progress->frames;
	int err;

	if (frames->size && (frames->phys + frames->size != PFN_PHYS(pfn) || disable_hugepages)) {
		err = type1_iommu_map_frames(c, map, progress);
		if (err)
			return err;
	}
	if (!frames->size)
		frames->phys = PFN_PHYS(pfn);
	frames->size += PAGE_SIZE;
	return 0;
}

/* One batch.  When this returns, a page that it pinned is in @progress or in the domains, or unpinned. */
static int type1_iommu_map_batch(struct type1_container *c, struct type1_map *map,
				 struct type1_progress *progress, struct page **pages)
{
	u64 offset = progress->done + progress->frames.size;
	int want = min_t(u64, (map->size - offset) >> PAGE_SHIFT, PAGES_AT_ONCE);
	unsigned long pfn;
	int got, i, err;

	got = type1_pin_memory(map, offset, want, pages, &pfn);
	if (got < 0)
		return got;
	if (!got)
		return type1_iommu_map_page(c, map, progress, pfn);
	for (i = 0; i < got; i++)
		map->iommu_pages += !PageReserved(pages[i]);
	err = type1_charge(map, type1_to_charge(map));
	for (i = 0; !err && i < got; i++) {
		err = type1_iommu_map_page(c, map, progress, page_to_pfn(pages[i]));
		if (err)
			break;
	}
	for (; i < got; i++) {
		pfn = page_to_pfn(pages[i]);
		map->iommu_pages -= !type1_is_reserved(pfn);
		type1_unpin_page(map, pfn);
	}
	return err;
}

/* Pin the whole mapping and give it to all domains.  On error nothing of that is left. */
int type1_iommu_map(struct type1_container *c, struct type1_map *map)
{
	struct type1_progress progress = {};
	struct page **pages;
	int err = 0;

	pages = (struct page **)__get_free_page(GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	map->in_iommu = true;
	while (!err && progress.done + progress.frames.size < map->size) {
		if (fatal_signal_pending(current))
			err = -EINTR;
		else
			err = type1_iommu_map_batch(c, map, &progress, pages);
		cond_resched();
	}
	if (!err)
		err = type1_iommu_map_frames(c, map, &progress);
	if (err) {
		map->iommu_pages -= type1_unpin_frames(map, &progress.frames);
		type1_iommu_unmap(c, map, progress.done);
	}
	free_page((unsigned long)pages);
	return err;
}

/* Neighbours that a domain has at @iova, not beyond @end; size 0: nothing is there. */
static struct type1_frames type1_frames_at(struct iommu_domain *domain, u64 iova, u64 end)
{
	struct type1_frames frames = { .phys = iommu_iova_to_phys(domain, iova) };

	if (!frames.phys)
		return frames;
	do {
		frames.size += PAGE_SIZE;
	} while (frames.size < end - iova && !disable_hugepages &&
		 iommu_iova_to_phys(domain, iova + frames.size) == frames.phys + frames.size);
	return frames;
}

/* Give what @from has of the mapping to @to.  On error @to has nothing of it. */
int type1_iommu_copy(struct type1_map *map, struct iommu_domain *from, struct iommu_domain *to)
{
	u64 offset = 0;
	int err = 0;

	while (offset < map->size) {
		struct type1_frames frames =
			type1_frames_at(from, map->iova + offset, map->iova + map->size);

		if (WARN_ON_ONCE(!frames.size))
			err = -EIO;
		else
			err = iommu_map(to, map->iova + offset, frames.phys, frames.size,
					map->prot | IOMMU_CACHE);
		if (err)
			break;
		offset += frames.size;
		cond_resched();
	}
	if (err && offset)
		iommu_unmap(to, map->iova, offset);
	return err;
}

static u64 type1_iommu_unmap_flush(struct type1_container *c, struct type1_map *map,
				   struct iommu_domain *domain, struct iommu_iotlb_gather *gather,
				   unsigned int n)
{
	u64 counted = 0;
	unsigned int i;

	if (!n)
		return 0;
	iommu_iotlb_sync(domain, gather);
	for (i = 0; i < n; i++)
		counted += type1_unpin_frames(map, &c->frames[i]);
	cond_resched();
	return counted;
}

/* Take the first @size bytes of the mapping out of the domains, and unpin them. */
void type1_iommu_unmap(struct type1_container *c, struct type1_map *map, u64 size)
{
	struct type1_domain *first = list_first_entry(&c->domains, struct type1_domain, list);
	struct type1_domain *d = first;
	struct iommu_iotlb_gather gather;
	unsigned int n = 0;
	u64 offset = 0;

	if (size)
		list_for_each_entry_continue(d, &c->domains, list)
			iommu_unmap(d->domain, map->iova, size);
	iommu_iotlb_gather_init(&gather);
	while (offset < size) {
		struct type1_frames frames =
			type1_frames_at(first->domain, map->iova + offset, map->iova + size);

		if (frames.size)
			frames.size = iommu_unmap_fast(first->domain, map->iova + offset,
						       frames.size, &gather);
		/* A page that the IOMMU keeps stays pinned for ever: a device may reach it. */
		if (WARN_ON_ONCE(!frames.size)) {
			offset += PAGE_SIZE;
			continue;
		}
		c->frames[n++] = frames;
		offset += frames.size;
		if (n == FRAMES_AT_ONCE) {
			map->iommu_pages -=
				type1_iommu_unmap_flush(c, map, first->domain, &gather, n);
			n = 0;
		}
	}
	map->iommu_pages -= type1_iommu_unmap_flush(c, map, first->domain, &gather, n);
	map->in_iommu = false;
	type1_charge(map, type1_to_charge(map));
}
