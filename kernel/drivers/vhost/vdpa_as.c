// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost_vdpa: IOTLB messages and address spaces.
 *
 * Theory of operation
 *
 * A write to the file is one message: map a range (UPDATE), unmap one (INVALIDATE), or the brackets
 * around several (BATCH_BEGIN, BATCH_END).  It names an address space if that was negotiated.
 *
 * An entry of an address space goes through
 *
 *	          add                 unmapped by user space           the device knows
 *	nothing -----> in the live tree --------> in the retired tree --------> memory released
 *
 * The last step is never taken early: memory is let go of only when the device cannot reach it any
 * more.  For a device that is told entry by entry that is at once.  One that takes whole trees has
 * to have taken one without the entry, which inside a batch is at its end; and should it refuse, the
 * retired entries wait for the next tree that it takes, or for the end of the session.
 *
 * Errors go back to the writer as they are.  vhost.ko would make EFAULT of all of them, which is why
 * the message is parsed here.  After an error of UPDATE nothing of its range is mapped.  After one
 * of BATCH_END the live tree is what user space made it and the device has some older one: an empty
 * batch repeats the attempt.
 *
 * Limits: INVALIDATE takes out every entry that it touches, as a whole: what lies behind an entry
 * was contiguous by chance, so the outcome of unmapping part of an UPDATE is not predictable.
 * There is no read side, for a device never asks for a missing translation.
 */

#include <linux/moduleparam.h>
#include <linux/nospec.h>
#include <linux/uio.h>

#include "vdpa_priv.h"

/*
 * The kernel memory that pinned entries take is bounded by RLIMIT_MEMLOCK; nothing bounds this.  Live
 * and retired entries each: a batch that maps and unmaps without end retires without end.
 */
static unsigned int max_file_entries = 65536;
module_param(max_file_entries, uint, 0644);
MODULE_PARM_DESC(max_file_entries,
		 "Entries of one address space of a device that takes virtual addresses");

/* What a writer has to give at least: everything up to the padding. */
#define MESSAGE_MIN (offsetof(struct vhost_msg_v2, iotlb) + sizeof(struct vhost_iotlb_msg))

static_assert(offsetof(struct vhost_msg, iotlb) == offsetof(struct vhost_msg_v2, iotlb));
static_assert(sizeof(struct vhost_msg) == sizeof(struct vhost_msg_v2));

static void entry_release(struct vv_as *as, struct vhost_iotlb *tree, struct vhost_iotlb_map *map)
{
	as->session->mem->release(as->session, map);
	vhost_iotlb_map_free(tree, map);
}

static void tree_release(struct vv_as *as, struct vhost_iotlb *tree)
{
	struct vhost_iotlb_map *map;

	while ((map = vhost_iotlb_itree_first(tree, 0, U64_MAX)))
		entry_release(as, tree, map);
}

/* The device no longer hears of @map, and still holds it. */
static int entry_retire(struct vv_as *as, struct vhost_iotlb_map *map)
{
	int err = vhost_iotlb_add_range_ctx(&as->retired, map->start, map->last, map->addr,
					    map->perm, map->opaque);

	if (!err)
		vhost_iotlb_map_free(&as->live, map);
	return err;
}

/* The device is told now; the memory of an entry that it would not give up stays held. */
static int entry_unmap(struct vv_as *as, struct vhost_iotlb_map *map)
{
	int err = as->session->dma->unmap(as, map->start, map->size);

	if (!err)
		entry_release(as, &as->live, map);
	else
		entry_retire(as, map);	/* or it stays live */
	return err;
}

/**
 * vv_as_add - one more entry: contiguous memory that is held already
 * @as:		address space
 * @iova:	first address for the device
 * @size:	bytes; the range overlaps no other entry
 * @addr:	physical address, or virtual for a device that takes those
 * @perm:	VHOST_ACCESS_RO, _WO, _RW
 * @opaque:	handed to the device with the entry; the caller's again on error
 *
 * Context: vhost.mutex held.
 * Return: 0, and from now on the entry is what holds the memory; or a negative errno.
 */
int vv_as_add(struct vv_as *as, u64 iova, u64 size, u64 addr, u32 perm, void *opaque)
{
	const struct vv_dma_ops *dma = as->session->dma;
	u64 last = iova + size - 1;
	int err;

	err = vhost_iotlb_add_range_ctx(&as->live, iova, last, addr, perm, opaque);
	if (err || !dma->map)
		return err;
	as->told = true;
	err = dma->map(as, iova, size, addr, perm, opaque);
	if (err)
		vhost_iotlb_map_free(&as->live, vhost_iotlb_itree_first(&as->live, iova, last));
	return err;
}

