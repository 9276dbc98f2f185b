/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The queues of a vDPA device: program them, read their bases.
 *
 * Theory of operation: each queue has a kind (vdpa-device.h), which is attached
 * while the device serves the queue. Attaching a kind programs the device with
 * the queue; detaching it stores the base at which the queue continues.
 *
 * Life cycle: attach -> enable -> run -> pause -> detach. Thread model: the BQL.
 *
 * Limits: none.
 */
#include "qemu/osdep.h"
#include <linux/vhost.h>
#include "hw/virtio/virtio.h"
#include "exec/address-spaces.h"
#include "qemu/event_notifier.h"
#include "vdpa-internal.h"
#include "hw/virtio/vdpa/core/vdpa-ring-layout.h"
#include "hw/virtio/trace.h"

/* The queues that the guest's driver has set up. */
VdpaQueue *vdpa_queue_next(VdpaDevice *d, VdpaQueue *q)
{
    unsigned i = q ? q->index + 1 : 0;

    while (i < d->nqueues && !d->queue[i].ready) {
        i++;
    }
    return i < d->nqueues ? &d->queue[i] : NULL;
}

bool vdpa_queue_is_control(const VdpaQueue *q)
{
    return (int)q->index == q->device->control;
}

/*
 * Of a queue with buffers that the device only reads, it writes the used ring and
 * nothing else. So the queue need not be shadowed for a migration: that ring is
 * marked dirty when the device has stopped, except behind a vIOMMU
 * (vdpa-queue-passthrough.c). That takes a device that can suspend, as a reset does
 * not say which chains were returned out of order.
 */
static bool left_alone(const VdpaQueue *q)
{
    const VdpaDevice *d = q->device;

    return !d->shared_asid && !d->always_shadow && d->frontend &&
           d->frontend->only_read &&
           d->frontend->only_read(d->frontend_opaque, q->index) &&
           vdpa_fd_has(&d->fd, VHOST_BACKEND_F_SUSPEND) &&
           vdpa_map_space(d->map) == &address_space_memory;
}

static const VdpaQueueKind *kind_for(const VdpaQueue *q)
{
    const VdpaDevice *d = q->device;

    if (vdpa_queue_is_control(q)) {
        return vdpa_device_control(d) ?: &vdpa_queue_passthrough;
    }
    return vdpa_device_shadows(d) && !left_alone(q) ? &vdpa_queue_shadow
                                                    : &vdpa_queue_passthrough;
}

bool vdpa_queue_stays(const VdpaQueue *q)
{
    return vdpa_queue_is_control(q) ||
           (q->kind == kind_for(q) && q->programmed);
}

static int set_error(VdpaQueue *q, VdpaCommand command, int err, Error **errp)
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
    return set_error(q, command,
                vdpa_fd_queue(&q->device->fd, command, q->index, n), errp);
}

static int set_eventfd(VdpaQueue *q, VdpaCommand command, int fd, Error **errp)
{
    return set_error(q, command,
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

    return set_error(q, VDPA_SET_QUEUE_ADDR,
                vdpa_fd_command(&q->device->fd, VDPA_SET_QUEUE_ADDR, &addr),
                errp);
}

int vdpa_queue_enable(VdpaQueue *q, bool on, Error **errp)
{
    return set_number(q, VDPA_SET_QUEUE_ENABLE, on, errp);
}

/* The kernel returns EINVAL when the queue is larger than the device allows. */
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
    return set_error(q, VDPA_SET_QUEUE_NUM, err, errp);
}

/* The size of a queue stays what it is as long as the device is not reset. */
int vdpa_queue_program(VdpaQueue *q, const VdpaQueueSetup *s, bool sized,
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
        return packed ? RING_PACKED_EVENT : ring_avail_bytes(g->num, event_idx);
    default:
        *addr = g->used;
        return packed ? RING_PACKED_EVENT : ring_used_bytes(g->num, event_idx);
    }
}

