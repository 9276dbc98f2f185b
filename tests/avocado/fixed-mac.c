/*
 * A vhost-vdpa network device that keeps its MAC address, for one process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Preloaded into QEMU (LD_PRELOAD), this library replaces the C library's ioctl()
 * and answers vhost-vdpa's ioctls (type 0xAF) as a network device with one queue
 * pair.  QEMU is given /dev/null as the device's file, which takes all messages.
 * Every other ioctl goes to the kernel.
 *
 * The device has the MAC address 52:54:00:00:00:aa and ignores writes to its
 * configuration space.  Its link is up.
 *
 * Limits: it never serves a queue, so no frame is sent or received; one device
 * per process; fake-ioctl.h's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stdint.h>
#include <string.h>
#include "fake-ioctl.h"

#define QUEUE_SIZE 256

static const struct virtio_net_config space = {
    .mac = { 0x52, 0x54, 0x00, 0x00, 0x00, 0xaa },
    .status = VIRTIO_NET_S_LINK_UP,
};

static uint8_t status;

static int refuse(int error)
{
    errno = error;
    return -1;
}

static int get_config(struct vhost_vdpa_config *window)
{
    if (window->off > sizeof(space) ||
        window->len > sizeof(space) - window->off) {
        return refuse(EINVAL);
    }
    memcpy(window->buf, (const char *)&space + window->off, window->len);
    return 0;
}

static int answer(unsigned long request, void *arg)
{
    switch (request) {
    case VHOST_GET_FEATURES:
        *(uint64_t *)arg = 1ull << VIRTIO_F_VERSION_1 |
            1ull << VIRTIO_F_ACCESS_PLATFORM | 1ull << VIRTIO_NET_F_MAC |
            1ull << VIRTIO_NET_F_STATUS;
        return 0;
    case VHOST_GET_BACKEND_FEATURES:
        *(uint64_t *)arg = 1ull << VHOST_BACKEND_F_IOTLB_MSG_V2 |
            1ull << VHOST_BACKEND_F_IOTLB_BATCH |
            1ull << VHOST_BACKEND_F_SUSPEND;
        return 0;
    case VHOST_VDPA_GET_DEVICE_ID:
        *(uint32_t *)arg = VIRTIO_ID_NET;
        return 0;
    case VHOST_VDPA_GET_STATUS:
        *(uint8_t *)arg = status;
        return 0;
    case VHOST_VDPA_SET_STATUS:
        status = *(uint8_t *)arg;
        return 0;
    case VHOST_VDPA_GET_CONFIG:
        return get_config(arg);
    case VHOST_VDPA_GET_CONFIG_SIZE:
        *(uint32_t *)arg = sizeof(space);
        return 0;
    case VHOST_VDPA_GET_VRING_NUM:
        *(uint16_t *)arg = QUEUE_SIZE;
        return 0;
    case VHOST_VDPA_GET_IOVA_RANGE:
        *(struct vhost_vdpa_iova_range *)arg =
            (struct vhost_vdpa_iova_range) { 0, UINT64_MAX };
        return 0;
    case VHOST_GET_VRING_BASE:
        ((struct vhost_vring_state *)arg)->num = 0;
        return 0;
    case VHOST_SET_OWNER:
    case VHOST_SET_FEATURES:
    case VHOST_SET_BACKEND_FEATURES:
    case VHOST_SET_VRING_NUM:
    case VHOST_SET_VRING_ADDR:
    case VHOST_SET_VRING_BASE:
    case VHOST_SET_VRING_KICK:
    case VHOST_SET_VRING_CALL:
    case VHOST_VDPA_SET_CONFIG:
    case VHOST_VDPA_SET_CONFIG_CALL:
    case VHOST_VDPA_SET_VRING_ENABLE:
    case VHOST_VDPA_SUSPEND:
        return 0;
    default:
        return refuse(ENOTTY);
    }
}

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
    return _IOC_TYPE(request) == VHOST_VIRTIO
        ? answer(request, argument) : kernel_ioctl(fd, request, argument);
}
