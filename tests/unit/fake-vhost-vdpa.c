/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vhost-vdpa device for tests. See fake-vhost-vdpa.h, also for the limits.
 */
#include <errno.h>
#include <string.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/qemu-live-uapi.h>

#include "fake-vhost-vdpa.h"

static int fail(int error)
{
    errno = error;
    return -1;
}

static int set_status(FakeVdpa *fake, uint8_t status)
{
    if (!status) {
        fake->status = 0;
        fake->suspended = false;
        return 0;
    }
    if (fake->status & ~status) {
        return fail(EINVAL);
    }
    fake->status = (status & ~fake->refused_status) | fake->trouble;
    return 0;
}

static int set_features(FakeVdpa *fake, uint64_t features)
{
    if (fake->status & VIRTIO_CONFIG_S_FEATURES_OK) {
        return fail(EBUSY);
    }
    if (features & ~fake->features) {
        return fail(EINVAL);
    }
    fake->driver_features = features;
    return 0;
}

static int set_suspended(FakeVdpa *fake, bool on)
{
    if (!(fake->status & VIRTIO_CONFIG_S_DRIVER_OK)) {
        return fail(EINVAL);
    }
    fake->suspended = on;
    return 0;
}

static int get_config(FakeVdpa *fake, struct vhost_vdpa_config *config)
{
    struct virtio_net_config net = { .max_virtqueue_pairs = fake->pairs };

    if (config->off + config->len > sizeof(net)) {
        return fail(E2BIG);
    }
    memcpy(config->buf, (char *)&net + config->off, config->len);
    return 0;
}

static int set_backend(FakeVdpa *fake, uint64_t features)
{
    if (features & ~fake->backend) {
        return fail(EOPNOTSUPP);
    }
    fake->agreed = features;
    return 0;
}

static int answer(FakeVdpa *fake, unsigned long request, void *arg)
{
    switch (request) {
    case VHOST_SET_OWNER:
        return 0;
    case VHOST_VDPA_GET_DEVICE_ID:
        *(uint32_t *)arg = fake->id;
        return 0;
    case VHOST_GET_FEATURES:
        *(uint64_t *)arg = fake->features;
        return 0;
    case VHOST_SET_FEATURES:
        return set_features(fake, *(uint64_t *)arg);
    case VHOST_GET_BACKEND_FEATURES:
        *(uint64_t *)arg = fake->backend;
        return 0;
    case VHOST_SET_BACKEND_FEATURES:
        return set_backend(fake, *(uint64_t *)arg);
    case VHOST_VDPA_GET_STATUS:
        *(uint8_t *)arg = fake->status;
        return 0;
    case VHOST_VDPA_SET_STATUS:
        return set_status(fake, *(uint8_t *)arg);
    case VHOST_VDPA_GET_IOVA_RANGE:
        *(struct vhost_vdpa_iova_range *)arg =
            (struct vhost_vdpa_iova_range) { fake->first, fake->last };
        return 0;
    case VHOST_VDPA_GET_CONFIG:
        return get_config(fake, arg);
    case VHOST_VDPA_SUSPEND:
    case VHOST_VDPA_RESUME:
        return set_suspended(fake, request == VHOST_VDPA_SUSPEND);
    default:
        return fail(ENOTTY);
    }
}

static int command(void *opaque, int fd, unsigned long request, void *arg)
{
    FakeVdpa *fake = opaque;

    if (fake->interrupted) {
        fake->interrupted--;
        return fail(EINTR);
    }
    if (fake->logged < FAKE_LOG) {
        fake->log[fake->logged++] = request;
    }
    if (request == fake->fail_request && !fake->fail_after--) {
        fake->fail_after = 0;
        return fail(fake->fail_errno);
    }
    return answer(fake, request, arg);
}

static long message(void *opaque, int fd, const void *msg, size_t bytes)
{
    FakeVdpa *fake = opaque;

    if (fake->interrupted) {
        fake->interrupted--;
        return fail(EINTR);
    }
    fake->messages++;
    if (fake->fail_request == VHOST_IOTLB_MSG_V2) {
        return fake->fail_errno ? fail(fake->fail_errno) : (long)bytes - 1;
    }
    return bytes;
}

static const VdpaKernel fake_kernel = { command, message };

void fake_vdpa_init(FakeVdpa *fake, VdpaFd *d)
{
    memset(fake, 0, sizeof(*fake));
    fake->id = VIRTIO_ID_NET;
    fake->features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_NET_F_MQ |
                     1ull << VIRTIO_NET_F_CTRL_VQ | 1ull << VIRTIO_NET_F_MAC;
    fake->backend = 0x1fe;
    fake->last = UINT64_MAX;
    fake->pairs = 4;
    vdpa_fd_init(d, 7);
    d->kernel = &fake_kernel;
    d->opaque = fake;
}

unsigned fake_vdpa_count(const FakeVdpa *fake, unsigned long request)
{
    unsigned n = 0;

    for (unsigned i = 0; i < fake->logged; i++) {
        n += fake->log[i] == request;
    }
    return n;
}
