// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The contents of a simulated disk, in pages that are there once they have been written.
 *
 * Several queues read and write at once and need not wait for each other: pages are found by an
 * xarray.  Only clearing a range takes pages away, and does it alone.  Two requests that touch the
 * same sector at the same time leave it to chance, as on any disk.
 *
 * Limits: memory is the only limit other than the disk's size.
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/sched.h>

#include "vdpa_sim_blk.h"

void vdpa_sim_blk_store_init(struct vdpa_sim_blk_store *store)
{
	init_rwsem(&store->sem);
	xa_init(&store->pages);
}

void vdpa_sim_blk_store_free(struct vdpa_sim_blk_store *store)
{
	unsigned long index;
	void *page;

	xa_for_each(&store->pages, index, page)
		free_page((unsigned long)page);
	xa_destroy(&store->pages);
}

static size_t vdpa_sim_blk_chunk_len(u64 offset, u64 len)
{
	return min_t(u64, len, PAGE_SIZE - offset_in_page(offset));
}

/* The page, made if it is not there; NULL without memory. */
static void *vdpa_sim_blk_make_page(struct vdpa_sim_blk_store *store, unsigned long index)
{
	void *page = xa_load(&store->pages, index);
	void *other;

	if (page)
		return page;
	page = (void *)get_zeroed_page(GFP_KERNEL);
	if (!page)
		return NULL;
	other = xa_cmpxchg(&store->pages, index, NULL, page, GFP_KERNEL);
	if (!other)
		return page;
	free_page((unsigned long)page); /* another queue was first, or no memory */
	return xa_is_err(other) ? NULL : other;
}

int vdpa_sim_blk_store_read(struct vdpa_sim_blk_store *store, u64 offset, size_t len,
			    struct vdpa_sim_cursor *to)
{
	int ret = 0;

	down_read(&store->sem);
	while (len && !ret) {
		size_t here = vdpa_sim_blk_chunk_len(offset, len);
		void *page = xa_load(&store->pages, offset >> PAGE_SHIFT);

		ret = page ? vdpa_sim_write(to, page + offset_in_page(offset), here)
			   : vdpa_sim_zero(to, here);
		offset += here;
		len -= here;
		cond_resched();
	}
	up_read(&store->sem);
	return ret;
}

int vdpa_sim_blk_store_write(struct vdpa_sim_blk_store *store, u64 offset, size_t len,
			     struct vdpa_sim_cursor *from)
{
	int ret = 0;

	down_read(&store->sem);
	while (len && !ret) {
		size_t here = vdpa_sim_blk_chunk_len(offset, len);
		void *page = vdpa_sim_blk_make_page(store, offset >> PAGE_SHIFT);

		ret = page ? vdpa_sim_read(from, page + offset_in_page(offset), here) : -ENOMEM;
		offset += here;
		len -= here;
		cond_resched();
	}
	up_read(&store->sem);
	return ret;
}

static void vdpa_sim_blk_clear_chunk(struct vdpa_sim_blk_store *store, u64 offset, size_t len)
{
	unsigned long index = offset >> PAGE_SHIFT;
	void *page = xa_load(&store->pages, index);

	if (!page)
		return;
	if (len < PAGE_SIZE) {
		memset(page + offset_in_page(offset), 0, len);
		return;
	}
	xa_erase(&store->pages, index);
	free_page((unsigned long)page);
}

/* Zeroes; whole pages are given back. */
void vdpa_sim_blk_store_clear(struct vdpa_sim_blk_store *store, u64 offset, u64 len)
{
	down_write(&store->sem);
	while (len) {
		size_t here = vdpa_sim_blk_chunk_len(offset, len);

		vdpa_sim_blk_clear_chunk(store, offset, here);
		offset += here;
		len -= here;
		cond_resched();
	}
	up_write(&store->sem);
}
