// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Configuration space and status of a device, under its cf_lock: readers of the configuration
 * together, everything that changes configuration, status or features alone.
 *
 * A driver that reads the configuration before it has negotiated features is a legacy one (virtio
 * 1.2, 2.2.3), and the device is told so by setting no features.  That is a change, so this one read
 * takes the lock for writing.
 *
 * A device is only ever asked for bytes that it has: bytes beyond get_config_size() read as zeros,
 * and a write that touches them is dropped.
 *
 * Limits: a driver that wants several fields of one moment compares generations, as virtio drivers do.
 */
#include <linux/minmax.h>
#include <linux/string.h>

#include "vdpa_core.h"

void vdpa_read_config_locked(struct vdpa_device *vdev, unsigned int offset, void *buf,
			     unsigned int len)
{
	size_t size = vdev->config->get_config_size(vdev);
	unsigned int there = offset < size ? min_t(size_t, len, size - offset) : 0;

	lockdep_assert_held(&vdev->cf_lock);
	memset(buf + there, 0, len - there);
	if (there)
		vdev->config->get_config(vdev, offset, buf, there);
}

static void vdpa_get_config_legacy(struct vdpa_device *vdev, unsigned int offset, void *buf,
				   unsigned int len)
{
	down_write(&vdev->cf_lock);
	if (!vdev->features_valid) /* may have been negotiated while we had no lock */
		vdpa_set_features_unlocked(vdev, 0);
	vdpa_read_config_locked(vdev, offset, buf, len);
	up_write(&vdev->cf_lock);
}

/**
 * vdpa_get_config - read configuration space
 * @vdev: device
 * @offset: of the first byte
 * @buf: destination; always filled
 * @len: number of bytes
 *
 * May sleep.
 */
void vdpa_get_config(struct vdpa_device *vdev, unsigned int offset, void *buf, unsigned int len)
{
	bool negotiated;

	down_read(&vdev->cf_lock);
	negotiated = vdev->features_valid;
	if (negotiated)
		vdpa_read_config_locked(vdev, offset, buf, len);
	up_read(&vdev->cf_lock);

	if (!negotiated)
		vdpa_get_config_legacy(vdev, offset, buf, len);
}
EXPORT_SYMBOL_GPL(vdpa_get_config);

/**
 * vdpa_set_config - write configuration space
 * @vdev: device
 * @offset: of the first byte
 * @buf: source
 * @length: number of bytes
 *
 * May sleep.
 */
void vdpa_set_config(struct vdpa_device *vdev, unsigned int offset, const void *buf,
		     unsigned int length)
{
	size_t size;

	down_write(&vdev->cf_lock);
	size = vdev->config->get_config_size(vdev);
	if (offset <= size && length <= size - offset)
		vdev->config->set_config(vdev, offset, buf, length);
	up_write(&vdev->cf_lock);
}
EXPORT_SYMBOL_GPL(vdpa_set_config);

/**
 * vdpa_set_status - write the device status
 * @vdev: device
 * @status: VIRTIO_CONFIG_S_*; resets go through vdpa_reset()
 *
 * May sleep.
 */
void vdpa_set_status(struct vdpa_device *vdev, u8 status)
{
	down_write(&vdev->cf_lock);
	vdev->config->set_status(vdev, status);
	up_write(&vdev->cf_lock);
}
EXPORT_SYMBOL_GPL(vdpa_set_status);
