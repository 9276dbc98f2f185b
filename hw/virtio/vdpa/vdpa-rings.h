/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The memory of a shadow queue's rings, mapped for the device.
 *
 * Theory of operation: a device that is told of maps as a whole tree
 * (set_map) takes the longer for a ring of two pages the more memory the guest
 * has. So rings are mapped while the device serves the guest's own, by the
 * worker, with nobody waiting, and stay mapped over all switches; a switch
 * finds them there.
 *
 * A guest that drives the device directly can have it read and write rings
 * that are mapped and not in use. They hold nothing but addresses that are the
 * guest's own, and are zeroed, with the device suspended, before they are used.
 *
 * Life cycle: new -> (await -> in use)* -> free
 *
 * Thread model: the BQL.
 *
 * Limits: a device whose reset forgets its maps, and one behind a vIOMMU,
 * whose addresses are the guest's to give, have rings only while they are in
 * use (vdpa-device.c).
 */
#ifndef HW_VIRTIO_VDPA_RINGS_H
#define HW_VIRTIO_VDPA_RINGS_H

#include "vdpa-device.h"
#include "vdpa-map.h"
#include "hw/virtio/vdpa/core/vdpa-ring-device.h"

typedef struct VdpaRings {
    VdpaMap *map;
    unsigned num;
    VdpaHostBuf piece[2];            /* VDPA_RINGS_* */
    VdpaHostBufs owned;
} VdpaRings;

enum { VDPA_RINGS_DRIVER, VDPA_RINGS_DEVICE };

/* For a ring of @num descriptors. Begins to map; NULL with @errp. */
VdpaRings *vdpa_rings_new(VdpaMap *map, unsigned num, Error **errp);

/* They are mapped: 0, or -errno with @errp. */
int vdpa_rings_await(VdpaRings *rings, Error **errp);

/* NULL is fine. */
void vdpa_rings_free(VdpaRings *rings);

VdpaRingMemory vdpa_rings_memory(const VdpaRings *rings);

/* Where the device finds the rings; base 0, no eventfds. */
VdpaQueueSetup vdpa_rings_setup(const VdpaRings *rings);

/*
 * Makes them a ring in which all chains before index @idx are returned, and none
 * is available. The device is suspended.
 */
void vdpa_rings_park(VdpaRings *rings, uint16_t idx);

/* The used index that the device has written last. */
uint16_t vdpa_rings_used(const VdpaRings *rings);

struct VdpaDevice;

/* Whether a device's rings stay mapped while they are not in use. */
bool vdpa_rings_kept(const struct VdpaDevice *d);

/* Those of all queues; none is attached. */
void vdpa_rings_drop(struct VdpaDevice *d);

/* Begins to map those of all data queues, if they are kept. */
void vdpa_rings_ahead(struct VdpaDevice *d);

#endif
