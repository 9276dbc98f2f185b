// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Virtio-pci functions as vDPA devices: operations.
 *
 * Theory of operation
 *
 * The hardware is a virtio device, so most operations are a register.  Queues are the exception.
 * The user's settings are kept in struct vp_vdpa_queue, checked as a whole and handed over at once at
 * DRIVER_OK: they can be set in any order, as vhost does, and a queue is never enabled with a part
 * of them.
 *
 * Status bits that mean more than a write to the register are a table (vp_vdpa_status_steps), walked in
 * virtio's order:
 *
 *	FEATURES_OK	the chosen features go to the device, which may decline the bit
 *	DRIVER_OK	vectors, then every queue that is ready; FAILED when that does not work
 *
 * and a status of 0 is vp_vdpa_stop(), which also ends a vDPA device, in two phases: it resets the
 * device, which then neither writes to memory nor interrupts; then it waits for handlers, and only
 * then drops callbacks and settings.  Nothing that was handed in is used after it.
 *
 * A notification that is sent before DRIVER_OK is lost in the device, so every queue is notified
 * once when it is live.
 *
 * Queue state (the index of the next available entry) is the register of a live queue, and the last
 * value set of any other.  A device without such registers begins at index 0, and no other can be set;
 * the state of a live queue cannot be read (-EOPNOTSUPP).
 *
 * Limits: a queue that became ready after DRIVER_OK is started then; one that became unready runs
 * on until the reset, as virtio 1.0 hardware knows no other way.  No suspend: there is no register
 * for it, so a state read while the device runs is only as good as the queue is quiet.  One group,
 * one address space, that of the platform's IOMMU: a control queue cannot be shadowed by itself.
 */
#include <linux/vdpa_ext.h>

#include "vp_vdpa.h"

#define QUEUE_ALIGN PAGE_SIZE

static struct vp_vdpa_dev *vp_vdpa_to_dev(const struct vdpa_device *vdpa)
{
	return container_of(vdpa, struct vp_vdpa_dev, vdpa);
}

static struct vp_vdpa_function *vp_vdpa_to_fn(const struct vdpa_device *vdpa)
{
	return vp_vdpa_to_dev(vdpa)->fn;
}

static struct vp_vdpa_queue *vp_vdpa_to_queue(const struct vdpa_device *vdpa, u16 idx)
{
	return &vp_vdpa_to_fn(vdpa)->queues[idx];
}

/* Start and stop */

static int vp_vdpa_start_queue(struct vp_vdpa_function *fn, u16 i)
{
	int ret = vp_vdpa_hw_queue_start(fn, i);

	if (ret)
		pci_err(fn->pdev, "queue %u of %u entries does not start: %d\n", i,
			fn->queues[i].size, ret);
	fn->queues[i].live = !ret;
	return ret;
}

static int vp_vdpa_apply_features_ok(struct vp_vdpa_function *fn)
{
	u64 features = fn->dev->driver_features;

	/* Without these two the device cannot tell which kind of address the driver uses. */
	if (~features & (BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM)))
		return -EINVAL;
	vp_vdpa_hw_set_features(fn, features);
	return 0;
}

static int vp_vdpa_apply_driver_ok(struct vp_vdpa_function *fn)
{
	int ret;
	u16 i;

	/* Vectors that are there already are those of an attempt that failed: reset first. */
	if (fn->lines || !(vp_vdpa_hw_get_status(fn) & VIRTIO_CONFIG_S_FEATURES_OK))
		return -EINVAL;
	ret = vp_vdpa_irq_start(fn);
	for (i = 0; !ret && i < fn->nr_queues; i++)
		if (fn->queues[i].ready)
			ret = vp_vdpa_start_queue(fn, i);
	return ret;
}

static void vp_vdpa_notify_live_queues(struct vp_vdpa_function *fn)
{
	u16 i;

	for (i = 0; i < fn->nr_queues; i++)
		if (fn->queues[i].live)
			vp_vdpa_hw_kick(fn, i);
}

