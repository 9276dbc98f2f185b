// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vringh in the kernel's own memory.
 *
 * Addresses in the ring are the kernel's, written by a driver in this kernel: they are used as
 * they are.  Indices and lengths are checked as everywhere.  See vringh_core.h.
 *
 * Limits: for rings whose other side is trusted with addresses, and no others.
 */
#include <linux/string.h>

#include "vringh_core.h"

static __always_inline int vringh_kern_load(const struct vringh *vrh, const __virtio16 *at,
					    u16 *val)
{
	*val = vringh16_to_cpu(vrh, READ_ONCE(*at));
	return 0;
}

static __always_inline int vringh_kern_store(const struct vringh *vrh, __virtio16 *at, u16 val)
{
	WRITE_ONCE(*at, cpu_to_vringh16(vrh, val));
	return 0;
}

static __always_inline int vringh_kern_copy(const struct vringh *vrh, void *to, const void *from,
					    size_t len)
{
	memcpy(to, from, len);
	return 0;
}

static const struct vringh_access vringh_kern_access = {
	.load = vringh_kern_load,
	.store = vringh_kern_store,
	.in = vringh_kern_copy,
	.out = vringh_kern_copy,
};

static int vringh_kern_pull(const struct vringh *vrh, void *there, void *here, size_t len)
{
	return vringh_kern_copy(vrh, here, there, len);
}

static int vringh_kern_push(const struct vringh *vrh, void *there, void *here, size_t len)
{
	return vringh_kern_copy(vrh, there, here, len);
}

/**
 * vringh_init_kern - a ring in the kernel's memory
 * @vrh:	the ring; keeps notify and the IOTLB fields
 * @features:	   VIRTIO_F_VERSION_1 and VIRTIO_RING_F_EVENT_IDX are looked at
 * @num:	   entries, a power of two below 65536
 * @weak_barriers: the other side is a CPU
 * @desc:	   descriptors
 * @avail:	   the driver's part
 * @used:	   the device's part
 *
 * Return: 0, or -EINVAL for a bad @num.
 */
int vringh_init_kern(struct vringh *vrh, u64 features, unsigned int num, bool weak_barriers,
		     struct vring_desc *desc, struct vring_avail *avail, struct vring_used *used)
{
	int ret = vringh_init(vrh, features, num, weak_barriers);

	if (ret)
		return ret;
	vrh->vring.desc = desc;
	vrh->vring.avail = avail;
	vrh->vring.used = used;
	return 0;
}
EXPORT_SYMBOL_GPL(vringh_init_kern);

/**
 * vringh_getdesc_kern - take the next chain
 * @vrh:  the ring
 * @riov: gets the readable buffers; NULL if there must be none
 * @wiov: gets the writable ones; NULL if there must be none
 * @head: gets the head to complete; num if there is no chain, or the ring is broken
 * @gfp:  for longer lists of segments
 *
 * Return: 1 for a chain, 0 for none, or an errno.  With a *@head below num that chain is broken
 * and was taken: the next call gives the one after.
 */
int vringh_getdesc_kern(struct vringh *vrh, struct vringh_kiov *riov, struct vringh_kiov *wiov,
			u16 *head, gfp_t gfp)
{
	return vringh_get_chain(vrh, riov, wiov, head, &vringh_kern_access, NULL, gfp);
}
EXPORT_SYMBOL_GPL(vringh_getdesc_kern);

/**
 * vringh_iov_pull_kern - copy from a chain
 * @riov: readable buffers; consumed
 * @dst:  where to
 * @len:  bytes at most
 *
 * Return: bytes copied.
 */
ssize_t vringh_iov_pull_kern(struct vringh_kiov *riov, void *dst, size_t len)
{
	return vringh_transfer(NULL, riov, dst, len, vringh_kern_pull);
}
EXPORT_SYMBOL_GPL(vringh_iov_pull_kern);

/**
 * vringh_iov_push_kern - copy into a chain
 * @wiov: writable buffers; consumed
 * @src:  where from
 * @len:  bytes at most
 *
 * Return: bytes copied.
 */
ssize_t vringh_iov_push_kern(struct vringh_kiov *wiov, const void *src, size_t len)
{
	return vringh_transfer(NULL, wiov, (void *)src, len, vringh_kern_push);
}
EXPORT_SYMBOL_GPL(vringh_iov_push_kern);

VRINGH_DEFINE_RING_FUNCTIONS(kern, &vringh_kern_access);
