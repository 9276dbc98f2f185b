/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The control queue with QEMU in between. See vhost-vdpa-cvq.h, also for the
 * limits.
 */
#include "qemu/osdep.h"
#include "hw/virtio/vdpa-ring-device.h"
#include "hw/virtio/virtio-net.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/event_notifier.h"
#include "qemu/iov.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_net.h"
#include "vhost-vdpa-ctrl.h"
#include "vhost-vdpa-cvq.h"
#include "trace.h"

#define COMMAND_BYTES   (64 * KiB)
#define TIMEOUT_US      (5 * G_USEC_PER_SEC)
#define TURN            16      /* commands */
#define POLL_US         20

/* Memory of ours. */
enum { AREA_DRIVER, AREA_DEVICE, AREA_COMMAND, AREA_STATUS, AREAS };

typedef struct VdpaCvq {
    VdpaQueue *q;
    VdpaMapOwn area[AREAS];
    VdpaMapOwned owned;     /* these */
    VdpaRingDevice *ring;
    EventNotifier device_kick, device_call, guest_kick;
    QEMUBH *bh;             /* for what is there already, and for failing */
    bool running;
    bool overflowed;        /* QEMU tells the device what of the filter is in force */
    Error *failed;
} VdpaCvq;

/* --- one command to the device ------------------------------------------ */

static int await(VdpaCvq *c, Error **errp)
{
    gint64 deadline = g_get_monotonic_time() + TIMEOUT_US;
    VdpaDeviceDone done;
    int got;

    while (!(got = vdpa_ring_device_get(c->ring, &done))) {
        if (g_get_monotonic_time() > deadline) {
            error_setg(errp, "the device does not answer control commands");
            return -ETIMEDOUT;
        }
        g_usleep(POLL_US);
    }
    if (got < 0) {
        error_setg(errp, "control queue: %s", vdpa_ring_device_broken(c->ring));
        return got;
    }
    return done.len;
}

/*
 * The device's answer, VIRTIO_NET_OK or not; negative, with @errp, if the
 * queue is of no use any more.
 */
static int submit(VdpaCvq *c, const void *command, size_t bytes, Error **errp)
{
    uint8_t *status = c->area[AREA_STATUS].at;
    VdpaDeviceBuf bufs[] = {
        { .iova = c->area[AREA_COMMAND].iova, .len = bytes },
        { .iova = c->area[AREA_STATUS].iova, .len = 1, .device_writes = true },
    };
    int err;

    memcpy(c->area[AREA_COMMAND].at, command, bytes);
    *status = VIRTIO_NET_ERR;
    err = vdpa_ring_device_add(c->ring, bufs, ARRAY_SIZE(bufs), 0);
    if (err) {
        error_setg_errno(errp, -err, "no room in the control queue");
        return err;
    }
    if (vdpa_ring_device_publish(c->ring)) {
        event_notifier_set(&c->device_kick);
    }
    err = await(c, errp);
    trace_vdpa_cvq_command(vdpa_ctrl_name(command, bytes), bytes, err, *status);
    if (err < 0) {
        return err;
    }
    return err >= 1 ? *status : VIRTIO_NET_ERR;
}

/* --- commands of the guest ---------------------------------------------- */

static uint8_t apply(VirtIODevice *vdev, uint8_t *command, size_t bytes)
{
    uint8_t status = VIRTIO_NET_ERR;
    struct iovec in = { &status, sizeof(status) };
    struct iovec out = { command, bytes };

    virtio_net_handle_ctrl_iov(vdev, &in, 1, &out, 1);
    return status;
}

static int tell_filter(VdpaCvq *c, Error **errp);

/*
 * A filter table that is longer than the memory for commands, of any length that
 * a guest can make of its descriptors, ends as one that is full does: QEMU's
 * model lets all addresses of that kind in, and the device is told so by its
 * receive modes. As long as that lasts, the model takes the guest's commands
 * about the filter, and the device is told what comes of them.
 */
static uint8_t serve_filter(VdpaCvq *c, VirtQueueElement *e, Error **errp)
{
    uint8_t status = VIRTIO_NET_ERR;
    struct iovec in = { &status, sizeof(status) };
    Error *err = NULL;
    int ret;

    virtio_net_handle_ctrl_iov(c->q->device->vdev, &in, 1, e->out_sg,
                               e->out_num);
    if (status != VIRTIO_NET_OK) {
        return status;
    }
    ret = tell_filter(c, &err);
    if (ret == -EPROTO) {       /* refused; the queue works */
        error_free(err);
        return VIRTIO_NET_ERR;
    }
    error_propagate(errp, err);
    return ret ? VIRTIO_NET_ERR : VIRTIO_NET_OK;
}

