/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The queues of a vDPA device: what the device is told about a queue, and asked.
 *
 * Theory of operation: each queue has a kind (vdpa-device.h), which is attached
 * to it while the device serves the queue. Attaching a kind tells the device all
 * about the queue; detaching it stores where the queue goes on.
 *
 * Life cycle: attach -> enable -> run -> pause -> detach. Thread model: the BQL.
 *
 * Limits: this is internal to vdpa-device.c and vdpa-switch.c.
 */
#ifndef HW_VIRTIO_VDPA_QUEUE_H
#define HW_VIRTIO_VDPA_QUEUE_H

#include "vdpa-device.h"

/* The queue behind @q (NULL: the first) that the guest's driver has set up. */
VdpaQueue *vdpa_queue_next(VdpaDevice *d, VdpaQueue *q);

#define FOR_EACH_QUEUE(d, q)                                \
    for (VdpaQueue *q = vdpa_queue_next(d, NULL); q; q = vdpa_queue_next(d, q))

bool vdpa_queue_is_control(const VdpaQueue *q);

/*
 * Chooses the queue's kind and tells the device all about the queue. @sized: the
 * device knows the size, as it was not reset since. -errno with @errp.
 */
int vdpa_queue_attach(VdpaQueue *q, bool sized, Error **errp);

/*
 * Tells the device all of @s about a queue that has a kind. @sized: as above.
 * -errno with @errp.
 */
int vdpa_queue_program(VdpaQueue *q, const VdpaQueueSetup *s, bool sized,
                       Error **errp);

/*
 * Asks a suspended device where its queues are: sets each queue's position. True
 * if the device is suspended and has returned all that it took; otherwise it has
 * to be reset before a queue is detached.
 */
bool vdpa_queues_settled(VdpaDevice *d);

/* The device does not serve the queue any more. Sets stopped_at. */
void vdpa_queue_detach(VdpaQueue *q);
void vdpa_queues_detach(VdpaDevice *d);

int vdpa_queue_enable(VdpaQueue *q, bool on, Error **errp);

/* Enables the control queue, or all others. */
int vdpa_queues_enable(VdpaDevice *d, bool control, Error **errp);

/* Data queues, and with @control_too all. */
void vdpa_queues_run(VdpaDevice *d, bool control_too);
void vdpa_queues_pause(VdpaDevice *d, bool control_too);

#endif
