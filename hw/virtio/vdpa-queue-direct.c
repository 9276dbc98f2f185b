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
 * Thread model: the BQL.
 *
 * Limits: none of its own.
 */
#include "qemu/osdep.h"
#include "qemu/event_notifier.h"
#include "vdpa-device.h"
#include "vdpa-doorbell.h"

static int direct_attach(VdpaQueue *q, VdpaQueueSetup *setup, Error **errp)
{
    return 0;
}

static void direct_run(VdpaQueue *q)
{
    EventNotifier kick;

    /* For what the guest made available before, and has kicked for already. */
    event_notifier_init_fd(&kick, q->guest.kick);
    event_notifier_set(&kick);
    q->own = vdpa_doorbell_new(q->device->vdev, q->device->fd.fd, q->index);
}

static void direct_pause(VdpaQueue *q)
{
    vdpa_doorbell_free(q->own);
    q->own = NULL;
}

static int64_t direct_detach(VdpaQueue *q, int64_t base)
{
    return base;
}

const VdpaQueueKind vdpa_queue_direct = {
    .name = "direct",
    .attach = direct_attach,
    .run = direct_run,
    .pause = direct_pause,
    .detach = direct_detach,
    .interrupts = true,
};
