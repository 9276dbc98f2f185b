/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vhost-vdpa for its users: network devices and the generic vDPA device.
 *
 * Life cycle: the user opens the device's file and fills in device_fd and
 * iova_range; vhost_dev_init() for the first struct vhost_vdpa that shares
 * them makes @device, vhost_dev_cleanup() for the last one ends it; then the
 * user frees the shared part and closes the file.
 *
 * Thread model: the BQL.
 */
#ifndef HW_VIRTIO_VHOST_VDPA_H
#define HW_VIRTIO_VHOST_VDPA_H

#include "hw/virtio/virtio.h"
#include "standard-headers/linux/vhost_types.h"

struct VdpaDevice;

/* What all queues of a device share. */
typedef struct VhostVDPAShared {
    int device_fd;
    struct vhost_vdpa_iova_range iova_range;
    struct VdpaDevice *device;      /* ours, from init to cleanup */
    bool always_shadow;             /* offer what shadow queues support */
    unsigned users;
} VhostVDPAShared;

/* What a struct vhost_dev is to us: its @opaque. */
typedef struct vhost_vdpa {
    VhostVDPAShared *shared;
    struct vhost_dev *dev;
} VhostVDPA;

/* 0 or -errno. */
int vhost_vdpa_get_iova_range(int fd, struct vhost_vdpa_iova_range *range);

/*
 * vhost_dev_start(), or what the user does before it, returned @error, a negative
 * errno: the user reads the reason in query-vhost-vdpa, and the guest sees
 * DEVICE_NEEDS_RESET. For a user that is no netdev.
 */
void vhost_vdpa_report_start(struct vhost_vdpa *v, VirtIODevice *vdev,
                             int error);

#endif
