/* SPDX-License-Identifier: GPL-2.0-or-later WITH Linux-syscall-note */
/*
 * Numbers of Linux's user interface that are newer than the headers of Debian 12's 6.1.
 *
 * The only place where they stand: QEMU's side, the kernel's modules (by a link below
 * kernel/include) and the tests include this file.  Each is left alone where the system's header
 * has it.
 *
 * Limits: numbers only.  Whether the running kernel knows them is asked at run time.
 */
#ifndef LINUX_QEMU_LIVE_UAPI_H
#define LINUX_QEMU_LIVE_UAPI_H

#include <linux/vhost.h>

#ifndef VHOST_VDPA_RESUME
#define VHOST_VDPA_RESUME _IO(VHOST_VIRTIO, 0x7E)
#endif
#ifndef VHOST_VDPA_GET_VRING_DESC_GROUP
#define VHOST_VDPA_GET_VRING_DESC_GROUP _IOWR(VHOST_VIRTIO, 0x7F, struct vhost_vring_state)
#endif
#ifndef VHOST_VDPA_GET_VRING_SIZE
#define VHOST_VDPA_GET_VRING_SIZE _IOWR(VHOST_VIRTIO, 0x82, struct vhost_vring_state)
#endif

/* Bits of VHOST_GET_BACKEND_FEATURES, for vhost-vdpa. */
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

/* VDPA_CMD_DEV_ATTR_SET of <linux/vdpa.h>, which is an enumerator there. */
#define QEMU_LIVE_VDPA_CMD_DEV_ATTR_SET 8

#ifndef KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP
#define KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP 225
#endif

#endif
