// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vringh in a process's memory.
 *
 * The ring lies at addresses of the process that the caller runs in, or whose memory it has
 * borrowed.  Addresses in descriptors are the driver's; the caller's getrange says which of them
 * may be accessed, and the offset to the process's addresses.  See vringh_core.h.
 *
 * Limits: an access may sleep and may fail, so none of this is for atomic context.
 */
#include <linux/build_bug.h>
#include <linux/uaccess.h>

#include "vringh_core.h"

/* The lists for the process's memory are laid out like those for the kernel's, and used as such. */
#define SAME_PLACE(a, b, member) static_assert(offsetof(a, member) == offsetof(b, member))
SAME_PLACE(struct vringh_iov, struct vringh_kiov, iov);
SAME_PLACE(struct vringh_iov, struct vringh_kiov, consumed);
SAME_PLACE(struct vringh_iov, struct vringh_kiov, i);
SAME_PLACE(struct vringh_iov, struct vringh_kiov, used);
SAME_PLACE(struct vringh_iov, struct vringh_kiov, max_num);
SAME_PLACE(struct iovec, struct kvec, iov_base);
SAME_PLACE(struct iovec, struct kvec, iov_len);
static_assert(sizeof(struct iovec) == sizeof(struct kvec));

static struct vringh_kiov *vringh_as_kiov(struct vringh_iov *iov)
{
	return (struct vringh_kiov *)iov;
}

static __always_inline int vringh_user_load(const struct vringh *vrh, const __virtio16 *at,
					    u16 *val)
{
	__virtio16 raw;

	if (get_user(raw, (const __virtio16 __force __user *)at))
		return -EFAULT;
	*val = vringh16_to_cpu(vrh, raw);
	return 0;
}

static __always_inline int vringh_user_store(const struct vringh *vrh, __virtio16 *at, u16 val)
{
	return put_user(cpu_to_vringh16(vrh, val), (__virtio16 __force __user *)at);
}

static __always_inline int vringh_user_in(const struct vringh *vrh, void *to, const void *from,
					  size_t len)
{
	return copy_from_user(to, (const void __force __user *)from, len) ? -EFAULT : 0;
}

static __always_inline int vringh_user_out(const struct vringh *vrh, void *to, const void *from,
					   size_t len)
{
	return copy_to_user((void __force __user *)to, from, len) ? -EFAULT : 0;
}

static const struct vringh_access vringh_user_access = {
	.load = vringh_user_load,
	.store = vringh_user_store,
	.in = vringh_user_in,
	.out = vringh_user_out,
};

static int vringh_user_pull(const struct vringh *vrh, void *there, void *here, size_t len)
{
	return vringh_user_in(vrh, here, there, len);
}

static int vringh_user_push(const struct vringh *vrh, void *there, void *here, size_t len)
{
	return vringh_user_out(vrh, there, here, len);
}

/**
 * vringh_init_user - a ring in a process's memory
 * @vrh:	   the ring
 * @features:	   VIRTIO_F_VERSION_1 and VIRTIO_RING_F_EVENT_IDX are looked at
 * @num:	   entries, a power of two below 65536
 * @weak_barriers: the other side is a CPU
 * @desc:	   descriptors
 * @avail:	   the driver's part
 * @used:	   the device's part
 *
 * The addresses are looked at when they are used.  Return: 0, or -EINVAL for a bad @num.
 */
int vringh_init_user(struct vringh *vrh, u64 features, unsigned int num, bool weak_barriers,
		     vring_desc_t __user *desc, vring_avail_t __user *avail,
		     vring_used_t __user *used)
{
	int ret = vringh_init(vrh, features, num, weak_barriers);

	if (ret)
		return ret;
	vrh->vring.desc = (__force vring_desc_t *)desc;
	vrh->vring.avail = (__force vring_avail_t *)avail;
	vrh->vring.used = (__force vring_used_t *)used;
	return 0;
}
EXPORT_SYMBOL_GPL(vringh_init_user);

/**
 * vringh_getdesc_user - take the next chain
 * @vrh:      the ring
 * @riov:     gets the readable buffers; NULL if there must be none
 * @wiov:     gets the writable ones; NULL if there must be none
 * @getrange: finds the range that an address of the driver is in; false if it is in none
 * @head:	gets the head to complete; num if there is no chain, or the ring is broken
 *
 * Return: 1 for a chain, 0 for none, or an errno.  With a *@head below num that chain is broken
 * and was taken: the next call gives the one after.
 */
int vringh_getdesc_user(struct vringh *vrh, struct vringh_iov *riov, struct vringh_iov *wiov,
			bool (*getrange)(struct vringh *vrh, u64 addr, struct vringh_range *r),
			u16 *head)
{
	return vringh_get_chain(vrh, vringh_as_kiov(riov), vringh_as_kiov(wiov), head,
				&vringh_user_access, getrange, GFP_KERNEL);
}
EXPORT_SYMBOL_GPL(vringh_getdesc_user);

/**
 * vringh_iov_pull_user - copy from a chain
 * @riov: readable buffers; consumed
 * @dst:  where to
 * @len:  bytes at most
 *
 * Return: bytes copied, or -EFAULT.
 */
ssize_t vringh_iov_pull_user(struct vringh_iov *riov, void *dst, size_t len)
{
	return vringh_transfer(NULL, vringh_as_kiov(riov), dst, len, vringh_user_pull);
}
EXPORT_SYMBOL_GPL(vringh_iov_pull_user);

/**
 * vringh_iov_push_user - copy into a chain
 * @wiov: writable buffers; consumed
 * @src:  where from
 * @len:  bytes at most
 *
 * Return: bytes copied, or -EFAULT.
 */
ssize_t vringh_iov_push_user(struct vringh_iov *wiov, const void *src, size_t len)
{
	return vringh_transfer(NULL, vringh_as_kiov(wiov), (void *)src, len, vringh_user_push);
}
EXPORT_SYMBOL_GPL(vringh_iov_push_user);

/**
 * vringh_complete_multi_user - several chains are done
 * @vrh:      the ring
 * @used:     heads and bytes written, in the ring's byte order
 * @num_used: how many, no more than the ring has entries
 *
 * Return: 0, -EINVAL for too many, or -EFAULT.
 */
int vringh_complete_multi_user(struct vringh *vrh, const struct vring_used_elem used[],
			       unsigned int num_used)
{
	return vringh_publish(vrh, used, num_used, &vringh_user_access);
}
EXPORT_SYMBOL_GPL(vringh_complete_multi_user);

VRINGH_DEFINE_RING_FUNCTIONS(user, &vringh_user_access);
