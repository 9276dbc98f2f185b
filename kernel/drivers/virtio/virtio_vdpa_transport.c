// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio over the vDPA bus: the kernel's own virtio drivers on a vDPA device.
 *
 *	virtio-net, virtio-blk, ...
 *	      | struct virtio_config_ops
 *	this module: one struct virtio_vdpa per device
 *	      | struct vdpa_config_ops, configuration under the device's cf_lock
 *	vDPA device
 *
 * probe registers a virtio device, whose driver is then found by the virtio bus; remove unregisters it,
 * and its driver resets the device and deletes its queues on the way.  At shutdown (reboot, kexec) there
 * is no remove: the queues are marked broken, so that nothing is added any more, and the device is
 * reset, so that it writes nothing into the memory of the kernel that comes next.
 *
 * Limits: a device that fails to reset is reported and otherwise treated as if it had.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/virtio_ring.h>

#include "virtio_vdpa_core.h"

static struct vdpa_device *virtio_vdpa_to_vdpa(struct virtio_device *vdev)
{
	return virtio_vdpa_from_vdev(vdev)->vdpa;
}

static void virtio_vdpa_read_config(struct virtio_device *vdev, unsigned int offset, void *buf,
				    unsigned int len)
{
	vdpa_get_config(virtio_vdpa_to_vdpa(vdev), offset, buf, len);
}

static void virtio_vdpa_write_config(struct virtio_device *vdev, unsigned int offset,
				     const void *buf, unsigned int len)
{
	vdpa_set_config(virtio_vdpa_to_vdpa(vdev), offset, buf, len);
}

static u32 virtio_vdpa_config_generation(struct virtio_device *vdev)
{
	struct vdpa_device *vdpa = virtio_vdpa_to_vdpa(vdev);

	return vdpa->config->get_generation ? vdpa->config->get_generation(vdpa) : 0;
}

static u8 virtio_vdpa_read_status(struct virtio_device *vdev)
{
	struct vdpa_device *vdpa = virtio_vdpa_to_vdpa(vdev);

	return vdpa->config->get_status(vdpa);
}

static void virtio_vdpa_write_status(struct virtio_device *vdev, u8 status)
{
	vdpa_set_status(virtio_vdpa_to_vdpa(vdev), status);
	if (status & VIRTIO_CONFIG_S_DRIVER_OK)
		virtio_vdpa_set_hints(virtio_vdpa_from_vdev(vdev));
}

static void virtio_vdpa_reset(struct virtio_device *vdev)
{
	int err;

	virtio_vdpa_clear_hints(virtio_vdpa_from_vdev(vdev));
	err = vdpa_reset(virtio_vdpa_to_vdpa(vdev));
	if (err)
		dev_err_ratelimited(&virtio_vdpa_to_vdpa(vdev)->dev, "reset failed: %d\n", err);
}

static u64 virtio_vdpa_get_features(struct virtio_device *vdev)
{
	struct vdpa_device *vdpa = virtio_vdpa_to_vdpa(vdev);

	return vdpa->config->get_device_features(vdpa);
}

static int virtio_vdpa_finalize_features(struct virtio_device *vdev)
{
	bool queue_reset = __virtio_test_bit(vdev, VIRTIO_F_RING_RESET);

	/* leaves the transport's bits that virtio_ring knows; queue reset is this transport's */
	vring_transport_features(vdev);
	if (queue_reset)
		__virtio_set_bit(vdev, VIRTIO_F_RING_RESET);
	return vdpa_set_features(virtio_vdpa_to_vdpa(vdev), vdev->features);
}

static const char *virtio_vdpa_bus_name(struct virtio_device *vdev)
{
	return dev_name(&virtio_vdpa_to_vdpa(vdev)->dev);
}

static const struct virtio_config_ops virtio_vdpa_ops = {
	.get_features = virtio_vdpa_get_features,
	.finalize_features = virtio_vdpa_finalize_features,
	.get_status = virtio_vdpa_read_status,
	.set_status = virtio_vdpa_write_status,
	.reset = virtio_vdpa_reset,
	.get = virtio_vdpa_read_config,
	.set = virtio_vdpa_write_config,
	.generation = virtio_vdpa_config_generation,
	.find_vqs = virtio_vdpa_find_queues,
	.del_vqs = virtio_vdpa_del_queues,
	.disable_vq_and_reset = virtio_vdpa_disable_queue,
	.enable_vq_after_reset = virtio_vdpa_enable_queue,
	.set_vq_affinity = virtio_vdpa_set_affinity,
	.get_vq_affinity = virtio_vdpa_get_affinity,
	.bus_name = virtio_vdpa_bus_name,
};

static void virtio_vdpa_release(struct device *dev)
{
	kvfree(virtio_vdpa_from_vdev(dev_to_virtio(dev)));
}

static struct virtio_vdpa *virtio_vdpa_alloc(struct vdpa_device *vdpa)
{
	struct virtio_vdpa *vv;
	unsigned int i;

	vv = kvzalloc(struct_size(vv, queues, vdpa->nvqs), GFP_KERNEL);
	if (!vv)
		return NULL;
	mutex_init(&vv->affinity_lock);
	vv->vdpa = vdpa;
	vv->nqueues = vdpa->nvqs;
	for (i = 0; i < vv->nqueues; i++)
		vv->queues[i].irq = -1;
	vv->vdev.config = &virtio_vdpa_ops;
	vv->vdev.id.device = vdpa->config->get_device_id(vdpa);
	vv->vdev.id.vendor = vdpa->config->get_vendor_id(vdpa);
	vv->vdev.dev.parent = vdpa_get_dma_dev(vdpa);
	vv->vdev.dev.release = virtio_vdpa_release;
	return vv;
}

static int virtio_vdpa_probe(struct vdpa_device *vdpa)
{
	struct virtio_vdpa *vv;
	int err;

	/* id 0 is reserved (virtio 1.2, 5); rings are allocated for the device that does DMA */
	if (!vdpa->config->get_device_id(vdpa) || !vdpa_get_dma_dev(vdpa))
		return -EINVAL;
	vv = virtio_vdpa_alloc(vdpa);
	if (!vv)
		return -ENOMEM;

	vdpa_set_drvdata(vdpa, vv);
	err = register_virtio_device(&vv->vdev);
	if (err) {
		vdpa_set_drvdata(vdpa, NULL);
		put_device(&vv->vdev.dev); /* initialized even if a later step failed */
	}
	return err;
}

static void virtio_vdpa_remove(struct vdpa_device *vdpa)
{
	struct virtio_vdpa *vv = vdpa_get_drvdata(vdpa);

	unregister_virtio_device(&vv->vdev);
}

static void virtio_vdpa_shutdown(struct device *dev)
{
	struct virtio_vdpa *vv = dev_get_drvdata(dev);

	virtio_break_device(&vv->vdev);
	virtio_vdpa_reset(&vv->vdev);
}

static struct vdpa_driver virtio_vdpa_driver = {
	.driver = {
		.name		= "virtio_vdpa",
		.shutdown	= virtio_vdpa_shutdown,
	},
	.probe	= virtio_vdpa_probe,
	.remove	= virtio_vdpa_remove,
};
module_vdpa_driver(virtio_vdpa_driver);

MODULE_DESCRIPTION("virtio transport over the vDPA bus");
MODULE_LICENSE("GPL");
