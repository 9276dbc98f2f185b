// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Intel IFC VF: operations of the vDPA device.
 *
 * Theory of operation
 *
 * The hardware is a virtio device, so most operations are a register.  Queues are the exception.
 * The user's settings are kept in struct ifcvf_queue, checked as a whole and handed over at once at
 * DRIVER_OK: they can be set in any order, as vhost does, and a queue is never enabled with a part
 * of them.
 *
 * Status bits that mean more than a write to the register are a table (ifcvf_status_steps), walked in
 * virtio's order:
 *
 *	FEATURES_OK	the chosen features go to the device, which may decline the bit
 *	DRIVER_OK	vectors, then every queue that is ready; FAILED when that does not work
 *
 * and a status of 0 is ifcvf_stop(), which also ends a vDPA device, in two phases: it resets the
 * device, which then neither writes to memory nor interrupts; then it waits for handlers, and only
 * then drops callbacks and settings.  Nothing that was handed in is used after it.
 *
 * A notification that is sent before DRIVER_OK is lost in the device, so every queue is notified
 * once when it is live.
 *
 * Queue state (the index of the next available entry) is the live-migration register of a live
 * queue, and the last value set of any other.
 *
 * Limits: a queue that became ready after DRIVER_OK is started then; one that became unready runs
 * on until the reset, as virtio 1.0 hardware knows no other way.  No suspend: there is no register
 * for it, so a state read while the device runs is only as good as the queue is quiet.  One group,
 * one address space, that of the platform's IOMMU: a control queue cannot be shadowed by itself.
 */
#include <linux/vdpa_ext.h>

#include "ifcvf.h"

#define QUEUE_ALIGN PAGE_SIZE

static struct ifcvf_dev *ifcvf_to_dev(const struct vdpa_device *vdpa)
{
	return container_of(vdpa, struct ifcvf_dev, vdpa);
}

static struct ifcvf_vf *ifcvf_to_vf(const struct vdpa_device *vdpa)
{
	return ifcvf_to_dev(vdpa)->vf;
}

static struct ifcvf_queue *ifcvf_to_queue(const struct vdpa_device *vdpa, u16 idx)
{
	return &ifcvf_to_vf(vdpa)->queues[idx];
}

/* Start and stop */

static int ifcvf_start_queue(struct ifcvf_vf *vf, u16 i)
{
	int ret = ifcvf_hw_queue_start(vf, i);

	if (ret)
		pci_err(vf->pdev, "queue %u of %u entries does not start: %d\n", i,
			vf->queues[i].size, ret);
	vf->queues[i].live = !ret;
	return ret;
}

static int ifcvf_apply_features_ok(struct ifcvf_vf *vf)
{
	u64 features = vf->dev->driver_features;

	/* Without these two the device cannot tell which kind of address the driver uses. */
	if (~features & (BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ACCESS_PLATFORM)))
		return -EINVAL;
	ifcvf_hw_set_features(vf, features);
	return 0;
}

static int ifcvf_apply_driver_ok(struct ifcvf_vf *vf)
{
	int ret;
	u16 i;

	/* Vectors that are there already are those of an attempt that failed: reset first. */
	if (vf->lines || !(ifcvf_hw_get_status(vf) & VIRTIO_CONFIG_S_FEATURES_OK))
		return -EINVAL;
	ret = ifcvf_irq_start(vf);
	for (i = 0; !ret && i < vf->nr_queues; i++)
		if (vf->queues[i].ready)
			ret = ifcvf_start_queue(vf, i);
	return ret;
}

static void ifcvf_notify_live_queues(struct ifcvf_vf *vf)
{
	u16 i;

	for (i = 0; i < vf->nr_queues; i++)
		if (vf->queues[i].live)
			ifcvf_hw_kick(vf, i);
}

static const struct {
	u8 bit;
	u8 on_failure; /* set instead */
	int (*apply)(struct ifcvf_vf *vf);
	void (*applied)(struct ifcvf_vf *vf);
} ifcvf_status_steps[] = {
	{ VIRTIO_CONFIG_S_FEATURES_OK, 0, ifcvf_apply_features_ok, NULL },
	{ VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FAILED, ifcvf_apply_driver_ok,
	  ifcvf_notify_live_queues },
};

