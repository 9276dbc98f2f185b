// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The vDPA bus binds a device, whose data path is virtio and whose control path is the vendor's, to
 * a driver that turns it into a virtio device (virtio_vdpa) or into a vhost character device
 * (vhost_vdpa).
 *
 *	device driver				bus				bus driver
 *	vdpa_alloc_device()
 *	vdpa_register_device() ------> match: by driver_override, or any
 *				       probe: queue limits make sense ----> probe(vdev)
 *	vdpa_unregister_device() ----> remove -----------------------------> remove(vdev)
 *	ops->free() <----------------- last reference dropped
 *
 * Every bus driver can serve every device, so the first one that is loaded takes it; a name in
 * driver_override (sysfs) limits a device to the driver of that name.  The driver core calls match
 * with the device's lock held or without it, depending on whether a device or a driver has arrived.
 * The name can therefore not be guarded by that lock: it is replaced as a whole and freed after an
 * RCU grace period.
 *
 * Limits: a device is offered to drivers in the order in which they were loaded; there is no module
 * alias and nothing is loaded automatically.
 */
#include <linux/device.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "vdpa_core.h"

static int vdpa_bus_match(struct device *dev, struct device_driver *drv)
{
	const char *wanted;
	bool fits;

	rcu_read_lock();
	/* pairs with smp_store_release() in driver_override_store(): the name's characters */
	wanted = smp_load_acquire(&dev_to_vdpa(dev)->driver_override);
	fits = !wanted || !strcmp(wanted, drv->name);
	rcu_read_unlock();
	return fits;
}

/* A device whose queues can have no legal size would only fail later, inside a driver. */
static int vdpa_check_queue_limits(struct vdpa_device *vdev)
{
	u16 least = vdev->config->get_vq_num_min ? vdev->config->get_vq_num_min(vdev) : 1;
	u16 most = vdev->config->get_vq_num_max(vdev);

	if (least <= most)
		return 0;
	dev_err_ratelimited(&vdev->dev, "queue sizes from %u to %u: there is none to choose\n",
			    least, most);
	return -EINVAL;
}

static int vdpa_bus_probe(struct device *dev)
{
	struct vdpa_driver *drv = drv_to_vdpa(dev->driver);
	struct vdpa_device *vdev = dev_to_vdpa(dev);
	int err;

	err = vdpa_check_queue_limits(vdev);
	if (err || !drv->probe)
		return err;
	return drv->probe(vdev);
}

static void vdpa_bus_remove(struct device *dev)
{
	struct vdpa_driver *drv = drv_to_vdpa(dev->driver);

	if (drv->remove)
		drv->remove(dev_to_vdpa(dev));
}

static ssize_t driver_override_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	const char *wanted;
	ssize_t len;

	rcu_read_lock();
	wanted = smp_load_acquire(&dev_to_vdpa(dev)->driver_override); /* as in match */
	len = sysfs_emit(buf, "%s\n", wanted ?: "(null)");
	rcu_read_unlock();
	return len;
}

/* One line; an empty one lifts the override. */
static ssize_t driver_override_store(struct device *dev, struct device_attribute *attr,
				     const char *buf, size_t count)
{
	struct vdpa_device *vdev = dev_to_vdpa(dev);
	size_t len = strcspn(buf, "\n");
	const char *old, *name = NULL;

	if (len > VDPA_NAME_LEN_MAX)
		return -EINVAL;
	if (len) {
		name = kmemdup_nul(buf, len, GFP_KERNEL);
		if (!name)
			return -ENOMEM;
	}

	device_lock(dev); /* two writers */
	old = vdev->driver_override;
	/* pairs with smp_load_acquire() in match and show: the name's characters */
	smp_store_release(&vdev->driver_override, name);
	device_unlock(dev);

	synchronize_rcu(); /* a match may still be comparing */
	kfree(old);
	return count;
}
static DEVICE_ATTR_RW(driver_override);

static struct attribute *vdpa_bus_dev_attrs[] = {
	&dev_attr_driver_override.attr,
	NULL,
};
ATTRIBUTE_GROUPS(vdpa_bus_dev);

struct bus_type vdpa_bus = {
	.name = "vdpa",
	.dev_groups = vdpa_bus_dev_groups,
	.match = vdpa_bus_match,
	.probe = vdpa_bus_probe,
	.remove = vdpa_bus_remove,
};

/**
 * __vdpa_register_driver - offer a driver to all devices on the bus
 * @drv: stays in place until vdpa_unregister_driver()
 * @owner: its module
 *
 * Devices present are probed before this returns.
 *
 * Return: 0 or a negative errno
 */
int __vdpa_register_driver(struct vdpa_driver *drv, struct module *owner)
{
	drv->driver.owner = owner;
	drv->driver.bus = &vdpa_bus;
	return driver_register(&drv->driver);
}
EXPORT_SYMBOL_GPL(__vdpa_register_driver);

/**
 * vdpa_unregister_driver - take a driver off the bus
 * @drv: has been removed from all its devices when this returns
 */
void vdpa_unregister_driver(struct vdpa_driver *drv)
{
	driver_unregister(&drv->driver);
}
EXPORT_SYMBOL_GPL(vdpa_unregister_driver);

static int __init vdpa_module_start(void)
{
	int err;

	err = bus_register(&vdpa_bus);
	if (err)
		return err;

	err = vdpa_netlink_start();
	if (err)
		goto undo_bus;
	return 0;

undo_bus:
	bus_unregister(&vdpa_bus);
	return err;
}

/* Device and bus drivers use our symbols, so none of them and no device is left by now. */
static void __exit vdpa_module_stop(void)
{
	vdpa_netlink_stop();
	bus_unregister(&vdpa_bus);
}

module_init(vdpa_module_start);
module_exit(vdpa_module_stop);

MODULE_DESCRIPTION("vDPA bus and its management");
MODULE_LICENSE("GPL");