static const struct {
	u8 bit;
	u8 on_failure; /* set instead */
	int (*apply)(struct vp_vdpa_function *fn);
	void (*applied)(struct vp_vdpa_function *fn);
} vp_vdpa_status_steps[] = {
	{ VIRTIO_CONFIG_S_FEATURES_OK, 0, vp_vdpa_apply_features_ok, NULL },
	{ VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FAILED, vp_vdpa_apply_driver_ok,
	  vp_vdpa_notify_live_queues },
};

static void vp_vdpa_raise_status_locked(struct vp_vdpa_function *fn, u8 status)
{
	u8 old = vp_vdpa_hw_get_status(fn);
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(vp_vdpa_status_steps); i++) {
		u8 bit = vp_vdpa_status_steps[i].bit;

		if (!(status & ~old & bit))
			continue;
		ret = vp_vdpa_status_steps[i].apply(fn);
		if (ret) {
			pci_err(fn->pdev, "status %#x cannot be reached from %#x: %d\n", status,
				old, ret);
			vp_vdpa_hw_set_status(fn, old | vp_vdpa_status_steps[i].on_failure);
			return;
		}
		old |= bit | (status & (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER));
		vp_vdpa_hw_set_status(fn, old);
		if (vp_vdpa_status_steps[i].applied)
			vp_vdpa_status_steps[i].applied(fn);
	}
	vp_vdpa_hw_set_status(fn, status);
}

static void vp_vdpa_clear_queue(struct vp_vdpa_queue *queue)
{
	spin_lock_irq(&queue->cb_lock);
	queue->cb = (struct vdpa_callback) {};
	spin_unlock_irq(&queue->cb_lock);
	queue->desc = 0;
	queue->avail = 0;
	queue->used = 0;
	queue->size = 0;
	queue->next_avail = 0;
	queue->ready = false;
	queue->live = false;
}

int vp_vdpa_stop(struct vp_vdpa_function *fn)
{
	int ret;
	u16 i;

	mutex_lock(&fn->lock);
	ret = vp_vdpa_hw_reset(fn);
	vp_vdpa_irq_stop(fn);
	spin_lock_irq(&fn->config_cb_lock);
	fn->config_cb = (struct vdpa_callback) {};
	spin_unlock_irq(&fn->config_cb_lock);
	for (i = 0; i < fn->nr_queues; i++)
		vp_vdpa_clear_queue(&fn->queues[i]);
	if (fn->dev)
		fn->dev->driver_features = 0;
	mutex_unlock(&fn->lock);
	return ret;
}

static u8 vp_vdpa_op_get_status(struct vdpa_device *vdpa)
{
	return vp_vdpa_hw_get_status(vp_vdpa_to_fn(vdpa));
}

static void vp_vdpa_op_set_status(struct vdpa_device *vdpa, u8 status)
{
	struct vp_vdpa_function *fn = vp_vdpa_to_fn(vdpa);

	if (!status) {
		vp_vdpa_stop(fn);
		return;
	}
	mutex_lock(&fn->lock);
	if (!vp_vdpa_hw_removed(fn))
		vp_vdpa_raise_status_locked(fn, status);
	mutex_unlock(&fn->lock);
}

static int vp_vdpa_op_reset(struct vdpa_device *vdpa)
{
	return vp_vdpa_stop(vp_vdpa_to_fn(vdpa));
}

/* Features */

static u64 vp_vdpa_op_get_device_features(struct vdpa_device *vdpa)
{
	return vp_vdpa_to_dev(vdpa)->features;
}

