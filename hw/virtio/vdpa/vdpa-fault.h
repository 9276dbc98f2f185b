/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What goes wrong with a vDPA device. vdpa_device_fault() and
 * vdpa_device_report() are in vdpa-device.h.
 *
 * Life cycle: init -> destroy, with the VdpaDevice. Thread model: the BQL.
 */
#ifndef HW_VIRTIO_VDPA_FAULT_H
#define HW_VIRTIO_VDPA_FAULT_H

#include "vdpa-device.h"

void vdpa_fault_init(VdpaDevice *d);
void vdpa_fault_destroy(VdpaDevice *d);

#endif
