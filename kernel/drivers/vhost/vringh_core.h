/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vringh: the device's side of a split ring, for any kind of memory.
 *
 * A guest or a process is the driver's side of a ring.  Indices, descriptors, addresses and lengths
 * in the ring may be wrong, and may change between two reads; so each is read once, into the
 * kernel's own memory, and checked there.
 *
 * Kinds of memory differ in three operations, struct vringh_access: read and write one 16-bit index
 * atomically, copy bytes in, copy bytes out.  vringh_kern.c, vringh_user.c and vringh_iotlb.c have
 * one constant table each, and compile this header with that table, so that no indirect call is
 * left:
 *
 *	getdesc		avail->idx, avail->ring[]	vringh_next_head()
 *			descriptors, indirect tables	vringh_read_chain()
 *	pull, push	the buffers found		vringh_transfer()
 *	complete	used->ring[], used->idx		vringh_publish()
 *	notifications	flags or event indices		vringh_need_call(), vringh_enable_kicks(), ...
 *
 * One user of a struct vringh at a time; the callers see to that.
 *
 * The walk through a chain is bounded, even if the ring is corrupt: it visits at most num
 * descriptors of the ring itself, at most as many of an indirect table as that has, and gives at
 * most VRINGH_MAX_SEGMENTS segments.
 *
 * Faults are a table (vringh.c): the text for the log, and the errno.
 *
 * Limits: packed rings are not for these interfaces.  An indirect table has at most 65536
 * descriptors, as their links have 16 bits.
 */
#ifndef QEMU_LIVE_VRINGH_CORE_H
#define QEMU_LIVE_VRINGH_CORE_H

#include <linux/export.h>
#include <linux/minmax.h>
#include <linux/virtio_ring.h>
#include <linux/vringh.h>

#define VRINGH_MAX_TABLE    (U16_MAX + 1)
#define VRINGH_MAX_SEGMENTS (U16_MAX + 1)

/* Faults of a ring; the table in vringh.c has their texts and errnos. */
enum vringh_fault {
	VRINGH_BAD_SIZE,   /* of the ring, at initialisation */
	VRINGH_AVAIL_JUMP, /* more available than the ring holds */
	VRINGH_BAD_HEAD,
	VRINGH_BAD_NEXT,
	VRINGH_LOOP,
	VRINGH_NESTED,	   /* indirect within indirect */
	VRINGH_BAD_TABLE,  /* length of an indirect table */
	VRINGH_BAD_ORDER,  /* readable after writable */
	VRINGH_UNWANTED,   /* a direction that the caller has no use for */
	VRINGH_BAD_RANGE,  /* address outside of the accessible ranges */
	VRINGH_TOO_MANY,   /* segments in a chain */
	VRINGH_RING_FAULT, /* the ring's own memory cannot be accessed */
};

int vringh_fault(enum vringh_fault fault, unsigned int value);
int vringh_ring_fault(int error, const void *where);
int vringh_init(struct vringh *vrh, u64 features, unsigned int num, bool weak_barriers);
int vringh_grow(struct vringh_kiov *iov, gfp_t gfp);

/**
 * struct vringh_access - how one kind of memory is accessed
 *
 * Each gives 0 or a negative errno.  Addresses are those of that memory, to be looked at by these
 * operations only.
 *
 * @load:  *@val = the 16 bits at @at, in one access, in the CPU's byte order
 * @store: the opposite
 * @in:    @len bytes from @from there to @to here
 * @out:   @len bytes from @from here to @to there
 */
struct vringh_access {
	int (*load)(const struct vringh *vrh, const __virtio16 *at, u16 *val);
	int (*store)(const struct vringh *vrh, __virtio16 *at, u16 val);
	int (*in)(const struct vringh *vrh, void *to, const void *from, size_t len);
	int (*out)(const struct vringh *vrh, void *to, const void *from, size_t len);
};

typedef bool vringh_getrange_t(struct vringh *vrh, u64 addr, struct vringh_range *range);

