/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A queue's notification page of the device. See vdpa-doorbell.h, also for the
 * limits.
 */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/rcu.h"
#include "vdpa-doorbell.h"
#include "hw/virtio/trace.h"

struct VdpaDoorbell {
    struct rcu_head rcu;
    VirtIODevice *vdev;
    unsigned index;
    void *page;
    MemoryRegion region;
};

VdpaDoorbell *vdpa_doorbell_new(VirtIODevice *vdev, int fd, unsigned index)
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

void vdpa_doorbell_free(VdpaDoorbell *bell)
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
