// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Virtqueues of the kernel's virtio drivers on the queues of a vDPA device.
 *
 * The ring is made by virtio_ring, in memory of the device that does DMA; the vDPA device is told its
 * size, its three addresses and where to begin, and made ready:
 *
 *	create -> program: callback, size, addresses, state -> publish -> ready
 *	quiet: not ready, no callback -> unpublish -> grace period -> delete
 *
 * Events.  A device calls back from its interrupt handler, or with bottom halves off, so inside an RCU
 * read-side section: an event either finds the virtqueue published, or NULL.  When the grace period
 * after unpublishing is over, no event has the virtqueue in hand any more, and its ring can go.
 *
 * Queue reset (virtio 1.2, 2.6.1) is the same without creation and deletion: the driver resizes the
 * ring between the two.
 *
 * Limits: a device that does not stop a queue when told so would write into memory that has been freed.
 * Where the device reports that, the queue reset fails; at removal it is only logged.
 */
#include <linux/log2.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/vdpa_ext.h>
#include <linux/virtio_ring.h>

#include "virtio_vdpa_core.h"

static irqreturn_t virtio_vdpa_queue_event(void *private)
{
	struct virtio_vdpa_queue *queue = private;
	irqreturn_t handled = IRQ_NONE;
	struct virtqueue *vq;

	rcu_read_lock();
	vq = rcu_dereference(queue->vq);
	if (vq)
		handled = vring_interrupt(0, vq);
	rcu_read_unlock();
	return handled;
}

static irqreturn_t virtio_vdpa_config_event(void *private)
{
	virtio_config_changed(private);
	return IRQ_HANDLED;
}

static bool virtio_vdpa_kick(struct virtqueue *vq)
{
	struct vdpa_device *vdpa = virtio_vdpa_from_vdev(vq->vdev)->vdpa;

	vdpa->config->kick_vq(vdpa, vq->index);
	return true;
}

static void virtio_vdpa_initial_state(struct virtio_device *vdev, struct vdpa_vq_state *state)
{
	memset(state, 0, sizeof(*state));
	if (virtio_has_feature(vdev, VIRTIO_F_RING_PACKED)) {
		/* both wrap counters of a packed ring begin at 1 (virtio 1.2, 2.8.1) */
		state->packed.last_avail_counter = 1;
		state->packed.last_used_counter = 1;
	}
}

/* Tell the device about a ring, and let it begin. */
static int virtio_vdpa_start_queue(struct virtio_vdpa *vv, struct virtqueue *vq)
{
	const struct vdpa_config_ops *ops = vv->vdpa->config;
	struct virtio_vdpa_queue *queue = &vv->queues[vq->index];
	struct vdpa_callback event = {
		.callback = vq->callback ? virtio_vdpa_queue_event : NULL,
		.private = queue,
	};
	struct vdpa_vq_state state;
	int err;

	virtio_vdpa_initial_state(&vv->vdev, &state);
	ops->set_vq_cb(vv->vdpa, vq->index, &event);
	ops->set_vq_num(vv->vdpa, vq->index, virtqueue_get_vring_size(vq));
	err = ops->set_vq_address(vv->vdpa, vq->index, virtqueue_get_desc_addr(vq),
				  virtqueue_get_avail_addr(vq), virtqueue_get_used_addr(vq));
	if (!err)
		err = ops->set_vq_state(vv->vdpa, vq->index, &state);
	if (err) {
		event.callback = NULL;
		ops->set_vq_cb(vv->vdpa, vq->index, &event);
		return err;
	}

	/* pairs with rcu_dereference() in virtio_vdpa_queue_event(): the virtqueue's members */
	rcu_assign_pointer(queue->vq, vq);
	ops->set_vq_ready(vv->vdpa, vq->index, true);
	return 0;
}

/* Hide the virtqueue from new events; the caller waits for running ones.  Did the queue stop? */
static bool virtio_vdpa_stop_queue(struct virtio_vdpa *vv, unsigned int index)
{
	const struct vdpa_config_ops *ops = vv->vdpa->config;
	struct vdpa_callback none = {};

	ops->set_vq_ready(vv->vdpa, index, false);
	ops->set_vq_cb(vv->vdpa, index, &none);
	RCU_INIT_POINTER(vv->queues[index].vq, NULL);
	return !ops->get_vq_ready(vv->vdpa, index);
}

/* Largest ring for a queue; 0 for none. */
static u32 virtio_vdpa_ring_size(struct virtio_vdpa *vv, unsigned int index)
{
	const struct vdpa_ext_ops *ext = vdpa_get_ext_ops(vv->vdpa);
	u32 size = vv->vdpa->config->get_vq_num_max(vv->vdpa);

	if (ext && ext->get_vq_size)
		size = min_t(u32, size, ext->get_vq_size(vv->vdpa, index));
	if (size && !virtio_has_feature(&vv->vdev, VIRTIO_F_RING_PACKED))
		size = rounddown_pow_of_two(size);
	return size;
}

static struct virtqueue *virtio_vdpa_create_ring(struct virtio_vdpa *vv, unsigned int index,
						 vq_callback_t *callback, const char *name,
						 bool ctx)
{
	const struct vdpa_config_ops *ops = vv->vdpa->config;
	u32 least = ops->get_vq_num_min ? ops->get_vq_num_min(vv->vdpa) : 1;
	u32 size = virtio_vdpa_ring_size(vv, index);
	struct virtqueue *vq;

	if (!size || size < least)
		return ERR_PTR(-ENOENT);
	vq = vring_create_virtqueue(index, size, ops->get_vq_align(vv->vdpa), &vv->vdev, true,
				    size > least, ctx, virtio_vdpa_kick, callback, name);
	if (!vq)
		return ERR_PTR(-ENOMEM);
	if (virtqueue_get_vring_size(vq) < least) {
		/* made smaller for want of memory, and too small now */
		vring_del_virtqueue(vq);
		return ERR_PTR(-ENOMEM);
	}
	vq->num_max = size;
	return vq;
}

