// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost_vdpa: a vDPA device as a vhost character device.
 *
 * Theory of operation
 *
 * A driver on the vDPA bus.  Each device that it gets becomes a node /dev/vhost-vdpa-N, through
 * which one process at a time drives the device with the vhost ioctls and maps its own memory for
 * it.  The queues are served by the device, never by a vhost worker: of vhost.ko only ownership and
 * the plumbing of kick and error eventfds are used.
 *
 * This file starts and ends sessions.  Closing a session and removing the device under it both call
 * vhost_vdpa_session_detach(); the first call does the work, in an order in which nothing that
 * still runs can reach a freed part:
 *
 *	1. kicks		user space cannot start work on the device
 *	2. interrupts		the device has nowhere to report to
 *	3. reset		the device does nothing by itself
 *	4. mappings		it forgets the memory
 *	5. IOMMU domain	the device cannot reach memory any more
 *	6. memory		is unpinned, which only now is safe
 *	7. doorbells		are taken out of user space
 *
 * After that the session has no device.  Removal therefore does not wait for a user to close: the
 * file stays open, and everything done to it fails with ENODEV.
 *
 * Removal never waits for memory that an IOTLB message faults in, which a user-space file system may
 * delay for ever: vhost.mutex is not held meanwhile (vdpa_as.c).
 *
 * Limits: removal waits for an ioctl that is under way, but not for the page of its argument.  A
 * device whose reset returns while an interrupt callback of it still runs would call into a session
 * that may be freed; synchronize_rcu() covers callbacks from hard interrupts, not from work of the
 * driver's own that it does not wait for.
 */

#include <linux/idr.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "vdpa_priv.h"

#define CREATE_TRACE_POINTS
#include "vdpa_trace.h"

#define NODES_MAX (1U << MINORBITS)

static DEFINE_IDA(vhost_vdpa_minors);
static dev_t vhost_vdpa_devt;

/**
 * vhost_vdpa_reset - reset the device of a session
 * @s: attached
 *
 * A device that could keep its mappings over a reset is asked to drop them, unless user space has
 * negotiated backend feature IOTLB_PERSIST.
 *
 * Context: vhost.mutex held, or the session not yet published.
 * Return: 0 or the device's errno.
 */
int vhost_vdpa_reset(struct vhost_vdpa_session *s)
{
	const struct vdpa_ext_ops *ext = vdpa_get_ext_ops(s->vdpa);
	bool keep = s->backend_features & BIT_ULL(VHOST_BACKEND_F_IOTLB_PERSIST);
	u64 start = ktime_get_ns();
	int err;

	if (ext && ext->compat_reset) {
		down_write(&s->vdpa->cf_lock);
		s->vdpa->features_valid = false;
		err = ext->compat_reset(s->vdpa, keep ? 0 : VDPA_EXT_RESET_F_CLEAN_MAP);
		up_write(&s->vdpa->cf_lock);
	} else {
		err = vdpa_reset(s->vdpa);
	}
	if (!err)
		s->suspended = false;
	trace_vhost_vdpa_reset(vhost_vdpa_number(s), err, ktime_get_ns() - start);
	return err;
}

static void vhost_vdpa_session_free(struct vhost_vdpa_session *s)
{
	struct eventfd_ctx *ctx = vhost_vdpa_signal_swap(&s->config, NULL);

	if (ctx)
		eventfd_ctx_put(ctx);
	vhost_vdpa_queues_free(s);
	/* Pairs with the callbacks that a device calls from its interrupt handlers. */
	synchronize_rcu();
	kvfree(s->as);
	kvfree(s->vqs);
	kvfree(s->queue);
	kfree(s);
}

/* Memory and nothing else: the device is not touched. */
static struct vhost_vdpa_session *vhost_vdpa_session_alloc(struct vhost_vdpa_node *node)
{
	struct vdpa_device *vdpa = node->vdpa;
	struct vhost_vdpa_session *s = kzalloc(sizeof(*s), GFP_KERNEL);

