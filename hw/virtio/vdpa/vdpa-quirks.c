/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a device turns out to be like. See vdpa-quirks.h, also for the limits.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "vdpa-queue.h"
#include "vdpa-rings.h"
#include "vdpa-quirks.h"
#include "hw/virtio/trace.h"

/*
 * How far ahead of its own position a queue is parked. A device that takes the
 * position but not the address then sees the guest's available index 0xc000
 * ahead, which is more than any ring has entries, and no chain to serve.
 */
#define PARKED_AHEAD 0x4000

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
    d->shared_asid = true;
    return 0;
}

/* Explicitly also when it is the guest's: that is not known to end with a reset. */
int vdpa_quirks_asid(VdpaDevice *d, Error **errp)
{
    unsigned asid = vdpa_device_control(d) ? d->control_asid : VDPA_ASID_GUEST;
    unsigned group;
    bool shared;
    int err;

    d->shared_asid = false;
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

static int set_error(const VdpaQueue *q, VdpaCommand command, int err, Error **errp)
{
    if (err) {
        error_setg_errno(errp, -err, "queue %u: cannot %s", q->index,
                         vdpa_fd_name(command));
    }
    return err;
}

static int set_base(VdpaQueue *q, unsigned base, Error **errp)
{
    return set_error(q, VDPA_SET_QUEUE_BASE,
                vdpa_fd_queue(&q->device->fd, VDPA_SET_QUEUE_BASE, q->index,
                              base), errp);
}

static int get_base(VdpaQueue *q, unsigned *base, Error **errp)
{
    return set_error(q, VDPA_GET_QUEUE_BASE,
                vdpa_fd_queue_get(&q->device->fd, VDPA_GET_QUEUE_BASE,
                                  q->index, base), errp);
}

/* Whether the device says at once that it is where it is told to be. */
static int try_position(VdpaQueue *q, unsigned was, bool *moves, Error **errp)
{
    unsigned now = 0;
    int err;

    q->programmed = false;      /* it is there, whatever the device says */
    err = set_base(q, (uint16_t)(was + 1), errp);
    err = err ?: get_base(q, &now, errp);
    err = err ?: set_base(q, was, errp);
    q->programmed = !err;
    *moves = now == (uint16_t)(was + 1);
    return err;
}

/* Tells the device of the parked ring, lets it run and suspends it again. */
static int resume_parked(VdpaQueue *q, unsigned there, unsigned *now,
                         Error **errp)
{
    VdpaDevice *d = q->device;
    VdpaQueueSetup setup;
    int err = vdpa_queue_shadow_rings(q, errp);

    if (err) {
        return err;
    }
    vdpa_rings_park(q->rings, there);
    setup = vdpa_rings_setup(q->rings);
    setup.base = there;
    setup.kick = q->guest.kick;
    setup.call = q->guest.call;
    err = vdpa_queue_program(q, &setup, true, errp);
    err = err ?: vdpa_queue_enable(q, true, errp);
    err = err ?: vdpa_device_advance(d, VDPA_EVENT_RESUME, errp);
    err = err ?: vdpa_device_advance(d, VDPA_EVENT_SUSPEND, errp);
    return err ?: get_base(q, now, errp);
}

/*
 * Whether the device goes on where it is told when it is resumed. If so, the
 * queue is parked, and goes on at @was. If not, the device has gone on in the
 * guest's ring; with an error, nothing is known.
 */
static int try_resume(VdpaQueue *q, unsigned was, bool *moves, Error **errp)
{
    uint16_t there = was + PARKED_AHEAD;
    unsigned now = 0;
    int err = resume_parked(q, there, &now, errp);

    *moves = !err && now == there;
    q->programmed = !*moves;
    return err;
}

/* A queue to try it with: one in which nothing comes in. */
static VdpaQueue *trial_queue(VdpaDevice *d)
{
    return data_queue(d, 1) ?: data_queue(d, 0);
}

/*
 * Tries the cheap way first. Only a queue in passthrough can be parked, so what
 * is tried while queues are shadowed may have no answer: a reset, this time.
 */
static int try_moves(VdpaQueue *q, bool *moves, Error **errp)
{
    VdpaDevice *d = q->device;
    bool direct = q->kind == &vdpa_queue_passthrough;
    unsigned was;
    int err = set_error(q, VDPA_SET_QUEUE_ENABLE,
                   vdpa_queue_enable(q, false, NULL), errp);

    err = err ?: get_base(q, &was, errp);
    if (err) {
        return err;
    }
    if (direct) {
        q->guest.base = was;
    }
    err = try_position(q, was, moves, errp);
    if (!err && !*moves && direct) {
        err = try_resume(q, was, moves, errp);
    }
    if (!err && (*moves || direct)) {
        d->can_rebase = *moves ? VDPA_REBASE_YES : VDPA_REBASE_NO;
        trace_vdpa_moves(d, *moves, !q->programmed);
    }
    return err;
}

int vdpa_quirks_can_rebase(VdpaDevice *d, bool *moves, Error **errp)
{
    VdpaQueue *q = trial_queue(d);
    int err;

    *moves = d->can_rebase != VDPA_REBASE_NO;
    if (d->can_rebase || !q) {
        return 0;
    }
    err = try_moves(q, moves, errp);
    if (d->can_rebase == VDPA_REBASE_NO) {
        warn_report("vhost-vdpa: the device's queues stay where they are"
                    " while it is suspended; it is reset for a switch");
    }
    return err;
}