static void ifcvf_raise_status_locked(struct ifcvf_vf *vf, u8 status)
{
	u8 old = ifcvf_hw_get_status(vf);
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(ifcvf_status_steps); i++) {
		u8 bit = ifcvf_status_steps[i].bit;

		if (!(status & ~old & bit))
			continue;
		ret = ifcvf_status_steps[i].apply(vf);
		if (ret) {
			pci_err(vf->pdev, "status %#x cannot be reached from %#x: %d\n", status,
				old, ret);
			ifcvf_hw_set_status(vf, old | ifcvf_status_steps[i].on_failure);
			return;
		}
		old |= bit | (status & (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER));
		ifcvf_hw_set_status(vf, old);
		if (ifcvf_status_steps[i].applied)
			ifcvf_status_steps[i].applied(vf);
	}
	ifcvf_hw_set_status(vf, status);
}

static void ifcvf_clear_queue(struct ifcvf_queue *queue)
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

int ifcvf_stop(struct ifcvf_vf *vf)
{
	int ret;
	u16 i;

	mutex_lock(&vf->lock);
	ret = ifcvf_hw_reset(vf);
	ifcvf_irq_stop(vf);
	spin_lock_irq(&vf->config_cb_lock);
	vf->config_cb = (struct vdpa_callback) {};
	spin_unlock_irq(&vf->config_cb_lock);
	for (i = 0; i < vf->nr_queues; i++)
		ifcvf_clear_queue(&vf->queues[i]);
	if (vf->dev)
		vf->dev->driver_features = 0;
	mutex_unlock(&vf->lock);
	return ret;
}

static u8 ifcvf_get_status(struct vdpa_device *vdpa)
{
	return ifcvf_hw_get_status(ifcvf_to_vf(vdpa));
}

static void ifcvf_set_status(struct vdpa_device *vdpa, u8 status)
{
	struct ifcvf_vf *vf = ifcvf_to_vf(vdpa);

	if (!status) {
		ifcvf_stop(vf);
		return;
	}
	mutex_lock(&vf->lock);
	if (!ifcvf_hw_removed(vf))
		ifcvf_raise_status_locked(vf, status);
	mutex_unlock(&vf->lock);
}

static int ifcvf_reset(struct vdpa_device *vdpa)
{
	return ifcvf_stop(ifcvf_to_vf(vdpa));
}

/* Features */

static u64 ifcvf_get_device_features(struct vdpa_device *vdpa)
{
	return ifcvf_to_dev(vdpa)->features;
}

static int ifcvf_set_driver_features(struct vdpa_device *vdpa, u64 features)
{
	struct ifcvf_dev *dev = ifcvf_to_dev(vdpa);

	if (features & ~dev->features)
		return -EINVAL;
	/* The bus sets features 0 before it reads the configuration for the first time. */
	if (features && !(features & BIT_ULL(VIRTIO_F_ACCESS_PLATFORM)))
		return -EINVAL;
	mutex_lock(&dev->vf->lock);
	dev->driver_features = features;
	mutex_unlock(&dev->vf->lock);
	return 0;
}

static u64 ifcvf_get_driver_features(struct vdpa_device *vdpa)
{
	return ifcvf_to_dev(vdpa)->driver_features;
}

/* Queues */

static int ifcvf_set_vq_address(struct vdpa_device *vdpa, u16 idx, u64 desc, u64 avail, u64 used)
{
	struct ifcvf_queue *queue = ifcvf_to_queue(vdpa, idx);

	mutex_lock(&ifcvf_to_vf(vdpa)->lock);
	queue->desc = desc;
	queue->avail = avail;
	queue->used = used;
	mutex_unlock(&ifcvf_to_vf(vdpa)->lock);
	return 0;
}

static void ifcvf_set_vq_num(struct vdpa_device *vdpa, u16 idx, u32 num)
{
	mutex_lock(&ifcvf_to_vf(vdpa)->lock);
	ifcvf_to_queue(vdpa, idx)->size = num;
	mutex_unlock(&ifcvf_to_vf(vdpa)->lock);
}

static void ifcvf_set_vq_ready(struct vdpa_device *vdpa, u16 idx, bool ready)
{
	struct ifcvf_queue *queue = ifcvf_to_queue(vdpa, idx);
	struct ifcvf_vf *vf = ifcvf_to_vf(vdpa);

	mutex_lock(&vf->lock);
	queue->ready = ready;
	if (ready && !queue->live && !ifcvf_hw_removed(vf) &&
	    (ifcvf_hw_get_status(vf) & VIRTIO_CONFIG_S_DRIVER_OK)) {
		if (ifcvf_start_queue(vf, idx))
			queue->ready = false;
		else
			ifcvf_hw_kick(vf, idx);
	}
	mutex_unlock(&vf->lock);
}