	if (!s)
		return NULL;
	s->queue = kvcalloc(vdpa->nvqs, sizeof(*s->queue), GFP_KERNEL);
	s->vqs = kvcalloc(vdpa->nvqs, sizeof(*s->vqs), GFP_KERNEL);
	s->as = kvcalloc(vdpa->nas, sizeof(*s->as), GFP_KERNEL);
	if (!s->queue || !s->vqs || !s->as) {
		kvfree(s->as);
		kvfree(s->vqs);
		kvfree(s->queue);
		kfree(s);
		return NULL;
	}
	s->node = node;
	s->vdpa = vdpa;
	s->nvqs = vdpa->nvqs;
	s->nas = vdpa->nas;
	s->dma = vhost_vdpa_dma_ops_of(vdpa);
	s->mem = vdpa->use_va ? &vhost_vdpa_mem_files : &vhost_vdpa_mem_pinned;
	spin_lock_init(&s->config.lock);
	mutex_init(&s->notify_lock);
	mutex_init(&s->mem_lock);
	INIT_LIST_HEAD(&s->reserved);
	vhost_vdpa_as_init_all(s);
	vhost_vdpa_queues_init(s);
	return s;
}

/* A device in its initial state, with nothing mapped. */
static struct vhost_vdpa_session *vhost_vdpa_session_create(struct vhost_vdpa_node *node)
{
	struct vhost_vdpa_session *s = vhost_vdpa_session_alloc(node);
	int err;

	if (!s)
		return ERR_PTR(-ENOMEM);
	err = vhost_vdpa_reset(s);
	if (err)
		goto free;
	err = s->dma->attach ? s->dma->attach(s) : 0;
	if (err)
		goto free;
	vhost_vdpa_dma_set_range(s);
	return s;

free:
	vhost_vdpa_session_free(s);
	return ERR_PTR(err);
}

/* The head of this file has the order, and why. */
static void vhost_vdpa_session_detach(struct vhost_vdpa_session *s)
{
	struct vdpa_callback none = {};
	int err;

	lockdep_assert_held(&s->vhost.mutex);
	if (!s->vdpa)
		return;
	vhost_dev_stop(&s->vhost);
	vhost_vdpa_queues_clear_callbacks(s);
	s->vdpa->config->set_config_cb(s->vdpa, &none);
	s->backend_features &= ~BIT_ULL(VHOST_BACKEND_F_IOTLB_PERSIST);
	err = vhost_vdpa_reset(s);
	if (err)
		dev_warn_ratelimited(&s->node->dev, "the device could not be reset: %d\n", err);
	vhost_vdpa_as_disconnect_all(s);
	if (s->dma->detach)
		s->dma->detach(s);
	vhost_vdpa_as_release_all(s);
	vhost_vdpa_notify_revoke(s);
	s->vdpa = NULL;
}

static int vhost_vdpa_node_open(struct inode *inode, struct file *file)
{
	struct vhost_vdpa_node *node = container_of(inode->i_cdev, struct vhost_vdpa_node, cdev);
	struct vhost_vdpa_session *s;
	int err = 0;

	mutex_lock(&node->lock);
	if (!node->vdpa) {
		err = -ENODEV;
		goto unlock;
	}
	if (node->session) {
		err = -EBUSY;
		goto unlock;
	}
	s = vhost_vdpa_session_create(node);
	if (IS_ERR(s)) {
		err = PTR_ERR(s);
		goto unlock;
	}
	s->mapping = file->f_mapping;
	file->private_data = s;
	node->session = s;
	get_device(&node->dev);
unlock:
	mutex_unlock(&node->lock);
	return err;
}

static int vhost_vdpa_node_release(struct inode *inode, struct file *file)
{
	struct vhost_vdpa_session *s = file->private_data;
	struct vhost_vdpa_node *node = s->node;

	mutex_lock(&s->vhost.mutex);
	vhost_vdpa_session_detach(s);
	mutex_unlock(&s->vhost.mutex);

	/* Removal reads node->session under this lock only: from here on it finds none. */
	mutex_lock(&node->lock);
	node->session = NULL;
	mutex_unlock(&node->lock);

	vhost_vdpa_session_free(s);
	put_device(&node->dev);
	return 0;
}