static int vp_vdpa_op_set_driver_features(struct vdpa_device *vdpa, u64 features)
{
	struct vp_vdpa_dev *dev = vp_vdpa_to_dev(vdpa);

	if (features & ~dev->features)
		return -EINVAL;
	/* The bus sets features 0 before it reads the configuration for the first time. */
	if (features && !(features & BIT_ULL(VIRTIO_F_ACCESS_PLATFORM)))
		return -EINVAL;
	mutex_lock(&dev->fn->lock);
	dev->driver_features = features;
	mutex_unlock(&dev->fn->lock);
	return 0;
}

static u64 vp_vdpa_op_get_driver_features(struct vdpa_device *vdpa)
{
	return vp_vdpa_to_dev(vdpa)->driver_features;
}

/* Queues */

static int vp_vdpa_op_set_vq_address(struct vdpa_device *vdpa, u16 idx, u64 desc, u64 avail,
				     u64 used)
{
	struct vp_vdpa_queue *queue = vp_vdpa_to_queue(vdpa, idx);

	mutex_lock(&vp_vdpa_to_fn(vdpa)->lock);
	queue->desc = desc;
	queue->avail = avail;
	queue->used = used;
	mutex_unlock(&vp_vdpa_to_fn(vdpa)->lock);
	return 0;
}

static void vp_vdpa_op_set_vq_num(struct vdpa_device *vdpa, u16 idx, u32 num)
{
	mutex_lock(&vp_vdpa_to_fn(vdpa)->lock);
	vp_vdpa_to_queue(vdpa, idx)->size = num;
	mutex_unlock(&vp_vdpa_to_fn(vdpa)->lock);
}

static void vp_vdpa_op_set_vq_ready(struct vdpa_device *vdpa, u16 idx, bool ready)
{
	struct vp_vdpa_queue *queue = vp_vdpa_to_queue(vdpa, idx);
	struct vp_vdpa_function *fn = vp_vdpa_to_fn(vdpa);

	mutex_lock(&fn->lock);
	queue->ready = ready;
	if (ready && !queue->live && !vp_vdpa_hw_removed(fn) &&
	    (vp_vdpa_hw_get_status(fn) & VIRTIO_CONFIG_S_DRIVER_OK)) {
		if (vp_vdpa_start_queue(fn, idx))
			queue->ready = false;
		else
			vp_vdpa_hw_kick(fn, idx);
	}
	mutex_unlock(&fn->lock);
}

static bool vp_vdpa_op_get_vq_ready(struct vdpa_device *vdpa, u16 idx)
{
	return vp_vdpa_to_queue(vdpa, idx)->ready;
}

static int vp_vdpa_op_set_vq_state(struct vdpa_device *vdpa, u16 idx,
				   const struct vdpa_vq_state *state)
{
	struct vp_vdpa_queue *queue = vp_vdpa_to_queue(vdpa, idx);
	int ret = 0;

	mutex_lock(&vp_vdpa_to_fn(vdpa)->lock);
	if (queue->live)
		ret = -EBUSY;
	else if (state->split.avail_index && !vp_vdpa_to_fn(vdpa)->type.positions)
		ret = -EOPNOTSUPP;
	else
		queue->next_avail = state->split.avail_index;
	mutex_unlock(&vp_vdpa_to_fn(vdpa)->lock);
	return ret;
}

static int vp_vdpa_op_get_vq_state(struct vdpa_device *vdpa, u16 idx, struct vdpa_vq_state *state)
{
	struct vp_vdpa_queue *queue = vp_vdpa_to_queue(vdpa, idx);
	struct vp_vdpa_function *fn = vp_vdpa_to_fn(vdpa);
	int ret = 0;

	mutex_lock(&fn->lock);
	if (!queue->live)
		state->split.avail_index = queue->next_avail;
	else if (!fn->type.positions)
		ret = -EOPNOTSUPP;
	else
		state->split.avail_index = vp_vdpa_hw_next_avail(fn, idx);
	/* Checked after the read: a device that is there now was there for the read. */
	if (queue->live && vp_vdpa_hw_removed(fn))
		ret = -ENODEV;
	mutex_unlock(&fn->lock);
	return ret;
}

