/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A queue's notification page of the device, given to the guest.
 *
 * Theory of operation: a device may offer, for each queue, one page that its
 * driver writes to instead of telling the kernel. It lies at that page number
 * of the device's file. Put over the guest's own notification register it
 * spares an exit for each kick. Most devices offer none, and then nothing is
 * lost: the register's eventfd stays in force.
 *
 * Thread model: the BQL.
 *
 * Limits: transports whose notification registers have a page each
 * (virtio-pci's page-per-vq=on).
 */
#ifndef HW_VIRTIO_VDPA_DOORBELL_H
#define HW_VIRTIO_VDPA_DOORBELL_H

#include "hw/virtio/virtio.h"

typedef struct VdpaDoorbell VdpaDoorbell;

/* NULL if the device, or the transport, has none. */
VdpaDoorbell *vdpa_doorbell_new(VirtIODevice *vdev, int fd, unsigned index);
void vdpa_doorbell_free(VdpaDoorbell *bell);

#endif
