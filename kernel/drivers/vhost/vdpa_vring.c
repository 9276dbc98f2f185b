// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost_vdpa: ioctls about one queue, and the ways in and out of it.
 *
 * Theory of operation
 *
 * Addresses, size and position of a ring go to the device; nothing of them is kept here.
 *
 *	kick eventfd  --(vhost_poll)-->  vhost_vdpa_queue_kick()  -->  config->kick_vq()
 *	device's interrupt  -->  vhost_vdpa_signal_raise()  -->  call eventfd
 *	device's interrupt  --(irq bypass)-->  the guest, while the queue runs
 *
 * A kick is delivered inside the write to the eventfd, that is, with interrupts off.
 *
 * A call eventfd can be replaced while the device interrupts.  The one in use is protected by a lock
 * that vhost_vdpa_signal_raise() holds while it signals, so that none is freed in the middle; and the old one
 * is put only after the device has been given the new one, because a device may signal it directly
 * (vdpa_callback.trigger).
 *
 * A ring's position is one number for user space.  Split rings: the index of the next available
 * entry.  Packed rings: bits 0-15 that of the available side, 16-31 that of the used side, each with
 * its wrap counter in the top bit.
 *
 * Limits: a replaced call eventfd may still be signalled by an interrupt that was on its way.
 */

#include <linux/eventfd.h>

#include "vdpa_priv.h"

#define BASE_BITS      15
#define BASE_MASK      ((1U << BASE_BITS) - 1)
#define PACKED_NUM_MAX (1U << BASE_BITS)

irqreturn_t vhost_vdpa_signal_raise(void *data)
{
	struct vhost_vdpa_signal *signal = data;
	unsigned long flags;

	spin_lock_irqsave(&signal->lock, flags);
	if (signal->ctx)
		eventfd_signal(signal->ctx, 1);
	spin_unlock_irqrestore(&signal->lock, flags);
	return IRQ_HANDLED;
}

/* Returns the former context, which the caller owns now. */
struct eventfd_ctx *vhost_vdpa_signal_swap(struct vhost_vdpa_signal *signal,
					   struct eventfd_ctx *ctx)
{
	spin_lock_irq(&signal->lock);
	swap(signal->ctx, ctx);
	spin_unlock_irq(&signal->lock);
	return ctx;
}

/* NULL for VHOST_FILE_UNBIND; otherwise the caller owns a reference. */
int vhost_vdpa_signal_from_fd(int fd, struct eventfd_ctx **ctx)
{
	*ctx = fd == VHOST_FILE_UNBIND ? NULL : eventfd_ctx_fdget(fd);
	return PTR_ERR_OR_ZERO(*ctx);
}

static void vhost_vdpa_queue_kick(struct vhost_work *work)
{
	struct vhost_virtqueue *vq = container_of(work, struct vhost_virtqueue, poll.work);
	struct vhost_vdpa_queue *q = container_of(vq, struct vhost_vdpa_queue, vq);
	struct vhost_vdpa_session *s = container_of(vq->dev, struct vhost_vdpa_session, vhost);

	s->vdpa->config->kick_vq(s->vdpa, q - s->queue);
}

/* Offer the queue's interrupt to the consumer of its call eventfd, typically KVM. */
static void vhost_vdpa_bypass_start(struct vhost_vdpa_session *s, u16 idx)
{
	struct vhost_vdpa_queue *q = &s->queue[idx];
	int irq, err;

	if (q->bypassed || !q->call.ctx || !s->vdpa->config->get_vq_irq)
		return;
	irq = s->vdpa->config->get_vq_irq(s->vdpa, idx);
	if (irq < 0)
		return;
	q->producer = (struct irq_bypass_producer) { .token = q->call.ctx, .irq = irq };
	err = irq_bypass_register_producer(&q->producer);
	if (err)
		dev_info_ratelimited(&s->node->dev, "queue %u: interrupts are not bypassed: %d\n",
				     idx, err);
	q->bypassed = !err;
}

static void vhost_vdpa_bypass_stop(struct vhost_vdpa_queue *q)
{
	if (q->bypassed)
		irq_bypass_unregister_producer(&q->producer);
	q->bypassed = false;
}

/* Interrupts are bypassed from DRIVER_OK to reset.  vhost.mutex held. */
void vhost_vdpa_bypass_all(struct vhost_vdpa_session *s, bool on)
{
	u32 i;

	for (i = 0; i < s->nvqs; i++) {
		if (on)
			vhost_vdpa_bypass_start(s, i);
		else
			vhost_vdpa_bypass_stop(&s->queue[i]);
	}
}

void vhost_vdpa_queues_init(struct vhost_vdpa_session *s)
{
	u32 i;

	for (i = 0; i < s->nvqs; i++) {
		spin_lock_init(&s->queue[i].call.lock);
		s->queue[i].vq.handle_kick = vhost_vdpa_queue_kick;
		s->vqs[i] = &s->queue[i].vq;
	}
	vhost_dev_init(&s->vhost, s->vqs, s->nvqs, 0, 0, 0, false, NULL);
}

/* The device reports nothing any more.  vhost.mutex held. */
void vhost_vdpa_queues_clear_callbacks(struct vhost_vdpa_session *s)
{
	struct vdpa_callback none = {};
	u32 i;

	vhost_vdpa_bypass_all(s, false);
	for (i = 0; i < s->nvqs; i++)
		s->vdpa->config->set_vq_cb(s->vdpa, i, &none);
}

