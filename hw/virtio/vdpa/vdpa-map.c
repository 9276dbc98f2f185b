/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a vDPA device may reach. See vdpa-map.h, also for the limits; the thread
 * that talks to the kernel is vdpa-map-worker.c.
 */
#include "qemu/osdep.h"
#include "exec/target_page.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "exec/address-spaces.h"
#include "vdpa-map-internal.h"
#include "hw/virtio/vdpa/core/vdpa-report.h"
#include "hw/virtio/trace.h"

/* Borders of ranges: see vdpa-map.h. */
#define LOW     (1 * MiB)
#define RANGE   (32 * MiB)
#define HIGH    (4 * GiB)

struct VdpaMapIommu {
    VdpaMap *map;
    IOMMUNotifier notifier;
    MemoryRegion *mr;
    hwaddr offset;          /* from the region to the address space */
    QLIST_ENTRY(VdpaMapIommu) next;
};

/* A range that is to be mapped or unmapped at the end of a change. */
typedef struct VdpaMapChange {
    VdpaIovaMap range;
    MemoryRegion *mr;       /* a reference; NULL when it goes */
} VdpaMapChange;

/* --- the tables --------------------------------------------------------- */

static int table_add(VdpaMap *map, const VdpaIovaMap *range)
{
    QEMU_LOCK_GUARD(&map->lock);
    return vdpa_iova_add(map->table[VDPA_ASID_GUEST], range);
}

int vdpa_map_table_remove(VdpaMap *map, unsigned asid, uint64_t iova,
                          uint64_t size)
{
    QEMU_LOCK_GUARD(&map->lock);
    return vdpa_iova_remove(map->table[asid], iova, size);
}

static int table_remove_guest(VdpaMap *map, uint64_t iova, uint64_t last,
                              VdpaIovaMap *old, VdpaIovaMap rest[2])
{
    QEMU_LOCK_GUARD(&map->lock);
    return vdpa_iova_remove_guest(map->table[VDPA_ASID_GUEST], iova, last, old,
                                  rest);
}

int vdpa_map_table_alloc(VdpaMap *map, unsigned asid, VdpaIovaMap *mapping,
                         const VdpaIovaLimits *limits)
{
    QEMU_LOCK_GUARD(&map->lock);
    return vdpa_iova_alloc(map->table[asid], mapping, limits);
}

void vdpa_map_lock(VdpaMap *map)
{
    qemu_mutex_lock(&map->lock);
}

void vdpa_map_unlock(VdpaMap *map)
{
    qemu_mutex_unlock(&map->lock);
}

/* --- jobs --------------------------------------------------------------- */

static void batch_open(VdpaMap *map)
{
    if (!map->batch) {
        map->batch = true;
        vdpa_worker_batch(map->worker, true);
    }
}

static void batch_close(VdpaMap *map)
{
    if (map->batch) {
        map->batch = false;
        vdpa_worker_batch(map->worker, false);
    }
}

/*
 * Wait for the changes if the device runs. It goes on without memory that cannot
 * be mapped, until the next begin(): an error must not keep later memory from it.
 */
static void finish_changes(VdpaMap *map)
{
    batch_close(map);
    if (!map->live) {
        return;
    }
    if (!vdpa_worker_drain(map->worker)) {
        Error *err = NULL;

        vdpa_worker_late_error(map->worker, &err);
        vdpa_error_reportf_err(err, "vhost-vdpa: the device may miss memory: ");
        map->holes = true;
    } else if (vdpa_worker_error(map->worker, NULL)) {
        vdpa_worker_report(map->worker);
        vdpa_worker_clear_error(map->worker);
        map->holes = true;
    }
}