/* Position of the walk through a chain. */
struct vringh_walk {
	const struct vring_desc *table; /* at address @table_addr, if that is translated */
	u64 table_addr;
	unsigned int entries;	/* of the table */
	unsigned int left;	/* descriptors that may still be visited in it */
	unsigned int ring_left; /* the same of the ring, while in an indirect table */
	unsigned int segments;
	int resume;		   /* where to go on in the ring, or one of the two below */
	struct vringh_range range; /* the last one that getrange gave */
};

#define VRINGH_IN_RING	  (-1)
#define VRINGH_CHAIN_ENDS (-2)

static inline bool vringh_in_range(const struct vringh_range *range, u64 addr)
{
	return addr >= range->start && addr <= range->end_incl;
}

/*
 * Find the accessible range that starts at @addr: shorten *@len to it, set *@to to the address to
 * use.  Without getrange all may be accessed, at the address itself.
 */
static __always_inline int vringh_translate(struct vringh *vrh, vringh_getrange_t *getrange,
					    struct vringh_range *range, u64 addr, size_t *len,
					    void **to)
{
	u64 most;

	if (!getrange) {
		*to = (void *)(uintptr_t)addr;
		return 0;
	}
	if (unlikely(*len && addr + (*len - 1) < addr))
		return vringh_fault(VRINGH_BAD_RANGE, *len);
	if (unlikely(!vringh_in_range(range, addr)) &&
	    (!getrange(vrh, addr, range) || !vringh_in_range(range, addr))) {
		*range = (struct vringh_range) { .start = U64_MAX, .end_incl = 0 };
		return vringh_fault(VRINGH_BAD_RANGE, *len);
	}
	most = range->end_incl - addr;
	if (unlikely(*len && *len - 1 > most))
		*len = most + 1;
	*to = (void *)(uintptr_t)(addr + range->offset);
	return 0;
}

/* Descriptor @i of the walk's table. */
static __always_inline int vringh_read_desc(struct vringh *vrh, struct vringh_walk *walk,
					    const struct vringh_access *ops,
					    vringh_getrange_t *getrange, unsigned int i,
					    struct vring_desc *desc)
{
	size_t done, part;
	void *from;
	int ret;

	if (!getrange || walk->resume == VRINGH_IN_RING)
		return ops->in(vrh, desc, &walk->table[i], sizeof(*desc));

	/* An indirect table may lie across ranges that are not neighbours here. */
	for (done = 0; done < sizeof(*desc); done += part) {
		part = sizeof(*desc) - done;
		ret = vringh_translate(vrh, getrange, &walk->range,
				       walk->table_addr + i * sizeof(*desc) + done, &part, &from);
		if (ret)
			return ret;
		ret = ops->in(vrh, (char *)desc + done, from, part);
		if (ret)
			return ret;
	}
	return 0;
}

/* Go into the indirect table that a descriptor of the ring stands for. */
static __always_inline int vringh_enter_table(const struct vringh *vrh, struct vringh_walk *walk,
					      u64 addr, u32 len, u16 flags, u16 next)
{
	unsigned int entries = len / sizeof(struct vring_desc);

	if (walk->resume != VRINGH_IN_RING)
		return vringh_fault(VRINGH_NESTED, next);
	if (!entries || len % sizeof(struct vring_desc) || entries > VRINGH_MAX_TABLE ||
	    addr + (len - 1) < addr)
		return vringh_fault(VRINGH_BAD_TABLE, len);

	walk->resume = flags & VRING_DESC_F_NEXT ? next : VRINGH_CHAIN_ENDS;
	walk->table = (const struct vring_desc *)(uintptr_t)addr;
	walk->table_addr = addr;
	walk->ring_left = walk->left;
	walk->entries = entries;
	walk->left = entries;
	return 0;
}

/* Back to the ring, at the descriptor after the one that stood for the table. */
static __always_inline unsigned int vringh_leave_table(const struct vringh *vrh,
						       struct vringh_walk *walk)
{
	unsigned int next = walk->resume;

	walk->resume = VRINGH_IN_RING;
	walk->table = vrh->vring.desc;
	walk->entries = vrh->vring.num;
	walk->left = walk->ring_left;
	return next;
}

