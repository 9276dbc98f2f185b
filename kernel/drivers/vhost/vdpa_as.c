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
 * The last step is never taken early: memory is released only when the device cannot reach it any
 * more.  A device that is told entry by entry loses it at once.  A device that takes whole trees
 * has to take one without the entry, inside a batch at its end; if it refuses, the retired entries
 * wait for the next tree that it takes, or for the end of the session.
 *
 * Memory is held first and added afterwards, since holding it may wait for a user-space file system
 * for any time, and removal of the device must not wait with it:
 *
 *	mem_lock    |------------- one message -------------------------------|
 *	vhost.mutex |-- check --|                          |-- check, add ---|
 *	memory                   |-- fault in, pin, hold --|
 *
 * No other message comes in between.  The device may have gone, which the second check finds (ENODEV).
 *
 * There may be as many entries as there are pages.  Every loop over them reschedules.  Entries that were
 * unmapped wait in a table of their own until the IOMMU has completed all of them at once (dma->sync).
 *
 * Errors go back to the writer as they are.  vhost.ko would turn all of them into EFAULT, so the
 * message is parsed here.  After an error of UPDATE nothing of its range is mapped.  After one of
 * BATCH_END the live tree is the one that user space asked for and the device has an older one: an
 * empty batch repeats the attempt.
 *
 * Limits: INVALIDATE takes out every entry that it touches, as a whole: the pages of an entry are
 * contiguous by chance, so the outcome of unmapping part of an UPDATE is not predictable.  There is
 * no read side, for a device never asks for a missing translation.
 */

#include <linux/moduleparam.h>
#include <linux/nospec.h>
#include <linux/uio.h>

#include "vdpa_priv.h"
#include "vdpa_trace.h"

/*
 * The kernel memory that pinned entries take is bounded by RLIMIT_MEMLOCK; nothing bounds this.  Live
 * and retired entries each: a batch that maps and unmaps without end retires without end.
 */
static unsigned int max_file_entries = 65536;
module_param(max_file_entries, uint, 0644);
MODULE_PARM_DESC(max_file_entries,
		 "Entries of one address space of a device that takes virtual addresses");

/* The least that a writer has to give: everything up to the padding. */
#define MESSAGE_MIN (offsetof(struct vhost_msg_v2, iotlb) + sizeof(struct vhost_iotlb_msg))

static_assert(offsetof(struct vhost_msg, iotlb) == offsetof(struct vhost_msg_v2, iotlb));
static_assert(sizeof(struct vhost_msg) == sizeof(struct vhost_msg_v2));

static void vhost_vdpa_entry_release(struct vhost_vdpa_as *as, struct vhost_iotlb *tree,
				     struct vhost_iotlb_map *map)
{
	as->session->mem->release(as->session, map);
	vhost_iotlb_map_free(tree, map);
}

static void vhost_vdpa_tree_release(struct vhost_vdpa_as *as, struct vhost_iotlb *tree)
{
	struct vhost_iotlb_map *map;

	while ((map = vhost_iotlb_itree_first(tree, 0, U64_MAX))) {
		vhost_vdpa_entry_release(as, tree, map);
		cond_resched();
	}
}

/* From the live tree into another; on error it stays. */
static int vhost_vdpa_entry_move(struct vhost_vdpa_as *as, struct vhost_iotlb *to,
				 struct vhost_iotlb_map *map)
{
	int err = vhost_iotlb_add_range_ctx(to, map->start, map->last, map->addr, map->perm,
					    map->opaque);

	if (!err)
		vhost_iotlb_map_free(&as->live, map);
	return err;
}

/* The device no longer hears of @map, and still holds it. */
static int vhost_vdpa_entry_retire(struct vhost_vdpa_as *as, struct vhost_iotlb_map *map)
{
	return vhost_vdpa_entry_move(as, &as->retired, map);
}

/* Entries that are unmapped and not yet out of the IOTLB. */
struct vhost_vdpa_unmapped {
	struct vhost_iotlb tree;
	struct iommu_iotlb_gather gather;
};

static void vhost_vdpa_unmapped_init(struct vhost_vdpa_unmapped *u)
{
	vhost_iotlb_init(&u->tree, UINT_MAX, 0);
	iommu_iotlb_gather_init(&u->gather);
}

static void vhost_vdpa_unmapped_release(struct vhost_vdpa_as *as, struct vhost_vdpa_unmapped *u)
{
	if (as->session->dma->sync)
		as->session->dma->sync(as, &u->gather);
	vhost_vdpa_tree_release(as, &u->tree);
}

