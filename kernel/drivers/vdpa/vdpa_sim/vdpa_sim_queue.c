// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Virtqueues of the simulator, seen from the device.
 *
 * vringh does the ring itself: fetching a request, completing it, deciding about kicks and
 * interrupts.  Data is not moved through vringh: a cursor walks over the buffers of a request and
 * hands out contiguous ranges of the kernel's direct mapping, so that a frame goes from one driver
 * buffer into another in a single copy.  Translations are remembered for the length of a batch
 * (struct vdpa_sim_map_cache): most frames lie where the one before them lay.
 *
 * Everything that is read from a ring is untrusted:
 *
 *	bad ring	an address that does not translate, an index or a chain that makes no sense:
 *			the queue stops, and the device reports DEVICE_NEEDS_RESET.
 *	bad buffer	the ring is good and one request's buffer is not: -EFAULT, and the kind of
 *			device fails that request.
 *
 * A unit completes or gives back each fetched request before it drops its lock.  The position of a
 * stopped queue is thus one number, the next available entry, which is the next used entry as well.
 *
 * Limits: the split layout.
 */
#include <linux/bottom_half.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <net/netlink.h>
#include <uapi/linux/vdpa.h>

#include "vdpa_sim_core.h"

void vdpa_sim_queue_init(struct vdpa_sim_queue *vq, struct vdpa_sim_unit *unit, u16 idx)
{
	vq->unit = unit;
	vq->idx = idx;
	spin_lock_init(&vq->tlb_lock);
	vringh_kiov_init(&vq->in, NULL, 0);
	vringh_kiov_init(&vq->out, NULL, 0);
}

/* The device's position in the ring: the entry it will look at next. */
u16 vdpa_sim_queue_base(const struct vdpa_sim_queue *vq)
{
	return vq->active ? vq->vring.last_avail_idx : vq->position;
}

void vdpa_sim_queue_set_base(struct vdpa_sim_queue *vq, u16 position)
{
	vq->position = position;
	if (vq->active) {
		vq->vring.last_avail_idx = position;
		vq->vring.last_used_idx = position;
	}
}

/* Which translation the queue uses; space->sem is held, or nothing runs yet. */
void vdpa_sim_queue_bind(struct vdpa_sim_queue *vq, struct vdpa_sim_space *space)
{
	struct vdpa_sim_device *sim = vq->unit->sim;

	vq->map_cache.perm = 0;
	vringh_set_iotlb(&vq->vring,
			 READ_ONCE(sim->kernel_owned) ? (struct vhost_iotlb *)vdpa_sim_identity_tlb
						      : &space->tlb,
			 &vq->tlb_lock);
}

/* Begin where the queue stopped, or at the index that was set.  A bad size leaves it inactive. */
void vdpa_sim_queue_start(struct vdpa_sim_queue *vq)
{
	struct vdpa_sim_device *sim = vq->unit->sim;
	u16 position = vdpa_sim_queue_base(vq);

	lockdep_assert_held(&vq->unit->lock);
	if (!vq->ready || vq->active)
		return;
	if (vringh_init_iotlb(&vq->vring, sim->features, vq->num, false,
			      (struct vring_desc *)(uintptr_t)vq->desc,
			      (struct vring_avail *)(uintptr_t)vq->avail,
			      (struct vring_used *)(uintptr_t)vq->used))
		return;
	vq->broken = false;
	vq->quiet = false;
	vq->signal = false;
	WRITE_ONCE(vq->active, true);
	vdpa_sim_queue_set_base(vq, position);
}

void vdpa_sim_queue_stop(struct vdpa_sim_queue *vq)
{
	lockdep_assert_held(&vq->unit->lock);
	vq->position = vdpa_sim_queue_base(vq);
	WRITE_ONCE(vq->active, false);
}

void vdpa_sim_queue_reset(struct vdpa_sim_queue *vq)
{
	vdpa_sim_queue_stop(vq);
	vq->ready = false;
	vq->broken = false;
	vq->position = 0;
	vq->num = 0;
	vq->desc = 0;
	vq->avail = 0;
	vq->used = 0;
	memset(&vq->cb, 0, sizeof(vq->cb));
	memset(&vq->stats, 0, sizeof(vq->stats));
	vringh_kiov_cleanup(&vq->in);
	vringh_kiov_cleanup(&vq->out);
}

void vdpa_sim_queue_fail(struct vdpa_sim_queue *vq)
{
	struct vdpa_sim_device *sim = vq->unit->sim;

	if (vq->broken)
		return;
	vq->broken = true;
	vq->stats.errors++;
	dev_dbg(&sim->vdpa.dev, "queue %u: bad ring\n", vq->idx);
	WRITE_ONCE(sim->broken, true);
	vdpa_sim_config_changed(sim);
}
EXPORT_SYMBOL_GPL(vdpa_sim_queue_fail);

