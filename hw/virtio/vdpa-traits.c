/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a device turns out to be like. See vdpa-traits.h, also for the limits.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "vdpa-traits.h"

static VdpaQueue *data_queue(VdpaDevice *d, unsigned from)
{
    while (from < d->nqueues &&
           (!d->queue[from].ready || (int)from == d->control)) {
        from++;
    }
    return from < d->nqueues ? &d->queue[from] : NULL;
}

/* --- space -------------------------------------------------------------- */

/* The control queue's group, and whether a data queue is in it. */
static int control_group(VdpaDevice *d, unsigned *group, bool *shared)
{
    int err = vdpa_fd_queue_get(&d->fd, VDPA_GET_QUEUE_GROUP, d->control,
                                group);

    *shared = false;
    for (VdpaQueue *q = data_queue(d, 0); q && !err;
         q = data_queue(d, q->index + 1)) {
        unsigned other;

        err = vdpa_fd_queue_get(&d->fd, VDPA_GET_QUEUE_GROUP, q->index, &other);
        *shared |= !err && other == *group;
    }
    return err;
}

static int shadow_all(VdpaDevice *d, Error **errp)
{
    uint64_t refused = vdpa_shadow_ring_refused(d->features);

    if (refused) {
        error_setg(errp, "with what the driver accepted the control queue is in"
                   " the data queues' group, and features 0x%" PRIx64
                   " keep these from being shadowed", refused);
        return -EBUSY;
    }
    warn_report_once("vhost-vdpa: with what the driver accepted, the device's"
                     " control queue is in the data queues' group; all are"
                     " shadowed, which is slower (does the driver want mq?"
                     " -device ...,mq=on)");
    d->together = true;
    return 0;
}

/* Explicitly also when it is the guest's: that is not known to end with a reset. */
int vdpa_traits_space(VdpaDevice *d, Error **errp)
{
    unsigned asid = vdpa_device_control(d) ? d->control_asid : VDPA_ASID_GUEST;
    unsigned group;
    bool shared;
    int err;

    d->together = false;
    if (d->control < 0 || !d->control_kind || !d->control_asid) {
        return 0;
    }
    err = control_group(d, &group, &shared);
    if (!err && shared && asid != VDPA_ASID_GUEST) {
        err = shadow_all(d, errp);
        if (err) {
            return err;
        }
        asid = VDPA_ASID_GUEST;
    }
    err = err ?: vdpa_fd_queue(&d->fd, VDPA_SET_GROUP_ASID, group, asid);
    if (err) {
        error_setg_errno(errp, -err,
                         "cannot give the control queue its address space");
    }
    return err;
}

/* --- moves -------------------------------------------------------------- */

static int try_move(VdpaQueue *q)
{
    VdpaFd *fd = &q->device->fd;
    unsigned was, now = 0;
    int err = vdpa_fd_queue(fd, VDPA_SET_QUEUE_ENABLE, q->index, false);

    err = err ?: vdpa_fd_queue_get(fd, VDPA_GET_QUEUE_BASE, q->index, &was);
    err = err ?: vdpa_fd_queue(fd, VDPA_SET_QUEUE_BASE, q->index,
                               (uint16_t)(was + 1));
    err = err ?: vdpa_fd_queue_get(fd, VDPA_GET_QUEUE_BASE, q->index, &now);
    err = err ?: vdpa_fd_queue(fd, VDPA_SET_QUEUE_BASE, q->index, was);
    return err ?: now == (uint16_t)(was + 1) ? 0 : -EPROTO;
}

bool vdpa_traits_moves(VdpaDevice *d)
{
    VdpaQueue *q = data_queue(d, 0);

    if (!d->moves && q) {
        d->moves = try_move(q) ? VDPA_MOVES_NOT : VDPA_MOVES;
        if (d->moves == VDPA_MOVES_NOT) {
            warn_report("vhost-vdpa: the device's queues stay where they are"
                        " while it is suspended; it is reset for a switch");
        }
    }
    return d->moves != VDPA_MOVES_NOT;
}
