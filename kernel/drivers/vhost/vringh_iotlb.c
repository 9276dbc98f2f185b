// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vringh in memory that an IOTLB translates.
 *
 * Addresses of the ring and in it are IOVAs.  Each access looks them up in the ring's vhost_iotlb,
 * which gives their place and permissions:
 *
 *	physical addresses	the page is mapped and accessed while the IOTLB's lock is held, so
 *				a range that is unmapped under that lock is not accessed any more
 *				when the unmapping returns, and its pages can be let go
 *	addresses of a process	(use_va, newer kernels) the lock is dropped for the access, which
 *				may sleep; the page tables say whether the page is still there
 *
 * An access may cross pages and maps.  At most VRINGH_IOTLB_CHUNK bytes are moved at a time under the
 * lock.  See vringh_core.h.
 *
 * Limits: a 16-bit index that lies across two pages is refused, as it could not be accessed at
 * once; an aligned ring has none.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "vringh_core.h"

#if IS_REACHABLE(CONFIG_VHOST_IOTLB)

#define VRINGH_IOTLB_CHUNK SZ_64K

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#define VRINGH_HAS_VA		1
#define vringh_iotlb_is_va(vrh) ((vrh)->use_va)
#else
#define vringh_iotlb_is_va(vrh) false
#endif

/* The direction of an access, and the permission that it needs. */
enum vringh_iotlb_way {
	VRINGH_IOTLB_READ = VHOST_MAP_RO,
	VRINGH_IOTLB_WRITE = VHOST_MAP_WO,
};

/* The map that @iova is in, if it allows @way. */
static __always_inline struct vhost_iotlb_map *
vringh_iotlb_find_locked(const struct vringh *vrh, u64 iova, enum vringh_iotlb_way way)
{
	struct vhost_iotlb_map *map = vhost_iotlb_itree_first(vrh->iotlb, iova, iova);

	if (unlikely(!map))
		return ERR_PTR(-EINVAL);
	if (unlikely(!(map->perm & way)))
		return ERR_PTR(-EPERM);
	return map;
}

static __always_inline void vringh_iotlb_copy_page(u64 addr, void *here, size_t len,
						   enum vringh_iotlb_way way)
{
	struct page *page = pfn_to_page(addr >> PAGE_SHIFT);

	if (way == VRINGH_IOTLB_READ)
		memcpy_from_page(here, page, offset_in_page(addr), len);
	else
		memcpy_to_page(page, offset_in_page(addr), here, len);
}

/* Move bytes of pages that are there as long as the lock is held. */
static int vringh_iotlb_copy_locked(const struct vringh *vrh, u64 iova, void *here, size_t len,
				    enum vringh_iotlb_way way)
{
	struct vhost_iotlb_map *map = NULL;
	size_t part;

	for (; len; iova += part, here += part, len -= part) {
		u64 addr;

		if (!map || iova > map->last) {
			map = vringh_iotlb_find_locked(vrh, iova, way);
			if (IS_ERR(map))
				return PTR_ERR(map);
		}
		addr = map->addr + (iova - map->start);
		part = min_t(u64, len, PAGE_SIZE - offset_in_page(addr));
		part = min_t(u64, part - 1, map->last - iova) + 1;
		vringh_iotlb_copy_page(addr, here, part, way);
	}
	return 0;
}

/* Translate @iova; *@len is shortened to the contiguous part. */
static int vringh_iotlb_find_range(const struct vringh *vrh, u64 iova, enum vringh_iotlb_way way,
				   u64 *addr, size_t *len)
{
	struct vhost_iotlb_map *map;

	spin_lock(vrh->iotlb_lock);
	map = vringh_iotlb_find_locked(vrh, iova, way);
	if (!IS_ERR(map)) {
		*addr = map->addr + (iova - map->start);
		*len = min_t(u64, *len - 1, map->last - iova) + 1;
	}
	spin_unlock(vrh->iotlb_lock);
	return PTR_ERR_OR_ZERO(map);
}

static int vringh_iotlb_copy_user(const struct vringh *vrh, u64 iova, void *here, size_t len,
				  enum vringh_iotlb_way way)
{
	size_t part;

	for (; len; iova += part, here += part, len -= part) {
		unsigned long left;
		u64 addr;
		int ret;

		part = len;
		ret = vringh_iotlb_find_range(vrh, iova, way, &addr, &part);
		if (ret)
			return ret;
		if (way == VRINGH_IOTLB_READ)
			left = copy_from_user(here, u64_to_user_ptr(addr), part);
		else
			left = copy_to_user(u64_to_user_ptr(addr), here, part);
		if (left)
			return -EFAULT;
	}
	return 0;
}