static void vp_vdpa_op_set_vq_cb(struct vdpa_device *vdpa, u16 idx, struct vdpa_callback *cb)
{
	struct vp_vdpa_queue *queue = vp_vdpa_to_queue(vdpa, idx);

	spin_lock_irq(&queue->cb_lock);
	queue->cb = *cb;
	spin_unlock_irq(&queue->cb_lock);
}

static int vp_vdpa_op_get_vq_irq(struct vdpa_device *vdpa, u16 idx)
{
	return vp_vdpa_irq_of(vp_vdpa_to_fn(vdpa), idx);
}

static void vp_vdpa_op_kick_vq(struct vdpa_device *vdpa, u16 idx)
{
	vp_vdpa_hw_kick(vp_vdpa_to_fn(vdpa), idx);
}

/*
 * A user may map a page of doorbells only if there is nothing else in that page: the whole of it has
 * to be notify region.  Any other doorbell is reported with a size that is no page.
 */
static struct vdpa_notification_area vp_vdpa_op_get_vq_notification(struct vdpa_device *vdpa,
								    u16 idx)
{
	const struct vp_vdpa_region *notify = &vp_vdpa_to_fn(vdpa)->regions[VP_VDPA_NOTIFY];
	phys_addr_t addr = vp_vdpa_to_queue(vdpa, idx)->doorbell_pa;
	bool page = PAGE_ALIGNED(addr) && addr + PAGE_SIZE <= notify->pa + notify->len;

	return (struct vdpa_notification_area) {
		.addr = addr,
		.size = page ? PAGE_SIZE : sizeof(__le16),
	};
}

static u16 vp_vdpa_op_get_vq_size(struct vdpa_device *vdpa, u16 idx)
{
	return idx < vp_vdpa_to_fn(vdpa)->nr_queues ? vp_vdpa_to_queue(vdpa, idx)->max_size : 0;
}

/* The largest of all queues; the others are held to vp_vdpa_op_get_vq_size(). */
static u16 vp_vdpa_op_get_vq_num_max(struct vdpa_device *vdpa)
{
	const struct vp_vdpa_function *fn = vp_vdpa_to_fn(vdpa);
	u16 i, most = 0;

	for (i = 0; i < fn->nr_queues; i++)
		most = max(most, fn->queues[i].max_size);
	return most;
}

static u32 vp_vdpa_op_get_vq_align(struct vdpa_device *vdpa)
{
	return QUEUE_ALIGN;
}

static u32 vp_vdpa_op_get_vq_group(struct vdpa_device *vdpa, u16 idx)
{
	return 0;
}

/* Identity and configuration */

static u32 vp_vdpa_op_get_device_id(struct vdpa_device *vdpa)
{
	return vp_vdpa_to_fn(vdpa)->type.virtio_id;
}

static u32 vp_vdpa_op_get_vendor_id(struct vdpa_device *vdpa)
{
	return vp_vdpa_to_fn(vdpa)->pdev->subsystem_vendor;
}

static size_t vp_vdpa_op_get_config_size(struct vdpa_device *vdpa)
{
	return vp_vdpa_to_fn(vdpa)->config_len;
}

static void vp_vdpa_op_get_config(struct vdpa_device *vdpa, unsigned int off, void *buf,
				  unsigned int len)
{
	vp_vdpa_hw_read_config(vp_vdpa_to_fn(vdpa), off, buf, len);
}

static void vp_vdpa_op_set_config(struct vdpa_device *vdpa, unsigned int off, const void *buf,
				  unsigned int len)
{
	vp_vdpa_hw_write_config(vp_vdpa_to_fn(vdpa), off, buf, len);
}

static u32 vp_vdpa_op_get_generation(struct vdpa_device *vdpa)
{
	return vp_vdpa_hw_generation(vp_vdpa_to_fn(vdpa));
}

