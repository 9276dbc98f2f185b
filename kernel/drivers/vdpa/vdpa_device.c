// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Life of a vDPA device.
 *
 * A device driver's own structure begins with struct vdpa_device, whose layout is the kernel's.
 * This module's own fields stand in front of it, in the same allocation:
 *
 *	kzalloc() -> | struct vdpa_entry, padded | struct vdpa_device | driver's members ... |
 *
 * Stages, changed under vdpa_registry held for writing:
 *
 *	UNREGISTERED --vdpa_begin_registration()--> REGISTERING --device_add()--> REGISTERED
 *	REGISTERED --vdpa_del_device()--> UNREGISTERING --device_del()--> UNREGISTERED
 *
 * A name is taken from REGISTERING until UNREGISTERING is over, since the driver core complains
 * with a stack dump about a second sysfs entry of a name.  Only REGISTERED devices can be found,
 * listed or deleted.  device_add() and device_del() run bus drivers' probe and remove, so they are
 * called without vdpa_registry; vdpa_lifecycle keeps other creations and removals away meanwhile.
 *
 * Serial numbers are never reused, and the registry's list is in their order.  A dump remembers the
 * last serial that it has shown, and so goes on at the right place even if devices were added or
 * removed.
 *
 * Limits: a device's memory lives until the last reference to it is dropped, which can be after
 * vdpa_unregister_device(); ops->free of the device driver is called then, so bus drivers drop theirs
 * in remove().
 */
#include <linux/ctype.h>
#include <linux/idr.h>
#include <linux/list.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "vdpa_core.h"

enum vdpa_stage {
	VDPA_UNREGISTERED,
	VDPA_REGISTERING,
	VDPA_REGISTERED,
	VDPA_UNREGISTERING,
	VDPA_STAGES
};

/**
 * struct vdpa_entry - the bus's own fields of a device
 * @link:   in vdpa_devices unless UNREGISTERED; protected by vdpa_registry
 * @stage:  protected by vdpa_registry
 * @serial: constant while in vdpa_devices
 * @ext:    set at most once, before registration
 */
struct vdpa_entry {
	struct list_head link;
	enum vdpa_stage stage;
	u64 serial;
	const struct vdpa_ext_ops *ext;
};

/* A cache line's worth keeps the alignment that the driver's structure would have had. */
#define VDPA_ENTRY_ROOM ALIGN(sizeof(struct vdpa_entry), SMP_CACHE_BYTES)

DEFINE_MUTEX(vdpa_lifecycle);
DECLARE_RWSEM(vdpa_registry);

static LIST_HEAD(vdpa_devices); /* in order of serials; protected by vdpa_registry */
static u64 vdpa_last_serial;	/* protected by vdpa_registry */
static DEFINE_IDA(vdpa_indices);

static struct vdpa_entry *vdpa_entry_of(const struct vdpa_device *vdev)
{
	return (void *)vdev - VDPA_ENTRY_ROOM;
}

static struct vdpa_device *vdpa_device_of(struct vdpa_entry *entry)
{
	return (void *)entry + VDPA_ENTRY_ROOM;
}

/* Which stages each stage can change to. */
static const u8 vdpa_stage_next[VDPA_STAGES] = {
	[VDPA_UNREGISTERED] = BIT(VDPA_REGISTERING),
	[VDPA_REGISTERING] = BIT(VDPA_REGISTERED) | BIT(VDPA_UNREGISTERED),
	[VDPA_REGISTERED] = BIT(VDPA_UNREGISTERING),
	[VDPA_UNREGISTERING] = BIT(VDPA_UNREGISTERED),
};

static bool vdpa_stage_change_locked(struct vdpa_entry *entry, enum vdpa_stage to)
{
	lockdep_assert_held_write(&vdpa_registry);
	if (!(vdpa_stage_next[entry->stage] & BIT(to)))
		return false;
	if (entry->stage == VDPA_UNREGISTERED)
		list_add_tail(&entry->link, &vdpa_devices);
	if (to == VDPA_UNREGISTERED)
		list_del_init(&entry->link);
	entry->stage = to;
	return true;
}

static bool vdpa_stage_change(struct vdpa_device *vdev, enum vdpa_stage to)
{
	bool legal;

	down_write(&vdpa_registry);
	legal = vdpa_stage_change_locked(vdpa_entry_of(vdev), to);
	up_write(&vdpa_registry);
	return legal;
}

/**
 * vdpa_name_valid - can a device be called so
 * @name: requested by a user
 *
 * The name becomes a directory in sysfs and goes through uevents, logs and shells.
 */
bool vdpa_name_valid(const char *name)
{
	size_t len = strlen(name);
	size_t i;

	if (!len || len > VDPA_NAME_LEN_MAX || name[0] == '.')
		return false;
	for (i = 0; i < len; i++)
		if (!isascii(name[i]) || !isgraph(name[i]) || name[i] == '/')
			return false;
	return true;
}

/**
 * vdpa_find_locked - the device of that name, if it is REGISTERED
 * @name: as in sysfs
 *
 * Return: the device, good until vdpa_registry is released; NULL for none
 */
