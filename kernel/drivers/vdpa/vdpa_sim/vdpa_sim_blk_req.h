/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a block request asks for, and whether it may have it.
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

#define BLK_SECTOR_SHIFT	9
#define BLK_MAX_RANGES		16	/* of a discard or write zeroes request */
#define BLK_MAX_RANGE_SECTORS	65536

enum blk_action {
	BLK_READ,
	BLK_WRITE,
	BLK_FLUSH,
	BLK_ID,
	BLK_DISCARD,
	BLK_ZERO,
	BLK_REFUSE,			/* with the status in the request */
};

/* What the device knows of a request before it looks at its data. */
struct blk_request {
	enum blk_action action;
	__u8 status;
	__u64 offset;			/* bytes, of read and write */
	size_t len;			/* bytes of data, without head and status */
};

struct blk_limits {
	__u64 features;			/* negotiated */
	__u64 sectors;
};

struct blk_request vdpa_sim_blk_parse(const struct blk_limits *limits,
				      const struct virtio_blk_outhdr *head, size_t readable,
				      size_t writable);
bool vdpa_sim_blk_range_is_good(const struct blk_limits *limits, enum blk_action action,
				const struct virtio_blk_discard_write_zeroes *range);

#endif