static struct virtqueue *virtio_vdpa_add_queue(struct virtio_vdpa *vv, unsigned int index,
					       vq_callback_t *callback, const char *name, bool ctx)
{
	struct virtqueue *vq;
	int err;

	if (index >= vv->nqueues)
		return ERR_PTR(-ENOENT);
	if (vv->vdpa->config->get_vq_ready(vv->vdpa, index))
		return ERR_PTR(-EBUSY);

	vq = virtio_vdpa_create_ring(vv, index, callback, name, ctx);
	if (IS_ERR(vq))
		return vq;
	err = virtio_vdpa_start_queue(vv, vq);
	if (err) {
		vring_del_virtqueue(vq);
		return ERR_PTR(err);
	}
	return vq;
}

static void virtio_vdpa_set_config_event(struct virtio_vdpa *vv, bool on)
{
	struct vdpa_callback event = {
		.callback = on ? virtio_vdpa_config_event : NULL,
		.private = &vv->vdev,
	};

	vv->vdpa->config->set_config_cb(vv->vdpa, &event);
}

/**
 * virtio_vdpa_del_queues - virtio_config_ops.del_vqs
 * @vdev: the virtio device; the driver has reset it as a rule
 *
 * First all queues stop and are unpublished, then one grace period for all, then the rings are
 * freed.
 */
void virtio_vdpa_del_queues(struct virtio_device *vdev)
{
	struct virtio_vdpa *vv = virtio_vdpa_from_vdev(vdev);
	struct virtqueue *vq, *next;

	virtio_vdpa_set_config_event(vv, false);
	list_for_each_entry(vq, &vdev->vqs, list)
		if (!virtio_vdpa_stop_queue(vv, vq->index))
			dev_err_ratelimited(&vdev->dev, "queue %u did not stop\n", vq->index);
	synchronize_rcu();

	list_for_each_entry_safe(vq, next, &vdev->vqs, list)
		vring_del_virtqueue(vq);
	virtio_vdpa_clear_affinity(vv);
}

/**
 * virtio_vdpa_find_queues - virtio_config_ops.find_vqs
 * @vdev: the virtio device, with features negotiated
 * @n: number of queues that the driver knows
 * @vqs: filled; NULL for those without a name
 * @callbacks: by queue; NULL for one that is polled
 * @names: by queue; NULL for one that is not used, and then none of the device's is used up either
 * @ctx: by queue: does it keep a context with each buffer; NULL for none
 * @spread: how to spread the queues over CPUs; NULL for not at all
 *
 * Return: 0; -ENOENT for more queues than there are, -EBUSY for one in use, -ENOMEM, or the device's
 * error
 */
int virtio_vdpa_find_queues(struct virtio_device *vdev, unsigned int n, struct virtqueue *vqs[],
			    vq_callback_t *callbacks[], const char *const names[], const bool *ctx,
			    struct irq_affinity *spread)
{
	struct virtio_vdpa *vv = virtio_vdpa_from_vdev(vdev);
	unsigned int i, index = 0;
	int err;

	for (i = 0; i < n; i++) {
		vqs[i] = names[i] ? virtio_vdpa_add_queue(vv, index++, callbacks[i], names[i],
							  ctx && ctx[i])
				  : NULL;
		if (IS_ERR(vqs[i])) {
			err = PTR_ERR(vqs[i]);
			goto undo_queues;
		}
	}
	if (spread)
		virtio_vdpa_spread(vv, spread, vqs, n);
	virtio_vdpa_set_config_event(vv, true);
	return 0;

undo_queues:
	virtio_vdpa_del_queues(vdev);
	return err;
}

/**
 * virtio_vdpa_disable_queue - virtio_config_ops.disable_vq_and_reset
 * @vq: in use
 *
 * Return: 0, -ENOENT without VIRTIO_F_RING_RESET, -EBUSY for a queue that does not stop
 */
int virtio_vdpa_disable_queue(struct virtqueue *vq)
{
	struct virtio_vdpa *vv = virtio_vdpa_from_vdev(vq->vdev);

	if (!virtio_has_feature(vq->vdev, VIRTIO_F_RING_RESET))
		return -ENOENT;
	if (!virtio_vdpa_stop_queue(vv, vq->index))
		return -EBUSY;
	synchronize_rcu();
	vq->reset = true;
	return 0;
}

/**
 * virtio_vdpa_enable_queue - virtio_config_ops.enable_vq_after_reset
 * @vq: after virtio_vdpa_disable_queue(), with a ring of any size
 *
 * Return: 0, -EBUSY for a queue that is in use, or the device's error
 */
int virtio_vdpa_enable_queue(struct virtqueue *vq)
{
	struct virtio_vdpa *vv = virtio_vdpa_from_vdev(vq->vdev);
	int err;

	if (!vq->reset || vv->vdpa->config->get_vq_ready(vv->vdpa, vq->index))
		return -EBUSY;
	err = virtio_vdpa_start_queue(vv, vq);
	if (!err)
		vq->reset = false;
	return err;
}
