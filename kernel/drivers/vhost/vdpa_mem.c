// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost_vdpa: the memory of mappings.
 *
 * Theory of operation
 *
 * There are two kinds; the device chooses.
 *
 * *Pinned* memory, for devices that are given physical addresses.  The owner's pages are pinned for
 * as long as they are mapped, and counted in its mm's pinned_vm against its RLIMIT_MEMLOCK.  The
 * whole range is counted before the first page is pinned, in one atomic step, so that threads that
 * map at the same time cannot exceed the limit together; the count of pages that were not mapped is
 * subtracted again.  Neighbouring pages that happen to be contiguous become one entry.
 *
 *	pages   |a|a+1|a+2|c|d|d+1|		(pin_user_pages_fast)
 *	entries [a, 3 pages][c][d, 2 pages]	(a table of held memory; vdpa_as.c adds them)
 *
 * *Files*, for devices that take virtual addresses: an entry holds a reference to the file that is
 * mapped shared at that address, and the device maps it for itself.  Parts of a range that are no
 * shared file are skipped, as the device cannot map them.
 *
 * Faulting memory in can take any time where a user-space file system serves it.  Memory is
 * therefore held without vhost.mutex, and without the device; see vdpa_as.c.
 *
 * Errors: ENOMEM the limit (or no memory at all), EFAULT nothing there or not writable, EINVAL the
 * range cannot be cut at pages.
 *
 * Limits: CAP_IPC_LOCK does not lift the limit.
 */

#include <linux/file.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "vdpa_priv.h"

#define PAGES_AT_ONCE (PAGE_SIZE / sizeof(struct page *))

/* Contiguous pages that are pinned and not yet an entry. */
struct vhost_vdpa_pinned {
	u64 iova;
	unsigned long pfn;
	unsigned long count;
};

static int vhost_vdpa_charge(struct mm_struct *mm, unsigned long pages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	s64 have = atomic64_read(&mm->pinned_vm);

	do {
		if (have > limit || pages > limit - have)
			return -ENOMEM;
	} while (!atomic64_try_cmpxchg(&mm->pinned_vm, &have, have + pages));
	return 0;
}

static void vhost_vdpa_uncharge(struct mm_struct *mm, unsigned long pages)
{
	atomic64_sub(pages, &mm->pinned_vm);
}

static void vhost_vdpa_unpin(unsigned long pfn, unsigned long count, bool dirty)
{
	if (count)
		unpin_user_page_range_dirty_lock(pfn_to_page(pfn), count, dirty);
}

/* Whole pages: offsets within the page have to agree, and then both ends are rounded outwards. */
static int vhost_vdpa_pinned_check(struct vhost_vdpa_range *range)
{
	u64 offset = offset_in_page(range->iova);
	u64 size;

	if (offset != offset_in_page(range->uaddr))
		return -EINVAL;
	if (range->size > U64_MAX - offset - (PAGE_SIZE - 1))
		return -EINVAL;
	size = PAGE_ALIGN(range->size + offset);
	range->iova -= offset;
	range->uaddr -= offset;
	if (range->iova + (size - 1) < range->iova || range->uaddr + (size - 1) < range->uaddr)
		return -EINVAL;
	range->size = size;
	return 0;
}

/* Make an entry of the contiguous pages, which then owns the pins; on error they are undone. */
static int vhost_vdpa_pinned_flush(struct vhost_iotlb *held, struct vhost_vdpa_pinned *pinned,
				   u32 perm, unsigned long *mapped)
{
	unsigned long count = pinned->count;
	int err;

	if (!count)
		return 0;
	pinned->count = 0;
	err = vhost_iotlb_add_range(held, pinned->iova,
				    pinned->iova + ((u64)count << PAGE_SHIFT) - 1,
				    PFN_PHYS(pinned->pfn), perm);
	if (err)
		vhost_vdpa_unpin(pinned->pfn, count, false);
	else
		*mapped += count;
	return err;
}

/* Pages just pinned for @iova onwards; the ones that cannot be used are unpinned. */
static int vhost_vdpa_pinned_extend(struct vhost_iotlb *held, struct vhost_vdpa_pinned *pinned,
				    u64 iova, u32 perm, struct page **pages, int count,
				    unsigned long *mapped)
{
	int i, err;

	for (i = 0; i < count; i++, iova += PAGE_SIZE) {
		unsigned long pfn = page_to_pfn(pages[i]);

		if (!pinned->count || pinned->pfn + pinned->count != pfn) {
			err = vhost_vdpa_pinned_flush(held, pinned, perm, mapped);
			if (err) {
				unpin_user_pages(&pages[i], count - i);
				return err;
			}
			*pinned = (struct vhost_vdpa_pinned) { .iova = iova, .pfn = pfn };
		}
		pinned->count++;
	}
	return 0;
}

/*
 * Pin the pages at @uaddr.  Pages that the device only reads are pinned as if it wrote them: a read
 * would pin the zero page, or one that the process shares with a child, and the process's next write
 * would go to a copy that the device does not see.  FOLL_FORCE lifts the process's own write
 * protection of private memory only.  Shared memory that it may not write is refused (EFAULT), is
 * never copied, and is therefore pinned by reading.
 */