/* The device takes the live tree; what it has thereby lost is released. */
static int as_commit(struct vv_as *as)
{
	const struct vv_dma_ops *dma = as->session->dma;
	int err;

	if (!dma->commit)
		return 0;
	as->told = true;
	err = dma->commit(as, &as->live);
	if (!err)
		tree_release(as, &as->retired);
	return err;
}

/*
 * Everything that touches the range leaves the live tree.  The first error wins, and none stops it but
 * one: without room to remember an entry by, it stays, and so do those behind it.
 */
static int as_remove(struct vv_as *as, u64 first, u64 last)
{
	bool now = as->session->dma->unmap;
	struct vhost_iotlb_map *map;
	int err, result = 0;

	while ((map = vhost_iotlb_itree_first(&as->live, first, last))) {
		err = now ? entry_unmap(as, map) : entry_retire(as, map);
		if (err && !result)
			result = err;
		if (err && vhost_iotlb_itree_first(&as->live, first, last) == map)
			break;
	}
	return result;
}

/* Pieces of an UPDATE that failed before a device that takes whole trees saw any of them. */
static void as_forget(struct vv_as *as, u64 first, u64 last)
{
	struct vhost_iotlb_map *map;

	if (as->session->dma->unmap) {
		as_remove(as, first, last);
		return;
	}
	while ((map = vhost_iotlb_itree_first(&as->live, first, last)))
		entry_release(as, &as->live, map);
}

/* Is it a range at all? */
static int range_check(const struct vhost_iotlb_msg *msg)
{
	if (!msg->size || msg->iova + (msg->size - 1) < msg->iova)
		return -EINVAL;
	return 0;
}

static int update_check(struct vv_as *as, const struct vhost_iotlb_msg *msg, struct vv_range *range)
{
	const struct vdpa_iova_range *allowed = &as->session->range;
	int err;

	if (!msg->perm || (msg->perm & ~VHOST_ACCESS_RW))
		return -EINVAL;
	if (msg->uaddr + (msg->size - 1) < msg->uaddr)
		return -EINVAL;
	*range = (struct vv_range) {
		.iova = msg->iova, .size = msg->size, .uaddr = msg->uaddr, .perm = msg->perm,
	};
	err = as->session->mem->check(range);
	if (err)
		return err;
	if (range->iova < allowed->first || range->iova + (range->size - 1) > allowed->last)
		return -EINVAL;
	if (vhost_iotlb_itree_first(&as->live, range->iova, range->iova + (range->size - 1)))
		return -EEXIST;
	return 0;
}

static int message_update(struct vv_as *as, const struct vhost_iotlb_msg *msg)
{
	struct vv_session *s = as->session;
	struct vv_range range;
	u64 last;
	int err;

	err = range_check(msg) ?: update_check(as, msg, &range);
	if (err)
		return err;
	last = range.iova + (range.size - 1);
	err = s->mem->populate(as, &range);
	if (err) {
		as_forget(as, range.iova, last);
		return err;
	}
	if (s->batch)
		return 0;
	err = as_commit(as);
	if (err) {
		/* The device may have taken part of it: it is offered what it had before. */
		as_remove(as, range.iova, last);
		as_commit(as);
	}
	return err;
}

static int message_invalidate(struct vv_as *as, const struct vhost_iotlb_msg *msg)
{
	int err = range_check(msg);
	int told;

	if (err)
		return err;
	if (!vhost_iotlb_itree_first(&as->live, msg->iova, msg->iova + (msg->size - 1)))
		return 0;
	err = as_remove(as, msg->iova, msg->iova + (msg->size - 1));
	told = as->session->batch ? 0 : as_commit(as);
	return err ?: told;
}

static int message_batch_begin(struct vv_as *as, const struct vhost_iotlb_msg *msg)
{
	as->session->batch = as;
	return 0;
}

static int message_batch_end(struct vv_as *as, const struct vhost_iotlb_msg *msg)
{
	if (!as->session->batch)
		return 0;
	as->session->batch = NULL;
	return as_commit(as);
}

static int (* const messages[])(struct vv_as *as, const struct vhost_iotlb_msg *msg) = {
	[VHOST_IOTLB_UPDATE]		= message_update,
	[VHOST_IOTLB_INVALIDATE]	= message_invalidate,
	[VHOST_IOTLB_BATCH_BEGIN]	= message_batch_begin,
	[VHOST_IOTLB_BATCH_END]		= message_batch_end,
};