/* The device is told now; the memory of an entry that it would not give up stays held. */
static int vhost_vdpa_entry_unmap(struct vhost_vdpa_as *as, struct vhost_iotlb_map *map,
				  struct vhost_vdpa_unmapped *u)
{
	const struct vhost_vdpa_dma_ops *dma = as->session->dma;
	int err = dma->unmap(as, map->start, map->size, &u->gather);

	if (err) {
		vhost_vdpa_entry_retire(as, map); /* or it stays live */
		return err;
	}
	if (!dma->sync) {
		vhost_vdpa_entry_release(as, &as->live, map);
	} else if (vhost_vdpa_entry_move(as, &u->tree, map)) {
		dma->sync(as, &u->gather);
		vhost_vdpa_entry_release(as, &as->live, map);
	}
	return 0;
}

/* Add an entry like @map, which then holds the memory; on error @map still does. */
static int vhost_vdpa_as_add(struct vhost_vdpa_as *as, const struct vhost_iotlb_map *map)
{
	const struct vhost_vdpa_dma_ops *dma = as->session->dma;
	int err;

	err = vhost_iotlb_add_range_ctx(&as->live, map->start, map->last, map->addr, map->perm,
					map->opaque);
	if (err || !dma->map)
		return err;
	as->told = true;
	err = dma->map(as, map->start, map->size, map->addr, map->perm, map->opaque);
	if (err)
		vhost_iotlb_map_free(&as->live,
				     vhost_iotlb_itree_first(&as->live, map->start, map->last));
	return err;
}

/* Add all of @held, by age; on error the entries that were not added stay there. */
static int vhost_vdpa_as_add_all(struct vhost_vdpa_as *as, struct vhost_iotlb *held)
{
	struct vhost_iotlb_map *map;
	int err;

	while ((map = list_first_entry_or_null(&held->list, struct vhost_iotlb_map, link))) {
		err = vhost_vdpa_as_add(as, map);
		if (err)
			return err;
		vhost_iotlb_map_free(held, map);
		cond_resched();
	}
	return 0;
}

/* The device takes the live tree; entries that are not in it are released. */
static int vhost_vdpa_as_commit(struct vhost_vdpa_as *as)
{
	const struct vhost_vdpa_dma_ops *dma = as->session->dma;
	u64 start = ktime_get_ns();
	int err;

	if (!dma->commit)
		return 0;
	as->told = true;
	err = dma->commit(as, &as->live);
	trace_vhost_vdpa_commit(vhost_vdpa_number(as->session), as->id, err,
				ktime_get_ns() - start);
	if (!err)
		vhost_vdpa_tree_release(as, &as->retired);
	return err;
}

/*
 * All entries that touch the range leave the live tree.  The first error is returned.  Only one
 * error stops the loop: without memory for a retired entry, this entry and those behind it stay.
 */
static int vhost_vdpa_as_remove(struct vhost_vdpa_as *as, u64 first, u64 last)
{
	bool now = as->session->dma->unmap;
	struct vhost_iotlb_map *map;
	struct vhost_vdpa_unmapped unmapped;
	int err, result = 0;

	vhost_vdpa_unmapped_init(&unmapped);
	while ((map = vhost_iotlb_itree_first(&as->live, first, last))) {
		err = now ? vhost_vdpa_entry_unmap(as, map, &unmapped)
			  : vhost_vdpa_entry_retire(as, map);
		if (err && !result)
			result = err;
		if (err && vhost_iotlb_itree_first(&as->live, first, last) == map)
			break;
		cond_resched();
	}
	vhost_vdpa_unmapped_release(as, &unmapped);
	return result;
}

/* Pieces of an UPDATE that failed before a device that takes whole trees saw any of them. */
static void vhost_vdpa_as_undo(struct vhost_vdpa_as *as, u64 first, u64 last)
{
	struct vhost_iotlb_map *map;

	if (as->session->dma->unmap) {
		vhost_vdpa_as_remove(as, first, last);
		return;
	}
	while ((map = vhost_iotlb_itree_first(&as->live, first, last))) {
		vhost_vdpa_entry_release(as, &as->live, map);
		cond_resched();
	}
}

/* Is the range valid? */
static int vhost_vdpa_range_check(const struct vhost_iotlb_msg *msg)
{
	if (!msg->size || msg->iova + (msg->size - 1) < msg->iova)
		return -EINVAL;
	return 0;
}

static int vhost_vdpa_update_check(struct vhost_vdpa_as *as, const struct vhost_iotlb_msg *msg,
				   struct vhost_vdpa_range *range)
{
	const struct vdpa_iova_range *allowed = &as->session->range;
	int err;