static int vhost_vdpa_pin_pages(u64 uaddr, int count, u32 perm, struct page **pages)
{
	int got;

	if (perm & VHOST_ACCESS_WO)
		return pin_user_pages_fast(uaddr, count, FOLL_LONGTERM | FOLL_WRITE, pages);
	got = pin_user_pages_fast(uaddr, count, FOLL_LONGTERM | FOLL_WRITE | FOLL_FORCE, pages);
	if (got == -EFAULT)
		got = pin_user_pages_fast(uaddr, count, FOLL_LONGTERM, pages);
	return got;
}

static int vhost_vdpa_pin_range(struct vhost_iotlb *held, const struct vhost_vdpa_range *range,
				struct page **pages, unsigned long *mapped)
{
	u64 done = 0, left;
	struct vhost_vdpa_pinned pinned = {};
	int count, err = 0;

	while (!err && done < range->size) {
		if (fatal_signal_pending(current)) {
			err = -EINTR;
			break;
		}
		left = (range->size - done) >> PAGE_SHIFT;
		count = vhost_vdpa_pin_pages(range->uaddr + done, min_t(u64, left, PAGES_AT_ONCE),
					     range->perm, pages);
		if (count <= 0) {
			err = count ?: -EFAULT;
			break;
		}
		err = vhost_vdpa_pinned_extend(held, &pinned, range->iova + done, range->perm,
					       pages, count, mapped);
		done += (u64)count << PAGE_SHIFT;
		cond_resched();
	}
	if (!err)
		return vhost_vdpa_pinned_flush(held, &pinned, range->perm, mapped);
	vhost_vdpa_unpin(pinned.pfn, pinned.count, false);
	return err;
}

static int vhost_vdpa_pinned_populate(struct vhost_vdpa_session *s,
				      const struct vhost_vdpa_range *range,
				      struct vhost_iotlb *held)
{
	struct mm_struct *mm = s->vhost.mm;
	unsigned long count = range->size >> PAGE_SHIFT;
	unsigned long mapped = 0;
	struct page **pages;
	int err;

	pages = (struct page **)__get_free_page(GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	err = vhost_vdpa_charge(mm, count);
	if (!err) {
		err = vhost_vdpa_pin_range(held, range, pages, &mapped);
		vhost_vdpa_uncharge(mm, count - mapped);
	}
	free_page((unsigned long)pages);
	return err;
}

static void vhost_vdpa_pinned_release(struct vhost_vdpa_session *s,
				      const struct vhost_iotlb_map *map)
{
	unsigned long count = map->size >> PAGE_SHIFT;

	vhost_vdpa_unpin(PHYS_PFN(map->addr), count, map->perm & VHOST_ACCESS_WO);
	vhost_vdpa_uncharge(s->vhost.mm, count);
}

const struct vhost_vdpa_mem_ops vhost_vdpa_mem_pinned = {
	.check = vhost_vdpa_pinned_check,
	.populate = vhost_vdpa_pinned_populate,
	.release = vhost_vdpa_pinned_release,
};

static int vhost_vdpa_files_check(struct vhost_vdpa_range *range)
{
	return 0;
}

/* VM_SHARED is not set where the file was opened to read; such a mapping can be shared as well. */
static bool vhost_vdpa_is_shared_file(const struct vm_area_struct *vma)
{
	return vma->vm_file && (vma->vm_flags & VM_MAYSHARE) &&
	       !(vma->vm_flags & (VM_IO | VM_PFNMAP));
}

/* Hold one part of a range, within one mapping of the process. */
static int vhost_vdpa_file_add(struct vhost_iotlb *held, u64 iova, u64 size, u64 uaddr, u32 perm,
			       struct vm_area_struct *vma)
{
	struct vdpa_map_file *map;
	int err;

	if ((perm & VHOST_ACCESS_WO) && !(vma->vm_flags & VM_MAYWRITE))
		return -EFAULT;
	map = kmalloc(sizeof(*map), GFP_KERNEL_ACCOUNT);
	if (!map)
		return -ENOMEM;
	map->file = get_file(vma->vm_file);
	map->offset = ((u64)vma->vm_pgoff << PAGE_SHIFT) + (uaddr - vma->vm_start);
	err = vhost_iotlb_add_range_ctx(held, iova, iova + (size - 1), uaddr, perm, map);
	if (err) {
		fput(map->file);
		kfree(map);
	}
	return err;
}

static int vhost_vdpa_files_populate(struct vhost_vdpa_session *s,
				     const struct vhost_vdpa_range *range, struct vhost_iotlb *held)
{
	struct mm_struct *mm = s->vhost.mm;
	u64 done = 0;
	int err = 0;

	mmap_read_lock(mm);
	while (!err && done < range->size) {
		u64 uaddr = range->uaddr + done;
		struct vm_area_struct *vma = find_vma(mm, uaddr);
		u64 size;

		if (!vma || vma->vm_start > uaddr) {
			err = -EFAULT;
			break;
		}
		size = min_t(u64, range->size - done, vma->vm_end - uaddr);
		if (vhost_vdpa_is_shared_file(vma))
			err = vhost_vdpa_file_add(held, range->iova + done, size, uaddr,
						  range->perm, vma);
		done += size;
	}
	mmap_read_unlock(mm);
	return err;
}

static void vhost_vdpa_files_release(struct vhost_vdpa_session *s,
				     const struct vhost_iotlb_map *map)
{
	struct vdpa_map_file *held = map->opaque;

	fput(held->file);
	kfree(held);
}

const struct vhost_vdpa_mem_ops vhost_vdpa_mem_files = {
	.check = vhost_vdpa_files_check,
	.populate = vhost_vdpa_files_populate,
	.release = vhost_vdpa_files_release,
};