/* Add a buffer to @iov, in as many segments as there are ranges that it lies in. */
static __always_inline int vringh_add_buffer(struct vringh *vrh, struct vringh_walk *walk,
					     vringh_getrange_t *getrange, struct vringh_kiov *iov,
					     u64 addr, size_t len, gfp_t gfp)
{
	size_t part;
	void *base;
	int ret;

	do {
		part = len;
		ret = vringh_translate(vrh, getrange, &walk->range, addr, &part, &base);
		if (unlikely(ret))
			return ret;
		if (unlikely(walk->segments++ == VRINGH_MAX_SEGMENTS))
			return vringh_fault(VRINGH_TOO_MANY, walk->segments);
		if (unlikely(iov->used == (iov->max_num & ~VRINGH_IOV_ALLOCATED))) {
			ret = vringh_grow(iov, gfp);
			if (ret)
				return ret;
		}
		iov->iov[iov->used++] = (struct kvec) { .iov_base = base, .iov_len = part };
		addr += part;
		len -= part;
	} while (unlikely(len));
	return 0;
}

static __always_inline void vringh_kiov_empty(struct vringh_kiov *iov)
{
	if (iov)
		iov->i = iov->used = iov->consumed = 0;
}

/* Follow the chain from @head and put its buffers into @riov and @wiov; 0 or an errno. */
static __always_inline int vringh_read_chain(struct vringh *vrh, unsigned int head,
					     struct vringh_kiov *riov, struct vringh_kiov *wiov,
					     const struct vringh_access *ops,
					     vringh_getrange_t *getrange, gfp_t gfp)
{
	struct vringh_walk walk = {
		.table = vrh->vring.desc,
		.entries = vrh->vring.num,
		.left = vrh->vring.num,
		.resume = VRINGH_IN_RING,
		.range = { .start = U64_MAX, .end_incl = 0 },
	};
	unsigned int i = head;
	int ret;

	vringh_kiov_empty(riov);
	vringh_kiov_empty(wiov);

	for (;;) {
		struct vringh_kiov *iov;
		struct vring_desc desc;
		u16 flags, next;
		u64 addr;
		u32 len;

		if (unlikely(!walk.left--))
			return vringh_fault(VRINGH_LOOP, i);
		ret = vringh_read_desc(vrh, &walk, ops, getrange, i, &desc);
		if (unlikely(ret))
			return ret;
		addr = vringh64_to_cpu(vrh, desc.addr);
		len = vringh32_to_cpu(vrh, desc.len);
		flags = vringh16_to_cpu(vrh, desc.flags);
		next = vringh16_to_cpu(vrh, desc.next);

		if (unlikely(flags & VRING_DESC_F_INDIRECT)) {
			ret = vringh_enter_table(vrh, &walk, addr, len, flags, next);
			if (ret)
				return ret;
			i = 0;
			continue;
		}

		iov = flags & VRING_DESC_F_WRITE ? wiov : riov;
		if (unlikely(iov == riov && wiov && wiov->used))
			return vringh_fault(VRINGH_BAD_ORDER, i);
		if (unlikely(!iov))
			return vringh_fault(VRINGH_UNWANTED, i);
		ret = vringh_add_buffer(vrh, &walk, getrange, iov, addr, len, gfp);
		if (unlikely(ret))
			return ret;

		if (flags & VRING_DESC_F_NEXT)
			i = next;
		else if (walk.resume >= 0)
			i = vringh_leave_table(vrh, &walk);
		else
			return 0;
		if (unlikely(i >= walk.entries))
			return vringh_fault(VRINGH_BAD_NEXT, i);
	}
}

/* The head of the next chain; num if there is none, or an errno. */
static __always_inline int vringh_next_head(struct vringh *vrh, const struct vringh_access *ops)
{
	const struct vring_avail *avail = vrh->vring.avail;
	unsigned int num = vrh->vring.num;
	u16 idx, head;
	int ret;

	ret = ops->load(vrh, &avail->idx, &idx);
	if (unlikely(ret))
		return vringh_ring_fault(ret, &avail->idx);
	if (idx == vrh->last_avail_idx)
		return num;
	if (unlikely((u16)(idx - vrh->last_avail_idx) > num))
		return vringh_fault(VRINGH_AVAIL_JUMP, idx);

	/* Pairs with the driver's write barrier between filling ring[] and moving idx. */
	virtio_rmb(vrh->weak_barriers);

	ret = ops->load(vrh, &avail->ring[vrh->last_avail_idx & (num - 1)], &head);
	if (unlikely(ret))
		return vringh_ring_fault(ret, avail->ring);
	if (unlikely(head >= num))
		return vringh_fault(VRINGH_BAD_HEAD, head);
	vrh->last_avail_idx++;
	return head;
}