/* What the guest is answered. */
static uint8_t serve(VdpaCvq *c, VirtQueueElement *e, Error **errp)
{
    VirtIODevice *vdev = c->q->device->vdev;
    size_t bytes = iov_size(e->out_sg, e->out_num);
    g_autofree uint8_t *command = NULL;
    struct virtio_net_ctrl_hdr head;
    int status = VIRTIO_NET_OK;

    if (iov_to_buf(e->out_sg, e->out_num, 0, &head, sizeof(head)) <
        sizeof(head)) {
        return VIRTIO_NET_ERR;
    }
    if ((c->overflowed || bytes > COMMAND_BYTES) &&
        vdpa_ctrl_is_filter((uint8_t *)&head, sizeof(head))) {
        return serve_filter(c, e, errp);
    }
    if (bytes > COMMAND_BYTES) {
        return VIRTIO_NET_ERR;
    }
    command = g_malloc(bytes);
    iov_to_buf(e->out_sg, e->out_num, 0, command, bytes);
    if (!vdpa_ctrl_is_local(command, bytes)) {
        status = submit(c, command, bytes, errp);
    }
    return status == VIRTIO_NET_OK ? apply(vdev, command, bytes)
                                   : VIRTIO_NET_ERR;
}

static void interrupt(VdpaCvq *c, VirtQueue *vq)
{
    VdpaQueue *q = c->q;
    EventNotifier call;

    if (q->guest.call == event_notifier_get_wfd(
                             virtio_queue_get_guest_notifier(vq))) {
        virtio_notify_irqfd(q->device->vdev, vq);
    } else if (q->guest.call >= 0) {
        event_notifier_init_fd(&call, q->guest.call);
        event_notifier_set(&call);
    }
}

/* A guest that never stops asking is not to keep others waiting. */
static void serve_some(VdpaCvq *c)
{
    VirtIODevice *vdev = c->q->device->vdev;
    VirtQueue *vq = virtio_get_queue(vdev, c->q->index);
    unsigned left = TURN;
    VirtQueueElement *e;

    while (!c->failed && left && (e = virtqueue_pop(vq, sizeof(*e)))) {
        uint8_t status = serve(c, e, &c->failed);
        size_t put = iov_from_buf(e->in_sg, e->in_num, 0, &status, 1);

        virtqueue_push(vq, e, put);
        interrupt(c, vq);
        g_free(e);
        left--;
    }
    if (c->failed || !left) {
        qemu_bh_schedule(c->bh);
    }
}

static void on_guest_kick(EventNotifier *n)
{
    VdpaCvq *c = container_of(n, VdpaCvq, guest_kick);

    if (event_notifier_test_and_clear(n)) {
        serve_some(c);
    }
}

/* Failing ends the queue, so it is not done while that is at work. */
static void on_bh(void *opaque)
{
    VdpaCvq *c = opaque;

    if (c->failed) {
        vdpa_device_fail(c->q->device, g_steal_pointer(&c->failed));
    } else {
        serve_some(c);
    }
}

/* --- the kind ----------------------------------------------------------- */

static void cvq_free(VdpaCvq *c)
{
    VdpaDevice *d = c->q->device;

    vdpa_ring_device_free(c->ring);
    vdpa_map_disown(d->map, &c->owned);
    for (int i = 0; i < AREAS; i++) {
        vdpa_map_own_free(c->area[i].at, c->area[i].size);
    }
    event_notifier_cleanup(&c->device_kick);
    event_notifier_cleanup(&c->device_call);
    error_free(c->failed);
    g_free(c);
}

static int areas_map(VdpaCvq *c, unsigned num, Error **errp)
{
    const struct {
        size_t size;
        bool device_writes;
    } want[AREAS] = {
        [AREA_DRIVER] = { vdpa_ring_driver_area_size(num), false },
        [AREA_DEVICE] = { vdpa_ring_device_area_size(num), true },
        [AREA_COMMAND] = { COMMAND_BYTES, false },
        [AREA_STATUS] = { 1, true },
    };
    VdpaDevice *d = c->q->device;
    int err;

    for (int i = 0; i < AREAS; i++) {
        VdpaMapOwn *a = &c->area[i];

        a->size = ROUND_UP(want[i].size, qemu_real_host_page_size());
        a->device_writes = want[i].device_writes;
        a->at = vdpa_map_own_new(a->size);
        if (!a->at) {
            error_setg(errp, "no memory for the control queue");
            return -ENOMEM;
        }
    }
    c->owned = (VdpaMapOwned) {
        d->together ? VDPA_ASID_GUEST : d->control_asid, c->area, AREAS
    };
    err = vdpa_map_own_begin(d->map, &c->owned, errp);
    return err ?: vdpa_map_own_await(d->map, &c->owned, errp);
}

static int cvq_prepare(VdpaCvq *c, unsigned num, Error **errp)
{
    VdpaRingMemory memory;
    int err = areas_map(c, num, errp);

    if (err) {
        return err;
    }
    err = event_notifier_init(&c->device_kick, 0);
    err = err ?: event_notifier_init(&c->device_call, 0);
    memory = (VdpaRingMemory) { c->area[AREA_DRIVER].at, c->area[AREA_DEVICE].at };
    c->ring = vdpa_ring_device_new(
        num, &memory,
        virtio_has_feature(c->q->device->features, VIRTIO_RING_F_EVENT_IDX),
        NULL, NULL);
    if (err || !c->ring) {
        error_setg(errp, "cannot set the control queue up");
        return -EINVAL;
    }
    return 0;
}

