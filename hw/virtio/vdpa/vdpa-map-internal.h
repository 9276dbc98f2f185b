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
typedef struct VdpaMapPlug VdpaMapPlug;

struct VdpaMap {
    VdpaWorker *worker;
    MemoryListener listener;
    AddressSpace *as;       /* NULL: nothing is mapped */
    uint64_t first, last;
    VdpaIovaTable *table[VDPA_ASIDS];
    QemuMutex lock;         /* of the tables: see vdpa_map_lock() */
    QLIST_HEAD(, VdpaMapIommu) iommus;
    QLIST_HEAD(, VdpaMapPlug) plugs;
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

/* Whole pages of a section; false if the device has no use for them. */
bool vdpa_map_section_range(const MemoryRegionSection *section,
                            VdpaIovaMap *all);

/* False, with a warning, if the device cannot reach @all. */
bool vdpa_map_reachable(VdpaMap *map, const VdpaIovaMap *all,
                        const MemoryRegion *mr);

/* A range comes, or goes, when the change is applied. */
void vdpa_map_queue_map(VdpaMap *map, const VdpaIovaMap *range,
                        MemoryRegion *mr);
void vdpa_map_queue_unmap(VdpaMap *map, const VdpaIovaMap *range);

/* Apply what is queued: memory from @first to @last, inclusive, has changed. */
void vdpa_map_apply(VdpaMap *map, uint64_t first, uint64_t last);

/* --- vdpa-map-plug.c ---------------------------------------------------- */

/* A section with a RamDiscardManager comes, or goes, within a change. */
void vdpa_map_plug_add(VdpaMap *map, MemoryRegionSection *section);
void vdpa_map_plug_del(VdpaMap *map, MemoryRegionSection *section);

/* Whether all of a section is there. */
bool vdpa_map_plugged(const MemoryRegionSection *section);

#endif
