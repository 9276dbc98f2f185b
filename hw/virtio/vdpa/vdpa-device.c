/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vDPA device in use by a virtio device of the guest. See vdpa-device.h, also
 * for the limits.
 */
#include "qemu/osdep.h"
#include "hw/virtio/vdpa/core/vdpa-uapi.h"
#include "hw/virtio/virtio.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "exec/address-spaces.h"
#include "vdpa-device.h"
#include "vdpa-fault.h"
#include "vdpa-model.h"
#include "vdpa-queue.h"
#include "hw/virtio/vdpa/core/vdpa-report.h"
#include "vdpa-rings.h"
#include "vdpa-switch.h"
#include "vdpa-quirks.h"
#include "hw/virtio/trace.h"

#define WANTED_FEATURES                                     \
    (BIT_ULL(VHOST_BACKEND_F_IOTLB_MSG_V2) |                \
     BIT_ULL(VHOST_BACKEND_F_IOTLB_BATCH) |                 \
     BIT_ULL(VHOST_BACKEND_F_IOTLB_ASID) |                  \
     BIT_ULL(VHOST_BACKEND_F_SUSPEND) |                     \
     BIT_ULL(VHOST_BACKEND_F_RESUME) |                      \
     BIT_ULL(VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK) |      \
     BIT_ULL(VHOST_BACKEND_F_IOTLB_PERSIST))

static QTAILQ_HEAD(, VdpaDevice) devices = QTAILQ_HEAD_INITIALIZER(devices);

uint64_t vdpa_device_unshadowable(const VdpaDevice *d)
{
    return vdpa_shadow_ring_refused(d->features | BIT_ULL(VIRTIO_F_VERSION_1));
}

bool vdpa_device_shadows(const VdpaDevice *d)
{
    return d->shared_asid ||
           (d->mode == VDPA_MODE_SHADOW && !vdpa_device_unshadowable(d));
}

/* Our ring is a split one. */
const VdpaQueueKind *vdpa_device_control(const VdpaDevice *d)
{
    return d->features >> VIRTIO_F_RING_PACKED & 1 ? NULL : d->control_kind;
}

/* --- steps -------------------------------------------------------------- */

int vdpa_device_advance(VdpaDevice *d, VdpaEvent event, Error **errp)
{
    VdpaState from = d->status.state;
    int err = vdpa_status_event(&d->status, event);

    trace_vdpa_status(d, vdpa_event_name(event), vdpa_state_name(from),
                    vdpa_state_name(d->status.state), err);
    if (err == -EPROTO) {
        error_setg(errp, "the device refused to %s", vdpa_event_name(event));
    } else if (err == -ENODEV) {
        error_setg(errp, "the device was removed while in use");
    } else if (err) {
        error_setg_errno(errp, -err, "cannot %s the device",
                         vdpa_event_name(event));
    }
    return err;
}

static int set_config_call(VdpaDevice *d, Error **errp)
{
    int fd = d->config_call;
    int err = vdpa_fd_command(&d->fd, VDPA_SET_CONFIG_CALL, &fd);

    if (err && err != -ENOTSUP) {
        error_setg_errno(errp, -err, "cannot %s",
                         vdpa_fd_name(VDPA_SET_CONFIG_CALL));
        return err;
    }
    return 0;
}

/* --- launch ------------------------------------------------------------- */

/* Data queues are enabled only when the control state is there again. */
static bool restores(const VdpaDevice *d)
{
    return d->frontend && d->control >= 0 && vdpa_device_control(d) &&
           d->queue[d->control].ready;
}

static int prepare(VdpaDevice *d, Error **errp)
{
    int err = 0;

    if (d->status.state != VDPA_STATE_RESET) {
        err = vdpa_device_advance(d, VDPA_EVENT_RESET, errp);
    }
    d->status.features = d->features;
    err = err ?: vdpa_device_advance(d, VDPA_EVENT_ACK_DRIVER, errp);
    err = err ?: vdpa_device_advance(d, VDPA_EVENT_SET_FEATURES, errp);
    err = err ?: vdpa_quirks_asid(d, errp);
    FOR_EACH_QUEUE(d, q) {
        err = err ?: vdpa_queue_attach(q, false, errp);
    }
    return err ?: set_config_call(d, errp);
}

static int start_and_enable(VdpaDevice *d, Error **errp)
{
    int err = vdpa_queues_enable(d, true, errp);

    if (!restores(d)) {
        err = err ?: vdpa_queues_enable(d, false, errp);
        return err ?: vdpa_device_advance(d, VDPA_EVENT_START, errp);
    }
    err = err ?: vdpa_device_advance(d, VDPA_EVENT_START, errp);
    err = err ?: d->frontend->restore(d->frontend_opaque, errp);
    return err ?: vdpa_queues_enable(d, false, errp);
}

