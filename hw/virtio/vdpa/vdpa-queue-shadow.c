/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A queue that the device serves on a ring of QEMU.
 *
 * Theory of operation
 * -------------------
 * The rings' logic is vdpa-shadow-ring.h; here are the notifications, the
 * memory, and the way from one to the other:
 *
 *   guest kick (eventfd) -> forward() -> device kick (QEMU's eventfd)
 *   device call (QEMU's eventfd) -> complete() -> guest call (eventfd)
 *
 * Buffers stay where they are: an address of the guest's is the device's, so
 * translating one means to see that it is guest memory, which keeps the guest
 * from having the device write into QEMU's rings. What the device wrote, and
 * what is written to the guest's ring, is marked dirty by its place in this
 * process.
 *
 * Lifetime. The guest can have its queue detached and freed by writing to the
 * device's registers. Handlers do nothing that lets it do so from within: they
 * access RAM only (vdpa-guest-mem.h), signal through eventfds, and leave what is
 * wrong with the guest's ring to vdpa_device_fault(), as does remap(), which is
 * called while the memory map changes.
 *
 * A round does so many chains; a bottom half does the rest, so that
 * a busy queue does not lock out others.
 *
 * Memory of the rings. A device that is told of maps as a whole tree
 * (set_map) takes the longer for a ring of two pages the more memory the guest
 * has. So rings are mapped while the device serves the guest's own, by the
 * worker, with no caller waiting, and stay mapped over all switches; a switch
 * finds them there.
 *
 * A guest that drives the device directly can have it read and write rings
 * that are mapped and not in use. They hold nothing but addresses that are the
 * guest's own, and are zeroed, with the device suspended, before they are used.
 *
 * Threads. The handlers run in a thread of the device or in an IOThread of the
 * user's (VdpaDevice.iothread), without the BQL. A round holds the lock of the maps
 * (vdpa_map_lock()) and the RCU read lock. So the memory that it finds stays as long
 * as the round lasts, and remap(), which takes the lock, too, is either before it or
 * after it. run() and
 * pause() are called under the BQL: pause() has the thread remove the handlers and
 * waits for it, so afterwards nothing but the BQL's holder uses the ring. As it
 * waits under the BQL, a handler never takes that; a fault is reported by a
 * bottom half of the main loop. What a handler uses besides the ring (the queue's
 * setup, vdev) changes only between pause() and run(), except q->guest.call, a
 * file descriptor that is read once; vhost changes it when the guest masks an
 * interrupt, and closes none of them while the device runs.
 *
 * Behind a vIOMMU an access may end in the IOMMU's model, which needs the BQL:
 * there the handlers run in the main loop, and with the transport's reentrancy
 * guard. That guard would make a vCPU's access to the registers fail if another
 * thread held it.
 *
 * Limits: one thread serves all shadowed queues of a device. In an IOThread that
 * another device has, too, pause() waits for that one's handlers. A device whose reset
 * forgets its maps, and one behind a vIOMMU, whose addresses are the guest's to
 * give, have rings only while they are in use.
 */
#include "qemu/osdep.h"
#include <linux/qemu-live-uapi.h>
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "exec/memory.h"
#include "block/aio.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "qemu/event_notifier.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qemu/thread.h"
#include "hw/virtio/vdpa/core/vdpa-ring-layout.h"
#include "hw/virtio/vdpa/core/vdpa-shadow-ring.h"
#include "vdpa-internal.h"
#include "vdpa-guest-mem.h"
#include "hw/virtio/trace.h"

#define ROUND   256     /* chains */

struct VdpaRings {
    VdpaMap *map;
    unsigned num;               /* descriptors */
    VdpaHostBuf area[2];        /* RINGS_* */
    VdpaHostBufs bufs;          /* these */
};

enum { RINGS_DRIVER, RINGS_DEVICE };

typedef struct VdpaShadow {
    VdpaQueue *q;
    VdpaShadowRing *ring;
    EventNotifier device_kick, device_call, guest_kick;
    AioContext *thread;    /* where the handlers run; NULL: the main loop */
    QemuSemaphore left;    /* they are removed */
    QEMUBH *bh;            /* in that thread */
    QEMUBH *fault;         /* in the main loop */
    bool running;
    bool reported;
    int flags;             /* of what was done before the device runs */
} VdpaShadow;

/* --- memory of the rings ------------------------------------------------ */

static VdpaHostBuf host_buf(size_t bytes, bool device_writes)
{
    size_t size = ROUND_UP(bytes, qemu_real_host_page_size());

    return (VdpaHostBuf) {
        .at = vdpa_host_buf_new(size), .size = size,
        .device_writes = device_writes,
    };
}

static VdpaRings *rings_new(VdpaMap *map, unsigned num, Error **errp)
{
    VdpaRings *rings = g_new0(VdpaRings, 1);

    rings->map = map;
    rings->num = num;
    rings->area[RINGS_DRIVER] = host_buf(vdpa_ring_driver_area_size(num),
                                         false);
    rings->area[RINGS_DEVICE] = host_buf(vdpa_ring_device_area_size(num),
                                         true);
    rings->bufs = (VdpaHostBufs) {
        .asid = VDPA_ASID_GUEST, .buf = rings->area,
        .n = ARRAY_SIZE(rings->area),
    };
    for (int i = 0; i < ARRAY_SIZE(rings->area); i++) {
        if (!rings->area[i].at) {
            error_setg(errp, "no memory for a ring");
            vdpa_rings_free(rings);
            return NULL;
        }
    }
    if (vdpa_map_host_bufs(map, &rings->bufs, errp)) {
        vdpa_rings_free(rings);
        return NULL;
    }
    return rings;
}

static int rings_await(VdpaRings *rings, Error **errp)
{
    return vdpa_await_host_bufs(rings->map, &rings->bufs, errp);
}

void vdpa_rings_free(VdpaRings *rings)
{
    if (!rings) {
        return;
    }
    vdpa_free_host_bufs(rings->map, &rings->bufs);
    g_free(rings);
}

static VdpaRingMemory rings_memory(const VdpaRings *rings)
{
    return (VdpaRingMemory) {
        .driver = rings->area[RINGS_DRIVER].at,
        .device = rings->area[RINGS_DEVICE].at,
    };
}

VdpaQueueSetup vdpa_rings_setup(const VdpaRings *rings)
{
    uint64_t driver = rings->area[RINGS_DRIVER].iova;

    return (VdpaQueueSetup) {
        .num = rings->num,
        .desc = driver,
        .avail = driver + vdpa_ring_avail_offset(rings->num),
        .used = rings->area[RINGS_DEVICE].iova,
        .kick = -1, .call = -1,
    };
}

void vdpa_rings_park(VdpaRings *rings, uint16_t idx)
{
    char *avail = (char *)rings->area[RINGS_DRIVER].at +
                  vdpa_ring_avail_offset(rings->num);
    char *used = rings->area[RINGS_DEVICE].at;

    stw_le_p(avail, VRING_AVAIL_F_NO_INTERRUPT);
    stw_le_p(avail + RING_IDX, idx);
    stw_le_p(used + RING_IDX, idx);
}

static uint16_t rings_used(const VdpaRings *rings)
{
    const char *used = rings->area[RINGS_DEVICE].at;
    uint16_t idx = qatomic_read((const uint16_t *)(used + RING_IDX));

    return GUINT16_FROM_LE(idx);
}

/* --- guest memory ------------------------------------------------------- */

static void *guest_ram(void *opaque, uint64_t addr, uint64_t len, bool write,
                       uint64_t *log)
{
    VdpaShadow *s = opaque;
    VdpaIovaRange range;

    if (vdpa_map_guest(s->q->device->map, addr, len, write, &range) ||
        range.len < len) {
        return NULL;
    }
    *log = range.hva;
    return (void *)(uintptr_t)range.hva;
}

static int guest_read(void *opaque, uint64_t addr, void *to, size_t len)
{
    VdpaShadow *s = opaque;

    return vdpa_guest_read(s->q->device->vdev->dma_as, addr, to, len);
}

static int guest_write(void *opaque, uint64_t addr, const void *from,
                       size_t len)
{
    VdpaShadow *s = opaque;

    return vdpa_guest_write(s->q->device->vdev->dma_as, addr, from, len);
}

static void guest_dirty(void *opaque, uint64_t log, uint64_t len)
{
    ram_addr_t offset;
    MemoryRegion *mr;

    RCU_READ_LOCK_GUARD();
    mr = memory_region_from_host((void *)(uintptr_t)log, &offset);
    if (mr) {
        memory_region_set_dirty(mr, offset, len);
    }
}

static int translate(void *opaque, uint64_t addr, uint64_t len,
                     bool device_writes, VdpaRange *out)
{
    VdpaShadow *s = opaque;
    VdpaIovaRange range;
    int err = vdpa_map_guest(s->q->device->map, addr, len, device_writes,
                             &range);

    if (err) {
        return err == -EACCES ? err : -EFAULT;
    }
    *out = (VdpaRange) { .iova = range.iova, .log = range.hva, .len = range.len };
    return 0;
}

static const VdpaShadowOps shadow_ops = {
    .guest = {
        .ram = guest_ram,
        .read = guest_read,
        .write = guest_write,
        .dirty = guest_dirty,
    },
    .translate = translate,
};

/* --- serving ------------------------------------------------------------ */

/* Under the BQL. */
static void report_broken(VdpaShadow *s)
{
    VdpaQueue *q = s->q;

    if (!s->reported) {
        s->reported = true;
        vdpa_device_fault(q->device, "queue %u: %s", q->index,
                          vdpa_shadow_ring_broken(s->ring) ?: "broken");
    }
}

static void on_fault(void *opaque)
{
    VdpaShadow *s = opaque;
    VdpaMap *map = s->q->device->map;

    vdpa_map_lock(map);
    report_broken(s);
    vdpa_map_unlock(map);
}

static void notify_from_flags(VdpaShadow *s, int flags)
{
    int fd = qatomic_read(&s->q->guest.call);

    if (flags < 0) {
        return;
    }
    if (flags & VDPA_SHADOW_KICK) {
        event_notifier_set(&s->device_kick);
    }
    if (flags & VDPA_SHADOW_CALL && fd >= 0) {
        EventNotifier guest_call;

        event_notifier_init_fd(&guest_call, fd);
        event_notifier_set(&guest_call);
    }
    if (flags & VDPA_SHADOW_MORE && s->bh) {
        qemu_bh_schedule(s->bh);
    }
}

/* Under the BQL, without a handler. */
static void notify_or_report(VdpaShadow *s, int flags)
{
    if (flags < 0) {
        report_broken(s);
    } else {
        notify_from_flags(s, flags);
    }
}

enum { SERVE_GUEST = 1, SERVE_DEVICE = 2 };

/* What a handler does. */
static void serve(VdpaShadow *s, unsigned which)
{
    VdpaDevice *d = s->q->device;
    int back = 0, there = 0;
    VDPA_IO_GUARD(s->thread ? NULL : d->vdev);

    rcu_read_lock();
    vdpa_map_lock(d->map);
    if (which & SERVE_DEVICE) {
        back = vdpa_shadow_ring_complete(s->ring, ROUND);
    }
    if (which & SERVE_GUEST) {
        there = vdpa_shadow_ring_forward(s->ring, ROUND);
    }
    vdpa_map_unlock(d->map);
    rcu_read_unlock();
    if (back < 0 || there < 0) {
        qemu_bh_schedule(s->fault);
    }
    notify_from_flags(s, back);
    notify_from_flags(s, there);
}

static void on_guest_kick(EventNotifier *n)
{
    if (event_notifier_test_and_clear(n)) {
        serve(container_of(n, VdpaShadow, guest_kick), SERVE_GUEST);
    }
}

static void on_device_call(EventNotifier *n)
{
    if (event_notifier_test_and_clear(n)) {
        serve(container_of(n, VdpaShadow, device_call), SERVE_DEVICE);
    }
}

/* Both directions: whichever had more to do. */
static void on_more(void *opaque)
{
    serve(opaque, SERVE_DEVICE | SERVE_GUEST);
}

/* --- the rings of a device ---------------------------------------------- */

bool vdpa_rings_kept(const VdpaDevice *d)
{
    return vdpa_fd_has(&d->fd, VHOST_BACKEND_F_IOTLB_PERSIST) &&
           vdpa_map_space(d->map) == &address_space_memory;
}

void vdpa_rings_drop(VdpaDevice *d)
{
    for (unsigned i = 0; i < d->nqueues; i++) {
        g_clear_pointer(&d->queue[i].rings, vdpa_rings_free);
    }
}

/* Maps the rings of a queue that may be shadowed later, without waiting. */
static void map_ahead(VdpaQueue *q)
{
    if (q->rings && q->rings->num != q->guest.num) {
        g_clear_pointer(&q->rings, vdpa_rings_free);
    }
    if (!q->rings) {
        q->rings = rings_new(q->device->map, q->guest.num, NULL);
    }
}

void vdpa_rings_ahead(VdpaDevice *d)
{
    if (!vdpa_rings_kept(d) || vdpa_shadow_ring_refused(d->features)) {
        return;
    }
    for (unsigned i = 0; i < d->nqueues; i++) {
        if (d->queue[i].ready && (int)i != d->control) {
            map_ahead(&d->queue[i]);
        }
    }
}

/* --- the kind ----------------------------------------------------------- */

int vdpa_queue_shadow_rings(VdpaQueue *q, Error **errp)
{
    unsigned num = q->guest.num;
    int err;

    if (q->rings && (q->rings->num != num ||
                     rings_await(q->rings, NULL))) {
        g_clear_pointer(&q->rings, vdpa_rings_free);
    }
    if (q->rings) {
        return 0;
    }
    q->rings = rings_new(q->device->map, num, errp);
    if (!q->rings) {
        return -ENOSPC;
    }
    err = rings_await(q->rings, errp);
    if (err) {
        g_clear_pointer(&q->rings, vdpa_rings_free);
    }
    return err;
}

static void shadow_free(VdpaShadow *s)
{
    vdpa_shadow_ring_free(s->ring);
    event_notifier_cleanup(&s->device_kick);
    event_notifier_cleanup(&s->device_call);
    qemu_sem_destroy(&s->left);
    g_free(s);
}

static int ring_start(VdpaShadow *s, const VdpaQueueSetup *guest, Error **errp)
{
    uint64_t features = s->q->device->features;
    VdpaGuestLayout layout = {
        .desc = guest->desc, .avail = guest->avail, .used = guest->used,
        .num = guest->num,
        .event_idx = virtio_has_feature(features, VIRTIO_RING_F_EVENT_IDX),
        .indirect = virtio_has_feature(features, VIRTIO_RING_F_INDIRECT_DESC),
    };
    VdpaRingMemory memory = rings_memory(s->q->rings);
    VdpaShadowState state = {
        .avail_idx = guest->base, .used_idx = guest->base,
    };
    int err = vdpa_shadow_ring_start(s->ring, &layout, guest->num, &memory,
                                     &state);

    if (err) {
        error_setg_errno(errp, -err, "queue %u: cannot be shadowed",
                         s->q->index);
    }
    return err;
}

static int shadow_prepare(VdpaShadow *s, const VdpaQueueSetup *guest,
                          Error **errp)
{
    int err = event_notifier_init(&s->device_kick, 0);

    err = err ?: event_notifier_init(&s->device_call, 0);
    if (err) {
        error_setg_errno(errp, -err, "no event notifier");
        return err;
    }
    err = vdpa_queue_shadow_rings(s->q, errp);
    return err ?: ring_start(s, guest, errp);
}

static int shadow_attach(VdpaQueue *q, VdpaQueueSetup *setup, Error **errp)
{
    VdpaShadow *s = g_new0(VdpaShadow, 1);
    int err;

    s->q = q;
    qemu_sem_init(&s->left, 0);
    s->ring = vdpa_shadow_ring_new(&shadow_ops, s);
    err = shadow_prepare(s, setup, errp);
    if (err) {
        shadow_free(s);
        return err;
    }
    /*
     * The device is to find its buffers when it wakes up: a NIC without any
     * drops what comes, and queues are run one after the other.
     */
    s->flags = vdpa_shadow_ring_forward(s->ring, 0);
    q->priv = s;
    *setup = vdpa_rings_setup(q->rings);
    setup->kick = event_notifier_get_fd(&s->device_kick);
    setup->call = event_notifier_get_wfd(&s->device_call);
    return 0;
}

static void handle(VdpaShadow *s, EventNotifier *n, EventNotifierHandler *handler)
{
    if (s->thread) {
        aio_set_event_notifier(s->thread, n, handler, NULL, NULL);
    } else {
        event_notifier_set_handler(n, handler);
    }
}

static AioContext *serving_thread(const VdpaDevice *d)
{
    return d->iothread && vdpa_map_space(d->map) == &address_space_memory
           ? iothread_get_aio_context(d->iothread) : NULL;
}

static void shadow_run(VdpaQueue *q)
{
    VdpaShadow *s = q->priv;
    AioContext *main_loop = qemu_get_aio_context();

    s->thread = serving_thread(q->device);
    s->fault = aio_bh_new(main_loop, on_fault, s);
    s->bh = aio_bh_new(s->thread ?: main_loop, on_more, s);
    s->running = true;
    notify_or_report(s, s->flags);
    s->flags = 0;
    event_notifier_init_fd(&s->guest_kick, q->guest.kick);
    handle(s, &s->device_call, on_device_call);
    handle(s, &s->guest_kick, on_guest_kick);
    qemu_bh_schedule(s->bh);    /* for what came meanwhile */
}

/* In the thread of the handlers: none of them is at work. */
static void leave(void *opaque)
{
    VdpaShadow *s = opaque;

    handle(s, &s->guest_kick, NULL);
    handle(s, &s->device_call, NULL);
    g_clear_pointer(&s->bh, qemu_bh_delete);
    qemu_sem_post(&s->left);
}

static void shadow_pause(VdpaQueue *q)
{
    VdpaShadow *s = q->priv;

    if (!s->running) {
        return;
    }
    s->running = false;
    if (s->thread) {
        aio_bh_schedule_oneshot(s->thread, leave, s);
    } else {
        leave(s);
    }
    qemu_sem_wait(&s->left);
    g_clear_pointer(&s->fault, qemu_bh_delete);
}

/*
 * The guest's ring is left as one that a device served in order. Of a broken one
 * it is known how far it was given back.
 */
static int64_t shadow_detach(VdpaQueue *q, int64_t base)
{
    VdpaShadow *s = q->priv;
    VdpaShadowState state = { 0 };
    int err;

    notify_or_report(s, vdpa_shadow_ring_drain(s->ring));
    err = vdpa_shadow_ring_rewind(s->ring);
    vdpa_shadow_ring_stop(s->ring, &state);
    trace_vdpa_shadow_stop(q->index, state.avail_idx, state.used_idx,
                           state.ninflight, err);
    shadow_free(s);
    vdpa_shadow_state_clear(&state);
    return err ? state.used_idx : state.avail_idx;
}

static int64_t shadow_used(const VdpaQueue *q)
{
    return rings_used(q->rings);
}

/* Whether any of the ring is from @first to @last. */
static bool ring_within(const VdpaQueue *q, uint64_t first, uint64_t last)
{
    for (int i = 0; i < VDPA_RING_AREAS; i++) {
        uint64_t addr, len = vdpa_queue_area(q, i, &addr);

        if (addr <= last && addr + len > first) {
            return true;
        }
    }
    return false;
}

static void shadow_remap(VdpaQueue *q, uint64_t first, uint64_t last)
{
    VdpaShadow *s = q->priv;

    if (ring_within(q, first, last)) {
        vdpa_map_lock(q->device->map);
        vdpa_shadow_ring_remap(s->ring);
        vdpa_map_unlock(q->device->map);
    }
}

VdpaShadowStats vdpa_queue_shadow_stats(const VdpaQueue *q, unsigned *in_flight)
{
    const VdpaShadow *s = q->priv;
    VdpaShadowStats stats;

    vdpa_map_lock(q->device->map);
    stats = *vdpa_shadow_ring_stats(s->ring);
    *in_flight = vdpa_shadow_ring_inflight(s->ring);
    vdpa_map_unlock(q->device->map);
    return stats;
}

const VdpaQueueKind vdpa_queue_shadow = {
    .name = "shadow",
    .attach = shadow_attach,
    .run = shadow_run,
    .pause = shadow_pause,
    .detach = shadow_detach,
    .used = shadow_used,
    .remap = shadow_remap,
};