/* The common part of all vringh_getdesc_*(). */
static __always_inline int vringh_get_chain(struct vringh *vrh, struct vringh_kiov *riov,
					    struct vringh_kiov *wiov, u16 *head,
					    const struct vringh_access *ops,
					    vringh_getrange_t *getrange, gfp_t gfp)
{
	int ret;

	if (WARN_ON_ONCE(!riov && !wiov))
		return -EINVAL;
	*head = vrh->vring.num;
	ret = vringh_next_head(vrh, ops);
	if (ret < 0)
		return ret;
	if (ret == vrh->vring.num)
		return 0;
	*head = ret;
	ret = vringh_read_chain(vrh, ret, riov, wiov, ops, getrange, gfp);
	return ret ? ret : 1;
}

/* Consume @part bytes of the current segment; a used-up segment gets its base and length back. */
static __always_inline void vringh_consume(struct vringh_kiov *iov, size_t part)
{
	struct kvec *segment = &iov->iov[iov->i];

	iov->consumed += part;
	segment->iov_base += part;
	segment->iov_len -= part;
	if (segment->iov_len)
		return;
	segment->iov_base -= iov->consumed;
	segment->iov_len = iov->consumed;
	iov->consumed = 0;
	iov->i++;
}

/* The common part of all vringh_iov_pull_*() and _push_*(); bytes moved, or an errno. */
static __always_inline ssize_t vringh_transfer(const struct vringh *vrh, struct vringh_kiov *iov,
					       void *buf, size_t len,
					       int (*copy)(const struct vringh *vrh, void *there,
							   void *here, size_t len))
{
	size_t done = 0;

	while (done < len && iov->i < iov->used) {
		struct kvec *segment = &iov->iov[iov->i];
		size_t part = min(segment->iov_len, len - done);
		int ret;

		ret = copy(vrh, segment->iov_base, buf + done, part);
		if (unlikely(ret))
			return ret;
		vringh_consume(iov, part);
		done += part;
	}
	return done;
}

/* The common part of all vringh_complete*(). */
static __always_inline int vringh_publish(struct vringh *vrh, const struct vring_used_elem *elem,
					  unsigned int count, const struct vringh_access *ops)
{
	struct vring_used *used = vrh->vring.used;
	u16 idx = vrh->last_used_idx + vrh->completed;
	unsigned int at = idx & (vrh->vring.num - 1);
	unsigned int first = min(count, vrh->vring.num - at);
	int ret;

	if (unlikely(count > vrh->vring.num))
		return -EINVAL;
	ret = ops->out(vrh, &used->ring[at], elem, first * sizeof(*elem));
	if (unlikely(!ret && first < count))
		ret = ops->out(vrh, used->ring, elem + first, (count - first) * sizeof(*elem));
	if (unlikely(ret))
		return vringh_ring_fault(ret, used->ring);

	/* Pairs with the driver's read barrier between reading idx and ring[]. */
	virtio_wmb(vrh->weak_barriers);

	ret = ops->store(vrh, &used->idx, idx + count);
	if (unlikely(ret))
		return vringh_ring_fault(ret, &used->idx);
	vrh->completed += count;
	return 0;
}

static __always_inline int vringh_publish_one(struct vringh *vrh, u16 head, u32 len,
					      const struct vringh_access *ops)
{
	const struct vring_used_elem elem = {
		.id = cpu_to_vringh32(vrh, head),
		.len = cpu_to_vringh32(vrh, len),
	};

	return vringh_publish(vrh, &elem, 1, ops);
}

