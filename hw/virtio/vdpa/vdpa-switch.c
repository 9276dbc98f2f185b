/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Changing a device's mode. See vdpa-switch.h, also for the limits.
 */
#include "qemu/osdep.h"
#include "hw/virtio/vdpa/core/vdpa-uapi.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "vdpa-queue.h"
#include "vdpa-switch.h"
#include "vdpa-quirks.h"
#include "hw/virtio/trace.h"

/* --- what it costs ------------------------------------------------------ */

static uint64_t messages(const VdpaDevice *d)
{
    VdpaMapStats now = vdpa_map_stats(d->map);

    return now.maps + now.unmaps;
}

void vdpa_switch_begins(VdpaDevice *d)
{
    d->switching = (VdpaSwitch) {
        .pending = true,
        .start = qemu_clock_get_ns(QEMU_CLOCK_REALTIME),
        .messages = messages(d),
        .resets = d->status.resets,
    };
}

void vdpa_switch_ends(VdpaDevice *d)
{
    const VdpaSwitch *s = &d->switching;
    uint64_t spent = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - s->start;

    if (!s->pending) {
        return;
    }
    d->switching.pending = false;
    d->stats.switches++;
    d->stats.switch_ns = spent;
    d->stats.switch_worst_ns = MAX(d->stats.switch_worst_ns, spent);
    d->stats.switch_messages += messages(d) - s->messages;
    d->stats.switch_resets += d->status.resets - s->resets;
    trace_vdpa_switched(d, d->mode, spent);
}

void vdpa_switch_fails(VdpaDevice *d)
{
    if (d->switching.pending) {
        d->switching.pending = false;
        d->stats.switches_failed++;
    }
}

void vdpa_switch_forgotten(VdpaDevice *d)
{
    d->switching.pending = false;
}

/* --- switch ------------------------------------------------------------- */

static bool can_resume(const VdpaDevice *d)
{
    return vdpa_fd_has(&d->fd, VHOST_BACKEND_F_SUSPEND) &&
           vdpa_fd_has(&d->fd, VHOST_BACKEND_F_RESUME) &&
           d->can_rebase != VDPA_REBASE_NO;
}

static int exchange(VdpaQueue *q, Error **errp)
{
    int err = vdpa_queue_enable(q, false, errp);

    if (err) {
        return err;
    }
    vdpa_queue_detach(q);
    if (q->stopped_at < 0) {
        error_setg(errp, "queue %u: the device does not say where it is",
                   q->index);
        return -EIO;
    }
    err = vdpa_queue_attach(q, true, errp);
    return err ?: vdpa_queue_enable(q, true, errp);
}

/* All data queues, while the device is suspended. */
static int switch_suspended(VdpaDevice *d, Error **errp)
{
    int err;

    FOR_EACH_QUEUE(d, q) {
        err = vdpa_queue_is_control(q) ? 0 : exchange(q, errp);
        if (err) {
            return err;
        }
    }
    err = vdpa_device_advance(d, VDPA_EVENT_RESUME, errp);
    return err ?: vdpa_queues_enable(d, true, errp);    /* see vdpa-quirks.h */
}

/* What cannot suspend and resume is launched anew, from where it stopped. */
static int switch_anew(VdpaDevice *d, bool suspend, Error **errp)
{
    VirtIODevice *vdev = d->vdev;

    vdpa_device_stop(d, suspend);
    FOR_EACH_QUEUE(d, q) {
        if (q->stopped_at < 0) {
            virtio_queue_restore_last_avail_idx(vdev, q->index);
            q->guest.base = virtio_queue_get_last_avail_idx(vdev, q->index);
        }
    }
    vdpa_device_reset(d);
    return vdpa_device_launch(d, vdev, errp);
}

/*
 * Whether the device is suspended, with nothing in flight, and lets its queues be
 * put elsewhere. What it refuses here costs a reset, not the migration.
 */
static bool suspend(VdpaDevice *d)
{
    Error *err = NULL;
    bool moves;

    vdpa_queues_pause(d, false);
    if (vdpa_device_advance(d, VDPA_EVENT_SUSPEND, &err) ||
        vdpa_quirks_can_rebase(d, &moves, &err)) {
        warn_reportf_err(err, "vhost-vdpa: the device is reset for a switch: ");
        return false;
    }
    return moves && vdpa_queues_settled(d);
}

static int switch_now(VdpaDevice *d, Error **errp)
{
    int err;

    if (!can_resume(d)) {
        return switch_anew(d, true, errp);
    }
    if (!suspend(d)) {
        return switch_anew(d, false, errp);
    }
    err = switch_suspended(d, errp);
    if (!err) {
        vdpa_queues_run(d, false);
    }
    return err;
}

/* From wherever a switch has got to: launched again as it was before. */
static void switch_undo(VdpaDevice *d)
{
    Error *err = NULL;

    if (switch_anew(d, true, &err)) {
        vdpa_device_fail(d, err);
    }
}

int vdpa_device_switch(VdpaDevice *d, VdpaMode mode, const char *why,
                       Error **errp)
{
    VdpaMode old = d->mode;
    const char *old_why = d->reason;
    int err;

    if (d->always_shadow || mode == d->mode) {
        return 0;
    }
    d->mode = mode;
    d->reason = why;
    if (!d->launched || d->waiting || d->shared_asid) {
        return 0;
    }
    vdpa_switch_begins(d);
    err = switch_now(d, errp);
    if (!err) {
        if (!d->waiting) {
            vdpa_switch_ends(d);
        }
        return 0;
    }
    vdpa_switch_fails(d);
    d->mode = old;
    d->reason = mode == VDPA_MODE_PASSTHROUGH ? "the switch back failed" : old_why;
    switch_undo(d);
    return err;
}