/* The first of QEMU's buffers at addresses of @range; NULL if none. */
static const VdpaIovaMap *host_buf_in(const VdpaMap *map,
                                      const VdpaIovaMap *range)
{
    VdpaIovaTable *table = map->table[VDPA_ASID_GUEST];
    const VdpaIovaMap *buf = vdpa_iova_find(table, range->iova);

    buf = buf ?: vdpa_iova_at_or_above(table, range->iova);
    while (buf && buf->gpa != VDPA_IOVA_NONE) {
        buf = vdpa_iova_next(table, buf);
    }
    return buf && buf->iova <= range->iova + (range->size - 1) ? buf : NULL;
}

static bool range_map(VdpaMap *map, const VdpaIovaMap *range, MemoryRegion *mr)
{
    int err = table_add(map, range);
    const VdpaIovaMap *buf = err == -EEXIST ? host_buf_in(map, range) : NULL;

    if (buf) {
        vdpa_error_report("vhost-vdpa: the device cannot reach %s at 0x%" PRIx64
                          ": QEMU keeps a ring of its own at 0x%" PRIx64,
                          memory_region_name(mr), range->iova, buf->iova);
    } else if (err) {
        vdpa_warn_report("vhost-vdpa: %s at 0x%" PRIx64 " is not mapped: %s",
                         memory_region_name(mr), range->iova, strerror(-err));
    }
    if (err) {
        map->stats.skipped++;
        map->holes |= buf != NULL;
        return false;
    }
    trace_vdpa_map_guest(range->iova, range->size, range->perm);
    map->stats.ranges++;
    map->stats.bytes += range->size;
    batch_open(map);
    vdpa_worker_map(map->worker, VDPA_ASID_GUEST, range, mr);
    return true;
}

/* @iova and @size have left the table. */
static void range_unmapped(VdpaMap *map, uint64_t iova, uint64_t size)
{
    trace_vdpa_unmap_guest(iova, size);
    map->stats.ranges--;
    map->stats.bytes -= size;
    batch_open(map);
    vdpa_worker_unmap(map->worker, VDPA_ASID_GUEST, iova, size);
    g_hash_table_remove(map->behind, &iova);
}

static void range_unmap(VdpaMap *map, uint64_t iova, uint64_t size)
{
    if (!vdpa_map_table_remove(map, VDPA_ASID_GUEST, iova, size)) {
        range_unmapped(map, iova, size);    /* else it was never mapped */
    }
}

/* --- changes of guest memory -------------------------------------------- */

/* 0: there is none. */
static uint64_t next_border(uint64_t iova)
{
    return iova >= HIGH ? 0 : iova < LOW ? LOW
                            : QEMU_ALIGN_DOWN(iova, RANGE) + RANGE;
}

static void change_free(void *opaque)
{
    VdpaMapChange *change = opaque;

    if (change->mr) {
        memory_region_unref(change->mr);
    }
    g_free(change);
}

/* A range of a section that goes: it may come again in the same change. */
void vdpa_map_queue_unmap(VdpaMap *map, const VdpaIovaMap *range)
{
    VdpaMapChange *change = g_new0(VdpaMapChange, 1);

    change->range = *range;
    g_hash_table_replace(map->unmap_queue, &change->range.iova, change);
}

void vdpa_map_queue_map(VdpaMap *map, const VdpaIovaMap *range,
                        MemoryRegion *mr)
{
    VdpaMapChange *old = g_hash_table_lookup(map->unmap_queue, &range->iova);
    VdpaMapChange *change;

    if (old && old->range.size == range->size &&
        old->range.hva == range->hva && old->range.perm == range->perm) {
        g_hash_table_remove(map->unmap_queue, &range->iova);
        return;
    }
    change = g_new0(VdpaMapChange, 1);
    change->range = *range;
    change->mr = mr;
    memory_region_ref(mr);
    g_queue_push_tail(&map->map_queue, change);
}

static void apply_changes(VdpaMap *map)
{
    GHashTableIter iter;
    VdpaMapChange *change;

    g_hash_table_iter_init(&iter, map->unmap_queue);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&change)) {
        range_unmap(map, change->range.iova, change->range.size);
    }
    g_hash_table_remove_all(map->unmap_queue);
    while ((change = g_queue_pop_head(&map->map_queue))) {
        range_map(map, &change->range, change->mr);
        change_free(change);
    }
}