/* Whether the driver wants a call for the chains completed since the last check; or an errno. */
static __always_inline int vringh_need_call(struct vringh *vrh, const struct vringh_access *ops)
{
	const __virtio16 *where = vrh->event_indices ? &vring_used_event(&vrh->vring)
						     : &vrh->vring.avail->flags;
	u16 old = vrh->last_used_idx;
	u32 completed = vrh->completed;
	u16 said;
	int ret;

	/*
	 * used->idx before the driver's flags or event index: pairs with the barrier between the
	 * driver's write of these and its last read of used->idx.
	 */
	virtio_mb(vrh->weak_barriers);

	ret = ops->load(vrh, where, &said);
	if (unlikely(ret))
		return vringh_ring_fault(ret, where);

	vrh->last_used_idx = old + completed;
	vrh->completed = 0;
	if (!vrh->event_indices)
		return !(said & VRING_AVAIL_F_NO_INTERRUPT);
	/* Once around, every index was passed. */
	return completed > U16_MAX || vring_need_event(said, old + completed, old);
}

/* Ask for kicks; true if the caller may sleep, false if there is something to do already. */
static __always_inline bool vringh_enable_kicks(struct vringh *vrh, const struct vringh_access *ops)
{
	struct vring_used *used = vrh->vring.used;
	u16 idx;
	int ret;

	if (vrh->event_indices)
		ret = ops->store(vrh, &vring_avail_event(&vrh->vring), vrh->last_avail_idx);
	else
		ret = ops->store(vrh, &used->flags, 0);

	/*
	 * flags or event index before avail->idx: pairs with the barrier between the driver's write
	 * of avail->idx and its read of these.
	 */
	virtio_mb(vrh->weak_barriers);

	if (!ret)
		ret = ops->load(vrh, &vrh->vring.avail->idx, &idx);
	if (unlikely(ret)) {
		vringh_ring_fault(ret, used);
		return true;
	}
	return idx == vrh->last_avail_idx;
}

/* Ask for no kicks, where there is a way to: an event index is simply left behind. */
static __always_inline void vringh_disable_kicks(struct vringh *vrh,
						 const struct vringh_access *ops)
{
	struct vring_used *used = vrh->vring.used;
	int ret;

	if (vrh->event_indices)
		return;
	ret = ops->store(vrh, &used->flags, VRING_USED_F_NO_NOTIFY);
	if (unlikely(ret))
		vringh_ring_fault(ret, &used->flags);
}

/*
 * The functions of <linux/vringh.h> that are the same for each KIND of memory but for the table:
 *
 * abandon:	 the next getdesc gives the last @num chains once more.
 * complete:	 chain @head is done, @len bytes were written to it; 0 or an errno.
 * need_notify:	1 if the driver wants a call for the completed chains, 0 if not, or an errno.
 * notify_enable: ask for kicks; false if chains are waiting already.
 * notify_disable: ask for none.
 */
#define VRINGH_DEFINE_RING_FUNCTIONS(KIND, OPS)                           \
	void vringh_abandon_##KIND(struct vringh *vrh, unsigned int num)  \
	{                                                                 \
		vrh->last_avail_idx -= num;                               \
	}                                                                 \
	EXPORT_SYMBOL_GPL(vringh_abandon_##KIND);                         \
	int vringh_complete_##KIND(struct vringh *vrh, u16 head, u32 len) \
	{                                                                 \
		return vringh_publish_one(vrh, head, len, OPS);           \
	}                                                                 \
	EXPORT_SYMBOL_GPL(vringh_complete_##KIND);                        \
	int vringh_need_notify_##KIND(struct vringh *vrh)                 \
	{                                                                 \
		return vringh_need_call(vrh, OPS);                        \
	}                                                                 \
	EXPORT_SYMBOL_GPL(vringh_need_notify_##KIND);                     \
	bool vringh_notify_enable_##KIND(struct vringh *vrh)              \
	{                                                                 \
		return vringh_enable_kicks(vrh, OPS);                     \
	}                                                                 \
	EXPORT_SYMBOL_GPL(vringh_notify_enable_##KIND);                   \
	void vringh_notify_disable_##KIND(struct vringh *vrh)             \
	{                                                                 \
		vringh_disable_kicks(vrh, OPS);                           \
	}                                                                 \
	EXPORT_SYMBOL_GPL(vringh_notify_disable_##KIND)

#endif
