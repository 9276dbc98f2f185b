/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Changing a device's mode (vdpa_device_switch()), and what it costs: time,
 * resets, and messages about guest memory, in the device's statistics.
 *
 * Theory of operation: a switch begins, and ends when the device runs again.
 * That may be later, when memory had to be mapped anew for it; until then the
 * switch is pending. begins() -> ends(), fails() or forgotten(), which do
 * nothing if no switch is pending, so that whatever sets a device going, or
 * halts it, may call them. A switch that is forgotten, as the guest stopped the
 * device amid it, is not counted.
 *
 * Thread model: the BQL.
 *
 * Limits: messages are counted as they are done, so of those that are still
 * queued when the device runs again nothing is seen.
 */
#ifndef HW_VIRTIO_VDPA_SWITCH_H
#define HW_VIRTIO_VDPA_SWITCH_H

#include "vdpa-device.h"

void vdpa_switch_begins(VdpaDevice *d);
void vdpa_switch_ends(VdpaDevice *d);
void vdpa_switch_fails(VdpaDevice *d);
void vdpa_switch_forgotten(VdpaDevice *d);

#endif
