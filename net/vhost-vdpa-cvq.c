/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The control queue with QEMU in between. See vhost-vdpa-cvq.h, also for the
 * limits.
 *
 * Theory of operation
 * -------------------
 * The guest's ring is read and written as a shadow queue's is
 * (hw/virtio/vdpa/core/vdpa-ring-guest.h), and so are its commands and their answers: in
 * RAM, checked at each access (hw/virtio/vdpa/vdpa-guest-mem.h). virtio.c's queue
 * functions are not used: they write an answer, and a used entry, to wherever the
 * guest's address leads. If that is device_status, the device is reset, and its
 * control queue freed, inside of them.
 *
 * Lifetime: serve_some() holds a reference, as QEMU's model of the device
 * (virtio_net_handle_ctrl_iov()) is called in the middle of it, and looks after
 * each command whether the queue still runs. Failing, which ends the queue, and
 * what the guest is told of its faults are left to bottom halves.
 *
 * While a launch waits for memory (hw/virtio/vdpa/vdpa-model.c) QEMU has no
 * ring (@ring is NULL): the model takes each command that the device would be
 * given, and the launch tells the device what came of them. That kind has
 * nothing that is mapped, so it neither maps nor unmaps; both would wait.
 */
#include "qemu/osdep.h"
#include "hw/virtio/vdpa/vdpa-guest-mem.h"
#include "hw/virtio/vdpa/core/vdpa-ring-device.h"
#include "hw/virtio/vdpa/core/vdpa-requests.h"
#include "hw/virtio/vdpa/core/vdpa-ring-guest.h"
#include "hw/virtio/virtio-net.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/event_notifier.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "standard-headers/linux/virtio_net.h"
#include "vhost-vdpa-ctrl.h"
#include "vhost-vdpa-cvq.h"
#include "trace.h"

#define COMMAND_BYTES   (64 * KiB)
#define FILTER_BYTES    (16 * MiB)      /* of a filter table, for the model */
#define TIMEOUT_US      (5 * G_USEC_PER_SEC)
#define TURN            16      /* commands */
#define SPIN_US         50
#define POLL_US         20

/* QEMU's memory. */
enum { BUF_DRIVER, BUF_DEVICE, BUF_COMMAND, BUF_STATUS, BUFS };

typedef struct VdpaCvq {
    VdpaQueue *q;
    VdpaHostBuf buf[BUFS];
    VdpaHostBufs bufs;      /* these */
    VdpaRingDevice *ring;   /* NULL: the model serves, without the device */
    VdpaRingGuest *guest;
    AddressSpace *as;       /* what the guest's addresses are of */
    unsigned refs;
    bool reported;          /* that the guest's ring is broken, or the device */
    EventNotifier device_kick, device_call, guest_kick;
    QEMUBH *bh;             /* for what is there already, and for failing */
    bool running;
    bool overflowed;        /* QEMU tells the device what of the filter is in force */
    Error *failed;
} VdpaCvq;

/* --- commands to the device --------------------------------------------- */

static VdpaRequests *requests_new(VdpaCvq *c, size_t longest)
{
    VdpaRequestMemory memory = {
        .requests = c->buf[BUF_COMMAND].at,
        .requests_size = COMMAND_BYTES,
        .requests_iova = c->buf[BUF_COMMAND].iova,
        .answers = c->buf[BUF_STATUS].at,
        .answers_size = c->buf[BUF_STATUS].size,
        .answers_iova = c->buf[BUF_STATUS].iova,
    };

    return vdpa_requests_new(c->ring, &memory, longest);
}

static int no_room(int err, Error **errp)
{
    error_setg_errno(errp, -err, "no room in the control queue");
    return err;
}

static void show(VdpaCvq *c, VdpaRequests *r)
{
    if (vdpa_requests_publish(r)) {
        event_notifier_set(&c->device_kick);
    }
}

/* A device answers soon: the first moments are not slept through. */
static void wait_a_little(gint64 waited)
{
    if (waited < SPIN_US) {
        g_thread_yield();
    } else {
        g_usleep(POLL_US);
    }
}