	if (!msg->perm || (msg->perm & ~VHOST_ACCESS_RW))
		return -EINVAL;
	if (msg->uaddr + (msg->size - 1) < msg->uaddr)
		return -EINVAL;
	*range = (struct vhost_vdpa_range) {
		.iova = msg->iova,
		.size = msg->size,
		.uaddr = msg->uaddr,
		.perm = msg->perm,
	};
	err = as->session->mem->check(range);
	if (err)
		return err;
	if (range->iova < allowed->first || range->iova + (range->size - 1) > allowed->last)
		return -EINVAL;
	if (vhost_vdpa_dma_is_reserved(as->session, range->iova, range->iova + (range->size - 1)))
		return -EINVAL;
	if (vhost_iotlb_itree_first(&as->live, range->iova, range->iova + (range->size - 1)))
		return -EEXIST;
	return 0;
}

/*
 * Fault the memory in and hold it, without vhost.mutex.  The device may be gone afterwards; nothing else
 * that was checked before has changed, for mem_lock is held.
 */
static int vhost_vdpa_memory_hold(struct vhost_vdpa_session *s,
				  const struct vhost_vdpa_range *range, struct vhost_iotlb *held)
{
	int err;

	lockdep_assert_held(&s->mem_lock);
	mutex_unlock(&s->vhost.mutex);
	err = s->mem->populate(s, range, held);
	mutex_lock(&s->vhost.mutex);
	return s->vdpa ? err : -ENODEV;
}

static int vhost_vdpa_update(struct vhost_vdpa_as *as, const struct vhost_iotlb_msg *msg)
{
	struct vhost_vdpa_session *s = as->session;
	struct vhost_iotlb held;
	struct vhost_vdpa_range range;
	u64 last;
	int err;

	err = vhost_vdpa_range_check(msg) ?: vhost_vdpa_update_check(as, msg, &range);
	if (err)
		return err;
	last = range.iova + (range.size - 1);
	vhost_iotlb_init(&held, as->live.limit, 0);
	err = vhost_vdpa_memory_hold(s, &range, &held);
	if (!err) {
		err = vhost_vdpa_as_add_all(as, &held);
		if (err)
			vhost_vdpa_as_undo(as, range.iova, last);
	}
	vhost_vdpa_tree_release(as, &held);
	if (err)
		return err;
	if (s->batch)
		return 0;
	err = vhost_vdpa_as_commit(as);
	if (err) {
		/* The device may have taken part of it: offer it the tree that it had before. */
		vhost_vdpa_as_remove(as, range.iova, last);
		vhost_vdpa_as_commit(as);
	}
	return err;
}

static int vhost_vdpa_message_update(struct vhost_vdpa_as *as, const struct vhost_iotlb_msg *msg)
{
	u64 start = ktime_get_ns();
	int err = vhost_vdpa_update(as, msg);

	trace_vhost_vdpa_map(vhost_vdpa_number(as->session), as->id, msg->iova, msg->size, err,
			     ktime_get_ns() - start);
	return err;
}

static int vhost_vdpa_invalidate(struct vhost_vdpa_as *as, const struct vhost_iotlb_msg *msg)
{
	int err = vhost_vdpa_range_check(msg);
	int told;

	if (err)
		return err;
	if (!vhost_iotlb_itree_first(&as->live, msg->iova, msg->iova + (msg->size - 1)))
		return 0;
	err = vhost_vdpa_as_remove(as, msg->iova, msg->iova + (msg->size - 1));
	told = as->session->batch ? 0 : vhost_vdpa_as_commit(as);
	return err ?: told;
}

static int vhost_vdpa_message_invalidate(struct vhost_vdpa_as *as,
					 const struct vhost_iotlb_msg *msg)
{
	u64 start = ktime_get_ns();
	int err = vhost_vdpa_invalidate(as, msg);

	trace_vhost_vdpa_unmap(vhost_vdpa_number(as->session), as->id, msg->iova, msg->size, err,
			       ktime_get_ns() - start);
	return err;
}

static int vhost_vdpa_message_batch_begin(struct vhost_vdpa_as *as,
					  const struct vhost_iotlb_msg *msg)
{
	as->session->batch = as;
	return 0;
}

static int vhost_vdpa_message_batch_end(struct vhost_vdpa_as *as, const struct vhost_iotlb_msg *msg)
{
	if (!as->session->batch)
		return 0;
	as->session->batch = NULL;
	return vhost_vdpa_as_commit(as);
}

static int (*const vhost_vdpa_handlers[])(struct vhost_vdpa_as *as,
					  const struct vhost_iotlb_msg *msg) = {
	[VHOST_IOTLB_UPDATE] = vhost_vdpa_message_update,
	[VHOST_IOTLB_INVALIDATE] = vhost_vdpa_message_invalidate,
	[VHOST_IOTLB_BATCH_BEGIN] = vhost_vdpa_message_batch_begin,
	[VHOST_IOTLB_BATCH_END] = vhost_vdpa_message_batch_end,
};