/**
 * vdpa_sim_queue_fetch - take the next request
 * @vq:  an active queue
 * @in:  gets the buffers that the device reads; NULL when requests must not have any
 * @out: the same for buffers that it writes
 *
 * Return: 1 with a request, 0 without.  A bad ring looks like one without requests from then on.
 */
int vdpa_sim_queue_fetch(struct vdpa_sim_queue *vq, struct vringh_kiov *in, struct vringh_kiov *out)
{
	int ret;

	if (unlikely(vq->broken))
		return 0;
	ret = vringh_getdesc_iotlb(&vq->vring, in, out, &vq->head, GFP_KERNEL);
	if (unlikely(ret < 0)) {
		vdpa_sim_queue_fail(vq);
		return 0;
	}
	return ret;
}
EXPORT_SYMBOL_GPL(vdpa_sim_queue_fetch);

/* Give back the request fetched last; the next fetch gets it again. */
void vdpa_sim_queue_abandon(struct vdpa_sim_queue *vq)
{
	vringh_abandon_iotlb(&vq->vring, 1);
}
EXPORT_SYMBOL_GPL(vdpa_sim_queue_abandon);

/* The driver gets back the request fetched last.  Interrupts wait for vdpa_sim_queue_check_interrupt(). */
int vdpa_sim_queue_complete(struct vdpa_sim_queue *vq, u32 written)
{
	/* The driver may see the request and read its own clock before this function continues. */
	u64 now = unlikely(vq->meter.silent) ? ktime_get_ns() : 0;
	int ret = vringh_complete_iotlb(&vq->vring, vq->head, written);

	if (unlikely(ret < 0)) {
		vdpa_sim_queue_fail(vq);
		return ret;
	}
	vq->signal = true;
	if (unlikely(vq->meter.silent))
		vdpa_sim_meter_first(vq, now);
	return 0;
}
EXPORT_SYMBOL_GPL(vdpa_sim_queue_complete);

/* Tell the driver not to kick: the worker polls the queue, or does not wait for it. */
void vdpa_sim_queue_disable_kicks(struct vdpa_sim_queue *vq)
{
	if (!vq->quiet && !vq->broken)
		vringh_notify_disable_iotlb(&vq->vring);
	vq->quiet = true;
}
EXPORT_SYMBOL_GPL(vdpa_sim_queue_disable_kicks);

/* Kicks are wanted again; false when something came in before the driver could know. */
bool vdpa_sim_queue_enable_kicks(struct vdpa_sim_queue *vq)
{
	if (vq->broken)
		return true;
	vq->quiet = false;
	return vringh_notify_enable_iotlb(&vq->vring);
}
EXPORT_SYMBOL_GPL(vdpa_sim_queue_enable_kicks);

/* The batch is done: does the driver want to hear of it?  Needs translations. */
void vdpa_sim_queue_check_interrupt(struct vdpa_sim_queue *vq)
{
	int ret;

	if (!vq->signal || vq->broken)
		return;
	ret = vringh_need_notify_iotlb(&vq->vring);
	if (ret < 0)
		vdpa_sim_queue_fail(vq);
	vq->signal = ret > 0;
}

/* Drivers' handlers expect to be called as from an interrupt: NAPI does not like to be preempted. */
void vdpa_sim_queue_interrupt(struct vdpa_sim_queue *vq)
{
	if (!vq->signal)
		return;
	vq->signal = false;
	if (!vq->cb.callback)
		return;
	local_bh_disable();
	vq->cb.callback(vq->cb.private);
	local_bh_enable();
}

int vdpa_sim_put_stat(struct sk_buff *msg, const char *name, u64 value)
{
	if (nla_put_string(msg, VDPA_ATTR_DEV_VENDOR_ATTR_NAME, name) ||
	    nla_put_u64_64bit(msg, VDPA_ATTR_DEV_VENDOR_ATTR_VALUE, value, VDPA_ATTR_PAD))
		return -EMSGSIZE;
	return 0;
}
EXPORT_SYMBOL_GPL(vdpa_sim_put_stat);

/* Cursors. */

void vdpa_sim_cursor_init(struct vdpa_sim_cursor *cur, struct vdpa_sim_queue *vq,
			  const struct vringh_kiov *iov)
{
	cur->vq = vq;
	cur->iov = iov->iov;
	cur->end = iov->iov + iov->used;
	cur->offset = 0;
	cur->perm = iov == &vq->in ? VHOST_MAP_RO : VHOST_MAP_WO;
}
EXPORT_SYMBOL_GPL(vdpa_sim_cursor_init);

/* Saturates: the lengths of untrusted descriptors can add up to more than a size_t holds. */
size_t vdpa_sim_iov_bytes(const struct vringh_kiov *iov)
{
	size_t sum = 0;
	unsigned int i;

	for (i = 0; i < iov->used; i++)
		if (check_add_overflow(sum, iov->iov[i].iov_len, &sum))
			return SIZE_MAX;
	return sum;
}
EXPORT_SYMBOL_GPL(vdpa_sim_iov_bytes);

