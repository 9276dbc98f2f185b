// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vringh: code that is common to all kinds of memory and not worth inlining.
 *
 * Faults, the growth of a list of segments, the set-up of a ring.  See vringh_core.h.
 *
 * Limits: the log gets a few lines a second at most, as the driver's side decides how many faults
 * there are.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <uapi/linux/virtio_config.h>

#include "vringh_core.h"

static const struct {
	int error;
	const char *what;
} vringh_faults[] = {
	[VRINGH_BAD_SIZE] = { -EINVAL, "ring size is no power of two below 65536" },
	[VRINGH_AVAIL_JUMP] = { -EINVAL, "available index is ahead by more than the ring" },
	[VRINGH_BAD_HEAD] = { -EINVAL, "head is outside of the ring" },
	[VRINGH_BAD_NEXT] = { -EINVAL, "next descriptor is outside of its table" },
	[VRINGH_LOOP] = { -ELOOP, "chain is longer than its table" },
	[VRINGH_NESTED] = { -EINVAL, "indirect descriptor in an indirect table" },
	[VRINGH_BAD_TABLE] = { -EINVAL, "length of an indirect table" },
	[VRINGH_BAD_ORDER] = { -EINVAL, "readable descriptor after a writable one" },
	[VRINGH_UNWANTED] = { -EPROTO, "descriptor of the wrong direction" },
	[VRINGH_BAD_RANGE] = { -EINVAL, "address is out of range, length" },
	[VRINGH_TOO_MANY] = { -ELOOP, "segments in one chain" },
	[VRINGH_RING_FAULT] = { -EFAULT, "ring is inaccessible" },
};

/* Log a fault; returns its errno. */
__cold noinline int vringh_fault(enum vringh_fault fault, unsigned int value)
{
	pr_notice_ratelimited("%s: %u\n", vringh_faults[fault].what, value);
	return vringh_faults[fault].error;
}

/* The same for the ring's own memory, where the access gives the errno. */
__cold noinline int vringh_ring_fault(int error, const void *where)
{
	pr_notice_ratelimited("%s at %p: %d\n", vringh_faults[VRINGH_RING_FAULT].what, where,
			      error);
	return error;
}

/* The common part of all vringh_init_*(), without the addresses. */
int vringh_init(struct vringh *vrh, u64 features, unsigned int num, bool weak_barriers)
{
	if (num > U16_MAX || !num || num & (num - 1))
		return vringh_fault(VRINGH_BAD_SIZE, num);

	vrh->vring.num = num;
	vrh->weak_barriers = weak_barriers;
	vrh->little_endian = !!(features & BIT_ULL(VIRTIO_F_VERSION_1));
	vrh->event_indices = !!(features & BIT_ULL(VIRTIO_RING_F_EVENT_IDX));
	vrh->last_avail_idx = 0;
	vrh->last_used_idx = 0;
	vrh->completed = 0;
	return 0;
}

/*
 * Room for more segments.  The first list may be on the caller's stack: then it is copied, and
 * VRINGH_IOV_ALLOCATED tells vringh_kiov_cleanup() to free the new one.
 */
int vringh_grow(struct vringh_kiov *iov, gfp_t gfp)
{
	bool ours = iov->max_num & VRINGH_IOV_ALLOCATED;
	unsigned int room = iov->max_num & ~VRINGH_IOV_ALLOCATED;
	unsigned int more = max(2 * room, 8U);
	struct kvec *list;

	list = krealloc_array(ours ? iov->iov : NULL, more, sizeof(*list), gfp | __GFP_NOWARN);
	if (!list)
		return -ENOMEM;
	if (!ours && room)
		memcpy(list, iov->iov, room * sizeof(*list));
	iov->iov = list;
	iov->max_num = more | VRINGH_IOV_ALLOCATED;
	return 0;
}

/**
 * vringh_kiov_advance - pass over bytes without copying them
 * @iov: from a getdesc
 * @len: number of bytes; those beyond the end are ignored
 */
void vringh_kiov_advance(struct vringh_kiov *iov, size_t len)
{
	while (len && iov->i < iov->used) {
		size_t part = min(iov->iov[iov->i].iov_len, len);

		vringh_consume(iov, part);
		len -= part;
	}
}
EXPORT_SYMBOL_GPL(vringh_kiov_advance);

MODULE_DESCRIPTION("Device's side of virtio rings in foreign memory");
MODULE_AUTHOR("qemu-live");
MODULE_LICENSE("GPL");