struct vdpa_device *vdpa_find_locked(const char *name)
{
	struct vdpa_entry *entry;

	lockdep_assert_held(&vdpa_registry);
	list_for_each_entry(entry, &vdpa_devices, link)
		if (entry->stage == VDPA_REGISTERED &&
		    !strcmp(dev_name(&vdpa_device_of(entry)->dev), name))
			return vdpa_device_of(entry);
	return NULL;
}

/**
 * vdpa_next_locked - the first REGISTERED device after a serial
 * @serial: 0 to begin with
 */
struct vdpa_device *vdpa_next_locked(u64 serial)
{
	struct vdpa_entry *entry;

	lockdep_assert_held(&vdpa_registry);
	list_for_each_entry(entry, &vdpa_devices, link)
		if (entry->stage == VDPA_REGISTERED && entry->serial > serial)
			return vdpa_device_of(entry);
	return NULL;
}

/**
 * vdpa_serial - a device's place in the order of registration
 * @vdev: registered
 */
u64 vdpa_serial(const struct vdpa_device *vdev)
{
	return vdpa_entry_of(vdev)->serial;
}

static bool vdpa_name_taken_locked(const char *name)
{
	struct vdpa_entry *entry;

	list_for_each_entry(entry, &vdpa_devices, link)
		if (!strcmp(dev_name(&vdpa_device_of(entry)->dev), name))
			return true;
	return false;
}

/* Has the directory in which the device's own will be made an entry of that name ("power", say)? */
static bool vdpa_name_clashes(const struct device *dev)
{
	const struct kobject *home = dev->parent ? &dev->parent->kobj : &dev->kobj.kset->kobj;
	struct kernfs_node *other;

	if (!home->sd)
		return false;
	other = sysfs_get_dirent(home->sd, dev_name(dev));
	if (!other)
		return false;
	sysfs_put(other);
	return true;
}

static int vdpa_begin_registration(struct vdpa_device *vdev)
{
	struct vdpa_entry *entry = vdpa_entry_of(vdev);
	int err = 0;

	down_write(&vdpa_registry);
	if (vdpa_name_taken_locked(dev_name(&vdev->dev)))
		err = -EEXIST;
	else if (vdpa_stage_change_locked(entry, VDPA_REGISTERING))
		entry->serial = ++vdpa_last_serial;
	else
		err = -EBUSY; /* registered before */
	up_write(&vdpa_registry);
	return err;
}

static int vdpa_add_device(struct vdpa_device *vdev, u32 nvqs)
{
	int err;

	lockdep_assert_held(&vdpa_lifecycle);
	if (!nvqs)
		return -EINVAL;
	if (vdpa_name_clashes(&vdev->dev))
		return -EEXIST;

	err = vdpa_begin_registration(vdev);
	if (err)
		return err;
	vdev->nvqs = nvqs;
	err = device_add(&vdev->dev);
	vdpa_stage_change(vdev, err ? VDPA_UNREGISTERED : VDPA_REGISTERED);
	return err;
}

/*
 * A device that is UNREGISTERING cannot be found; threads that found it earlier held vdpa_registry,
 * which we have taken since.  device_del() returns after the bus driver's remove().  Only
 * references are left.
 */
static void vdpa_del_device(struct vdpa_device *vdev)
{
	lockdep_assert_held(&vdpa_lifecycle);
	if (WARN_ON(!vdpa_stage_change(vdev, VDPA_UNREGISTERING)))
		return;
	device_del(&vdev->dev);
	vdpa_stage_change(vdev, VDPA_UNREGISTERED);
	put_device(&vdev->dev);
}

/**
 * _vdpa_register_device - vdpa_register_device() from within a management device's dev_add()
 * @vdev: allocated, with @mdev set
 * @nvqs: number of its queues
 *
 * Return: as vdpa_register_device(); also -EINVAL without a management device
 */
int _vdpa_register_device(struct vdpa_device *vdev, u32 nvqs)
{
	return vdev->mdev ? vdpa_add_device(vdev, nvqs) : -EINVAL;
}
EXPORT_SYMBOL_GPL(_vdpa_register_device);

/**
 * vdpa_register_device - put a device on the bus
 * @vdev: allocated by vdpa_alloc_device() and ready to be used
 * @nvqs: number of its queues
 *
 * A bus driver may have been bound to the device when this returns.  After an error the device is as
 * before, and put_device() frees it.
 *
 * Return: 0, -EEXIST for a name that is in use, -EINVAL for no queues, or the driver core's error
 */
int vdpa_register_device(struct vdpa_device *vdev, u32 nvqs)
{
	int err;

	mutex_lock(&vdpa_lifecycle);
	err = vdpa_add_device(vdev, nvqs);
	mutex_unlock(&vdpa_lifecycle);
	return err;
}
EXPORT_SYMBOL_GPL(vdpa_register_device);

/**
 * _vdpa_unregister_device - vdpa_unregister_device() from within a management device's dev_del()
 * @vdev: registered by _vdpa_register_device()
 */
void _vdpa_unregister_device(struct vdpa_device *vdev)
{
	WARN_ON(!vdev->mdev);
	vdpa_del_device(vdev);
}
EXPORT_SYMBOL_GPL(_vdpa_unregister_device);

