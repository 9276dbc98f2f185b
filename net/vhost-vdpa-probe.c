/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a vhost-vdpa device is. See vhost-vdpa-probe.h, also for the limits.
 */
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>

#include <linux/vhost.h>
#include "vhost-vdpa-probe.h"

/* What virtio allows; QEMU may have room for less. */
#define PAIRS_MAX   0x8000

static char *cannot(VdpaCommand command, int err)
{
    return g_strdup_printf("cannot %s: %s", vdpa_fd_name(command),
                           g_strerror(-err));
}

static char *probe_id(VdpaFd *fd, VdpaProbe *found)
{
    uint32_t id = 0;
    int err = vdpa_fd_command(fd, VDPA_GET_DEVICE_ID, &id);

    if (err == -ENOTSUP || err == -EINVAL) {
        return g_strdup("the file is no vhost-vdpa device");
    }
    if (err) {
        return cannot(VDPA_GET_DEVICE_ID, err);
    }
    if (id != VIRTIO_ID_NET) {
        return g_strdup_printf("the device is no network device (its virtio "
                               "ID is %u); use -device vhost-vdpa-device-pci",
                               id);
    }
    return NULL;
}

static char *probe_features(VdpaFd *fd, VdpaProbe *found)
{
    int err = vdpa_fd_command(fd, VDPA_GET_FEATURES, &found->features);

    if (err) {
        return cannot(VDPA_GET_FEATURES, err);
    }
    if (!(found->features >> VIRTIO_F_VERSION_1 & 1)) {
        return g_strdup("the device lacks VIRTIO_F_VERSION_1; legacy devices "
                        "are not supported");
    }
    found->control = found->features >> VIRTIO_NET_F_CTRL_VQ & 1;
    return NULL;
}

static char *probe_range(VdpaFd *fd, VdpaProbe *found)
{
    struct vhost_vdpa_iova_range range = { 0 };
    int err = vdpa_fd_command(fd, VDPA_GET_IOVA_RANGE, &range);

    if (err) {
        return cannot(VDPA_GET_IOVA_RANGE, err);
    }
    if (range.first >= range.last) {
        return g_strdup("the device has no range of addresses");
    }
    found->first = range.first;
    found->last = range.last;
    return NULL;
}

static char *probe_pairs(VdpaFd *fd, VdpaProbe *found)
{
    struct {
        struct vhost_vdpa_config head;
        uint8_t pairs[2];
    } config = {
        .head.off = offsetof(struct virtio_net_config, max_virtqueue_pairs),
        .head.len = sizeof(config.pairs),
    };
    int err;

    found->queue_pairs = 1;
    if (!(found->features >> VIRTIO_NET_F_MQ & 1)) {
        return NULL;
    }
    err = vdpa_fd_command(fd, VDPA_GET_CONFIG, &config);
    if (err) {
        return cannot(VDPA_GET_CONFIG, err);
    }
    found->queue_pairs = config.pairs[0] | config.pairs[1] << 8;
    if (!found->queue_pairs || found->queue_pairs > PAIRS_MAX) {
        return g_strdup_printf("the device says that it has %u queue pairs",
                               found->queue_pairs);
    }
    return NULL;
}

char *vdpa_probe(VdpaFd *fd, VdpaProbe *found)
{
    static char *(*const questions[])(VdpaFd *fd, VdpaProbe *found) = {
        probe_id, probe_features, probe_range, probe_pairs,
    };
    char *reason = NULL;

    memset(found, 0, sizeof(*found));
    for (size_t i = 0; i < G_N_ELEMENTS(questions) && !reason; i++) {
        reason = questions[i](fd, found);
    }
    return reason;
}

const char *vdpa_options_fault(const char *vhostdev, const char *vhostfd)
{
    if (!vhostdev && !vhostfd) {
        return "which device? vhostdev= or vhostfd= is missing";
    }
    if (vhostdev && vhostfd) {
        return "vhostdev= and vhostfd= cannot both be given";
    }
    return NULL;
}

/* Another process opened the file, and passed it as one of a set. */
static const char *set_advice(int error)
{
    switch (error) {
    case ENOENT:
        return "there is no set of open files of that number (-add-fd, add-fd)";
    case EACCES:
        return "no file of that set is open for reading and writing";
    default:
        return NULL;
    }
}

const char *vdpa_open_advice(const char *path, int error)
{
    if (!strncmp(path, "/dev/fdset/", 11)) {
        return set_advice(error);
    }
    switch (error) {
    case ENOENT:
    case ENXIO:
    case ENODEV:
        return "is the vDPA device there (vdpa dev show), and is the module "
               "vhost_vdpa loaded?";
    case EBUSY:
        return "it is in use by another process";
    case EACCES:
    case EPERM:
        return "give this user access to it, or pass it as vhostfd=";
    default:
        return NULL;
    }
}