/* Cuts a section at the borders, and calls for each range. */
static void section_ranges(VdpaMap *map, VdpaIovaMap all, MemoryRegion *mr,
                           bool add)
{
    uint64_t left = all.size;

    while (left) {
        VdpaIovaMap range = all;

        range.size = MIN(left, next_border(all.iova) - all.iova);
        range.gpa = range.iova;
        if (add) {
            vdpa_map_queue_map(map, &range, mr);
        } else {
            vdpa_map_queue_unmap(map, &range);
        }
        all.iova += range.size;
        all.hva += range.size;
        left -= range.size;
    }
}

/* --- memory behind a vIOMMU --------------------------------------------- */

/*
 * An IOMMU that is switched on or off unmaps everything but QEMU's rings. It
 * may unmap a part of what it mapped at once. The kernel forgets the whole of
 * each map that it finds in a range, so the rest is mapped again.
 */
static void iommu_unmap(VdpaMap *map, uint64_t iova, uint64_t last)
{
    VdpaIovaMap old, rest[2];
    ram_addr_t within;
    int n;

    while ((n = table_remove_guest(map, iova, last, &old, rest)) >= 0) {
        range_unmapped(map, old.iova, old.size);
        for (int i = 0; i < n; i++) {
            range_map(map, &rest[i],
                      memory_region_from_host((void *)(uintptr_t)rest[i].hva,
                                              &within));
        }
    }
}

/* Holds a reference to the memory, which may go before the map does. */
static void behind_map(VdpaMap *map, const VdpaIovaMap *range)
{
    ram_addr_t within;
    MemoryRegion *mr = memory_region_from_host((void *)(uintptr_t)range->hva,
                                               &within);

    if (!mr || memory_region_is_ram_device(mr)) {
        warn_report_once("vhost-vdpa: the vIOMMU leads to device memory, which"
                         " is not mapped");
    } else if (range_map(map, range, mr)) {
        memory_region_ref(mr);
        g_hash_table_replace(map->behind,
                             g_memdup2(&range->iova, sizeof(range->iova)), mr);
    }
}

static void behind_unref(void *mr)
{
    memory_region_unref(mr);
}

/*
 * Maps @size bytes from @iova to the guest's memory at @gpa: one map for each
 * region of memory. Leaves out what is not memory, and reports it.
 */
static void behind_map_range(VdpaMap *map, uint64_t iova, hwaddr gpa,
                             uint64_t size, bool writable)
{
    hwaddr next = gpa, last = gpa + MIN(size - 1, UINT64_MAX - gpa);
    bool hole = false;

    while (next >= gpa && next <= last) {
        MemoryRegionSection section =
            memory_region_find(get_system_memory(), next, last - next + 1);
        hwaddr at = section.mr ? section.offset_within_address_space : last;

        hole |= at != next;
        next = at + (section.mr ? int128_get64(section.size) : 1);
        if (section.mr && memory_region_is_ram(section.mr) &&
            vdpa_map_plugged(&section)) {
            VdpaIovaMap part = {
                .iova = iova + (at - gpa), .size = next - at,
                .gpa = iova + (at - gpa),
                .hva = (uintptr_t)memory_region_get_ram_ptr(section.mr) +
                       section.offset_within_region,
                .perm = writable && !section.readonly ? VDPA_IOVA_RW
                                                      : VDPA_IOVA_READ,
            };

            behind_map(map, &part);
        } else {
            hole = true;
        }
        if (section.mr) {
            memory_region_unref(section.mr);
        }
    }
    if (hole) {
        vdpa_error_report("vhost-vdpa: the vIOMMU leads to 0x%" PRIx64 " to 0x%"
                          PRIx64 ", not all of which is memory", gpa, last);
    }
}