/**
 * vdpa_unregister_device - take a device off the bus
 * @vdev: registered; the caller's reference goes with it
 */
void vdpa_unregister_device(struct vdpa_device *vdev)
{
	mutex_lock(&vdpa_lifecycle);
	vdpa_del_device(vdev);
	mutex_unlock(&vdpa_lifecycle);
}
EXPORT_SYMBOL_GPL(vdpa_unregister_device);

static void vdpa_release(struct device *dev)
{
	struct vdpa_device *vdev = dev_to_vdpa(dev);

	if (vdev->config->free)
		vdev->config->free(vdev);
	ida_free(&vdpa_indices, vdev->index);
	kfree(vdev->driver_override);
	kfree(vdpa_entry_of(vdev));
}

/* Operations that bus drivers and this module call without asking first. */
#define MUST(op) offsetof(struct vdpa_config_ops, op)
static const size_t vdpa_mandatory_ops[] = {
	MUST(set_vq_address),	   MUST(set_vq_num),	      MUST(kick_vq),
	MUST(set_vq_cb),	   MUST(set_vq_ready),	      MUST(get_vq_ready),
	MUST(set_vq_state),	   MUST(get_vq_state),	      MUST(get_vq_align),
	MUST(get_vq_num_max),	   MUST(get_device_features), MUST(set_driver_features),
	MUST(get_driver_features), MUST(get_device_id),	      MUST(get_vendor_id),
	MUST(get_status),	   MUST(set_status),	      MUST(reset),
	MUST(set_config_cb),	   MUST(get_config_size),     MUST(get_config),
	MUST(set_config),
};
#undef MUST

static bool vdpa_ops_complete(const struct vdpa_config_ops *ops)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(vdpa_mandatory_ops); i++)
		if (!*(void *const *)((const void *)ops + vdpa_mandatory_ops[i]))
			return false;
	/* incremental mapping is both or neither */
	return !ops->dma_map == !ops->dma_unmap;
}

/**
 * __vdpa_alloc_device - memory for a device driver's structure, with a device in it
 * @parent: device that the new one hangs under in sysfs; NULL for none
 * @config: operations; outlive the device
 * @ngroups: number of queue groups
 * @nas: number of address spaces
 * @size: of the driver's structure, which begins with struct vdpa_device
 * @name: of the device; NULL for "vdpa" and its index
 * @use_va: the device is given process addresses; only with an IOMMU of its own
 *
 * vdpa_alloc_device() is the type-safe form.
 *
 * Return: the device with one reference (put_device() frees it), zeroed beyond its own members;
 * -EINVAL for operations that are incomplete or contradict @use_va, -ENOMEM
 */
struct vdpa_device *__vdpa_alloc_device(struct device *parent, const struct vdpa_config_ops *config,
					unsigned int ngroups, unsigned int nas, size_t size,
					const char *name, bool use_va)
{
	struct vdpa_entry *entry;
	struct vdpa_device *vdev;
	int err;

	if (!config || !vdpa_ops_complete(config) || size < sizeof(*vdev))
		return ERR_PTR(-EINVAL);
	if (use_va && !config->set_map && !config->dma_map)
		return ERR_PTR(-EINVAL);

	entry = kzalloc(size_add(VDPA_ENTRY_ROOM, size), GFP_KERNEL);
	if (!entry)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&entry->link);
	vdev = vdpa_device_of(entry);

	err = ida_alloc(&vdpa_indices, GFP_KERNEL);
	if (err < 0)
		goto undo_memory;
	vdev->index = err;

	err = name ? dev_set_name(&vdev->dev, "%s", name)
		   : dev_set_name(&vdev->dev, "vdpa%u", vdev->index);
	if (err)
		goto undo_index;

	init_rwsem(&vdev->cf_lock);
	vdev->config = config;
	vdev->ngroups = ngroups;
	vdev->nas = nas;
	vdev->use_va = use_va;
	/* last: from here on it is release() that cleans up */
	device_initialize(&vdev->dev);
	vdev->dev.parent = parent;
	vdev->dev.bus = &vdpa_bus;
	vdev->dev.release = vdpa_release;
	return vdev;

undo_index:
	ida_free(&vdpa_indices, vdev->index);
undo_memory:
	kfree(entry);
	return ERR_PTR(err);
}
EXPORT_SYMBOL_GPL(__vdpa_alloc_device);

int vdpa_set_ext_ops(struct vdpa_device *vdev, const struct vdpa_ext_ops *ops)
{
	struct vdpa_entry *entry = vdpa_entry_of(vdev);

	if (entry->ext || entry->stage != VDPA_UNREGISTERED)
		return -EBUSY;
	entry->ext = ops;
	return 0;
}
EXPORT_SYMBOL_GPL(vdpa_set_ext_ops);

const struct vdpa_ext_ops *vdpa_get_ext_ops(const struct vdpa_device *vdev)
{
	return vdpa_entry_of(vdev)->ext;
}
EXPORT_SYMBOL_GPL(vdpa_get_ext_ops);
