/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Maps guest memory and QEMU's rings for a vDPA device.
 *
 * Theory of operation
 * -------------------
 * Guest memory is mapped where the guest sees it (IOVA = guest-physical
 * address, or the guest's own IOVA behind a vIOMMU), in address space 0, for
 * passthrough and shadow queues alike. So a queue that changes its mode changes
 * no map. What QEMU itself wants the device to see is put into free space an
 * eighth below the end of the device's range (of 48 bits at most): memory is at
 * the beginning, and the drivers of a guest's IOMMU begin at the end. A guest
 * that maps its memory over a ring of QEMU's nevertheless is told that the
 * device cannot reach that memory; the ring stays.
 *
 *   memory listener  --jobs-->  worker thread  --messages-->  kernel
 *        (BQL)                                        pins, maps
 *
 * Mapping means pinning, which takes seconds for large guests, and the kernel
 * locks the device meanwhile. Therefore a thread does it, a range at a time,
 * and lets commands pass between two ranges. Jobs are done in order. As long
 * as the device does not run, no caller waits: the listener starts when the
 * device is opened, and by the time that the guest's driver is up the memory
 * usually is mapped; if not, vdpa_map_when_ready() tells when. As soon as the
 * device runs (vdpa_map_live()), a change of guest memory is waited for.
 *
 * Guest memory is mapped in ranges with fixed borders, at 1 MiB and at every
 * 32 MiB below 4 GiB; above, a region is one range. When the guest's memory map
 * changes, the ranges that are as before stay as they are: firmware that shadows
 * its ROMs, and the loading of that state at the destination of a migration,
 * change the first megabyte only.
 *
 * The first map that fails is kept, with a reason for humans, until the maps
 * are dropped; those behind it are not tried. If the device runs, it is only
 * reported: the device goes on without that memory, and with what comes later;
 * all of it is tried again at the next launch.
 *
 * Life cycle: init -> (begin -> drop)* -> destroy. drop() unmaps everything
 * and forgets an error; for a device whose reset forgets its maps, and when the
 * address space changes.
 *
 * Thread model: the BQL, for all of this; the worker takes the queue's own
 * lock only, never the BQL. vdpa_map_guest() may be called without the BQL by a
 * thread that holds vdpa_map_lock().
 *
 * Lifetime. Addresses in this process that lookups give are used by QEMU, too.
 * The memory listener hears of memory that goes, before it goes. Behind a vIOMMU
 * it does not: an IOMMU's table may still name memory that was unplugged. So
 * a map from there holds a reference to its memory region. What has an address
 * in this process and is no memory (a BAR, a doorbell) is not mapped, wherever a
 * vIOMMU leads.
 *
 * A device that is a process (vduse) is given shared memory only: of the rest
 * the kernel maps nothing, and says nothing. Firmware and the like usually is
 * private, and no driver uses it; for the memory that one does use,
 * vdpa_map_check() has the words.
 *
 * Ranges are compared by their last address: all 2^64 addresses, which an IOMMU
 * unmaps at once, have no size in 64 bits. An IOMMU may unmap a part of what it
 * mapped; the rest is mapped again, while the device may miss it.
 *
 * Limits: memory regions that are no multiple of the host's page are mapped
 * without their ends. Device memory (BARs of assigned devices) is not mapped.
 */
#ifndef HW_VIRTIO_VDPA_MAP_H
#define HW_VIRTIO_VDPA_MAP_H

#include "exec/memory.h"
#include "qapi/error.h"
#include "hw/virtio/vdpa/core/vdpa-fd.h"
#include "hw/virtio/vdpa/core/vdpa-iova.h"

#define VDPA_ASID_GUEST     0
#define VDPA_ASID_CONTROL   1
#define VDPA_ASIDS          2

typedef struct VdpaMap VdpaMap;

typedef struct VdpaMapStats {
    uint64_t maps, unmaps;          /* messages about guest memory */
    uint64_t host_buf_maps, host_buf_unmaps;  /* ... about QEMU's rings */
    uint64_t ranges;                /* guest memory ranges that are mapped */
    uint64_t bytes;                 /* ... and their size */
    uint64_t skipped;               /* ranges that the device cannot reach */
} VdpaMapStats;

/* Called under the BQL, from the main loop: the worker has nothing to do. */
typedef void (*VdpaMapReady)(void *opaque);

VdpaMap *vdpa_map_new(VdpaFd *fd, uint64_t first, uint64_t last);

/* False: the kernel still uses the VdpaFd, which must never be freed. */
bool vdpa_map_destroy(VdpaMap *map);

/* Begins to map @as; nothing if that is what is mapped, without holes. */
void vdpa_map_begin(VdpaMap *map, AddressSpace *as);
AddressSpace *vdpa_map_space(const VdpaMap *map);
void vdpa_map_drop(VdpaMap *map);

/*
 * The first half of drop(): when it returns, no page is pinned any more that was
 * not pinned before. The worker unmaps the rest later.
 */
void vdpa_map_let_go(VdpaMap *map);

/* Whether changes of guest memory are waited for. */
void vdpa_map_live(VdpaMap *map, bool live);

/* 0: all is mapped. -EINPROGRESS: not yet. Otherwise what failed, with @errp. */
int vdpa_map_outcome(const VdpaMap *map, Error **errp);

/* The same; if it is not yet, @ready will be called, once. */
int vdpa_map_when_ready(VdpaMap *map, VdpaMapReady ready, void *opaque,
                        Error **errp);
void vdpa_map_forget_ready(VdpaMap *map);

/*
 * Called after guest memory from @first to @last (IOVAs) changed, at the end of
 * the change, from within a memory listener or an IOMMU's notifier: what is
 * called may note that, and no more.
 */
typedef void (*VdpaMapChanged)(void *opaque, uint64_t first, uint64_t last);

void vdpa_map_set_changed(VdpaMap *map, VdpaMapChanged changed, void *opaque);

/* Memory of QEMU; at and size are multiples of the host's page. */
typedef struct VdpaHostBuf {
    void *at;
    size_t size;
    bool device_writes;
    uint64_t iova;      /* where the device sees it; 0: nowhere */
} VdpaHostBuf;

/*
 * QEMU's memory for the device: zeroes, whole pages, shared as far as the
 * kernel is concerned, as a device in user space can see no other. NULL if
 * there is none.
 */
void *vdpa_host_buf_new(size_t size);

/*
 * Several buffers that come and go together, in one address space. Begins to
 * map them, without waiting; await() waits, and says what failed: 0, or -errno
 * with @errp; -ETIMEDOUT if the kernel is late (vdpa-map-worker.h). begin() fails
 * if it is, or if there are no addresses left. free() may follow any of them: it
 * has the worker unmap them, and then free their memory, without waiting; buffers
 * that have no map are freed at once.
 */
typedef struct VdpaHostBufs {
    unsigned asid;
    VdpaHostBuf *buf;
    unsigned n;
    int result;
} VdpaHostBufs;

int vdpa_map_host_bufs(VdpaMap *map, VdpaHostBufs *bufs, Error **errp);
int vdpa_await_host_bufs(VdpaMap *map, VdpaHostBufs *bufs, Error **errp);
void vdpa_free_host_bufs(VdpaMap *map, VdpaHostBufs *bufs);

/*
 * Keeps lookups as they are; for moments, as the memory listener waits for it
 * under the BQL. A thread that holds it does not take the BQL.
 */
void vdpa_map_lock(VdpaMap *map);
void vdpa_map_unlock(VdpaMap *map);

/*
 * Where guest memory that the device sees at @iova is in this process: fills
 * @range for the part that one range covers. 0, or -errno as vdpa_iova_range().
 * QEMU's rings are not guest memory.
 */
int vdpa_map_guest(const VdpaMap *map, uint64_t iova, uint64_t len,
                   bool device_writes, VdpaIovaRange *range);

/*
 * Whether the device can reach the @len bytes at @iova, all of them: 0, or
 * -EFAULT with @errp, which says what to do if that is known.
 */
int vdpa_map_check(const VdpaMap *map, uint64_t iova, uint64_t len,
                   bool device_writes, Error **errp);

VdpaMapStats vdpa_map_stats(const VdpaMap *map);

#endif