/* Queues that the device cannot have served yet are where they were. */
static void launch_undo(VdpaDevice *d, bool served)
{
    vdpa_queues_pause(d, true);
    vdpa_device_reset(d);
    FOR_EACH_QUEUE(d, q) {
        vdpa_queue_detach(q);
        if (!served) {
            q->stopped_at = q->guest.base;
        }
    }
}

/* Memory is mapped. On failure the device is reset. */
static int launch_now(VdpaDevice *d, Error **errp)
{
    bool served;
    int err;

    vdpa_model_end(d);
    err = prepare(d, errp);
    served = !err;
    err = err ?: start_and_enable(d, errp);
    if (err) {
        launch_undo(d, served);
        return err;
    }
    d->stats.launches++;
    vdpa_map_live(d->map, true);
    vdpa_queues_run(d, true);
    vdpa_switch_ends(d);
    vdpa_rings_ahead(d);
    return 0;
}

static void memory_ready(void *opaque);

/* 0: all of it is mapped. -EINPROGRESS: it is waited for. */
static int await_memory(VdpaDevice *d, Error **errp)
{
    int err = -EINPROGRESS;

    if (!d->held) {
        vdpa_map_begin(d->map, d->vdev->dma_as);
        if (!vdpa_rings_kept(d)) {
            vdpa_rings_drop(d);
        }
        err = vdpa_map_when_ready(d->map, memory_ready, d, errp);
    }
    d->waiting = err == -EINPROGRESS;
    return err;
}

static void memory_ready(void *opaque)
{
    VdpaDevice *d = opaque;
    Error *err = NULL;

    if (await_memory(d, &err) == -EINPROGRESS) {
        return;
    }
    if (err || launch_now(d, &err)) {
        vdpa_device_fail(d, err);
    }
}

void vdpa_device_hold(VdpaDevice *d, bool hold)
{
    trace_vdpa_hold(d, hold);
    d->held = hold;
    if (hold && !d->launched) {
        vdpa_map_drop(d->map);
    } else if (!hold && d->waiting) {
        memory_ready(d);
    } else if (!hold && !vdpa_map_space(d->map)) {
        vdpa_map_begin(d->map, &address_space_memory);
    }
}

int vdpa_device_launch(VdpaDevice *d, VirtIODevice *vdev, Error **errp)
{
    int err;

    d->vdev = vdev;
    FOR_EACH_QUEUE(d, q) {
        q->stopped_at = q->guest.base;
    }
    err = d->frontend && d->frontend->accepted
          ? d->frontend->accepted(d->frontend_opaque, d->features, errp) : 0;
    if (err) {
        return err;
    }
    err = await_memory(d, errp);
    d->launched = true;
    trace_vdpa_launch(d, d->waiting);
    if (d->waiting) {
        vdpa_model_begin(d);
        return 0;
    }
    err = err ?: launch_now(d, errp);
    if (err) {
        d->launched = false;
        vdpa_map_drop(d->map);      /* a failure to map is not for ever */
    }
    return err;
}

/* --- halt --------------------------------------------------------------- */

/* Stops the device with nothing in flight, by a reset if need be. */
static void quiesce(VdpaDevice *d, bool suspend)
{
    Error *err = NULL;

    vdpa_queues_pause(d, true);
    if (suspend && vdpa_status_may(&d->status, VDPA_EVENT_SUSPEND) &&
        vdpa_fd_has(&d->fd, VHOST_BACKEND_F_SUSPEND) &&
        vdpa_device_advance(d, VDPA_EVENT_SUSPEND, &err)) {
        vdpa_warn_reportf_err(err, "vhost-vdpa: ");
    }
    if (!vdpa_queues_settled(d)) {
        vdpa_device_reset(d);
    }
    vdpa_queues_detach(d);
}

void vdpa_device_stop(VdpaDevice *d, bool suspend)
{
    bool waiting = d->waiting;

    if (!d->launched) {
        return;
    }
    trace_vdpa_halt(d);
    vdpa_model_end(d);
    d->launched = d->waiting = false;
    vdpa_map_forget_ready(d->map);
    vdpa_map_live(d->map, false);
    if (waiting) {
        vdpa_switch_forgotten(d);
    } else {
        quiesce(d, suspend);
    }
}

void vdpa_device_halt(VdpaDevice *d)
{
    vdpa_device_stop(d, true);
}

static void remap_all(VdpaDevice *d, uint64_t first, uint64_t last)
{
    FOR_EACH_QUEUE(d, q) {
        if (q->kind && q->kind->remap) {
            q->kind->remap(q, first, last);
        }
    }
}