/* The session is detached, or was never attached. */
void vhost_vdpa_queues_free(struct vhost_vdpa_session *s)
{
	struct eventfd_ctx *ctx;
	u32 i;

	for (i = 0; i < s->nvqs; i++) {
		ctx = vhost_vdpa_signal_swap(&s->queue[i].call, NULL);
		if (ctx)
			eventfd_ctx_put(ctx);
	}
	vhost_dev_cleanup(&s->vhost);
}

static bool vhost_vdpa_ring_is_packed(struct vhost_vdpa_session *s)
{
	return s->vdpa->config->get_driver_features(s->vdpa) & BIT_ULL(VIRTIO_F_RING_PACKED);
}

/* How many entries a queue may have. */
static u32 vhost_vdpa_num_max(struct vhost_vdpa_session *s, u16 idx)
{
	const struct vdpa_ext_ops *ext = vdpa_get_ext_ops(s->vdpa);

	if (ext && ext->get_vq_size)
		return ext->get_vq_size(s->vdpa, idx);
	return s->vdpa->config->get_vq_num_max(s->vdpa);
}

int vhost_vdpa_vring_set_num(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg)
{
	u32 num = arg->vring.num;
	bool legal;

	legal = vhost_vdpa_ring_is_packed(s) ? num && num <= PACKED_NUM_MAX : is_power_of_2(num);
	if (!legal || num > vhost_vdpa_num_max(s, idx))
		return -EINVAL;
	s->vdpa->config->set_vq_num(s->vdpa, idx, num);
	return 0;
}

/* Check the specification's alignments; the device checks where the addresses lead. */
int vhost_vdpa_vring_set_addr(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg)
{
	const struct vhost_vring_addr *a = &arg->addr;

	if (a->flags & ~BIT(VHOST_VRING_F_LOG))
		return -EOPNOTSUPP;
	if (!IS_ALIGNED(a->desc_user_addr, VRING_DESC_ALIGN_SIZE) ||
	    !IS_ALIGNED(a->avail_user_addr, VRING_AVAIL_ALIGN_SIZE) ||
	    !IS_ALIGNED(a->used_user_addr, VRING_USED_ALIGN_SIZE))
		return -EINVAL;
	return s->vdpa->config->set_vq_address(s->vdpa, idx, a->desc_user_addr, a->avail_user_addr,
					       a->used_user_addr);
}

int vhost_vdpa_vring_set_base(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg)
{
	struct vdpa_vq_state state = {};
	u32 num = arg->vring.num;

	if (vhost_vdpa_ring_is_packed(s)) {
		state.packed.last_avail_idx = num & BASE_MASK;
		state.packed.last_avail_counter = num >> BASE_BITS;
		state.packed.last_used_idx = (num >> 16) & BASE_MASK;
		state.packed.last_used_counter = num >> (16 + BASE_BITS);
	} else {
		if (num > U16_MAX)
			return -EINVAL;
		state.split.avail_index = num;
	}
	return s->vdpa->config->set_vq_state(s->vdpa, idx, &state);
}

int vhost_vdpa_vring_get_base(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg)
{
	struct vdpa_vq_state state = {};
	int err = s->vdpa->config->get_vq_state(s->vdpa, idx, &state);

	if (err)
		return err;
	if (vhost_vdpa_ring_is_packed(s))
		arg->vring.num = state.packed.last_avail_idx |
				 (u32)state.packed.last_avail_counter << BASE_BITS |
				 (u32)state.packed.last_used_idx << 16 |
				 (u32)state.packed.last_used_counter << (16 + BASE_BITS);
	else
		arg->vring.num = state.split.avail_index;
	return 0;
}

int vhost_vdpa_vring_set_call(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg)
{
	struct vhost_vdpa_queue *q = &s->queue[idx];
	struct vdpa_callback cb = {};
	struct eventfd_ctx *ctx, *old;
	u8 status;
	int err;

	err = vhost_vdpa_signal_from_fd(arg->file.fd, &ctx);
	if (err)
		return err;
	if (ctx)
		cb = (struct vdpa_callback) {
			.callback = vhost_vdpa_signal_raise,
			.private = &q->call,
			.trigger = ctx,
		};
	vhost_vdpa_bypass_stop(q);
	old = vhost_vdpa_signal_swap(&q->call, ctx);
	s->vdpa->config->set_vq_cb(s->vdpa, idx, &cb);
	status = s->vdpa->config->get_status(s->vdpa);
	if (status & VIRTIO_CONFIG_S_DRIVER_OK)
		vhost_vdpa_bypass_start(s, idx);
	if (old)
		eventfd_ctx_put(old);
	return 0;
}

int vhost_vdpa_vring_enable(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg)
{
	s->vdpa->config->set_vq_ready(s->vdpa, idx, arg->vring.num);
	return 0;
}

int vhost_vdpa_vring_get_group(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg)
{
	if (!s->vdpa->config->get_vq_group)
		return -EOPNOTSUPP;
	arg->vring.num = s->vdpa->config->get_vq_group(s->vdpa, idx);
	return arg->vring.num < s->vdpa->ngroups ? 0 : -EIO;
}

/* Descriptors in a group of their own: no 6.1 device has a way to say so. */
int vhost_vdpa_vring_get_desc_group(struct vhost_vdpa_session *s, u16 idx,
				    union vhost_vdpa_arg *arg)
{
	return -EOPNOTSUPP;
}

int vhost_vdpa_vring_get_size(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg)
{
	arg->vring.num = vhost_vdpa_num_max(s, idx);
	return 0;
}
