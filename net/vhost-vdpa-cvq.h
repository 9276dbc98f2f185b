/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The control queue of a vhost-vdpa network device, with QEMU in between.
 *
 * Theory of operation
 * -------------------
 *   guest's ring --pop--> copy --QEMU's ring--> device --status--> guest
 *                                                  |
 *                                             if it was OK
 *                                                  v
 *                                       QEMU's model of virtio-net
 *
 * A command goes to the device first, in QEMU's memory, which the guest cannot
 * reach when the queue has an address space of its own; what the device took
 * is applied to the model, which keeps it. Therefore the model says at any
 * time what the device was told, and can tell it to another one. Commands are
 * done one at a time, each to its end.
 *
 * While a launch waits for memory the model alone serves the guest's ring; what it
 * took the launch tells the device (vdpa_cvq_restore()).
 *
 * Thread model: the BQL. A device gets TIMEOUT to answer, with the BQL held.
 *
 * Limits: commands of at most 64 KiB.
 */
#ifndef NET_VHOST_VDPA_CVQ_H
#define NET_VHOST_VDPA_CVQ_H

#include "hw/virtio/vdpa/vdpa-device.h"

extern const VdpaQueueKind vdpa_queue_control;

/* Send the device the state of QEMU's model. 0, or -errno with @errp. */
int vdpa_cvq_restore(VdpaDevice *d, Error **errp);

#endif
