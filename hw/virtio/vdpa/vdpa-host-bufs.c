/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Memory of QEMU that a vDPA device sees: rings, control commands. See
 * vdpa-map.h, also for the limits.
 */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qapi/error.h"
#include "vdpa-map-internal.h"

void *vdpa_host_buf_new(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return at == MAP_FAILED ? NULL : at;
}

/* Gives @buf an address. */
static int host_buf_alloc(VdpaMap *map, unsigned asid, VdpaHostBuf *buf,
                          Error **errp)
{
    VdpaIovaLimits limits = {
        .first = map->first, .last = map->last, .top_down = true,
    };
    VdpaIovaMap mapping = {
        .size = buf->size, .hva = (uintptr_t)buf->at, .gpa = VDPA_IOVA_NONE,
        .perm = buf->device_writes ? VDPA_IOVA_RW : VDPA_IOVA_READ,
    };
    uint64_t end;
    int err;

    /* The last page of all addresses is one that sizes overflow at. */
    limits.last = MIN(limits.last, (UINT64_C(1) << 48) - 1);
    /*
     * A guest's IOMMU driver gives addresses out from the end downwards, memory
     * is at the beginning: keep away from both, if there is room.
     */
    end = limits.last;
    if (end > map->first) {
        limits.last -= (end - map->first) / 8;
    }
    err = vdpa_map_table_alloc(map, asid, &mapping, &limits);
    if (err == -ENOSPC) {
        limits.last = end;
        err = vdpa_map_table_alloc(map, asid, &mapping, &limits);
    }
    if (err) {
        error_setg_errno(errp, -err, "no address for a ring is left");
        return err;
    }
    buf->iova = mapping.iova;
    return 0;
}

static void host_buf_release(VdpaMap *map, unsigned asid, VdpaHostBuf *buf)
{
    vdpa_map_table_remove(map, asid, buf->iova, buf->size);
    buf->iova = 0;
}

int vdpa_map_host_bufs(VdpaMap *map, VdpaHostBufs *bufs, Error **errp)
{
    VdpaIovaTable *table = map->table[bufs->asid];

    if (vdpa_worker_late(map->worker)) {
        vdpa_worker_late_error(map->worker, errp);
        return -ETIMEDOUT;
    }
    for (unsigned i = 0; i < bufs->n; i++) {
        int err = host_buf_alloc(map, bufs->asid, &bufs->buf[i], errp);

        if (err) {
            while (i--) {
                host_buf_release(map, bufs->asid, &bufs->buf[i]);
            }
            return err;
        }
    }
    bufs->result = 0;
    vdpa_worker_host_batch(map->worker, bufs->asid, true, &bufs->result);
    for (unsigned i = 0; i < bufs->n; i++) {
        vdpa_worker_host_map(map->worker, bufs->asid,
                            vdpa_iova_find(table, bufs->buf[i].iova),
                            &bufs->result);
    }
    vdpa_worker_host_batch(map->worker, bufs->asid, false, &bufs->result);
    map->stats.host_buf_maps += bufs->n;
    return 0;
}

int vdpa_await_host_bufs(VdpaMap *map, VdpaHostBufs *bufs, Error **errp)
{
    if (!vdpa_worker_drain(map->worker)) {
        vdpa_worker_late_error(map->worker, errp);
        return -ETIMEDOUT;
    }
    if (bufs->result) {
        error_setg_errno(errp, -bufs->result, "cannot map a ring");
    }
    return bufs->result;
}

static void host_buf_free(VdpaMap *map, unsigned asid, VdpaHostBuf *buf)
{
    if (buf->iova) {
        vdpa_worker_host_unmap(map->worker, asid, buf->iova, buf->at, buf->size);
        host_buf_release(map, asid, buf);
        map->stats.host_buf_unmaps++;
    } else if (buf->at) {
        munmap(buf->at, buf->size);
    }
    buf->at = NULL;
}

void vdpa_free_host_bufs(VdpaMap *map, VdpaHostBufs *bufs)
{
    bool mapped = bufs->n && bufs->buf[0].iova;     /* all are, or none */

    vdpa_worker_forget(map->worker, &bufs->result);
    if (mapped) {
        vdpa_worker_host_batch(map->worker, bufs->asid, true, NULL);
    }
    for (unsigned i = 0; i < bufs->n; i++) {
        host_buf_free(map, bufs->asid, &bufs->buf[i]);
    }
    if (mapped) {
        vdpa_worker_host_batch(map->worker, bufs->asid, false, NULL);
    }
}