/* VIRTIO_NET_OK, or not; -errno: the queue is of no use any more. */
static int await(VdpaCvq *c, VdpaRequests *r, VdpaRequestDone *done,
                 Error **errp)
{
    gint64 begin = g_get_monotonic_time();
    int got;

    while (!(got = vdpa_requests_get(r, done))) {
        gint64 waited = g_get_monotonic_time() - begin;

        if (waited > TIMEOUT_US) {
            error_setg(errp, "the device does not answer control commands");
            return -ETIMEDOUT;
        }
        wait_a_little(waited);
    }
    if (got < 0) {
        error_setg(errp, "control queue: %s", vdpa_ring_device_broken(c->ring));
        return got;
    }
    trace_vdpa_cvq_command(vdpa_ctrl_name(done->request, done->bytes),
                           done->bytes, done->answer);
    return done->answer < 0 ? VIRTIO_NET_ERR : done->answer;
}

/*
 * One command. The device's answer, VIRTIO_NET_OK or not; negative, with @errp,
 * if the queue is of no use any more.
 */
static int submit(VdpaCvq *c, const void *command, size_t bytes, Error **errp)
{
    VdpaRequests *r = requests_new(c, COMMAND_BYTES);
    VdpaRequestDone done;
    int err = vdpa_requests_add(r, command, bytes);

    if (err) {
        no_room(err, errp);
    } else {
        show(c, r);
        err = await(c, r, &done, errp);
    }
    vdpa_requests_free(r);
    return err;
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

static int send_filter(VdpaCvq *c, Error **errp);

/*
 * A filter table that is longer than the memory for commands, of any length that
 * a guest can make of its descriptors, ends as one that is full does: QEMU's
 * model lets all addresses of that kind in, and the device is told so by its
 * receive modes. As long as that lasts, the model takes the guest's commands
 * about the filter, and the device is told what comes of them.
 */
static uint8_t serve_filter(VdpaCvq *c, uint8_t *command, size_t bytes,
                            Error **errp)
{
    uint8_t status = apply(vdpa_device_vdev(c->q->device), command, bytes);
    Error *err = NULL;
    int ret;

    if (status != VIRTIO_NET_OK || !c->ring) {
        return status;
    }
    ret = send_filter(c, &err);
    if (ret == -EPROTO) {       /* refused; the queue works */
        error_free(err);
        return VIRTIO_NET_ERR;
    }
    error_propagate(errp, err);
    return ret ? VIRTIO_NET_ERR : VIRTIO_NET_OK;
}

static int guest_read(void *opaque, uint64_t addr, void *to, size_t len)
{
    VdpaCvq *c = opaque;

    return vdpa_guest_read(c->as, addr, to, len);
}

static int guest_write(void *opaque, uint64_t addr, const void *from,
                       size_t len)
{
    VdpaCvq *c = opaque;

    return vdpa_guest_write(c->as, addr, from, len);
}

/* Commands are few: nothing is gained by a pointer into guest memory. */
static void *guest_ram(void *opaque, uint64_t addr, uint64_t len, bool write,
                       uint64_t *log)
{
    return NULL;
}

static const VdpaGuestOps guest_ops = {
    .ram = guest_ram,
    .read = guest_read,
    .write = guest_write,
};

static int unreachable(VdpaCvq *c, uint64_t addr)
{
    vdpa_ring_guest_break(c->guest, "buffer at 0x%" PRIx64
                          " is not in guest memory", addr);
    return -EPROTO;
}

/* The bytes that the device reads. */
static int load_command(VdpaCvq *c, const VdpaGuestChain *chain, uint8_t *to)
{
    for (unsigned i = 0; i < chain->nread; i++) {
        const VdpaGuestSegment *segment = &chain->segments[i];

        if (vdpa_guest_read(c->as, segment->addr, to, segment->len)) {
            return unreachable(c, segment->addr);
        }
        to += segment->len;
    }
    return 0;
}

/* What the guest is answered: VIRTIO_NET_*, or negative if its ring is broken. */
static int serve(VdpaCvq *c, const VdpaGuestChain *chain, Error **errp)
{
    VirtIODevice *vdev = vdpa_device_vdev(c->q->device);
    g_autofree uint8_t *command = NULL;
    size_t bytes = chain->read_len;
    int status = VIRTIO_NET_OK;

    if (chain->read_len < sizeof(struct virtio_net_ctrl_hdr) ||
        chain->read_len > FILTER_BYTES) {
        return VIRTIO_NET_ERR;
    }
    command = g_malloc(bytes);
    if (load_command(c, chain, command)) {
        return -EPROTO;
    }
    if ((c->overflowed || bytes > COMMAND_BYTES) &&
        vdpa_ctrl_is_filter(command, bytes)) {
        return serve_filter(c, command, bytes, errp);
    }
    if (bytes > COMMAND_BYTES) {
        return VIRTIO_NET_ERR;
    }
    if (c->ring && !vdpa_ctrl_is_local(command, bytes)) {
        status = submit(c, command, bytes, errp);
    }
    return status == VIRTIO_NET_OK ? apply(vdev, command, bytes)
                                   : VIRTIO_NET_ERR;
}

static void interrupt(const VdpaCvq *c)
{
    EventNotifier call;

    if (c->q->guest.call >= 0) {
        event_notifier_init_fd(&call, c->q->guest.call);
        event_notifier_set(&call);
    }
}

/* A command is not given to the device if its answer had no place to go. */
static int serve_one(VdpaCvq *c)
{
    const VdpaGuestSegment *answer;
    VdpaGuestChain chain;
    int status, err;
    int got = vdpa_ring_guest_pop(c->guest, &chain);

    if (got <= 0) {
        return got;
    }
    answer = chain.nwrite ? &chain.segments[chain.nread] : NULL;
    if (answer && vdpa_guest_writable(c->as, answer->addr, 1)) {
        return unreachable(c, answer->addr);
    }
    status = serve(c, &chain, &c->failed);
    if (status < 0) {
        return status;
    }
    if (answer && vdpa_guest_write(c->as, answer->addr, &(uint8_t) { status },
                                   1)) {
        return unreachable(c, answer->addr);
    }
    err = vdpa_ring_guest_push(c->guest, chain.head, answer != NULL);
    err = err ?: vdpa_ring_guest_flush(c->guest);
    if (err > 0) {
        interrupt(c);
    }
    return err < 0 ? err : 1;
}

/* Commands until there is none, 0; all of @left, 1; or the ring broke. */
static int serve_all(VdpaCvq *c, unsigned left)
{
    int got = 1;

    vdpa_ring_guest_notify_off(c->guest);
    do {
        while (c->running && !c->failed && left && (got = serve_one(c)) > 0) {
            left--;
        }
        if (got || !c->running || c->failed) {
            break;
        }
        got = vdpa_ring_guest_notify_on(c->guest);
    } while (got > 0);
    return got;
}

static void cvq_unref(VdpaCvq *c);

/* A guest that never stops asking is not to keep others waiting. */
static void serve_some(VdpaCvq *c)
{
    VDPA_IO_GUARD(vdpa_device_vdev(c->q->device));
    int got;

    c->refs++;
    got = serve_all(c, TURN);
    if (c->running && got < 0 && !c->reported) {
        c->reported = true;
        vdpa_device_fault(c->q->device, "queue %u: %s", c->q->index,
                          vdpa_ring_guest_broken(c->guest) ?: "broken");
    }
    if (c->running && (c->failed || got > 0)) {
        qemu_bh_schedule(c->bh);
    }
    cvq_unref(c);
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

/* What is the device's goes at once; what serve_some() looks at stays. */
static void cvq_release(VdpaCvq *c)
{
    VdpaDevice *d = c->q->device;

    g_clear_pointer(&c->ring, vdpa_ring_device_free);
    vdpa_free_host_bufs(vdpa_device_map(d), &c->bufs);
    event_notifier_cleanup(&c->device_kick);
    event_notifier_cleanup(&c->device_call);
    cvq_unref(c);
}

static void cvq_unref(VdpaCvq *c)
{
    if (!--c->refs) {
        vdpa_ring_guest_free(c->guest);
        error_free(c->failed);
        g_free(c);
    }
}

static int host_bufs_map(VdpaCvq *c, unsigned num, Error **errp)
{
    const struct {
        size_t size;
        bool device_writes;
    } want[BUFS] = {
        [BUF_DRIVER] = { vdpa_ring_driver_area_size(num), false },
        [BUF_DEVICE] = { vdpa_ring_device_area_size(num), true },
        [BUF_COMMAND] = { COMMAND_BYTES, false },
        [BUF_STATUS] = { 1, true },
    };
    VdpaDevice *d = c->q->device;
    int err;

    c->bufs = (VdpaHostBufs) {
        vdpa_device_control_asid(d), c->buf, BUFS
    };
    for (int i = 0; i < BUFS; i++) {
        VdpaHostBuf *buf = &c->buf[i];

        buf->size = ROUND_UP(want[i].size, qemu_real_host_page_size());
        buf->device_writes = want[i].device_writes;
        buf->at = vdpa_host_buf_new(buf->size);
        if (!buf->at) {
            error_setg(errp, "no memory for the control queue");
            return -ENOMEM;
        }
    }
    err = vdpa_map_host_bufs(vdpa_device_map(d), &c->bufs, errp);
    return err ?: vdpa_await_host_bufs(vdpa_device_map(d), &c->bufs, errp);
}

static int guest_ring_start(VdpaCvq *c, const VdpaQueueSetup *guest,
                            Error **errp)
{
    uint64_t features = vdpa_device_features(c->q->device);
    VdpaGuestLayout layout = {
        .desc = guest->desc, .avail = guest->avail, .used = guest->used,
        .num = guest->num,
        .event_idx = virtio_has_feature(features, VIRTIO_RING_F_EVENT_IDX),
        .indirect = virtio_has_feature(features, VIRTIO_RING_F_INDIRECT_DESC),
    };
    int err = vdpa_ring_guest_start(c->guest, &layout, guest->base,
                                    guest->base);

    if (err == -EFAULT) {
        error_setg(errp, "queue %u: not all of the ring at 0x%" PRIx64
                   ", 0x%" PRIx64 ", 0x%" PRIx64 " is in guest memory",
                   c->q->index, layout.desc, layout.avail, layout.used);
    } else if (err) {
        error_setg_errno(errp, -err, "queue %u: cannot be served", c->q->index);
    }
    return err;
}

static int cvq_prepare(VdpaCvq *c, const VdpaQueueSetup *guest, Error **errp)
{
    unsigned num = guest->num;
    VdpaRingMemory memory;
    int err = guest_ring_start(c, guest, errp);

    err = err ?: host_bufs_map(c, num, errp);
    if (err) {
        return err;
    }
    err = event_notifier_init(&c->device_kick, 0);
    err = err ?: event_notifier_init(&c->device_call, 0);
    if (err) {
        error_setg_errno(errp, -err, "cannot set the control queue up: no event"
                         " notifier");
        return err;
    }
    memory = (VdpaRingMemory) { c->buf[BUF_DRIVER].at, c->buf[BUF_DEVICE].at };
    c->ring = vdpa_ring_device_new(
        num, &memory,
        virtio_has_feature(vdpa_device_features(c->q->device),
                           VIRTIO_RING_F_EVENT_IDX),
        NULL, NULL);
    if (!c->ring) {
        error_setg(errp, "cannot set the control queue up: a ring cannot have %u"
                   " entries", num);
        return -EINVAL;
    }
    return 0;
}

static VdpaCvq *cvq_new(VdpaQueue *q)
{
    VdpaCvq *c = g_new0(VdpaCvq, 1);

    c->q = q;
    c->refs = 1;
    c->as = vdpa_device_vdev(q->device)->dma_as;
    c->reported = vdpa_device_vdev(q->device)->broken;
    c->guest = vdpa_ring_guest_new(&guest_ops, c);
    return c;
}

static int cvq_attach(VdpaQueue *q, VdpaQueueSetup *setup, Error **errp)
{
    VdpaCvq *c = cvq_new(q);
    int err;

    err = cvq_prepare(c, setup, errp);
    if (err) {
        cvq_release(c);
        return err;
    }
    q->priv = c;
    *setup = (VdpaQueueSetup) {
        .num = setup->num,
        .base = 0,
        .desc = c->buf[BUF_DRIVER].iova,
        .avail = c->buf[BUF_DRIVER].iova + vdpa_ring_avail_offset(setup->num),
        .used = c->buf[BUF_DEVICE].iova,
        .kick = event_notifier_get_fd(&c->device_kick),
        .call = -1,     /* answers are waited for */
    };
    return 0;
}

static void cvq_run(VdpaQueue *q)
{
    VdpaCvq *c = q->priv;

    c->running = true;
    c->bh = qemu_bh_new(on_bh, c);
    event_notifier_init_fd(&c->guest_kick, q->guest.kick);
    event_notifier_set_handler(&c->guest_kick, on_guest_kick);
    qemu_bh_schedule(c->bh);
}

static void cvq_pause(VdpaQueue *q)
{
    VdpaCvq *c = q->priv;

    if (c->running) {
        c->running = false;
        event_notifier_set_handler(&c->guest_kick, NULL);
        g_clear_pointer(&c->bh, qemu_bh_delete);
    }
}

/* The guest's ring continues where this returns. */
static int64_t guest_ring_stop(VdpaCvq *c)
{
    vdpa_ring_guest_stop(c->guest);
    return vdpa_ring_guest_avail_idx(c->guest);
}

static int64_t cvq_detach(VdpaQueue *q, int64_t base)
{
    VdpaCvq *c = q->priv;
    int64_t stopped_at = guest_ring_stop(c);

    cvq_release(c);
    return stopped_at;
}

/* --- the kind without the device ---------------------------------------- */

static int model_attach(VdpaQueue *q, VdpaQueueSetup *setup, Error **errp)
{
    VdpaCvq *c = cvq_new(q);
    int err = guest_ring_start(c, setup, errp);

    if (err) {
        cvq_unref(c);
        return err;
    }
    q->priv = c;
    return 0;
}

static int64_t model_detach(VdpaQueue *q, int64_t base)
{
    VdpaCvq *c = q->priv;
    int64_t stopped_at = guest_ring_stop(c);

    cvq_unref(c);
    return stopped_at;
}

static const VdpaQueueKind model = {
    .name = "control-model",
    .attach = model_attach,
    .run = cvq_run,
    .pause = cvq_pause,
    .detach = model_detach,
};

const VdpaQueueKind vdpa_queue_control = {
    .while_waiting = &model,
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

/* Several commands, which wait in the ring beside each other. */
typedef struct Restore {
    VdpaCvq *c;
    VdpaRequests *requests;
    Error **errp;
    bool refused;
} Restore;

/* Until no more than @left are unanswered. Of refusals the first is kept. */
static int restore_await(Restore *r, unsigned left)
{
    VdpaRequestDone done;
    int status;

    show(r->c, r->requests);
    while (vdpa_requests_pending(r->requests) > left) {
        status = await(r->c, r->requests, &done, r->refused ? NULL : r->errp);
        if (status < 0) {
            return status;
        }
        if (status != VIRTIO_NET_OK && !r->refused) {
            r->refused = true;
            error_setg(r->errp, "the device refused to restore its state (%s)",
                       vdpa_ctrl_name(done.request, done.bytes));
        }
    }
    return 0;
}

static int restore_one(void *opaque, const uint8_t *command, size_t bytes)
{
    Restore *r = opaque;
    unsigned pending = vdpa_requests_pending(r->requests);
    int err = vdpa_requests_add(r->requests, command, bytes);

    if (err == -EAGAIN && pending) {
        err = restore_await(r, pending / 2);
        if (err) {
            return err;
        }
        err = vdpa_requests_add(r->requests, command, bytes);
    }
    return err && !r->refused ? no_room(err, r->errp) : err;
}

/* @make: vdpa_ctrl_*(). No command is pending at the end if the queue works. */
static int restore(VdpaCvq *c, const VdpaCtrlState *state,
                   int (*make)(const VdpaCtrlState *, VdpaCtrlEmit, void *),
                   Error **errp)
{
    Restore r = {
        .c = c, .requests = requests_new(c, VDPA_CTRL_COMMAND_MAX),
    };
    int err;

    ERRP_GUARD();
    r.errp = errp;
    err = make(state, restore_one, &r);
    if (err && !*errp) {
        error_setg(errp, "the state of the control queue makes no sense");
    }
    err = err ?: restore_await(&r, 0);
    vdpa_requests_free(r.requests);
    return err ?: r.refused ? -EPROTO : 0;
}

static bool overflow(const VdpaCtrlState *state)
{
    return state->unicast_overflow || state->multicast_overflow;
}

static int send_filter(VdpaCvq *c, Error **errp)
{
    VdpaCtrlState state = snapshot(VIRTIO_NET(vdpa_device_vdev(c->q->device)));

    c->overflowed = overflow(&state);
    return restore(c, &state, vdpa_ctrl_filter, errp);
}

int vdpa_cvq_restore(VdpaDevice *d, Error **errp)
{
    VdpaCtrlState state = snapshot(VIRTIO_NET(vdpa_device_vdev(d)));
    VdpaCvq *c = vdpa_device_control_queue(d)->priv;

    c->overflowed = overflow(&state);
    return restore(c, &state, vdpa_ctrl_replay, errp);
}
