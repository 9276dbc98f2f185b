// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Management devices can make vDPA devices (a simulator, a PCI function).
 *
 *	vdpa_mgmtdev_register() -> ops->dev_add(), ops->dev_del() ... -> vdpa_mgmtdev_unregister()
 *
 * A handle names one: bus and name of the device behind it, or the name alone if that device is on
 * no bus.  dev_add(), dev_del() and dev_set_attr() are called with vdpa_lifecycle held, one at a time; the
 * first two use the forms of vdpa_register_device() and vdpa_unregister_device() with an underscore in front.
 *
 * As with devices, the list is kept in the order of serials that are never reused, for dumps.
 *
 * Limits: a handle belongs to one management device.
 */
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "vdpa_core.h"

/**
 * struct vdpa_mgmt_entry - a registered management device
 * @link:   in vdpa_mgmt_entries; protected by vdpa_registry
 * @serial: constant
 * @mdev:   not ours; lives until vdpa_mgmtdev_unregister() returns
 * @ops:    not ours; NULL for none; protected by vdpa_registry
 */
struct vdpa_mgmt_entry {
	struct list_head link;
	u64 serial;
	struct vdpa_mgmt_dev *mdev;
	const struct vdpa_ext_mgmt_ops *ops;
};

static LIST_HEAD(vdpa_mgmt_entries); /* in order of serials; protected by vdpa_registry */
static u64 vdpa_mgmt_last_serial;    /* protected by vdpa_registry */

static const char *vdpa_mgmt_bus(const struct vdpa_mgmt_dev *mdev)
{
	return mdev->device->bus ? mdev->device->bus->name : NULL;
}

static bool vdpa_mgmt_matches(const struct vdpa_mgmt_dev *mdev, const char *bus, const char *name)
{
	const char *own = vdpa_mgmt_bus(mdev);

	if (!own != !bus || (bus && strcmp(own, bus)))
		return false;
	return !strcmp(dev_name(mdev->device), name);
}

/**
 * vdpa_mgmt_find_locked - the management device of that handle
 * @bus: NULL for one that is on no bus
 * @name: of the device
 */
struct vdpa_mgmt_dev *vdpa_mgmt_find_locked(const char *bus, const char *name)
{
	struct vdpa_mgmt_entry *entry;

	lockdep_assert_held(&vdpa_registry);
	list_for_each_entry(entry, &vdpa_mgmt_entries, link)
		if (vdpa_mgmt_matches(entry->mdev, bus, name))
			return entry->mdev;
	return NULL;
}

/**
 * vdpa_mgmt_next_locked - the first management device after a serial
 * @serial: 0 to begin with; moved on to the one returned
 */
struct vdpa_mgmt_dev *vdpa_mgmt_next_locked(u64 *serial)
{
	struct vdpa_mgmt_entry *entry;

	lockdep_assert_held(&vdpa_registry);
	list_for_each_entry(entry, &vdpa_mgmt_entries, link) {
		if (entry->serial > *serial) {
			*serial = entry->serial;
			return entry->mdev;
		}
	}
	return NULL;
}

/**
 * vdpa_mgmtdev_register - offer to make devices
 * @mdev: device, ops and id_table set; stays in place until vdpa_mgmtdev_unregister()
 *
 * Return: 0, -EINVAL for one without a device, dev_add or dev_del, -EEXIST for a handle that is in
 * use, -ENOMEM
 */
int vdpa_mgmtdev_register(struct vdpa_mgmt_dev *mdev)
{
	struct vdpa_mgmt_entry *entry;
	int err = 0;

	if (!mdev->device || !mdev->ops || !mdev->ops->dev_add || !mdev->ops->dev_del)
		return -EINVAL;
	entry = kzalloc(sizeof(*entry), GFP_KERNEL);
	if (!entry)
		return -ENOMEM;
	entry->mdev = mdev;
	INIT_LIST_HEAD(&mdev->list);

	down_write(&vdpa_registry);
	if (vdpa_mgmt_find_locked(vdpa_mgmt_bus(mdev), dev_name(mdev->device))) {
		err = -EEXIST;
	} else {
		entry->serial = ++vdpa_mgmt_last_serial;
		list_add_tail(&entry->link, &vdpa_mgmt_entries);
	}
	up_write(&vdpa_registry);

	if (err)
		kfree(entry);
	return err;
}
EXPORT_SYMBOL_GPL(vdpa_mgmtdev_register);

static struct vdpa_mgmt_entry *vdpa_mgmt_entry_locked(const struct vdpa_mgmt_dev *mdev)
{
	struct vdpa_mgmt_entry *entry;

	list_for_each_entry(entry, &vdpa_mgmt_entries, link)
		if (entry->mdev == mdev)
			return entry;
	return NULL;
}

int vdpa_mgmtdev_set_ext_ops(struct vdpa_mgmt_dev *mdev, const struct vdpa_ext_mgmt_ops *ops)
{
	struct vdpa_mgmt_entry *entry;

	down_write(&vdpa_registry);
	entry = vdpa_mgmt_entry_locked(mdev);
	if (entry)
		entry->ops = ops;
	up_write(&vdpa_registry);
	return entry ? 0 : -ENODEV;
}
EXPORT_SYMBOL_GPL(vdpa_mgmtdev_set_ext_ops);

/**
 * vdpa_mgmt_ext_ops_locked - what vdpa_mgmtdev_set_ext_ops() attached
 * @mdev: the management device
 *
 * Return: the operations, valid while @mdev is registered; NULL for none
 */
const struct vdpa_ext_mgmt_ops *vdpa_mgmt_ext_ops_locked(const struct vdpa_mgmt_dev *mdev)
{
	struct vdpa_mgmt_entry *entry;

	lockdep_assert_held(&vdpa_registry);
	entry = vdpa_mgmt_entry_locked(mdev);
	return entry ? entry->ops : NULL;
}

static void vdpa_mgmt_remove_entry(const struct vdpa_mgmt_dev *mdev)
{
	struct vdpa_mgmt_entry *entry;

	down_write(&vdpa_registry);
	entry = vdpa_mgmt_entry_locked(mdev);
	if (entry)
		list_del(&entry->link);
	up_write(&vdpa_registry);
	kfree(entry);
}

static struct vdpa_device *vdpa_mgmt_next_child(const struct vdpa_mgmt_dev *mdev, u64 *serial)
{
	struct vdpa_device *vdev;

	down_read(&vdpa_registry);
	while ((vdev = vdpa_next_locked(*serial))) {
		*serial = vdpa_serial(vdev);
		if (vdev->mdev == mdev)
			break;
	}
	up_read(&vdpa_registry);
	return vdev;
}

/**
 * vdpa_mgmtdev_unregister - withdraw the offer and delete all devices made through it
 * @mdev: registered; unused by this module when this returns
 *
 * vdpa_lifecycle keeps additions and other removals away, so a child that has been found stays until it is
 * deleted here.
 */
void vdpa_mgmtdev_unregister(struct vdpa_mgmt_dev *mdev)
{
	struct vdpa_device *vdev;
	u64 serial = 0;

	mutex_lock(&vdpa_lifecycle);
	vdpa_mgmt_remove_entry(mdev);
	while ((vdev = vdpa_mgmt_next_child(mdev, &serial)))
		mdev->ops->dev_del(mdev, vdev);
	mutex_unlock(&vdpa_lifecycle);
}
EXPORT_SYMBOL_GPL(vdpa_mgmtdev_unregister);
