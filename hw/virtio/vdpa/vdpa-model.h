/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The control queue of a vDPA device whose launch waits for memory, served by
 * QEMU's model of the device.
 *
 * Life cycle: begin when a launch starts to wait; end before the launch attaches
 * the device's queues, and when it is given up. Each may be called again.
 *
 * Thread model: the BQL.
 */
#ifndef HW_VIRTIO_VDPA_MODEL_H
#define HW_VIRTIO_VDPA_MODEL_H

#include "vdpa-device.h"

/*
 * Let the control queue's kind serve it without the device (@while_waiting). Do
 * nothing if there is no such queue or kind, or if the guest's ring cannot be
 * served: the launch checks the ring, too, and reports it.
 */
void vdpa_model_begin(VdpaDevice *d);

/* Stop that. The control queue continues at guest.base. */
void vdpa_model_end(VdpaDevice *d);

#endif