static bool ifcvf_get_vq_ready(struct vdpa_device *vdpa, u16 idx)
{
	return ifcvf_to_queue(vdpa, idx)->ready;
}

static int ifcvf_set_vq_state(struct vdpa_device *vdpa, u16 idx, const struct vdpa_vq_state *state)
{
	struct ifcvf_queue *queue = ifcvf_to_queue(vdpa, idx);
	int ret = 0;

	mutex_lock(&ifcvf_to_vf(vdpa)->lock);
	if (queue->live)
		ret = -EBUSY;
	else
		queue->next_avail = state->split.avail_index;
	mutex_unlock(&ifcvf_to_vf(vdpa)->lock);
	return ret;
}

static int ifcvf_get_vq_state(struct vdpa_device *vdpa, u16 idx, struct vdpa_vq_state *state)
{
	struct ifcvf_queue *queue = ifcvf_to_queue(vdpa, idx);
	struct ifcvf_vf *vf = ifcvf_to_vf(vdpa);
	int ret = 0;

	mutex_lock(&vf->lock);
	if (!queue->live)
		state->split.avail_index = queue->next_avail;
	else
		state->split.avail_index = ifcvf_hw_next_avail(vf, idx);
	/* Checked after the read: a device that is there now was there for the read. */
	if (queue->live && ifcvf_hw_removed(vf))
		ret = -ENODEV;
	mutex_unlock(&vf->lock);
	return ret;
}

static void ifcvf_set_vq_cb(struct vdpa_device *vdpa, u16 idx, struct vdpa_callback *cb)
{
	struct ifcvf_queue *queue = ifcvf_to_queue(vdpa, idx);

	spin_lock_irq(&queue->cb_lock);
	queue->cb = *cb;
	spin_unlock_irq(&queue->cb_lock);
}

static int ifcvf_get_vq_irq(struct vdpa_device *vdpa, u16 idx)
{
	return ifcvf_irq_of(ifcvf_to_vf(vdpa), idx);
}

static void ifcvf_kick_vq(struct vdpa_device *vdpa, u16 idx)
{
	ifcvf_hw_kick(ifcvf_to_vf(vdpa), idx);
}

/*
 * A user may map a page of doorbells only if there is nothing else in that page: the whole of it has
 * to be notify region.  Any other doorbell is reported with a size that is no page.
 */
static struct vdpa_notification_area ifcvf_get_vq_notification(struct vdpa_device *vdpa, u16 idx)
{
	const struct ifcvf_region *notify = &ifcvf_to_vf(vdpa)->regions[IFCVF_NOTIFY];
	phys_addr_t addr = ifcvf_to_queue(vdpa, idx)->doorbell_pa;
	bool page = PAGE_ALIGNED(addr) && addr + PAGE_SIZE <= notify->pa + notify->len;

	return (struct vdpa_notification_area) {
		.addr = addr,
		.size = page ? PAGE_SIZE : sizeof(__le16),
	};
}

static u16 ifcvf_get_vq_size(struct vdpa_device *vdpa, u16 idx)
{
	return idx < ifcvf_to_vf(vdpa)->nr_queues ? ifcvf_to_queue(vdpa, idx)->max_size : 0;
}

/* The largest of all queues; the others are held to ifcvf_get_vq_size(). */
static u16 ifcvf_get_vq_num_max(struct vdpa_device *vdpa)
{
	const struct ifcvf_vf *vf = ifcvf_to_vf(vdpa);
	u16 i, most = 0;

	for (i = 0; i < vf->nr_queues; i++)
		most = max(most, vf->queues[i].max_size);
	return most;
}

static u32 ifcvf_get_vq_align(struct vdpa_device *vdpa)
{
	return QUEUE_ALIGN;
}

static u32 ifcvf_get_vq_group(struct vdpa_device *vdpa, u16 idx)
{
	return 0;
}

/* Identity and configuration */

static u32 ifcvf_get_device_id(struct vdpa_device *vdpa)
{
	return ifcvf_to_vf(vdpa)->type->virtio_id;
}