/*
 * Holds a reference to the memory behind it, which may go before it is mapped.
 * All 2^64 addresses are one notification when an IOMMU unmaps everything; such
 * a range has no size in 64 bits, so ranges are compared by their last address,
 * and the kernel is told of each map that was in it.
 */
static void iommu_notify(IOMMUNotifier *notifier, IOMMUTLBEntry *tlb)
{
    VdpaMapIommu *iommu = container_of(notifier, VdpaMapIommu, notifier);
    VdpaMap *map = iommu->map;
    uint64_t iova = tlb->iova + iommu->offset;
    uint64_t last = iova + MIN(tlb->addr_mask, UINT64_MAX - iova);

    if (tlb->target_as != &address_space_memory) {
        vdpa_error_report("vhost-vdpa: the vIOMMU leads to %s, not to memory",
                          tlb->target_as->name ?: "an unnamed address space");
        return;
    }
    RCU_READ_LOCK_GUARD();
    iommu_unmap(map, iova, last);
    if ((tlb->perm & IOMMU_RW) != IOMMU_NONE) {
        if (tlb->addr_mask == UINT64_MAX) {
            vdpa_error_report("vhost-vdpa: the vIOMMU maps all addresses at"
                              " once");
        } else if (iova < map->first || last > map->last) {
            vdpa_error_report("vhost-vdpa: the device cannot reach 0x%" PRIx64
                              " to 0x%" PRIx64, iova, last);
        } else {
            behind_map_range(map, iova, tlb->translated_addr,
                             tlb->addr_mask + 1, tlb->perm & IOMMU_WO);
        }
    }
    finish_changes(map);
    if (map->changed) {
        map->changed(map->changed_opaque, iova, last);
    }
}

static void iommu_add(VdpaMap *map, MemoryRegionSection *section)
{
    VdpaMapIommu *iommu = g_new0(VdpaMapIommu, 1);
    hwaddr start = section->offset_within_region;
    hwaddr last = start + int128_get64(int128_sub(section->size,
                                                  int128_one()));
    int index = memory_region_iommu_attrs_to_index(
        IOMMU_MEMORY_REGION(section->mr), MEMTXATTRS_UNSPECIFIED);
    Error *err = NULL;

    iommu->map = map;
    iommu->mr = section->mr;
    iommu->offset = section->offset_within_address_space - start;
    iommu_notifier_init(&iommu->notifier, iommu_notify,
                        IOMMU_NOTIFIER_IOTLB_EVENTS, start, last, index);
    if (memory_region_register_iommu_notifier(section->mr, &iommu->notifier,
                                              &err)) {
        vdpa_error_reportf_err(err, "vhost-vdpa: ");
        g_free(iommu);
        return;
    }
    QLIST_INSERT_HEAD(&map->iommus, iommu, next);
    memory_region_iommu_replay(IOMMU_MEMORY_REGION(section->mr),
                               &iommu->notifier);
}

static void iommu_del(VdpaMap *map, MemoryRegionSection *section)
{
    VdpaMapIommu *iommu;

    QLIST_FOREACH(iommu, &map->iommus, next) {
        if (iommu->mr == section->mr &&
            iommu->notifier.start == section->offset_within_region) {
            memory_region_unregister_iommu_notifier(iommu->mr,
                                                    &iommu->notifier);
            iommu_unmap(map, iommu->notifier.start + iommu->offset,
                        iommu->notifier.end + iommu->offset);
            QLIST_REMOVE(iommu, next);
            g_free(iommu);
            return;
        }
    }
}

/* --- the listener ------------------------------------------------------- */

