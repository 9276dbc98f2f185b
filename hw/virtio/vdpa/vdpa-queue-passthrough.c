/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A queue that the device serves in the guest's memory.
 *
 * Theory of operation: the device gets what the guest's driver set up, as it
 * is. Guest memory is mapped where the guest sees it, so a ring's address is
 * its IOVA. Where the device has a page to write notifications to, the guest
 * gets it, and kicks without anybody else (vdpa-doorbell.c).
 *
 * QEMU reads the used index from the guest's ring at the time of use, by the
 * guest's address (vdpa-guest-mem.h): the device's maps may be gone by then, and
 * the address may not be RAM any more.
 *
 * Thread model: the BQL.
 *
 * Limits: none of its own.
 */
#include "qemu/osdep.h"
#include "qemu/event_notifier.h"
#include "vdpa-device.h"
#include "vdpa-doorbell.h"
#include "vdpa-guest-mem.h"
#include "hw/virtio/vdpa/core/vdpa-ring-layout.h"

static int passthrough_attach(VdpaQueue *q, VdpaQueueSetup *setup, Error **errp)
{
    return 0;
}

static void passthrough_run(VdpaQueue *q)
{
    EventNotifier kick;

    /* For what the guest made available before, and has kicked for already. */
    event_notifier_init_fd(&kick, q->guest.kick);
    event_notifier_set(&kick);
    q->priv = vdpa_doorbell_new(q->device->vdev, q->device->fd.fd, q->index);
}

static void passthrough_pause(VdpaQueue *q)
{
    vdpa_doorbell_free(q->priv);
    q->priv = NULL;
}

static int64_t direct_used(const VdpaQueue *q)
{
    uint16_t idx;

    if (vdpa_guest_read(q->device->vdev->dma_as, q->guest.used + RING_IDX,
                        &idx, sizeof(idx))) {
        return -1;
    }
    return GUINT16_FROM_LE(idx);
}

static int64_t passthrough_detach(VdpaQueue *q, int64_t base)
{
    bool packed = virtio_has_feature(q->device->features,
                                     VIRTIO_F_RING_PACKED);

    return base >= 0 || packed ? base : direct_used(q);
}

const VdpaQueueKind vdpa_queue_passthrough = {
    .name = "passthrough",
    .attach = passthrough_attach,
    .run = passthrough_run,
    .pause = passthrough_pause,
    .detach = passthrough_detach,
    .used = direct_used,
    .interrupts = true,
};
