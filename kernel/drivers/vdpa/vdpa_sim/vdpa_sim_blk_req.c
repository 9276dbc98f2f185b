// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Requests of a simulated disk (virtio 1.2, 5.2.6).
 *
 *	readable	[head, 16 bytes][data]
 *	writable	[data][status, 1 byte]
 *
 * A request type is a row of a table: the feature it needs, the direction of its data, and other
 * checks.  A request that fails a check is refused: with VIRTIO_BLK_S_UNSUPP for a type that the
 * device does not know or the driver did not negotiate, otherwise with VIRTIO_BLK_S_IOERR.
 *
 * Limits: no secure erase, no zones, no lifetime.
 */
#include "vdpa_sim_blk_req.h"

#ifdef __KERNEL__
#include <linux/stddef.h>
#include <asm/byteorder.h>
#else
#include <endian.h>
#define le32_to_cpu le32toh
#define le64_to_cpu le64toh
#ifndef __force
#define __force
#endif
#endif

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NO_FEATURE   64

enum vdpa_sim_blk_data {
	VDPA_SIM_BLK_DATA_NONE,	  /* none is wanted; some is ignored */
	VDPA_SIM_BLK_DATA_IN,	  /* to the driver, whole sectors of the disk */
	VDPA_SIM_BLK_DATA_OUT,	  /* from the driver, whole sectors of the disk */
	VDPA_SIM_BLK_DATA_ID,	  /* to the driver, anything */
	VDPA_SIM_BLK_DATA_RANGES, /* from the driver */
};

static const struct vdpa_sim_blk_type {
	__u32 type;
	unsigned int feature;
	enum vdpa_sim_blk_action action;
	enum vdpa_sim_blk_data data;
} vdpa_sim_blk_types[] = {
	{ VIRTIO_BLK_T_IN, NO_FEATURE, VDPA_SIM_BLK_READ, VDPA_SIM_BLK_DATA_IN },
	{ VIRTIO_BLK_T_OUT, NO_FEATURE, VDPA_SIM_BLK_WRITE, VDPA_SIM_BLK_DATA_OUT },
	{ VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_F_FLUSH, VDPA_SIM_BLK_FLUSH, VDPA_SIM_BLK_DATA_NONE },
	{ VIRTIO_BLK_T_GET_ID, NO_FEATURE, VDPA_SIM_BLK_ID, VDPA_SIM_BLK_DATA_ID },
	{ VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_F_DISCARD, VDPA_SIM_BLK_DISCARD,
	  VDPA_SIM_BLK_DATA_RANGES },
	{ VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_F_WRITE_ZEROES, VDPA_SIM_BLK_ZERO,
	  VDPA_SIM_BLK_DATA_RANGES },
};

static struct vdpa_sim_blk_request vdpa_sim_blk_refuse(__u8 status)
{
	return (struct vdpa_sim_blk_request) { .action = VDPA_SIM_BLK_REFUSE, .status = status };
}

static bool vdpa_sim_blk_on_disk(const struct vdpa_sim_blk_limits *limits, __u64 sector,
				 __u64 count)
{
	return sector <= limits->sectors && count <= limits->sectors - sector;
}

static bool vdpa_sim_blk_whole_sectors(const struct vdpa_sim_blk_limits *limits, __u64 sector,
				       size_t len)
{
	return !(len & ((1 << VDPA_SIM_BLK_SECTOR_SHIFT) - 1)) &&
	       vdpa_sim_blk_on_disk(limits, sector, len >> VDPA_SIM_BLK_SECTOR_SHIFT);
}

static bool vdpa_sim_blk_whole_ranges(size_t len)
{
	const size_t one = sizeof(struct virtio_blk_discard_write_zeroes);

	return len && !(len % one) && len / one <= VDPA_SIM_BLK_MAX_RANGES;
}

static const struct vdpa_sim_blk_type *vdpa_sim_blk_find_type(__u32 type)
{
	size_t i;

	for (i = 0; i < COUNT(vdpa_sim_blk_types); i++)
		if (vdpa_sim_blk_types[i].type == type)
			return &vdpa_sim_blk_types[i];
	return NULL;
}

/**
 * vdpa_sim_blk_parse - parse and check a request
 * @limits:   of the device
 * @head:     the first bytes that the driver gave
 * @readable: bytes that the driver gave, @head among them: at least as many as it has
 * @writable: bytes that the driver wants written, the status among them: at least one
 *
 * Return: the request; its lengths do not exceed @readable and @writable.
 */
struct vdpa_sim_blk_request vdpa_sim_blk_parse(const struct vdpa_sim_blk_limits *limits,
					       const struct virtio_blk_outhdr *head,
					       size_t readable, size_t writable)
{
	const struct vdpa_sim_blk_type *row =
		vdpa_sim_blk_find_type(le32_to_cpu((__force __le32)head->type));
	__u64 sector = le64_to_cpu((__force __le64)head->sector);
	struct vdpa_sim_blk_request req = { .status = VIRTIO_BLK_S_OK };
	size_t out = readable - sizeof(*head);
	size_t in = writable - 1;
	bool good = true;

	if (!row || (row->feature != NO_FEATURE && !(limits->features >> row->feature & 1)))
		return vdpa_sim_blk_refuse(VIRTIO_BLK_S_UNSUPP);
	req.action = row->action;
	switch (row->data) {
	case VDPA_SIM_BLK_DATA_NONE:
		break;
	case VDPA_SIM_BLK_DATA_IN:
	case VDPA_SIM_BLK_DATA_OUT:
		req.len = row->data == VDPA_SIM_BLK_DATA_IN ? in : out;
		good = vdpa_sim_blk_whole_sectors(limits, sector, req.len);
		req.offset = sector << VDPA_SIM_BLK_SECTOR_SHIFT;
		break;
	case VDPA_SIM_BLK_DATA_ID:
		req.len = in;
		break;
	case VDPA_SIM_BLK_DATA_RANGES:
		req.len = out;
		good = vdpa_sim_blk_whole_ranges(out);
		break;
	}
	return good ? req : vdpa_sim_blk_refuse(VIRTIO_BLK_S_IOERR);
}

/* One range of a discard or write zeroes request; flags must be ones that the request has. */
bool vdpa_sim_blk_range_is_good(const struct vdpa_sim_blk_limits *limits,
				enum vdpa_sim_blk_action action,
				const struct virtio_blk_discard_write_zeroes *range)
{
	__u32 known = action == VDPA_SIM_BLK_ZERO ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	__u32 count = le32_to_cpu(range->num_sectors);

	return !(le32_to_cpu(range->flags) & ~known) && count <= VDPA_SIM_BLK_MAX_RANGE_SECTORS &&
	       vdpa_sim_blk_on_disk(limits, le64_to_cpu(range->sector), count);
}
