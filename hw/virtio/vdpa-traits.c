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
        g_autofree char *names = vdpa_shadow_ring_feature_names(refused);

        error_setg(errp, "with what the driver accepted the control queue is in"
                   " the data queues' group, and %s keep these from being"
                   " shadowed", names);
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

static int tell(const VdpaQueue *q, VdpaCommand command, int err, Error **errp)
{
    if (err) {
        error_setg_errno(errp, -err, "queue %u: cannot %s", q->index,
                         vdpa_fd_name(command));
    }
    return err;
}

static int set_base(VdpaQueue *q, unsigned base, Error **errp)
{
    return tell(q, VDPA_SET_QUEUE_BASE,
                vdpa_fd_queue(&q->device->fd, VDPA_SET_QUEUE_BASE, q->index,
                              base), errp);
}

static int get_base(VdpaQueue *q, unsigned *base, Error **errp)
{
    return tell(q, VDPA_GET_QUEUE_BASE,
                vdpa_fd_queue_get(&q->device->fd, VDPA_GET_QUEUE_BASE,
                                  q->index, base), errp);
}

static int try_move(VdpaQueue *q, bool *moves, Error **errp)
{
    unsigned was, now = 0;
    int err = tell(q, VDPA_SET_QUEUE_ENABLE,
                   vdpa_fd_queue(&q->device->fd, VDPA_SET_QUEUE_ENABLE,
                                 q->index, false), errp);

    err = err ?: get_base(q, &was, errp);
    if (err) {
        return err;
    }
    q->guest.base = was;
    q->programmed = false;      /* it is there, whatever the device says */
    err = set_base(q, (uint16_t)(was + 1), errp);
    err = err ?: get_base(q, &now, errp);
    err = err ?: set_base(q, was, errp);
    q->programmed = !err;
    *moves = now == (uint16_t)(was + 1);
    return err;
}

int vdpa_traits_moves(VdpaDevice *d, bool *moves, Error **errp)
{
    VdpaQueue *q = data_queue(d, 0);

    if (!d->moves && q) {
        int err = try_move(q, moves, errp);

        if (err) {
            return err;
        }
        d->moves = *moves ? VDPA_MOVES : VDPA_MOVES_NOT;
        if (!*moves) {
            warn_report("vhost-vdpa: the device's queues stay where they are"
                        " while it is suspended; it is reset for a switch");
        }
    }
    *moves = d->moves != VDPA_MOVES_NOT;
    return 0;
}