/* All of @len bytes, or -EFAULT, for any error of the IOTLB. */
static int vringh_iotlb_copy(const struct vringh *vrh, u64 iova, void *here, size_t len,
			     enum vringh_iotlb_way way)
{
	if (unlikely(!vrh->iotlb || (len && iova + (len - 1) < iova)))
		return -EFAULT;
	if (vringh_iotlb_is_va(vrh))
		return vringh_iotlb_copy_user(vrh, iova, here, len, way) ? -EFAULT : 0;

	while (len) {
		size_t chunk = min_t(size_t, len, VRINGH_IOTLB_CHUNK);
		int ret;

		spin_lock(vrh->iotlb_lock);
		ret = vringh_iotlb_copy_locked(vrh, iova, here, chunk, way);
		spin_unlock(vrh->iotlb_lock);
		if (unlikely(ret))
			return -EFAULT;
		iova += chunk;
		here += chunk;
		len -= chunk;
	}
	return 0;
}

static u64 vringh_iova_of(const void *at)
{
	return (uintptr_t)at;
}

/* One index, in one access.  -EINVAL: not mapped, or not in one range; -EPERM: not for this. */
static int vringh_iotlb_index_locked(const struct vringh *vrh, u64 iova, __virtio16 *val,
				     enum vringh_iotlb_way way)
{
	struct vhost_iotlb_map *map = vringh_iotlb_find_locked(vrh, iova, way);
	__virtio16 *at;
	void *page;
	u64 addr;

	if (IS_ERR(map))
		return PTR_ERR(map);
	addr = map->addr + (iova - map->start);
	if (unlikely(iova == map->last || offset_in_page(addr) == PAGE_SIZE - 1))
		return -EINVAL;

	page = kmap_local_page(pfn_to_page(addr >> PAGE_SHIFT));
	at = page + offset_in_page(addr);
	if (way == VRINGH_IOTLB_READ)
		*val = READ_ONCE(*at);
	else
		WRITE_ONCE(*at, *val);
	kunmap_local(page);
	return 0;
}

static int vringh_iotlb_index_user(const struct vringh *vrh, u64 iova, __virtio16 *val,
				   enum vringh_iotlb_way way)
{
	size_t len = sizeof(*val);
	u64 addr;
	int ret;

	ret = vringh_iotlb_find_range(vrh, iova, way, &addr, &len);
	if (ret)
		return ret;
	if (len < sizeof(*val))
		return -EINVAL;
	if (way == VRINGH_IOTLB_READ)
		return get_user(*val, (__virtio16 __user *)u64_to_user_ptr(addr));
	return put_user(*val, (__virtio16 __user *)u64_to_user_ptr(addr));
}

static int vringh_iotlb_index(const struct vringh *vrh, const void *at, __virtio16 *val,
			      enum vringh_iotlb_way way)
{
	int ret;

	if (unlikely(!vrh->iotlb))
		return -EINVAL;
	if (vringh_iotlb_is_va(vrh))
		return vringh_iotlb_index_user(vrh, vringh_iova_of(at), val, way);
	spin_lock(vrh->iotlb_lock);
	ret = vringh_iotlb_index_locked(vrh, vringh_iova_of(at), val, way);
	spin_unlock(vrh->iotlb_lock);
	return ret;
}

static __always_inline int vringh_iotlb_load(const struct vringh *vrh, const __virtio16 *at,
					     u16 *val)
{
	__virtio16 raw;
	int ret = vringh_iotlb_index(vrh, at, &raw, VRINGH_IOTLB_READ);

	if (!ret)
		*val = vringh16_to_cpu(vrh, raw);
	return ret;
}

static __always_inline int vringh_iotlb_store(const struct vringh *vrh, __virtio16 *at, u16 val)
{
	__virtio16 raw = cpu_to_vringh16(vrh, val);

	return vringh_iotlb_index(vrh, at, &raw, VRINGH_IOTLB_WRITE);
}

static __always_inline int vringh_iotlb_in(const struct vringh *vrh, void *to, const void *from,
					   size_t len)
{
	return vringh_iotlb_copy(vrh, vringh_iova_of(from), to, len, VRINGH_IOTLB_READ);
}

static __always_inline int vringh_iotlb_out(const struct vringh *vrh, void *to, const void *from,
					    size_t len)
{
	return vringh_iotlb_copy(vrh, vringh_iova_of(to), (void *)from, len, VRINGH_IOTLB_WRITE);
}

static const struct vringh_access vringh_iotlb_access = {
	.load = vringh_iotlb_load,
	.store = vringh_iotlb_store,
	.in = vringh_iotlb_in,
	.out = vringh_iotlb_out,
};

static int vringh_iotlb_pull(const struct vringh *vrh, void *there, void *here, size_t len)
{
	return vringh_iotlb_in(vrh, here, there, len);
}

static int vringh_iotlb_push(const struct vringh *vrh, void *there, void *here, size_t len)
{
	return vringh_iotlb_out(vrh, there, here, len);
}

