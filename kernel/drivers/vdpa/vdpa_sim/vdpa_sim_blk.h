/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A simulated disk: shared by its files.
 *
 *	vdpa_sim_blk_main.c	devices, configuration space, serving requests
 *	vdpa_sim_blk_req.c	parsing requests, without the kernel
 *	vdpa_sim_blk_store.c	the contents
 *
 * Limits: see vdpa_sim_blk_main.c.
 */
#ifndef QEMU_LIVE_VDPA_SIM_BLK_H
#define QEMU_LIVE_VDPA_SIM_BLK_H

#include <linux/xarray.h>

#include "vdpa_sim_core.h"
#include "vdpa_sim_blk_req.h"

/* Contents of a disk: the pages that were written; absent pages read as zeroes. */
struct vdpa_sim_blk_store {
	struct rw_semaphore sem; /* for writing while pages go away */
	struct xarray pages;	 /* by index; protected by its own lock */
};

/* blk_store_*() return 0, -EFAULT for the driver's memory, -ENOMEM; bounds are the caller's. */
void vdpa_sim_blk_store_init(struct vdpa_sim_blk_store *store);
void vdpa_sim_blk_store_free(struct vdpa_sim_blk_store *store);
int vdpa_sim_blk_store_read(struct vdpa_sim_blk_store *store, u64 offset, size_t len,
			    struct vdpa_sim_cursor *to);
int vdpa_sim_blk_store_write(struct vdpa_sim_blk_store *store, u64 offset, size_t len,
			     struct vdpa_sim_cursor *from);
void vdpa_sim_blk_store_clear(struct vdpa_sim_blk_store *store, u64 offset, u64 len);

#endif