/* Whole pages of a section; false if the device has no use for them. */
bool vdpa_map_section_range(const MemoryRegionSection *section,
                            VdpaIovaMap *all)
{
    uint64_t page = qemu_real_host_page_size();
    uint64_t start = section->offset_within_address_space;
    Int128 end = int128_add(int128_make64(start), section->size);

    if (!memory_region_is_ram(section->mr) ||
        memory_region_is_protected(section->mr) ||
        memory_region_is_ram_device(section->mr)) {
        return false;
    }
    if ((start ^ section->offset_within_region) & (page - 1)) {
        return false;   /* no page of it is a page for the device */
    }
    all->iova = ROUND_UP(start, page);
    end = int128_and(end, int128_exts64(-page));
    if (int128_ge(int128_make64(all->iova), end)) {
        return false;
    }
    all->size = int128_get64(int128_sub(end, int128_make64(all->iova)));
    all->hva = (uintptr_t)memory_region_get_ram_ptr(section->mr) +
               section->offset_within_region + (all->iova - start);
    all->perm = section->readonly ? VDPA_IOVA_READ : VDPA_IOVA_RW;
    return true;
}

bool vdpa_map_reachable(VdpaMap *map, const VdpaIovaMap *all,
                        const MemoryRegion *mr)
{
    uint64_t last = all->iova + all->size - 1;

    if (map->shared_only && !qemu_ram_is_shared(mr->ram_block)) {
        map->stats.skipped++;
        return false;
    }
    if (all->iova >= map->first && last <= map->last) {
        return true;
    }
    map->stats.skipped++;
    vdpa_warn_report("vhost-vdpa: the device cannot reach %s at 0x%" PRIx64
                     " to 0x%" PRIx64 ": its addresses are 0x%" PRIx64
                     " to 0x%" PRIx64, memory_region_name(mr), all->iova, last,
                     map->first, map->last);
    return false;
}

static void listener_add(MemoryListener *listener, MemoryRegionSection *section)
{
    VdpaMap *map = container_of(listener, VdpaMap, listener);
    VdpaIovaMap all;

    if (memory_region_is_iommu(section->mr)) {
        iommu_add(map, section);
    } else if (memory_region_has_ram_discard_manager(section->mr)) {
        vdpa_map_plug_add(map, section);
    } else if (vdpa_map_section_range(section, &all) &&
               vdpa_map_reachable(map, &all, section->mr)) {
        section_ranges(map, all, section->mr, true);
    }
}

static void listener_del(MemoryListener *listener, MemoryRegionSection *section)
{
    VdpaMap *map = container_of(listener, VdpaMap, listener);
    VdpaIovaMap all;

    if (memory_region_is_iommu(section->mr)) {
        iommu_del(map, section);
    } else if (memory_region_has_ram_discard_manager(section->mr)) {
        vdpa_map_plug_del(map, section);
    } else if (vdpa_map_section_range(section, &all)) {
        section_ranges(map, all, section->mr, false);
    }
}

void vdpa_map_apply(VdpaMap *map, uint64_t first, uint64_t last)
{
    apply_changes(map);
    finish_changes(map);
    if (map->changed) {
        map->changed(map->changed_opaque, first, last);
    }
}

static void listener_commit(MemoryListener *listener)
{
    vdpa_map_apply(container_of(listener, VdpaMap, listener), 0, UINT64_MAX);
}

/* --- interface ---------------------------------------------------------- */

static void worker_idle(void *opaque)
{
    VdpaMap *map = opaque;
    VdpaMapReady ready = map->ready;

    vdpa_worker_report(map->worker);
    map->ready = NULL;
    if (ready) {
        ready(map->ready_opaque);
    }
}

VdpaMap *vdpa_map_new(VdpaFd *fd, uint64_t first, uint64_t last)
{
    VdpaMap *map = g_new0(VdpaMap, 1);

    map->first = first;
    map->last = last;
    qemu_mutex_init(&map->lock);
    map->shared_only = vdpa_fd_is_process(fd->fd, "/sys");
    for (int i = 0; i < VDPA_ASIDS; i++) {
        map->table[i] = vdpa_iova_new(first, last, qemu_real_host_page_size());
    }
    map->unmap_queue = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL,
                                           change_free);
    map->behind = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                        behind_unref);
    map->worker = vdpa_worker_new(fd, !map->shared_only, worker_idle, map);
    return map;
}