/*
 * A ring that the device cannot reach would stop the queue: all of it has to be
 * guest memory. A packed ring's descriptors are written, too.
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

int vdpa_queue_attach(VdpaQueue *q, bool sized, Error **errp)
{
    VdpaQueueSetup setup = q->guest;
    const VdpaQueueKind *kind = kind_for(q);
    int err = vdpa_queue_is_control(q) && vdpa_device_control(q->device) ? 0
                                                       : check_ring(q, errp);

    q->position = -1;
    err = err ?: kind->attach(q, &setup, errp);
    if (err) {
        return err;
    }
    q->kind = kind;
    err = vdpa_queue_program(q, &setup, sized, errp);
    q->programmed = !err;
    return err;
}

/*
 * A packed ring's base has a half for what the device has taken and a half for
 * what it has returned; each half is an index and a wrap counter.
 */
static bool packed_idle(VdpaQueue *q, uint32_t base)
{
    uint32_t taken = base & 0xffff, used = base >> 16;

    if ((used & 0x7fff) < q->guest.num) {
        q->position = (int64_t)used << 16 | used;
    }
    return q->position >= 0 && taken == used;
}

/* See vdpa-lifecycle.c, "Where a queue goes on". */
static bool queue_idle(VdpaQueue *q)
{
    VdpaDevice *d = q->device;
    unsigned base;
    int64_t used;

    if (!q->kind || !q->kind->used || !q->programmed) {
        return true;
    }
    if (vdpa_fd_queue_get(&d->fd, VDPA_GET_QUEUE_BASE, q->index, &base)) {
        return false;
    }
    if (virtio_has_feature(d->features, VIRTIO_F_RING_PACKED)) {
        return packed_idle(q, base);
    }
    used = q->kind->used(q);
    if (used != base) {
        trace_vdpa_queue_in_flight(d, q->index, base, used);
        return false;
    }
    q->position = base;
    return true;
}

bool vdpa_queues_idle(VdpaDevice *d, bool all)
{
    bool suspended = d->status.state == VDPA_STATE_SUSPENDED;
    bool idle = suspended;

    FOR_EACH_QUEUE(d, q) {
        if (!all && vdpa_queue_stays(q)) {
            continue;
        }
        q->position = -1;
        if (suspended && !queue_idle(q)) {
            idle = false;
        }
    }
    return idle;
}

/* A device that was not told where to begin does not know where it is. */
void vdpa_queue_detach(VdpaQueue *q)
{
    int64_t base = q->programmed ? q->position : (int64_t)q->guest.base;

    if (!q->kind) {
        return;
    }
    q->stopped_at = q->kind->detach(q, base);
    trace_vdpa_queue_stopped(q->device, q->index, q->kind->name, base,
                             q->stopped_at);
    q->kind = NULL;
    q->priv = NULL;
    if (!vdpa_rings_kept(q->device)) {
        g_clear_pointer(&q->rings, vdpa_rings_free);
    }
    if (q->stopped_at >= 0) {
        q->guest.base = q->stopped_at;
    }
}

void vdpa_queues_detach(VdpaDevice *d)
{
    FOR_EACH_QUEUE(d, q) {
        vdpa_queue_detach(q);
    }
}

/* The previous server of the ring may not have sent its last interrupt. */
static void interrupt(const VdpaQueue *q)
{
    EventNotifier call;

    if (q->guest.call >= 0) {
        event_notifier_init_fd(&call, q->guest.call);
        event_notifier_set(&call);
    }
}

void vdpa_queues_run(VdpaDevice *d, bool control_too)
{
    FOR_EACH_QUEUE(d, q) {
        if (control_too || !vdpa_queue_is_control(q)) {
            q->kind->run(q);
        }
        if (!vdpa_queue_is_control(q)) {
            interrupt(q);
        }
    }
}

void vdpa_queues_pause(VdpaDevice *d, bool control_too)
{
    FOR_EACH_QUEUE(d, q) {
        if (q->kind && (control_too || !vdpa_queue_is_control(q))) {
            q->kind->pause(q);
        }
    }
}

int vdpa_queues_enable(VdpaDevice *d, bool control, Error **errp)
{
    FOR_EACH_QUEUE(d, q) {
        int err = vdpa_queue_is_control(q) == control
                  ? vdpa_queue_enable(q, true, errp) : 0;

        if (err) {
            return err;
        }
    }
    return 0;
}