/* The address space of a message.  While a batch is open, only the batch's own. */
static int vhost_vdpa_message_dispatch(struct vhost_vdpa_session *s, u32 asid,
				       const struct vhost_iotlb_msg *msg)
{
	struct vhost_vdpa_as *as;

	if (asid >= s->nas)
		return -EINVAL;
	as = &s->as[array_index_nospec(asid, s->nas)];
	if (s->batch && s->batch != as)
		return -EINVAL;
	if (msg->type >= ARRAY_SIZE(vhost_vdpa_handlers) ||
	    !vhost_vdpa_handlers[array_index_nospec(msg->type, ARRAY_SIZE(vhost_vdpa_handlers))])
		return -EINVAL;
	return vhost_vdpa_handlers[msg->type](as, msg);
}

static int vhost_vdpa_message_handle(struct vhost_vdpa_session *s, const struct vhost_msg_v2 *msg,
				     size_t size, bool copied)
{
	u32 asid = 0;
	long err;

	if (!s->vdpa)
		return -ENODEV;
	if (size < MESSAGE_MIN)
		return -EINVAL;
	if (!copied)
		return -EFAULT;
	if (msg->type == VHOST_IOTLB_MSG_V2) {
		if (s->backend_features & BIT_ULL(VHOST_BACKEND_F_IOTLB_ASID))
			asid = msg->asid;
	} else if (msg->type != VHOST_IOTLB_MSG) {
		return -EINVAL;
	}
	/* The memory mapped is that of the caller, and has to be the owner's. */
	err = vhost_dev_check_owner(&s->vhost);
	if (err)
		return err;
	return vhost_vdpa_message_dispatch(s, asid, &msg->iotlb);
}

/* One message per call; further bytes are left to the next call. */
ssize_t vhost_vdpa_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct vhost_vdpa_session *s = iocb->ki_filp->private_data;
	size_t size = min(iov_iter_count(from), sizeof(struct vhost_msg_v2));
	struct vhost_msg_v2 msg = {};
	bool copied = copy_from_iter_full(&msg, size, from);
	int err = -EINTR;

	if (mutex_lock_killable(&s->mem_lock))
		return -EINTR;
	if (!mutex_lock_killable(&s->vhost.mutex)) {
		err = vhost_vdpa_message_handle(s, &msg, size, copied);
		mutex_unlock(&s->vhost.mutex);
	}
	mutex_unlock(&s->mem_lock);
	return err ?: size;
}

/* vhost.mutex protects all of it from the first open on. */
void vhost_vdpa_as_init_all(struct vhost_vdpa_session *s)
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

static void vhost_vdpa_unmap_tree(struct vhost_vdpa_as *as, struct vhost_iotlb *tree)
{
	const struct vhost_vdpa_dma_ops *dma = as->session->dma;
	struct iommu_iotlb_gather gather;
	struct vhost_iotlb_map *map;

	iommu_iotlb_gather_init(&gather);
	for (map = vhost_iotlb_itree_first(tree, 0, U64_MAX); map;
	     map = vhost_iotlb_itree_next(map, 0, U64_MAX)) {
		dma->unmap(as, map->start, map->size, &gather);
		cond_resched();
	}
	if (dma->sync)
		dma->sync(as, &gather);
}

/* Make the device forget one address space, as far as it can. */
static void vhost_vdpa_as_disconnect(struct vhost_vdpa_as *as)
{
	struct vdpa_device *vdpa = as->session->vdpa;
	const struct vdpa_ext_ops *ext = vdpa_get_ext_ops(vdpa);
	const struct vhost_vdpa_dma_ops *dma = as->session->dma;
	struct vhost_iotlb empty;
	int err = 0;

	if (!as->told)
		return;
	if (dma->unmap) {
		vhost_vdpa_unmap_tree(as, &as->live);
		vhost_vdpa_unmap_tree(as, &as->retired);
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
		dev_warn_ratelimited(&as->session->node->dev,
				     "address space %u could not be cleared: %d\n", as->id, err);
	as->told = false;
}

/* The device was reset before.  vhost.mutex held. */
void vhost_vdpa_as_disconnect_all(struct vhost_vdpa_session *s)
{
	u32 i;

	for (i = 0; i < s->nas; i++)
		vhost_vdpa_as_disconnect(&s->as[i]);
}

/* No device reaches the memory any more.  vhost.mutex held. */
void vhost_vdpa_as_release_all(struct vhost_vdpa_session *s)
{
	u32 i;

	s->batch = NULL;
	for (i = 0; i < s->nas; i++) {
		vhost_vdpa_tree_release(&s->as[i], &s->as[i].live);
		vhost_vdpa_tree_release(&s->as[i], &s->as[i].retired);
	}
}
