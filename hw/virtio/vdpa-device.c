/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vDPA device in use by a virtio device of the guest. See vdpa-device.h, also
 * for the limits.
 */
#include "qemu/osdep.h"
#include "hw/virtio/vdpa-uapi.h"
#include "hw/virtio/virtio.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "exec/address-spaces.h"
#include "vdpa-device.h"
#include "vdpa-fault.h"
#include "vdpa-ring-layout.h"
#include "vdpa-rings.h"
#include "vdpa-switch.h"
#include "vdpa-traits.h"
#include "trace.h"

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
    return d->together ||
           (d->mode == VDPA_MODE_SHADOW && !vdpa_device_unshadowable(d));
}

/* Our ring is a split one. */
const VdpaQueueKind *vdpa_device_control(const VdpaDevice *d)
{
    return d->features >> VIRTIO_F_RING_PACKED & 1 ? NULL : d->control_kind;
}

/* --- steps -------------------------------------------------------------- */

static int advance(VdpaDevice *d, VdpaEvent event, Error **errp)
{
    VdpaState from = d->life.state;
    int err = vdpa_life_event(&d->life, event);

    trace_vdpa_life(d, vdpa_event_name(event), vdpa_state_name(from),
                    vdpa_state_name(d->life.state), err);
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

/* The queues that the guest's driver has set up. */
static VdpaQueue *queue_next(VdpaDevice *d, VdpaQueue *q)
{
    unsigned i = q ? q->index + 1 : 0;

    while (i < d->nqueues && !d->queue[i].ready) {
        i++;
    }
    return i < d->nqueues ? &d->queue[i] : NULL;
}

#define FOR_EACH_QUEUE(d, q)                                \
    for (VdpaQueue *q = queue_next(d, NULL); q; q = queue_next(d, q))

static bool is_control(const VdpaQueue *q)
{
    return (int)q->index == q->device->control;
}

static const VdpaQueueKind *kind_for(const VdpaQueue *q)
{
    const VdpaDevice *d = q->device;

    if (is_control(q)) {
        return vdpa_device_control(d) ?: &vdpa_queue_direct;
    }
    return vdpa_device_shadows(d) ? &vdpa_queue_shadow : &vdpa_queue_direct;
}

static int tell(VdpaQueue *q, VdpaCommand command, int err, Error **errp)
{
    if (err) {
        error_setg_errno(errp, -err, "queue %u: cannot %s", q->index,
                         vdpa_fd_name(command));
    }
    return err;
}

static int set_number(VdpaQueue *q, VdpaCommand command, unsigned n,
                      Error **errp)
{
    return tell(q, command,
                vdpa_fd_queue(&q->device->fd, command, q->index, n), errp);
}

static int set_eventfd(VdpaQueue *q, VdpaCommand command, int fd, Error **errp)
{
    return tell(q, command,
                vdpa_fd_queue_fd(&q->device->fd, command, q->index, fd), errp);
}

static int set_addresses(VdpaQueue *q, const VdpaQueueSetup *s, Error **errp)
{
    struct vhost_vring_addr addr = {
        .index = q->index,
        .desc_user_addr = s->desc,
        .avail_user_addr = s->avail,
        .used_user_addr = s->used,
    };

    return tell(q, VDPA_SET_QUEUE_ADDR,
                vdpa_fd_command(&q->device->fd, VDPA_SET_QUEUE_ADDR, &addr),
                errp);
}

static int enable(VdpaQueue *q, bool on, Error **errp)
{
    return set_number(q, VDPA_SET_QUEUE_ENABLE, on, errp);
}

/* The kernel's word for a queue that is larger than the device allows: EINVAL. */
static int set_size(VdpaQueue *q, unsigned num, Error **errp)
{
    VdpaFd *fd = &q->device->fd;
    uint16_t most = 0;
    int err = vdpa_fd_queue(fd, VDPA_SET_QUEUE_NUM, q->index, num);

    if (err == -EINVAL && !vdpa_fd_command(fd, VDPA_GET_QUEUE_MAX, &most) &&
        most < num) {
        error_setg(errp, "queue %u has %u entries, the device allows %u; "
                   "-device ...,rx_queue_size=,tx_queue_size=", q->index, num,
                   most);
        return err;
    }
    return tell(q, VDPA_SET_QUEUE_NUM, err, errp);
}

/* The size of a queue stays what it is as long as the device is not reset. */
static int program(VdpaQueue *q, const VdpaQueueSetup *s, bool sized,
                   Error **errp)
{
    int err = sized ? 0 : set_size(q, s->num, errp);

    err = err ?: set_number(q, VDPA_SET_QUEUE_BASE, s->base, errp);
    err = err ?: set_addresses(q, s, errp);
    err = err ?: set_eventfd(q, VDPA_SET_QUEUE_KICK, s->kick, errp);
    err = err ?: set_eventfd(q, VDPA_SET_QUEUE_CALL, s->call, errp);
    trace_vdpa_queue(q->device, q->index, q->kind->name, s->num, s->base,
                     s->desc, err);
    return err;
}

/* A packed ring's driver and device area are one event each. */
uint64_t vdpa_queue_area(const VdpaQueue *q, int area, uint64_t *addr)
{
    const VdpaQueueSetup *g = &q->guest;
    uint64_t features = q->device->features;
    bool event_idx = virtio_has_feature(features, VIRTIO_RING_F_EVENT_IDX);
    bool packed = virtio_has_feature(features, VIRTIO_F_RING_PACKED);

    switch (area) {
    case VDPA_RING_DESC:
        *addr = g->desc;
        return ring_desc_size(g->num);
    case VDPA_RING_DRIVER:
        *addr = g->avail;
        return packed ? RING_PACKED_EVENT : ring_avail_span(g->num, event_idx);
    default:
        *addr = g->used;
        return packed ? RING_PACKED_EVENT : ring_used_span(g->num, event_idx);
    }
}

/*
 * A ring that the device cannot reach would be a queue that stands still: all
 * of it has to be guest memory. A packed ring's descriptors are written, too.
 */
static int check_ring(const VdpaQueue *q, Error **errp)
{
    bool packed = virtio_has_feature(q->device->features, VIRTIO_F_RING_PACKED);
    ERRP_GUARD();

    for (int i = 0; i < VDPA_RING_AREAS; i++) {
        uint64_t addr, len = vdpa_queue_area(q, i, &addr);
        bool writes = i == VDPA_RING_DEVICE || (packed && i == VDPA_RING_DESC);
        int err = vdpa_map_check(q->device->map, addr, len, writes, errp);

        if (err) {
            error_prepend(errp, "queue %u: ", q->index);
            return err;
        }
    }
    return 0;
}

static int attach(VdpaQueue *q, bool sized, Error **errp)
{
    VdpaQueueSetup setup = q->guest;
    const VdpaQueueKind *kind = kind_for(q);
    int err = is_control(q) && vdpa_device_control(q->device) ? 0
                                                       : check_ring(q, errp);

    err = err ?: kind->attach(q, &setup, errp);
    if (err) {
        return err;
    }
    q->kind = kind;
    err = program(q, &setup, sized, errp);
    q->programmed = !err;
    return err;
}

/* A device that was not told where to begin does not know where it is. */
static void detach(VdpaQueue *q, bool readable)
{
    unsigned position;
    int64_t base = q->programmed ? -1 : (int64_t)q->guest.base;

    if (!q->kind) {
        return;
    }
    if (readable && q->programmed &&
        !vdpa_fd_queue_get(&q->device->fd, VDPA_GET_QUEUE_BASE, q->index,
                           &position)) {
        base = position;
    }
    q->stopped_at = q->kind->detach(q, base);
    trace_vdpa_queue_stopped(q->device, q->index, q->kind->name, base,
                             q->stopped_at);
    q->kind = NULL;
    q->own = NULL;
    if (!vdpa_rings_kept(q->device)) {
        g_clear_pointer(&q->rings, vdpa_rings_free);
    }
    if (q->stopped_at >= 0) {
        q->guest.base = q->stopped_at;
    }
}

static void detach_all(VdpaDevice *d, bool readable)
{
    FOR_EACH_QUEUE(d, q) {
        detach(q, readable);
    }
}

/* Whoever served the ring before may owe the guest an interrupt. */
static void interrupt(const VdpaQueue *q)
{
    EventNotifier call;

    if (q->guest.call >= 0) {
        event_notifier_init_fd(&call, q->guest.call);
        event_notifier_set(&call);
    }
}

static void run_all(VdpaDevice *d, bool control_too)
{
    FOR_EACH_QUEUE(d, q) {
        if (control_too || !is_control(q)) {
            q->kind->run(q);
        }
        if (!is_control(q)) {
            interrupt(q);
        }
    }
}

static void pause_all(VdpaDevice *d)
{
    FOR_EACH_QUEUE(d, q) {
        if (q->kind) {
            q->kind->pause(q);
        }
    }
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
    return d->user && d->control >= 0 && vdpa_device_control(d) &&
           d->queue[d->control].ready;
}

static int enable_queues(VdpaDevice *d, bool control, Error **errp)
{
    FOR_EACH_QUEUE(d, q) {
        int err = is_control(q) == control ? enable(q, true, errp) : 0;

        if (err) {
            return err;
        }
    }
    return 0;
}

static int prepare(VdpaDevice *d, Error **errp)
{
    int err = 0;

    if (d->life.state != VDPA_STATE_RESET) {
        err = advance(d, VDPA_EVENT_RESET, errp);
    }
    d->life.features = d->features;
    err = err ?: advance(d, VDPA_EVENT_GREET, errp);
    err = err ?: advance(d, VDPA_EVENT_AGREE, errp);
    err = err ?: vdpa_traits_space(d, errp);
    FOR_EACH_QUEUE(d, q) {
        err = err ?: attach(q, false, errp);
    }
    return err ?: set_config_call(d, errp);
}

static int go(VdpaDevice *d, Error **errp)
{
    int err = enable_queues(d, true, errp);

    if (!restores(d)) {
        err = err ?: enable_queues(d, false, errp);
        return err ?: advance(d, VDPA_EVENT_START, errp);
    }
    err = err ?: advance(d, VDPA_EVENT_START, errp);
    err = err ?: d->user->restore(d->user_opaque, errp);
    return err ?: enable_queues(d, false, errp);
}

/* Queues that the device cannot have served yet are where they were. */
static void launch_undo(VdpaDevice *d, bool served)
{
    pause_all(d);
    vdpa_device_reset(d);
    FOR_EACH_QUEUE(d, q) {
        detach(q, false);
        if (!served) {
            q->stopped_at = q->guest.base;
        }
    }
}

/* Memory is mapped. On failure the device is reset. */
static int launch_now(VdpaDevice *d, Error **errp)
{
    int err = prepare(d, errp);
    bool served = !err;

    err = err ?: go(d, errp);
    if (err) {
        launch_undo(d, served);
        return err;
    }
    d->stats.launches++;
    vdpa_map_live(d->map, true);
    run_all(d, true);
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
    err = d->user && d->user->accepted
          ? d->user->accepted(d->user_opaque, d->features, errp) : 0;
    if (err) {
        return err;
    }
    err = await_memory(d, errp);
    d->launched = true;
    trace_vdpa_launch(d, d->waiting);
    if (d->waiting) {
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

static void stand_still(VdpaDevice *d)
{
    Error *err = NULL;

    pause_all(d);
    if (vdpa_life_may(&d->life, VDPA_EVENT_SUSPEND) &&
        vdpa_fd_has(&d->fd, VHOST_BACKEND_F_SUSPEND) &&
        advance(d, VDPA_EVENT_SUSPEND, &err)) {
        warn_reportf_err(err, "vhost-vdpa: ");
    }
    if (d->life.state != VDPA_STATE_SUSPENDED) {
        vdpa_device_reset(d);
    }
    detach_all(d, d->life.state == VDPA_STATE_SUSPENDED);
}

void vdpa_device_halt(VdpaDevice *d)
{
    bool waiting = d->waiting;

    if (!d->launched) {
        return;
    }
    trace_vdpa_halt(d);
    d->launched = d->waiting = false;
    vdpa_map_forget_ready(d->map);
    vdpa_map_live(d->map, false);
    FOR_EACH_QUEUE(d, q) {
        q->stopped_at = waiting ? (int64_t)q->guest.base : -1;
    }
    if (waiting) {
        vdpa_switch_forgotten(d);
    } else {
        stand_still(d);
    }
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

    if (d->life.state == VDPA_STATE_RESET) {
        return;
    }
    if (advance(d, VDPA_EVENT_RESET, &err)) {
        error_reportf_err(err, "vhost-vdpa: ");
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
    if (d->user && d->user->left) {
        d->user->left(d->user_opaque);
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

/* --- switch ------------------------------------------------------------- */

static bool can_resume(const VdpaDevice *d)
{
    return vdpa_fd_has(&d->fd, VHOST_BACKEND_F_SUSPEND) &&
           vdpa_fd_has(&d->fd, VHOST_BACKEND_F_RESUME) &&
           d->moves != VDPA_MOVES_NOT;
}

static int exchange(VdpaQueue *q, Error **errp)
{
    int err = enable(q, false, errp);

    if (err) {
        return err;
    }
    detach(q, true);
    if (q->stopped_at < 0) {
        error_setg(errp, "queue %u: the device does not say where it is",
                   q->index);
        return -EIO;
    }
    err = attach(q, true, errp);
    return err ?: enable(q, true, errp);
}

/* All data queues, while the device is suspended. */
static int switch_suspended(VdpaDevice *d, Error **errp)
{
    FOR_EACH_QUEUE(d, q) {
        int err = is_control(q) ? 0 : exchange(q, errp);

        if (err) {
            return err;
        }
    }
    return advance(d, VDPA_EVENT_RESUME, errp);
}

/* What cannot suspend and resume is launched anew, from where it stopped. */
static int switch_anew(VdpaDevice *d, Error **errp)
{
    VirtIODevice *vdev = d->vdev;

    vdpa_device_halt(d);
    FOR_EACH_QUEUE(d, q) {
        if (q->stopped_at < 0) {
            virtio_queue_restore_last_avail_idx(vdev, q->index);
            q->guest.base = virtio_queue_get_last_avail_idx(vdev, q->index);
        }
    }
    vdpa_device_reset(d);
    return vdpa_device_launch(d, vdev, errp);
}

static void pause_data(VdpaDevice *d)
{
    FOR_EACH_QUEUE(d, q) {
        if (!is_control(q)) {
            q->kind->pause(q);
        }
    }
}

static int switch_now(VdpaDevice *d, Error **errp)
{
    bool moves;
    int err;

    if (!can_resume(d)) {
        return switch_anew(d, errp);
    }
    pause_data(d);
    err = advance(d, VDPA_EVENT_SUSPEND, errp);
    if (err) {
        run_all(d, false);      /* as it was: nothing has changed yet */
        return err;
    }
    err = vdpa_traits_moves(d, &moves, errp);
    if (!err && !moves) {
        return switch_anew(d, errp);
    }
    err = err ?: switch_suspended(d, errp);
    if (!err) {
        run_all(d, false);
    }
    return err;
}

/* From wherever a switch has got to: launched again as it was before. */
static void switch_undo(VdpaDevice *d)
{
    Error *err = NULL;

    if (switch_anew(d, &err)) {
        vdpa_device_fail(d, err);
    }
}

int vdpa_device_switch(VdpaDevice *d, VdpaMode mode, const char *why,
                       Error **errp)
{
    VdpaMode old = d->mode;
    const char *old_why = d->why;
    int err;

    if (d->always_shadow || mode == d->mode) {
        return 0;
    }
    d->mode = mode;
    d->why = why;
    if (!d->launched || d->waiting || d->together) {
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
    d->why = mode == VDPA_MODE_DIRECT ? "the switch back failed" : old_why;
    if (d->life.state != VDPA_STATE_RUNNING) {
        switch_undo(d);
    }
    return err;
}

/* --- the rest ----------------------------------------------------------- */

/* Maps are also dropped around a device that was reset, amid its detaching. */
static bool runs(const VdpaDevice *d)
{
    return d->life.state == VDPA_STATE_RUNNING ||
           d->life.state == VDPA_STATE_SUSPENDED;
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
    vdpa_life_init(&d->life, &d->fd);
    for (unsigned i = 0; i < VIRTIO_QUEUE_MAX; i++) {
        d->queue[i] = (VdpaQueue) {
            .device = d, .index = i, .guest = { .kick = -1, .call = -1 },
        };
    }
    d->control = d->config_call = -1;
    d->why = "no migration";
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
    g_free(d->trouble);
    g_free(d->path);
    g_free(d);
}

VdpaDevice *vdpa_device_first(void)
{
    return QTAILQ_FIRST(&devices);
}