/*
 * A reset that forgets maps is followed by mapping anew, when needed. Queues
 * that are still to be detached do not rely on the maps that are gone.
 */
void vdpa_device_reset(VdpaDevice *d)
{
    Error *err = NULL;

    if (d->status.state == VDPA_STATE_RESET) {
        return;
    }
    if (vdpa_device_advance(d, VDPA_EVENT_RESET, &err)) {
        vdpa_error_reportf_err(err, "vhost-vdpa: ");
    }
    if (!vdpa_fd_has(&d->fd, VHOST_BACKEND_F_IOTLB_PERSIST)) {
        vdpa_map_drop(d->map);
        remap_all(d, 0, UINT64_MAX);
    }
}

void vdpa_device_leave(VdpaDevice *d)
{
    vdpa_device_reset(d);
    if (vdpa_map_space(d->map) != &address_space_memory) {
        vdpa_map_drop(d->map);
    }
    for (unsigned i = 0; i < d->nqueues; i++) {
        d->queue[i].ready = false;
    }
    d->vdev = NULL;
    if (d->frontend && d->frontend->left) {
        d->frontend->left(d->frontend_opaque);
    }
}

void vdpa_device_fail(VdpaDevice *d, Error *err)
{
    VirtIODevice *vdev = d->vdev;

    vdpa_switch_fails(d);
    vdpa_device_halt(d);
    vdpa_device_reset(d);
    vdpa_rings_drop(d);
    vdpa_map_drop(d->map);
    vdpa_device_report(d, vdev, err);
}

/* --- the rest ----------------------------------------------------------- */

/* Maps are also dropped around a device that was reset, amid its detaching. */
static bool runs(const VdpaDevice *d)
{
    return d->status.state == VDPA_STATE_DRIVER_OK ||
           d->status.state == VDPA_STATE_SUSPENDED;
}

static void memory_changed(void *opaque, uint64_t first, uint64_t last)
{
    VdpaDevice *d = opaque;

    if (d->launched && !d->waiting && runs(d)) {
        remap_all(d, first, last);
    }
}

int vdpa_device_call(VdpaDevice *d, unsigned index, int fd)
{
    VdpaQueue *q = vdpa_device_queue(d, index);

    q->guest.call = fd;
    if (!q->kind || !q->kind->interrupts) {
        return 0;
    }
    return vdpa_fd_queue_fd(&d->fd, VDPA_SET_QUEUE_CALL, index, fd);
}

VdpaQueue *vdpa_device_queue(VdpaDevice *d, unsigned index)
{
    assert(index < VIRTIO_QUEUE_MAX);
    d->nqueues = MAX(d->nqueues, index + 1);
    return &d->queue[index];
}

VdpaDevice *vdpa_device_new(int fd, uint64_t first, uint64_t last, Error **errp)
{
    VdpaDevice *d = g_new0(VdpaDevice, 1);
    int err;

    vdpa_fd_init(&d->fd, fd);
    err = vdpa_fd_command(&d->fd, VDPA_SET_OWNER, NULL);
    if (err) {
        error_setg_errno(errp, -err, "cannot take the device; is it in use?");
        g_free(d);
        return NULL;
    }
    err = vdpa_fd_agree(&d->fd, WANTED_FEATURES);
    if (err) {
        error_setg_errno(errp, -err, "cannot agree on features with the kernel");
        g_free(d);
        return NULL;
    }
    trace_vdpa_device(d, fd, d->fd.backend);
    vdpa_status_init(&d->status, &d->fd);
    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        d->queue[i] = (VdpaQueue) {
            .device = d, .index = i, .guest = { .kick = -1, .call = -1 },
        };
    }
    d->control = d->config_call = -1;
    d->reason = "no migration";
    d->users = 1;
    vdpa_fault_init(d);
    d->map = vdpa_map_new(&d->fd, first, last);
    vdpa_map_set_changed(d->map, memory_changed, d);
    QTAILQ_INSERT_TAIL(&devices, d, next);
    return d;
}

VdpaDevice *vdpa_device_ref(VdpaDevice *d)
{
    d->users++;
    return d;
}

void vdpa_device_unref(VdpaDevice *d)
{
    if (--d->users) {
        return;
    }
    vdpa_device_halt(d);
    vdpa_device_reset(d);
    QTAILQ_REMOVE(&devices, d, next);
    vdpa_rings_drop(d);
    vdpa_map_destroy(d->map);
    vdpa_fault_destroy(d);
    g_free(d->last_error);
    g_free(d->path);
    g_free(d);
}

VdpaDevice *vdpa_device_first(void)
{
    return QTAILQ_FIRST(&devices);
}
