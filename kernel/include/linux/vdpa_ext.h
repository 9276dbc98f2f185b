/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Operations of a vDPA device that the kernel's own <linux/vdpa.h> does not have.
 *
 * struct vdpa_config_ops of a stock 6.1 kernel ends where vDPA stood in 2022: a device can be
 * suspended but not resumed, and its mappings cannot outlive a reset.  The layout of that structure
 * is the kernel's and cannot grow, so a device driver passes newer operations in a structure of its
 * own, and the bus keeps it with the device.
 *
 *	vdpa_alloc_device() -> vdpa_set_ext_ops() -> vdpa_register_device() -> ... -> release
 *
 * Kernels whose <linux/vdpa.h> has these members are used through them; there this header declares
 * nothing.
 *
 * Limits: an operation that stock kernels express in another way is not repeated here.
 */
#ifndef QEMU_LIVE_LINUX_VDPA_EXT_H
#define QEMU_LIVE_LINUX_VDPA_EXT_H

#include <linux/version.h>
#include <linux/vdpa.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
#define VDPA_NEEDS_EXT_OPS 1

/**
 * struct vdpa_ext_ops - operations of a device beyond struct vdpa_config_ops
 *
 * Every member may be NULL.  All are called with the device's configuration lock held by the caller
 * (process context, may sleep), except @get_vq_size and @get_backend_features, which only read.
 *
 * @resume:	undo config->suspend: queues go on from where they stopped.  0 or a negative errno,
 *		and then the device is still suspended.
 * @reset_map:	bring address space @asid to its state after allocation (platform default mapping or
 *		empty).  A device that has it keeps its mappings over config->reset.
 * @compat_reset: config->reset for a driver that expects mappings to be dropped by it: flags is
 *		VDPA_EXT_RESET_F_CLEAN_MAP or 0.  Used in place of config->reset where present.
 * @get_vq_size: entries of queue @idx, where queues differ in size; 0 for no such queue.
 * @get_backend_features: bits of VHOST_BACKEND_F_* that the device supports by itself.
 */
struct vdpa_ext_ops {
	int (*resume)(struct vdpa_device *vdev);
	int (*reset_map)(struct vdpa_device *vdev, unsigned int asid);
	int (*compat_reset)(struct vdpa_device *vdev, u32 flags);
	u16 (*get_vq_size)(struct vdpa_device *vdev, u16 idx);
	u64 (*get_backend_features)(const struct vdpa_device *vdev);
};

#define VDPA_EXT_RESET_F_CLEAN_MAP 1U

/**
 * vdpa_set_ext_ops - attach @ops to a device
 * @vdev: allocated and not yet registered
 * @ops:  must outlive the device
 *
 * Return: 0, -EBUSY when the device has some already, -ENOMEM.
 */
int vdpa_set_ext_ops(struct vdpa_device *vdev, const struct vdpa_ext_ops *ops);

/**
 * vdpa_get_ext_ops - the operations attached to @vdev; NULL for none
 *
 * Any context.  The result is valid as long as the device is.
 */
const struct vdpa_ext_ops *vdpa_get_ext_ops(const struct vdpa_device *vdev);

/**
 * struct vdpa_ext_mgmt_ops - operations of a management device beyond struct vdpa_mgmtdev_ops
 *
 * @dev_set_attr: change the attributes in @config->mask of a device that @mdev made; all of them or none.
 *		The values are valid and of attributes that @mdev takes.  Called as dev_del() is: one
 *		at a time, may sleep.  0 or a negative errno: -EOPNOTSUPP for what cannot be changed,
 *		-EBUSY while a driver uses the device.  May be NULL.
 */
struct vdpa_ext_mgmt_ops {
	int (*dev_set_attr)(struct vdpa_mgmt_dev *mdev, struct vdpa_device *vdev,
			    const struct vdpa_dev_set_config *config);
};

/**
 * vdpa_mgmtdev_set_ext_ops - attach @ops to a management device
 * @mdev: registered
 * @ops:  must outlive its registration
 *
 * Return: 0, -ENODEV if it is not registered.
 */
int vdpa_mgmtdev_set_ext_ops(struct vdpa_mgmt_dev *mdev, const struct vdpa_ext_mgmt_ops *ops);
#endif

#endif