static const struct file_operations vhost_vdpa_fops = {
	.owner = THIS_MODULE,
	.open = vhost_vdpa_node_open,
	.release = vhost_vdpa_node_release,
	.write_iter = vhost_vdpa_write_iter,
	.unlocked_ioctl = vhost_vdpa_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = vhost_vdpa_mmap,
	.llseek = no_llseek,
};

static void vhost_vdpa_node_free(struct device *dev)
{
	struct vhost_vdpa_node *node = container_of(dev, struct vhost_vdpa_node, dev);

	ida_free(&vhost_vdpa_minors, MINOR(dev->devt));
	mutex_destroy(&node->lock);
	kfree(node);
}

/* Some combinations cannot work; report them once here, not at every open. */
static int vhost_vdpa_device_acceptable(struct vdpa_device *vdpa)
{
	const struct vdpa_config_ops *ops = vdpa->config;
	bool on_chip = ops->set_map || ops->dma_map;

	if (!vdpa->nvqs || vdpa->nvqs > U16_MAX + 1 || !vdpa->nas)
		return -EINVAL;
	if (ops->dma_map && !ops->dma_unmap)
		return -EINVAL;
	/* One device, one IOMMU domain: a platform IOMMU cannot tell groups apart. */
	if (!on_chip && (vdpa->ngroups > 1 || vdpa->nas > 1))
		return -EOPNOTSUPP;
	return 0;
}

static int vhost_vdpa_node_probe(struct vdpa_device *vdpa)
{
	struct vhost_vdpa_node *node;
	int number, err;

	err = vhost_vdpa_device_acceptable(vdpa);
	if (err)
		return err;
	node = kzalloc(sizeof(*node), GFP_KERNEL);
	if (!node)
		return -ENOMEM;
	number = ida_alloc_max(&vhost_vdpa_minors, NODES_MAX - 1, GFP_KERNEL);
	if (number < 0) {
		kfree(node);
		return number;
	}

	mutex_init(&node->lock);
	node->vdpa = vdpa;
	device_initialize(&node->dev);
	node->dev.parent = &vdpa->dev;
	node->dev.release = vhost_vdpa_node_free;
	node->dev.devt = MKDEV(MAJOR(vhost_vdpa_devt), number);
	cdev_init(&node->cdev, &vhost_vdpa_fops);
	node->cdev.owner = THIS_MODULE;
	vdpa_set_drvdata(vdpa, node);

	err = dev_set_name(&node->dev, "vhost-vdpa-%d", number);
	if (!err)
		err = cdev_device_add(&node->cdev, &node->dev);
	if (err)
		put_device(&node->dev);
	return err;
}

static void vhost_vdpa_node_remove(struct vdpa_device *vdpa)
{
	struct vhost_vdpa_node *node = vdpa_get_drvdata(vdpa);
	struct vhost_vdpa_session *s;

	cdev_device_del(&node->cdev, &node->dev);

	mutex_lock(&node->lock);
	node->vdpa = NULL;
	s = node->session;
	if (s) {
		mutex_lock(&s->vhost.mutex);
		vhost_vdpa_session_detach(s);
		mutex_unlock(&s->vhost.mutex);
	}
	mutex_unlock(&node->lock);
	put_device(&node->dev);
}

static struct vdpa_driver vhost_vdpa_driver = {
	.driver = { .name = "vhost_vdpa" },
	.probe = vhost_vdpa_node_probe,
	.remove = vhost_vdpa_node_remove,
};

static int __init vhost_vdpa_init(void)
{
	int err = alloc_chrdev_region(&vhost_vdpa_devt, 0, NODES_MAX, "vhost-vdpa");

	if (err)
		return err;
	err = vdpa_register_driver(&vhost_vdpa_driver);
	if (err)
		unregister_chrdev_region(vhost_vdpa_devt, NODES_MAX);
	return err;
}
module_init(vhost_vdpa_init);

static void __exit vhost_vdpa_exit(void)
{
	vdpa_unregister_driver(&vhost_vdpa_driver);
	unregister_chrdev_region(vhost_vdpa_devt, NODES_MAX);
	ida_destroy(&vhost_vdpa_minors);
}
module_exit(vhost_vdpa_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("qemu-live");
MODULE_DESCRIPTION("vhost character device of a vDPA device");