/**
 * vringh_set_iotlb - which IOTLB translates for a ring
 * @vrh:	the ring; before or after its initialisation
 * @iotlb:	the IOTLB; must outlive its use here
 * @iotlb_lock: taken for every lookup, and held over accesses to the memory found
 */
void vringh_set_iotlb(struct vringh *vrh, struct vhost_iotlb *iotlb, spinlock_t *iotlb_lock)
{
	vrh->iotlb = iotlb;
	vrh->iotlb_lock = iotlb_lock;
}
EXPORT_SYMBOL_GPL(vringh_set_iotlb);

/**
 * vringh_init_iotlb - a ring at IOVAs, with an IOTLB of physical addresses
 * @vrh:	   the ring; keeps the values of vringh_set_iotlb()
 * @features:	   VIRTIO_F_VERSION_1 and VIRTIO_RING_F_EVENT_IDX are looked at
 * @num:	   entries, a power of two below 65536
 * @weak_barriers: the other side is a CPU
 * @desc:	   IOVA of the descriptors
 * @avail:	   IOVA of the driver's part
 * @used:	   IOVA of the device's part
 *
 * The IOVAs are looked at when they are used.  Return: 0, or -EINVAL for a bad @num.
 */
int vringh_init_iotlb(struct vringh *vrh, u64 features, unsigned int num, bool weak_barriers,
		      struct vring_desc *desc, struct vring_avail *avail, struct vring_used *used)
{
	int ret = vringh_init_kern(vrh, features, num, weak_barriers, desc, avail, used);

#ifdef VRINGH_HAS_VA
	if (!ret)
		vrh->use_va = false;
#endif
	return ret;
}
EXPORT_SYMBOL_GPL(vringh_init_iotlb);

#ifdef VRINGH_HAS_VA
/**
 * vringh_init_iotlb_va - the same with an IOTLB of a process's addresses
 * @vrh:	   the ring; keeps the values of vringh_set_iotlb()
 * @features:	   VIRTIO_F_VERSION_1 and VIRTIO_RING_F_EVENT_IDX are looked at
 * @num:	   entries, a power of two below 65536
 * @weak_barriers: the other side is a CPU
 * @desc:	   IOVA of the descriptors
 * @avail:	   IOVA of the driver's part
 * @used:	   IOVA of the device's part
 *
 * Later calls for the ring must run with that process's memory.  Return: 0, or -EINVAL.
 */
int vringh_init_iotlb_va(struct vringh *vrh, u64 features, unsigned int num, bool weak_barriers,
			 struct vring_desc *desc, struct vring_avail *avail,
			 struct vring_used *used)
{
	int ret = vringh_init_kern(vrh, features, num, weak_barriers, desc, avail, used);

	if (!ret)
		vrh->use_va = true;
	return ret;
}
EXPORT_SYMBOL_GPL(vringh_init_iotlb_va);
#endif

/**
 * vringh_getdesc_iotlb - take the next chain
 * @vrh:  the ring
 * @riov: gets the readable buffers, as IOVAs; NULL if there must be none
 * @wiov: gets the writable ones; NULL if there must be none
 * @head: gets the head to complete; num if there is no chain, or the ring is broken
 * @gfp:  for longer lists of segments
 *
 * Return: 1 for a chain, 0 for none, or an errno.  With a *@head below num that chain is broken
 * and was taken: the next call gives the one after.
 */
int vringh_getdesc_iotlb(struct vringh *vrh, struct vringh_kiov *riov, struct vringh_kiov *wiov,
			 u16 *head, gfp_t gfp)
{
	return vringh_get_chain(vrh, riov, wiov, head, &vringh_iotlb_access, NULL, gfp);
}
EXPORT_SYMBOL_GPL(vringh_getdesc_iotlb);

/**
 * vringh_iov_pull_iotlb - copy from a chain
 * @vrh:  its ring
 * @riov: readable buffers; consumed
 * @dst:  where to
 * @len:  bytes at most
 *
 * Return: bytes copied, or -EFAULT.
 */
ssize_t vringh_iov_pull_iotlb(struct vringh *vrh, struct vringh_kiov *riov, void *dst, size_t len)
{
	return vringh_transfer(vrh, riov, dst, len, vringh_iotlb_pull);
}
EXPORT_SYMBOL_GPL(vringh_iov_pull_iotlb);

/**
 * vringh_iov_push_iotlb - copy into a chain
 * @vrh:  its ring
 * @wiov: writable buffers; consumed
 * @src:  where from
 * @len:  bytes at most
 *
 * Return: bytes copied, or -EFAULT.
 */
ssize_t vringh_iov_push_iotlb(struct vringh *vrh, struct vringh_kiov *wiov, const void *src,
			      size_t len)
{
	return vringh_transfer(vrh, wiov, (void *)src, len, vringh_iotlb_push);
}
EXPORT_SYMBOL_GPL(vringh_iov_push_iotlb);

VRINGH_DEFINE_RING_FUNCTIONS(iotlb, &vringh_iotlb_access);

#endif