static void vp_vdpa_op_set_config_cb(struct vdpa_device *vdpa, struct vdpa_callback *cb)
{
	struct vp_vdpa_function *fn = vp_vdpa_to_fn(vdpa);

	spin_lock_irq(&fn->config_cb_lock);
	fn->config_cb = *cb;
	spin_unlock_irq(&fn->config_cb_lock);
}

static const struct vdpa_config_ops vp_vdpa_config_ops = {
	.get_status = vp_vdpa_op_get_status,
	.set_status = vp_vdpa_op_set_status,
	.reset = vp_vdpa_op_reset,
	.get_device_features = vp_vdpa_op_get_device_features,
	.set_driver_features = vp_vdpa_op_set_driver_features,
	.get_driver_features = vp_vdpa_op_get_driver_features,
	.set_vq_address = vp_vdpa_op_set_vq_address,
	.set_vq_num = vp_vdpa_op_set_vq_num,
	.set_vq_ready = vp_vdpa_op_set_vq_ready,
	.get_vq_ready = vp_vdpa_op_get_vq_ready,
	.set_vq_state = vp_vdpa_op_set_vq_state,
	.get_vq_state = vp_vdpa_op_get_vq_state,
	.set_vq_cb = vp_vdpa_op_set_vq_cb,
	.get_vq_irq = vp_vdpa_op_get_vq_irq,
	.kick_vq = vp_vdpa_op_kick_vq,
	.get_vq_notification = vp_vdpa_op_get_vq_notification,
#ifndef VDPA_NEEDS_EXT_OPS
	.get_vq_size = vp_vdpa_op_get_vq_size,
#endif
	.get_vq_num_max = vp_vdpa_op_get_vq_num_max,
	.get_vq_align = vp_vdpa_op_get_vq_align,
	.get_vq_group = vp_vdpa_op_get_vq_group,
	.get_device_id = vp_vdpa_op_get_device_id,
	.get_vendor_id = vp_vdpa_op_get_vendor_id,
	.get_config_size = vp_vdpa_op_get_config_size,
	.get_config = vp_vdpa_op_get_config,
	.set_config = vp_vdpa_op_set_config,
	.get_generation = vp_vdpa_op_get_generation,
	.set_config_cb = vp_vdpa_op_set_config_cb,
};

#ifdef VDPA_NEEDS_EXT_OPS
static const struct vdpa_ext_ops vp_vdpa_ext_ops = {
	.get_vq_size = vp_vdpa_op_get_vq_size,
};

static int vp_vdpa_set_ext_ops(struct vp_vdpa_dev *dev)
{
	return vdpa_set_ext_ops(&dev->vdpa, &vp_vdpa_ext_ops);
}
#else
static int vp_vdpa_set_ext_ops(struct vp_vdpa_dev *dev)
{
	return 0;
}
#endif

int vp_vdpa_dev_create(struct vp_vdpa_function *fn, const char *name, u64 features)
{
	struct vp_vdpa_dev *dev;
	int ret;

	ret = vp_vdpa_stop(fn);
	if (ret)
		return ret;
	dev = vdpa_alloc_device(struct vp_vdpa_dev, vdpa, &fn->pdev->dev, &vp_vdpa_config_ops, 1, 1,
				name, false);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	dev->fn = fn;
	dev->features = features;
	dev->vdpa.dma_dev = &fn->pdev->dev;
	dev->vdpa.mdev = &fn->mgmt;
	ret = vp_vdpa_set_ext_ops(dev);
	if (ret)
		goto put;
	/* Its driver can be at work before the registration returns. */
	fn->dev = dev;
	ret = _vdpa_register_device(&dev->vdpa, fn->nr_queues);
	if (ret)
		goto forget;
	return 0;

forget:
	fn->dev = NULL;
put:
	put_device(&dev->vdpa.dev);
	return ret;
}