static int cvq_attach(VdpaQueue *q, VdpaQueueSetup *setup, Error **errp)
{
    VdpaCvq *c = g_new0(VdpaCvq, 1);
    int err;

    c->q = q;
    err = cvq_prepare(c, setup->num, errp);
    if (err) {
        cvq_free(c);
        return err;
    }
    q->own = c;
    *setup = (VdpaQueueSetup) {
        .num = setup->num,
        .base = 0,
        .desc = c->area[AREA_DRIVER].iova,
        .avail = c->area[AREA_DRIVER].iova + vdpa_ring_avail_offset(setup->num),
        .used = c->area[AREA_DEVICE].iova,
        .kick = event_notifier_get_fd(&c->device_kick),
        .call = -1,     /* answers are waited for */
    };
    return 0;
}

static void cvq_run(VdpaQueue *q)
{
    VdpaCvq *c = q->own;

    c->running = true;
    c->bh = qemu_bh_new(on_bh, c);
    event_notifier_init_fd(&c->guest_kick, q->guest.kick);
    event_notifier_set_handler(&c->guest_kick, on_guest_kick);
    qemu_bh_schedule(c->bh);
}

static void cvq_pause(VdpaQueue *q)
{
    VdpaCvq *c = q->own;

    if (c->running) {
        c->running = false;
        event_notifier_set_handler(&c->guest_kick, NULL);
        g_clear_pointer(&c->bh, qemu_bh_delete);
    }
}

static int64_t cvq_detach(VdpaQueue *q, int64_t base)
{
    cvq_free(q->own);
    return virtio_queue_get_last_avail_idx(q->device->vdev, q->index);
}

const VdpaQueueKind vdpa_queue_control = {
    .name = "control",
    .attach = cvq_attach,
    .run = cvq_run,
    .pause = cvq_pause,
    .detach = cvq_detach,
};

/* --- restore ------------------------------------------------------------ */

static VdpaCtrlState snapshot(VirtIONet *n)
{
    return (VdpaCtrlState) {
        .features = VIRTIO_DEVICE(n)->guest_features,
        .mac = { n->mac[0], n->mac[1], n->mac[2],
                 n->mac[3], n->mac[4], n->mac[5] },
        .macs = n->mac_table.macs,
        .unicast = n->mac_table.first_multi,
        .multicast = n->mac_table.in_use - n->mac_table.first_multi,
        .unicast_overflow = n->mac_table.uni_overflow,
        .multicast_overflow = n->mac_table.multi_overflow,
        .promisc = n->promisc,
        .allmulti = n->allmulti,
        .alluni = n->alluni,
        .nomulti = n->nomulti,
        .nouni = n->nouni,
        .nobcast = n->nobcast,
        .vlans = n->vlans,
        .queue_pairs = n->curr_queue_pairs,
        .offloads = n->curr_guest_offloads,
        .offloads_default = virtio_net_supported_guest_offloads(n),
        .rss = n->rss_data.enabled,
        .hash_types = n->rss_data.hash_types,
        .table_length = n->rss_data.indirections_len,
        .table = n->rss_data.indirections_table,
        .default_queue = n->rss_data.default_queue,
        .key = n->rss_data.key,
    };
}

typedef struct Restore {
    VdpaCvq *c;
    Error **errp;
} Restore;

static int restore_one(void *opaque, const uint8_t *command, size_t bytes)
{
    Restore *r = opaque;
    int status = submit(r->c, command, bytes, r->errp);

    if (status > 0) {
        error_setg(r->errp, "the device refused to restore its state (%s)",
                   vdpa_ctrl_name(command, bytes));
    }
    return status > 0 ? -EPROTO : status;
}

static bool overflow(const VdpaCtrlState *state)
{
    return state->unicast_overflow || state->multicast_overflow;
}

static int tell_filter(VdpaCvq *c, Error **errp)
{
    VdpaCtrlState state = snapshot(VIRTIO_NET(c->q->device->vdev));
    Restore r = { c, errp };
    int err = vdpa_ctrl_filter(&state, restore_one, &r);

    c->overflowed = overflow(&state);
    return err;
}

int vdpa_cvq_restore(VdpaDevice *d, Error **errp)
{
    VdpaCtrlState state = snapshot(VIRTIO_NET(d->vdev));
    Restore r = { d->queue[d->control].own, errp };
    int err;

    ERRP_GUARD();
    r.errp = errp;
    r.c->overflowed = overflow(&state);
    err = vdpa_ctrl_replay(&state, restore_one, &r);
    if (err && !*errp) {
        error_setg(errp, "the state of the control queue makes no sense");
    }
    return err;
}
