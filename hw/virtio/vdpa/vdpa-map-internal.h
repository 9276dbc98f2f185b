/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What vdpa-map.c and vdpa-host-bufs.c share: VdpaMap.
 *
 * Other files use vdpa-map.h.
 *
 * Thread model: as there.
 */
#ifndef HW_VIRTIO_VDPA_MAP_INTERNAL_H
#define HW_VIRTIO_VDPA_MAP_INTERNAL_H

#include "qemu/thread.h"
#include "vdpa-map.h"
#include "vdpa-map-worker.h"

typedef struct VdpaMapIommu VdpaMapIommu;

struct VdpaMap {
    VdpaWorker *worker;
    MemoryListener listener;
    AddressSpace *as;       /* NULL: nothing is mapped */
    uint64_t first, last;
    VdpaIovaTable *table[VDPA_ASIDS];
    QemuMutex lock;         /* of the tables: see vdpa_map_lock() */
    QLIST_HEAD(, VdpaMapIommu) iommus;
    bool live;
    bool shared_only;       /* the device is a process */
    bool holes;             /* not all could be mapped since begin() */
    bool going;             /* since let_go(): not all is unmapped, perhaps */
    bool batch;             /* a batch is open */
    GHashTable *unmap_queue;  /* IOVA -> VdpaMapChange, until commit */
    GQueue map_queue;       /* of VdpaMapChange, until commit */
    GHashTable *behind;     /* IOVA -> MemoryRegion, a reference: vIOMMU */
    VdpaMapReady ready;
    VdpaMapChanged changed;
    void *ready_opaque, *changed_opaque;
    VdpaMapStats stats;
};

/* Changes of a table, with its lock. As vdpa_iova_alloc() and _remove(). */
int vdpa_map_table_alloc(VdpaMap *map, unsigned asid, VdpaIovaMap *mapping,
                         const VdpaIovaLimits *limits);
int vdpa_map_table_remove(VdpaMap *map, unsigned asid, uint64_t iova,
                          uint64_t size);

#endif