static u32 ifcvf_get_vendor_id(struct vdpa_device *vdpa)
{
	return ifcvf_to_vf(vdpa)->pdev->subsystem_vendor;
}

static size_t ifcvf_get_config_size(struct vdpa_device *vdpa)
{
	return ifcvf_to_vf(vdpa)->config_len;
}

static void ifcvf_get_config(struct vdpa_device *vdpa, unsigned int off, void *buf,
			     unsigned int len)
{
	ifcvf_hw_read_config(ifcvf_to_vf(vdpa), off, buf, len);
}

static void ifcvf_set_config(struct vdpa_device *vdpa, unsigned int off, const void *buf,
			     unsigned int len)
{
	ifcvf_hw_write_config(ifcvf_to_vf(vdpa), off, buf, len);
}

static u32 ifcvf_get_generation(struct vdpa_device *vdpa)
{
	return ifcvf_hw_generation(ifcvf_to_vf(vdpa));
}

static void ifcvf_set_config_cb(struct vdpa_device *vdpa, struct vdpa_callback *cb)
{
	struct ifcvf_vf *vf = ifcvf_to_vf(vdpa);

	spin_lock_irq(&vf->config_cb_lock);
	vf->config_cb = *cb;
	spin_unlock_irq(&vf->config_cb_lock);
}

static const struct vdpa_config_ops ifcvf_ops = {
	.get_status = ifcvf_get_status,
	.set_status = ifcvf_set_status,
	.reset = ifcvf_reset,
	.get_device_features = ifcvf_get_device_features,
	.set_driver_features = ifcvf_set_driver_features,
	.get_driver_features = ifcvf_get_driver_features,
	.set_vq_address = ifcvf_set_vq_address,
	.set_vq_num = ifcvf_set_vq_num,
	.set_vq_ready = ifcvf_set_vq_ready,
	.get_vq_ready = ifcvf_get_vq_ready,
	.set_vq_state = ifcvf_set_vq_state,
	.get_vq_state = ifcvf_get_vq_state,
	.set_vq_cb = ifcvf_set_vq_cb,
	.get_vq_irq = ifcvf_get_vq_irq,
	.kick_vq = ifcvf_kick_vq,
	.get_vq_notification = ifcvf_get_vq_notification,
#ifndef VDPA_NEEDS_EXT_OPS
	.get_vq_size = ifcvf_get_vq_size,
#endif
	.get_vq_num_max = ifcvf_get_vq_num_max,
	.get_vq_align = ifcvf_get_vq_align,
	.get_vq_group = ifcvf_get_vq_group,
	.get_device_id = ifcvf_get_device_id,
	.get_vendor_id = ifcvf_get_vendor_id,
	.get_config_size = ifcvf_get_config_size,
	.get_config = ifcvf_get_config,
	.set_config = ifcvf_set_config,
	.get_generation = ifcvf_get_generation,
	.set_config_cb = ifcvf_set_config_cb,
};

#ifdef VDPA_NEEDS_EXT_OPS
static const struct vdpa_ext_ops ifcvf_ext_ops = {
	.get_vq_size = ifcvf_get_vq_size,
};

static int ifcvf_set_ext_ops(struct ifcvf_dev *dev)
{
	return vdpa_set_ext_ops(&dev->vdpa, &ifcvf_ext_ops);
}
#else
static int ifcvf_set_ext_ops(struct ifcvf_dev *dev)
{
	return 0;
}
#endif

int ifcvf_dev_create(struct ifcvf_vf *vf, const char *name, u64 features)
{
	struct ifcvf_dev *dev;
	int ret;

	ret = ifcvf_stop(vf);
	if (ret)
		return ret;
	dev = vdpa_alloc_device(struct ifcvf_dev, vdpa, &vf->pdev->dev, &ifcvf_ops, 1, 1, name,
				false);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	dev->vf = vf;
	dev->features = features;
	dev->vdpa.dma_dev = &vf->pdev->dev;
	dev->vdpa.mdev = &vf->mgmt;
	ret = ifcvf_set_ext_ops(dev);
	if (ret)
		goto put;
	/* Its driver can be at work before the registration returns. */
	vf->dev = dev;
	ret = _vdpa_register_device(&dev->vdpa, vf->nr_queues);
	if (ret)
		goto forget;
	return 0;

forget:
	vf->dev = NULL;
put:
	put_device(&dev->vdpa.dev);
	return ret;
}
