/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The memory of a shadow queue's rings. See vdpa-rings.h, also for the limits.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "hw/virtio/vdpa/core/vdpa-uapi.h"
#include "qemu/bswap.h"
#include "qemu/atomic.h"
#include "vdpa-device.h"
#include "hw/virtio/vdpa/core/vdpa-ring-layout.h"
#include "vdpa-rings.h"

static VdpaHostBuf piece(size_t bytes, bool device_writes)
{
    size_t size = ROUND_UP(bytes, qemu_real_host_page_size());

    return (VdpaHostBuf) {
        .at = vdpa_host_buf_new(size), .size = size,
        .device_writes = device_writes,
    };
}

VdpaRings *vdpa_rings_new(VdpaMap *map, unsigned num, Error **errp)
{
    VdpaRings *rings = g_new0(VdpaRings, 1);

    rings->map = map;
    rings->num = num;
    rings->piece[VDPA_RINGS_DRIVER] = piece(vdpa_ring_driver_area_size(num),
                                            false);
    rings->piece[VDPA_RINGS_DEVICE] = piece(vdpa_ring_device_area_size(num),
                                            true);
    for (int i = 0; i < ARRAY_SIZE(rings->piece); i++) {
        if (!rings->piece[i].at) {
            error_setg(errp, "no memory for a ring");
            vdpa_rings_free(rings);
            return NULL;
        }
    }
    rings->owned = (VdpaHostBufs) {
        .asid = VDPA_ASID_GUEST, .piece = rings->piece,
        .n = ARRAY_SIZE(rings->piece),
    };
    if (vdpa_map_host_bufs(map, &rings->owned, errp)) {
        vdpa_rings_free(rings);
        return NULL;
    }
    return rings;
}

int vdpa_rings_await(VdpaRings *rings, Error **errp)
{
    return vdpa_await_host_bufs(rings->map, &rings->owned, errp);
}

void vdpa_rings_free(VdpaRings *rings)
{
    if (!rings) {
        return;
    }
    vdpa_unmap_host_bufs(rings->map, &rings->owned);
    for (int i = 0; i < ARRAY_SIZE(rings->piece); i++) {
        vdpa_host_buf_free(rings->piece[i].at, rings->piece[i].size);
    }
    g_free(rings);
}

VdpaRingMemory vdpa_rings_memory(const VdpaRings *rings)
{
    return (VdpaRingMemory) {
        .driver = rings->piece[VDPA_RINGS_DRIVER].at,
        .device = rings->piece[VDPA_RINGS_DEVICE].at,
    };
}

VdpaQueueSetup vdpa_rings_setup(const VdpaRings *rings)
{
    uint64_t driver = rings->piece[VDPA_RINGS_DRIVER].iova;

    return (VdpaQueueSetup) {
        .num = rings->num,
        .desc = driver,
        .avail = driver + vdpa_ring_avail_offset(rings->num),
        .used = rings->piece[VDPA_RINGS_DEVICE].iova,
        .kick = -1, .call = -1,
    };
}

void vdpa_rings_park(VdpaRings *rings, uint16_t idx)
{
    char *avail = (char *)rings->piece[VDPA_RINGS_DRIVER].at +
                  vdpa_ring_avail_offset(rings->num);
    char *used = rings->piece[VDPA_RINGS_DEVICE].at;

    stw_le_p(avail, VRING_AVAIL_F_NO_INTERRUPT);
    stw_le_p(avail + RING_IDX, idx);
    stw_le_p(used + RING_IDX, idx);
}

uint16_t vdpa_rings_used(const VdpaRings *rings)
{
    const char *used = rings->piece[VDPA_RINGS_DEVICE].at;
    uint16_t idx = qatomic_read((const uint16_t *)(used + RING_IDX));

    return GUINT16_FROM_LE(idx);
}

/* --- those of a device -------------------------------------------------- */

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

void vdpa_rings_ahead(VdpaDevice *d)
{
    if (!vdpa_rings_kept(d) || vdpa_shadow_ring_refused(d->features)) {
        return;
    }
    for (unsigned i = 0; i < d->nqueues; i++) {
        if (d->queue[i].ready && (int)i != d->control) {
            vdpa_queue_shadow_ahead(&d->queue[i]);
        }
    }
}
