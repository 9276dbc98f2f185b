/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A queue that the device serves in the guest's memory.
 *
 * Theory of operation: the device gets what the guest's driver set up, as it
 * is. Guest memory is mapped where the guest sees it, so a ring's address is
 * its IOVA. Where the device has a page to write notifications to, the guest
 * gets it, and kicks without QEMU or the kernel.
 *
 * QEMU reads the used index from the guest's ring at the time of use, by the
 * guest's address (vdpa-guest-mem.h): the device's maps may be gone by then, and
 * the address may not be RAM any more.
 *
 * What the device writes. It writes the used ring past KVM's and QEMU's dirty logs.
 * Where it only reads the buffers, as of a transmit queue, that is all, and the
 * queue is served so while a migration runs, too. vhost (the base's) maps the used
 * ring as memory that is written when it starts the queue, and unmaps it when it
 * has stopped the queue, which marks these pages dirty before migration looks for
 * the last time. Behind a vIOMMU it does not.
 *
 * Doorbell. A device may offer, for each queue, one page that its
 * driver writes to instead of telling the kernel. It lies at that page number
 * of the device's file. Put over the guest's own notification register it
 * spares an exit for each kick. Most devices offer none, and then nothing is
 * lost: the register's eventfd stays in force.
 *
 * Thread model: the BQL.
 *
 * Limits: doorbells need a transport whose notification registers have a page
 * each (virtio-pci's page-per-vq=on).
 */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/event_notifier.h"
#include "qemu/rcu.h"
#include "hw/virtio/trace.h"
#include "vdpa-internal.h"
#include "vdpa-guest-mem.h"
#include "hw/virtio/vdpa/core/vdpa-ring-layout.h"

/* --- the doorbell ------------------------------------------------------- */

typedef struct VdpaDoorbell {
    struct rcu_head rcu;
    VirtIODevice *vdev;
    unsigned index;
    void *page;
    MemoryRegion region;
} VdpaDoorbell;

/* NULL if the device, or the transport, has none. */
static VdpaDoorbell *doorbell_new(VirtIODevice *vdev, int fd, unsigned index)
{
    size_t bytes = qemu_real_host_page_size();
    void *page = mmap(NULL, bytes, PROT_WRITE, MAP_SHARED, fd, index * bytes);
    g_autofree char *name = g_strdup_printf("vdpa-doorbell-%u", index);
    VdpaDoorbell *bell;

    if (page == MAP_FAILED) {
        return NULL;
    }
    bell = g_new0(VdpaDoorbell, 1);
    *bell = (VdpaDoorbell) { .vdev = vdev, .index = index, .page = page };
    memory_region_init_ram_device_ptr(&bell->region, OBJECT(vdev), name, bytes,
                                      page);
    if (virtio_queue_set_host_notifier_mr(vdev, index, &bell->region, true)) {
        object_unparent(OBJECT(&bell->region));
        munmap(page, bytes);
        g_free(bell);
        return NULL;
    }
    trace_vdpa_doorbell(index);
    return bell;
}

static void bell_free(VdpaDoorbell *bell)
{
    munmap(bell->page, qemu_real_host_page_size());
    g_free(bell);
}

static void doorbell_free(VdpaDoorbell *bell)
{
    if (!bell) {
        return;
    }
    virtio_queue_set_host_notifier_mr(bell->vdev, bell->index, &bell->region,
                                      false);
    object_unparent(OBJECT(&bell->region));
    /* A reader of the memory map may still be on it. */
    call_rcu(bell, bell_free, rcu);
}

/* --- the kind ----------------------------------------------------------- */

static int passthrough_attach(VdpaQueue *q, VdpaQueueSetup *setup, Error **errp)
{
    return 0;
}

static void passthrough_run(VdpaQueue *q)
{
    EventNotifier kick;

    /* For what the guest made available before, and has kicked for already. */
    event_notifier_init_fd(&kick, q->guest.kick);
    event_notifier_set(&kick);
    q->priv = q->priv ?: doorbell_new(q->device->vdev, q->device->fd.fd,
                                      q->index);
}

static void passthrough_pause(VdpaQueue *q)
{
    doorbell_free(g_steal_pointer(&q->priv));
}

static int64_t passthrough_used(const VdpaQueue *q)
{
    uint16_t idx;

    if (vdpa_guest_read(q->device->vdev->dma_as, q->guest.used + RING_IDX,
                        &idx, sizeof(idx))) {
        return -1;
    }
    return GUINT16_FROM_LE(idx);
}

static int64_t passthrough_detach(VdpaQueue *q, int64_t base)
{
    bool packed = virtio_has_feature(q->device->features,
                                     VIRTIO_F_RING_PACKED);

    return base >= 0 || packed ? base : passthrough_used(q);
}

const VdpaQueueKind vdpa_queue_passthrough = {
    .name = "passthrough",
    .attach = passthrough_attach,
    .run = passthrough_run,
    .pause = passthrough_pause,
    .detach = passthrough_detach,
    .used = passthrough_used,
    .interrupts = true,
};
