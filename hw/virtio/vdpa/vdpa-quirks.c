/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Properties of a device that no feature bit tells: find them by trying.
 *
 * Theory of operation
 * -------------------
 * asid    The control queue is to have an address space of its own. Which group
 *         it is in depends on its index, and that on whether the driver has
 *         agreed on multiqueue; but some devices' groups are fixed. Then it is
 *         among the data queues, and QEMU's rings for it must not be where a
 *         guest can have the device write: all queues are shadowed
 *         (VdpaDevice.shared_asid), as with x-svq=on.
 * rebase  Whether a queue of a suspended device can be put elsewhere. A device that
 *         ignores this continues with the old ring when it is resumed. So the
 *         first switch of a device tries it with one queue, in two ways:
 *
 *         position  Set another ring base and read it back.
 *         resume    Some drivers (mlx5_vdpa) only store what they are told while
 *                   the device is suspended, hand it to the hardware at RESUME,
 *                   and read the ring base from the hardware. So tell the device
 *                   of a ring of QEMU's in which nothing is available, at a base
 *                   of its own, resume, suspend, and read the base. Other queues
 *                   are served meanwhile, as before. A device that ignores the
 *                   ring continues with the guest's.
 *
 * control Whether the control queue is served after RESUME is not found out: some
 *         drivers (mlx5_vdpa) stop serving it at SUSPEND, until it is enabled
 *         again. vdpa-lifecycle.c enables it after each RESUME; for other devices
 *         that changes nothing.
 *
 * Thread model: the BQL.
 *
 * Limits: a device that takes positions and ignores addresses is not found out.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "vdpa-internal.h"
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

/* --- asid --------------------------------------------------------------- */

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

/* --- rebase ------------------------------------------------------------- */

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
static int try_position(VdpaQueue *q, unsigned was, bool *can, Error **errp)
{
    unsigned now = 0;
    int err;

    q->programmed = false;      /* it is there, whatever the device says */
    err = set_base(q, (uint16_t)(was + 1), errp);
    err = err ?: get_base(q, &now, errp);
    err = err ?: set_base(q, was, errp);
    q->programmed = !err;
    *can = now == (uint16_t)(was + 1);
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
static int try_resume(VdpaQueue *q, unsigned was, bool *can, Error **errp)
{
    uint16_t there = was + PARKED_AHEAD;
    unsigned now = 0;
    int err = resume_parked(q, there, &now, errp);

    *can = !err && now == there;
    q->programmed = !*can;
    return err;
}

/* A queue to try it with: one in which nothing comes in. */
static VdpaQueue *trial_queue(VdpaDevice *d)
{
    return data_queue(d, 1) ?: data_queue(d, 0);
}

/*
 * Tries the cheap way first. Only a queue in passthrough can be parked, so a
 * trial while queues are shadowed may have no answer: a reset, this time.
 */
static int try_rebase(VdpaQueue *q, bool *can, Error **errp)
{
    VdpaDevice *d = q->device;
    bool passthrough = q->kind == &vdpa_queue_passthrough;
    unsigned was;
    int err = set_error(q, VDPA_SET_QUEUE_ENABLE,
                   vdpa_queue_enable(q, false, NULL), errp);

    err = err ?: get_base(q, &was, errp);
    if (err) {
        return err;
    }
    if (passthrough) {
        q->guest.base = was;
    }
    err = try_position(q, was, can, errp);
    if (!err && !*can && passthrough) {
        err = try_resume(q, was, can, errp);
    }
    if (!err && q->programmed) {
        err = vdpa_queue_enable(q, true, errp);     /* it may stay */
    }
    if (!err && (*can || passthrough)) {
        d->can_rebase = *can ? VDPA_REBASE_YES : VDPA_REBASE_NO;
        trace_vdpa_can_rebase(d, *can, !q->programmed);
    }
    return err;
}

int vdpa_quirks_can_rebase(VdpaDevice *d, bool *can, Error **errp)
{
    VdpaQueue *q = trial_queue(d);
    int err;

    *can = d->can_rebase != VDPA_REBASE_NO;
    if (d->can_rebase || !q) {
        return 0;
    }
    err = try_rebase(q, can, errp);
    if (d->can_rebase == VDPA_REBASE_NO) {
        warn_report("vhost-vdpa: the device's queues stay where they are"
                    " while it is suspended; it is reset for a switch");
    }
    return err;
}

/* --- the control queue's group -------------------------------------------- */

/* Devices may know their groups only after FEATURES_OK. */
bool vdpa_device_control_isolated(VdpaDevice *d, uint64_t features,
                                  unsigned control)
{
    unsigned spaces = 0, group, other;
    bool isolated;

    if (vdpa_fd_command(&d->fd, VDPA_GET_AS_NUM, &spaces) || spaces < 2) {
        return false;
    }
    d->status.features = features;
    isolated = !vdpa_status_event(&d->status, VDPA_EVENT_ACK_DRIVER) &&
               !vdpa_status_event(&d->status, VDPA_EVENT_SET_FEATURES) &&
               !vdpa_fd_queue_get(&d->fd, VDPA_GET_QUEUE_GROUP, control, &group);
    for (unsigned i = 0; isolated && i < control; i++) {
        isolated = !vdpa_fd_queue_get(&d->fd, VDPA_GET_QUEUE_GROUP, i,
                                      &other) && other != group;
    }
    vdpa_device_reset(d);
    return isolated;
}
