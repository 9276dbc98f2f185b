/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parse a block request, and check whether it is allowed.
 *
 * Plain computation, compiled and tested in userspace as well (tests/kernel).
 *
 * Limits: everything is little endian (VIRTIO_F_VERSION_1).
 */
#ifndef QEMU_LIVE_VDPA_SIM_BLK_REQ_H
#define QEMU_LIVE_VDPA_SIM_BLK_REQ_H

#include <linux/types.h>
#include <linux/virtio_blk.h>
#ifndef __KERNEL__
#include <stdbool.h>
#include <stddef.h>
#endif

#define VDPA_SIM_BLK_SECTOR_SHIFT      9
#define VDPA_SIM_BLK_MAX_RANGES	       16 /* of a discard or write zeroes request */
#define VDPA_SIM_BLK_MAX_RANGE_SECTORS 65536

enum vdpa_sim_blk_action {
	VDPA_SIM_BLK_READ,
	VDPA_SIM_BLK_WRITE,
	VDPA_SIM_BLK_FLUSH,
	VDPA_SIM_BLK_ID,
	VDPA_SIM_BLK_DISCARD,
	VDPA_SIM_BLK_ZERO,
	VDPA_SIM_BLK_REFUSE, /* with the status in the request */
};

/* A parsed request. */
struct vdpa_sim_blk_request {
	enum vdpa_sim_blk_action action;
	__u8 status;
	__u64 offset; /* bytes, of read and write */
	size_t len;   /* bytes of data, without head and status */
};

struct vdpa_sim_blk_limits {
	__u64 features; /* negotiated */
	__u64 sectors;
};

struct vdpa_sim_blk_request vdpa_sim_blk_parse(const struct vdpa_sim_blk_limits *limits,
					       const struct virtio_blk_outhdr *head,
					       size_t readable, size_t writable);
bool vdpa_sim_blk_range_is_good(const struct vdpa_sim_blk_limits *limits,
				enum vdpa_sim_blk_action action,
				const struct virtio_blk_discard_write_zeroes *range);

#endif
