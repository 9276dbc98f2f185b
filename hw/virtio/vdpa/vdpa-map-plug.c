/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest memory of which parts come and go: virtio-mem.
 *
 * Theory of operation
 * -------------------
 * A virtio-mem device is one section of the guest's address space, most of which
 * may be unplugged. To map what is unplugged would pin it, and so plug it in. A
 * RamDiscardManager tells what is there: all of it when its listener is
 * registered, then block by block as the guest plugs and unplugs. Each block is a
 * range of its own, as it may go by itself.
 *
 *   listener_add() -> register -> populate() for what is there     in the change
 *   the guest plugs -> populate() -> mapped before the guest is told
 *   the guest unplugs -> discard() -> unmapped, then the memory goes
 *   listener_del() -> unregister -> discard() for what is there    in the change
 *
 * The balloon stays inhibited: its pages go without a word.
 *
 * Thread model: the BQL.
 *
 * Limits: one map for each block (virtio-mem's block-size), of which some kernels
 * have room for 2,048 (max_iotlb_entries of vhost_vdpa). A block that cannot be
 * mapped is reported, and the guest gets it all the same.
 */
#include "qemu/osdep.h"
#include "vdpa-map-internal.h"

struct VdpaMapPlug {
    VdpaMap *map;
    RamDiscardListener listener;
    MemoryRegion *mr;
    hwaddr start;           /* of the section, in the region */
    uint64_t block;         /* bytes */
    bool in_change;         /* of the memory map, which is committed later */
    QLIST_ENTRY(VdpaMapPlug) next;
};

static void each_block(VdpaMapPlug *plug, MemoryRegionSection *section, bool add)
{
    VdpaMap *map = plug->map;
    VdpaIovaMap all, range;
    uint64_t left;

    if (!vdpa_map_section_range(section, &all) ||
        (add && !vdpa_map_reachable(map, &all, section->mr))) {
        return;
    }
    range = all;
    for (left = all.size; left; left -= range.size) {
        range.size = MIN(left, plug->block);
        range.gpa = range.iova;
        if (add) {
            vdpa_map_queue_map(map, &range, section->mr);
        } else {
            vdpa_map_queue_unmap(map, &range);
        }
        range.iova += range.size;
        range.hva += range.size;
    }
    if (!plug->in_change) {
        vdpa_map_apply(map, all.iova, all.iova + (all.size - 1));
    }
}

static int populate(RamDiscardListener *listener, MemoryRegionSection *section)
{
    each_block(container_of(listener, VdpaMapPlug, listener), section, true);
    return 0;
}

static void discard(RamDiscardListener *listener, MemoryRegionSection *section)
{
    each_block(container_of(listener, VdpaMapPlug, listener), section, false);
}

void vdpa_map_plug_add(VdpaMap *map, MemoryRegionSection *section)
{
    RamDiscardManager *manager =
        memory_region_get_ram_discard_manager(section->mr);
    VdpaMapPlug *plug = g_new0(VdpaMapPlug, 1);

    plug->map = map;
    plug->mr = section->mr;
    plug->start = section->offset_within_region;
    plug->block = ram_discard_manager_get_min_granularity(manager, section->mr);
    ram_discard_listener_init(&plug->listener, populate, discard, true);
    QLIST_INSERT_HEAD(&map->plugs, plug, next);
    plug->in_change = true;
    ram_discard_manager_register_listener(manager, &plug->listener, section);
    plug->in_change = false;
}

void vdpa_map_plug_del(VdpaMap *map, MemoryRegionSection *section)
{
    VdpaMapPlug *plug;

    QLIST_FOREACH(plug, &map->plugs, next) {
        if (plug->mr == section->mr &&
            plug->start == section->offset_within_region) {
            plug->in_change = true;
            ram_discard_manager_unregister_listener(
                memory_region_get_ram_discard_manager(plug->mr),
                &plug->listener);
            QLIST_REMOVE(plug, next);
            g_free(plug);
            return;
        }
    }
}

bool vdpa_map_plugged(const MemoryRegionSection *section)
{
    return !memory_region_has_ram_discard_manager(section->mr) ||
           ram_discard_manager_is_populated(
               memory_region_get_ram_discard_manager(section->mr), section);
}
