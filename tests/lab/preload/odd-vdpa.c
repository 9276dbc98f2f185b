/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vhost-vdpa device that behaves oddly, for one process.
 *
 * Theory of operation: preloaded into QEMU (LD_PRELOAD), it stands between QEMU
 * and a simulated device and changes what a few ioctls do. ODD_VDPA says how:
 *
 *   groups=N   queue N is in group 1 and all others are in group 0, whatever the
 *              driver has negotiated; some devices have fixed groups
 *   deaf       a suspended device accepts new addresses and bases of its
 *              queues, and keeps the old ones
 *   mute       queues 0 and 1 never interrupt: their call goes to an eventfd
 *              that has no reader
 *   fixed      its configuration space ignores writes
 *
 * Limits: one device per process; no other thread of QEMU's than the one that sets
 * the device up makes these ioctls.
 */
#define _GNU_SOURCE
#include <linux/vhost.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include "../../../linux-headers/linux/qemu-live-uapi.h"
#include "../../avocado/fake-ioctl.h"

static int suspended;

static int config_groups(unsigned *control)
{
    const char *how = getenv("ODD_VDPA");

    if (!how || strncmp(how, "groups=", 7)) {
        return 0;
    }
    *control = strtoul(how + 7, NULL, 10);
    return 1;
}

static int configured(const char *what)
{
    const char *how = getenv("ODD_VDPA");

    return how && !strcmp(how, what);
}

static int group_of(struct vhost_vring_state *queue)
{
    unsigned control;

    if (!config_groups(&control)) {
        return 0;
    }
    queue->num = queue->index == control;
    return 1;
}

static int discard_call(int fd, unsigned long request, struct vhost_vring_file *call)
{
    static int unread = -1;
    struct vhost_vring_file other = *call;

    if (unread < 0) {
        unread = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    other.fd = call->fd < 0 ? call->fd : unread;
    return kernel_ioctl(fd, request, &other);
}

static void track_suspend(unsigned long request, const void *argument)
{
    if (request == VHOST_VDPA_SUSPEND) {
        suspended = 1;
    } else if (request == VHOST_VDPA_RESUME ||
               (request == VHOST_VDPA_SET_STATUS && !*(const uint8_t *)argument)) {
        suspended = 0;
    }
}

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
    int done;

    if (request == VHOST_VDPA_GET_VRING_GROUP && group_of(argument)) {
        return 0;
    }
    if (request == VHOST_SET_VRING_CALL && configured("mute") &&
        ((struct vhost_vring_file *)argument)->index < 2) {
        return discard_call(fd, request, argument);
    }
    if ((request == VHOST_SET_VRING_ADDR || request == VHOST_SET_VRING_BASE) &&
        suspended && configured("deaf")) {
        return 0;
    }
    if (request == VHOST_VDPA_SET_CONFIG && configured("fixed")) {
        return 0;
    }
    done = kernel_ioctl(fd, request, argument);
    if (!done) {
        track_suspend(request, argument);
    }
    return done;
}
