/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by the files of module vdpa.  Device and bus drivers use <linux/vdpa.h> and
 * <linux/vdpa_ext.h> instead.
 *
 *	vdpa_bus.c	bus type, binding of drivers, driver_override, module entry
 *	vdpa_device.c	allocation and release of devices, the registry of those that exist
 *	vdpa_config.c	configuration space, status
 *	vdpa_mgmt.c	management devices, creation and deletion on a user's demand
 *	vdpa_netlink.c	the generic netlink family: commands, dumps
 *	vdpa_nlattr.c	the same family's attributes as tables, in and out
 *
 * Locks, outermost first
 *
 *	vdpa_lifecycle	one creation or removal of a device or management device at a time.  Held while
 *			drivers probe and remove, so it can be held for long.
 *	vdpa_registry	(rwsem) the lists of devices.  Held for writing only for list and stage
 *			changes, for reading while a device is described to a process.  A device
 *			that can be found under it cannot begin to go away before it is released.
 *	cf_lock		of one device: its configuration, status and features.
 *
 * The two upper locks are separate so that listing devices does not wait for a driver that is slow
 * to release one.
 */
#ifndef QEMU_LIVE_VDPA_CORE_H
#define QEMU_LIVE_VDPA_CORE_H

#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/vdpa.h>
#include <linux/vdpa_ext.h>

/* sysfs entry names end at 255 and a uevent's path must fit 2 KiB together with its parents' */
#define VDPA_NAME_LEN_MAX 127

extern struct bus_type vdpa_bus;
extern struct mutex vdpa_lifecycle;
extern struct rw_semaphore vdpa_registry;

/* vdpa_device.c; _locked: vdpa_registry is held, for reading at the least */
bool vdpa_name_valid(const char *name);
struct vdpa_device *vdpa_find_locked(const char *name);
struct vdpa_device *vdpa_next_locked(u64 serial);
u64 vdpa_serial(const struct vdpa_device *vdev);

/* vdpa_config.c; _locked: the device's cf_lock is held, for reading at the least */
void vdpa_read_config_locked(struct vdpa_device *vdev, unsigned int offset, void *buf,
			     unsigned int len);

/* vdpa_mgmt.c; _locked: vdpa_registry is held, for reading at the least */
struct vdpa_mgmt_dev *vdpa_mgmt_find_locked(const char *bus, const char *name);
struct vdpa_mgmt_dev *vdpa_mgmt_next_locked(u64 *serial);
const struct vdpa_ext_mgmt_ops *vdpa_mgmt_ext_ops_locked(const struct vdpa_mgmt_dev *mdev);

/* vdpa_netlink.c */
int vdpa_netlink_start(void);
void vdpa_netlink_stop(void);

#endif
