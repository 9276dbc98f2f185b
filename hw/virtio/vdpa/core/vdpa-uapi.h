/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Numbers of the vhost-vdpa interface that older kernel headers lack.
 *
 * Limits: numbers only; whether the kernel that runs knows them is asked at
 * run time.
 */
#ifndef HW_VIRTIO_VDPA_UAPI_H
#define HW_VIRTIO_VDPA_UAPI_H

#include <linux/vhost.h>

#ifndef VHOST_VDPA_RESUME
#define VHOST_VDPA_RESUME _IO(VHOST_VIRTIO, 0x7E)
#endif

#ifndef VHOST_BACKEND_F_RESUME
#define VHOST_BACKEND_F_RESUME 0x5
#endif

#ifndef VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK
#define VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK 0x6
#endif

#ifndef VHOST_BACKEND_F_DESC_ASID
#define VHOST_BACKEND_F_DESC_ASID 0x7
#endif

#ifndef VHOST_BACKEND_F_IOTLB_PERSIST
#define VHOST_BACKEND_F_IOTLB_PERSIST 0x8
#endif

#endif