void vdpa_map_begin(VdpaMap *map, AddressSpace *as)
{
    if (map->as == as && !map->holes) {
        return;
    }
    vdpa_map_drop(map);
    map->as = as;
    map->listener = (MemoryListener) {
        .name = "vhost-vdpa",
        .region_add = listener_add,
        .region_del = listener_del,
        .commit = listener_commit,
        .priority = MEMORY_LISTENER_PRIORITY_DEV_BACKEND,
    };
    memory_listener_register(&map->listener, as);
    finish_changes(map);
}

AddressSpace *vdpa_map_space(const VdpaMap *map)
{
    return map->as;
}

void vdpa_map_let_go(VdpaMap *map)
{
    if (!map->as) {
        return;
    }
    vdpa_worker_abandon(map->worker);
    vdpa_worker_drain(map->worker);
    memory_listener_unregister(&map->listener);
    batch_close(map);
    map->as = NULL;
    map->holes = false;
    map->going = true;
}

void vdpa_map_drop(VdpaMap *map)
{
    vdpa_map_let_go(map);
    if (map->going) {
        vdpa_worker_drain(map->worker);
        vdpa_worker_reset(map->worker);
        map->going = false;
    }
}

bool vdpa_map_destroy(VdpaMap *map)
{
    bool idle;

    vdpa_map_drop(map);
    idle = vdpa_worker_free(map->worker);
    g_hash_table_destroy(map->unmap_queue);
    g_hash_table_destroy(map->behind);
    for (int i = 0; i < VDPA_ASIDS; i++) {
        vdpa_iova_free(map->table[i]);
    }
    qemu_mutex_destroy(&map->lock);
    g_free(map);
    return idle;
}

void vdpa_map_live(VdpaMap *map, bool live)
{
    map->live = live;
}

int vdpa_map_outcome(const VdpaMap *map, Error **errp)
{
    return vdpa_worker_busy(map->worker) ? -EINPROGRESS
                                         : vdpa_worker_error(map->worker, errp);
}

int vdpa_map_when_ready(VdpaMap *map, VdpaMapReady ready, void *opaque,
                        Error **errp)
{
    int err = vdpa_map_outcome(map, errp);

    if (err == -EINPROGRESS) {
        map->ready = ready;
        map->ready_opaque = opaque;
    }
    return err;
}

void vdpa_map_forget_ready(VdpaMap *map)
{
    map->ready = NULL;
}

void vdpa_map_set_changed(VdpaMap *map, VdpaMapChanged changed, void *opaque)
{
    map->changed = changed;
    map->changed_opaque = opaque;
}

int vdpa_map_guest(const VdpaMap *map, uint64_t iova, uint64_t len,
                   bool device_writes, VdpaIovaRange *range)
{
    int err = vdpa_iova_range(map->table[VDPA_ASID_GUEST], iova, len,
                              device_writes ? VDPA_IOVA_WRITE : VDPA_IOVA_READ,
                              range);

    return err ? err : range->gpa == VDPA_IOVA_NONE ? -EACCES : 0;
}

int vdpa_map_check(const VdpaMap *map, uint64_t iova, uint64_t len,
                   bool device_writes, Error **errp)
{
    VdpaIovaRange range;

    while (len && !vdpa_map_guest(map, iova, len, device_writes, &range)) {
        iova += range.len;
        len -= range.len;
    }
    if (!len) {
        return 0;
    }
    error_setg(errp, "the device cannot reach guest memory at 0x%" PRIx64 "%s",
               iova, map->shared_only
               ? ": it is a process (vduse) and sees only memory that is "
                 "shared; -object memory-backend-memfd,share=on" : "");
    return -EFAULT;
}

VdpaMapStats vdpa_map_stats(const VdpaMap *map)
{
    VdpaMapStats stats = map->stats;

    vdpa_worker_messages(map->worker, &stats.maps, &stats.unmaps);
    return stats;
}