/* Which address space?  While a batch is open, no other than its own. */
static int message_dispatch(struct vv_session *s, u32 asid, const struct vhost_iotlb_msg *msg)
{
	struct vv_as *as;

	if (asid >= s->nas)
		return -EINVAL;
	as = &s->as[array_index_nospec(asid, s->nas)];
	if (s->batch && s->batch != as)
		return -EINVAL;
	if (msg->type >= ARRAY_SIZE(messages) ||
	    !messages[array_index_nospec(msg->type, ARRAY_SIZE(messages))])
		return -EINVAL;
	return messages[msg->type](as, msg);
}

static int message_take(struct vv_session *s, struct iov_iter *from, size_t size)
{
	struct vhost_msg_v2 msg = {};
	u32 asid = 0;
	long err;

	if (size < MESSAGE_MIN)
		return -EINVAL;
	if (!copy_from_iter_full(&msg, size, from))
		return -EFAULT;
	if (msg.type == VHOST_IOTLB_MSG_V2) {
		if (s->backend_features & BIT_ULL(VHOST_BACKEND_F_IOTLB_ASID))
			asid = msg.asid;
	} else if (msg.type != VHOST_IOTLB_MSG) {
		return -EINVAL;
	}
	/* The memory mapped is that of the caller, and has to be the owner's. */
	err = vhost_dev_check_owner(&s->vhost);
	if (err)
		return err;
	return message_dispatch(s, asid, &msg.iotlb);
}

/* One message a call; more bytes than that are left to the next call. */
ssize_t vv_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct vv_session *s = iocb->ki_filp->private_data;
	size_t size = min(iov_iter_count(from), sizeof(struct vhost_msg_v2));
	int err;

	if (mutex_lock_killable(&s->vhost.mutex))
		return -EINTR;
	err = s->vdpa ? message_take(s, from, size) : -ENODEV;
	mutex_unlock(&s->vhost.mutex);
	return err ?: size;
}

/* vhost.mutex protects all of it from the first open on. */
void vv_as_init_all(struct vv_session *s)
{
	unsigned int most = s->vdpa->use_va ? max_file_entries : UINT_MAX;
	u32 i;

	for (i = 0; i < s->nas; i++) {
		s->as[i].session = s;
		s->as[i].id = i;
		vhost_iotlb_init(&s->as[i].live, most, 0);
		vhost_iotlb_init(&s->as[i].retired, most, 0);
	}
}

static void unmap_tree(struct vv_as *as, struct vhost_iotlb *tree)
{
	struct vhost_iotlb_map *map;

	for (map = vhost_iotlb_itree_first(tree, 0, U64_MAX); map;
	     map = vhost_iotlb_itree_next(map, 0, U64_MAX))
		as->session->dma->unmap(as, map->start, map->size);
}

/* The device has forgotten all of one address space, as far as it can be made to. */
static void as_disconnect(struct vv_as *as)
{
	struct vdpa_device *vdpa = as->session->vdpa;
	const struct vdpa_ext_ops *ext = vdpa_get_ext_ops(vdpa);
	const struct vv_dma_ops *dma = as->session->dma;
	struct vhost_iotlb empty;
	int err = 0;

	if (!as->told)
		return;
	if (dma->unmap) {
		unmap_tree(as, &as->live);
		unmap_tree(as, &as->retired);
	} else if (!ext || !ext->reset_map) {
		vhost_iotlb_init(&empty, 0, 0);
		err = dma->commit(as, &empty);
	}
	if (ext && ext->reset_map) {
		down_write(&vdpa->cf_lock);
		err = ext->reset_map(vdpa, as->id);
		up_write(&vdpa->cf_lock);
	}
	if (err)
		dev_warn(&as->session->node->dev, "address space %u could not be cleared: %d\n",
			 as->id, err);
	as->told = false;
}

/* The device was reset before.  vhost.mutex held. */
void vv_as_disconnect_all(struct vv_session *s)
{
	u32 i;

	for (i = 0; i < s->nas; i++)
		as_disconnect(&s->as[i]);
}

/* No device reaches the memory any more.  vhost.mutex held. */
void vv_as_release_all(struct vv_session *s)
{
	u32 i;

	s->batch = NULL;
	for (i = 0; i < s->nas; i++) {
		tree_release(&s->as[i], &s->as[i].live);
		tree_release(&s->as[i], &s->as[i].retired);
	}
}