static bool vdpa_sim_translate(struct vdpa_sim_queue *vq, u64 iova, u32 perm)
{
	struct vdpa_sim_map_cache *map_cache = &vq->map_cache;
	struct vhost_iotlb_map *map;

	if (iova >= map_cache->start && iova <= map_cache->last && map_cache->perm & perm)
		return true;
	map = vhost_iotlb_itree_first(vq->vring.iotlb, iova, iova);
	if (!map || !(map->perm & perm))
		return false;
	map_cache->start = map->start;
	map_cache->last = map->last;
	map_cache->addr = map->addr;
	map_cache->perm = map->perm;
	return true;
}

/*
 * The next contiguous range of at most @want bytes, in kernel memory.  Returns its length; 0 at the
 * end of the buffers, -EFAULT where they do not translate.
 */
static ssize_t vdpa_sim_cursor_range(struct vdpa_sim_cursor *cur, size_t want, void **memory)
{
	const struct vdpa_sim_map_cache *map_cache = &cur->vq->map_cache;
	u64 iova;
	size_t len;

	while (cur->iov < cur->end && cur->offset == cur->iov->iov_len) {
		cur->iov++;
		cur->offset = 0;
	}
	if (cur->iov == cur->end)
		return 0;
	iova = (u64)(uintptr_t)cur->iov->iov_base + cur->offset;
	len = min(want, cur->iov->iov_len - cur->offset);
	if (unlikely(!vdpa_sim_translate(cur->vq, iova, cur->perm)))
		return -EFAULT;
	if (unlikely(len - 1 > map_cache->last - iova))
		len = map_cache->last - iova + 1;
	*memory = phys_to_virt(map_cache->addr + (iova - map_cache->start));
	return min_t(size_t, len, INT_MAX);
}

/* Process @len contiguous bytes; the other end is in @arg, @done bytes from its start. */
typedef void vdpa_sim_step_fn(void *memory, size_t len, void *arg, size_t done);

static __always_inline int vdpa_sim_cursor_walk(struct vdpa_sim_cursor *cur, size_t len,
						vdpa_sim_step_fn *step, void *arg)
{
	size_t done = 0;

	while (done < len) {
		void *memory;
		ssize_t got = vdpa_sim_cursor_range(cur, len - done, &memory);

		if (unlikely(got <= 0))
			return got ? got : -ENODATA;
		step(memory, got, arg, done);
		cur->offset += got;
		done += got;
	}
	return 0;
}

static void vdpa_sim_step_read(void *memory, size_t len, void *arg, size_t done)
{
	memcpy(arg + done, memory, len);
}

static void vdpa_sim_step_write(void *memory, size_t len, void *arg, size_t done)
{
	memcpy(memory, arg + done, len);
}

static void vdpa_sim_step_zero(void *memory, size_t len, void *arg, size_t done)
{
	memset(memory, 0, len);
}

/*
 * All of these move the cursor by @len.  Return: 0, -EFAULT for an address that the driver has not
 * mapped (accordingly), -ENODATA when the buffers end before.
 */
int vdpa_sim_read(struct vdpa_sim_cursor *cur, void *to, size_t len)
{
	return vdpa_sim_cursor_walk(cur, len, vdpa_sim_step_read, to);
}
EXPORT_SYMBOL_GPL(vdpa_sim_read);

int vdpa_sim_write(struct vdpa_sim_cursor *cur, const void *from, size_t len)
{
	return vdpa_sim_cursor_walk(cur, len, vdpa_sim_step_write, (void *)from);
}
EXPORT_SYMBOL_GPL(vdpa_sim_write);

int vdpa_sim_zero(struct vdpa_sim_cursor *cur, size_t len)
{
	return vdpa_sim_cursor_walk(cur, len, vdpa_sim_step_zero, NULL);
}
EXPORT_SYMBOL_GPL(vdpa_sim_zero);

int vdpa_sim_skip(struct vdpa_sim_cursor *cur, size_t len)
{
	while (len) {
		size_t here;

		if (cur->iov == cur->end)
			return -ENODATA;
		here = min(len, cur->iov->iov_len - cur->offset);
		cur->offset += here;
		len -= here;
		if (cur->offset == cur->iov->iov_len) {
			cur->iov++;
			cur->offset = 0;
		}
	}
	return 0;
}
EXPORT_SYMBOL_GPL(vdpa_sim_skip);

/* From one driver's buffer into another; -EFAULT may be either's. */
int vdpa_sim_copy(struct vdpa_sim_cursor *to, struct vdpa_sim_cursor *from, size_t len)
{
	while (len) {
		void *memory;
		ssize_t got = vdpa_sim_cursor_range(from, len, &memory);
		int ret;

		if (unlikely(got <= 0))
			return got ? got : -ENODATA;
		ret = vdpa_sim_write(to, memory, got);
		if (unlikely(ret))
			return ret;
		from->offset += got;
		len -= got;
	}
	return 0;
}
EXPORT_SYMBOL_GPL(vdpa_sim_copy);
