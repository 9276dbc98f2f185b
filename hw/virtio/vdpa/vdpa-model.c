/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The control queue while a launch waits for memory.
 *
 * Theory of operation
 * -------------------
 * A launch waits while memory is being pinned, which may take seconds, or while a
 * postcopy migration still brings it, which may take minutes. The guest runs
 * meanwhile and believes that its device does. Its driver leaves frames in the
 * data queues, where they wait. But a driver spins until a control command is
 * answered (Linux: with a lock held that all of its network configuration
 * needs), and a guest that has just migrated is asked for a command by QEMU, to
 * acknowledge the announcement. So QEMU's model of the device answers:
 *
 *   guest's ring --> QEMU's model of virtio-net --> status --> guest
 *                              |
 *                              '-- the launch tells the device (replay)
 *
 * Nothing is mapped for the device, and no message to the kernel is waited for:
 * what the launch waits for would be waited for here, too.
 *
 * Hand-over: a command is taken, applied, answered and returned in one go under
 * the BQL, so between two commands the available index that QEMU takes next is
 * the used index. vdpa_model_end() stops there and makes that index the queue's
 * base. The control queue's own kind is attached at that base, after the model
 * has all that was answered, and the replay tells the device all that the model
 * has. A command is therefore applied once: by the model before the hand-over, or
 * by the device after it. It does not matter whose kick is lost: the kind looks
 * at the ring when it begins to run. A halt ends it in the same way, and the
 * base is what vhost and a migration are told.
 *
 * Guest memory during postcopy: the queue's ring and commands may be on pages
 * that have not arrived. An access faults, and the main thread sleeps with the
 * BQL until the page comes. That is what every device of QEMU does that is served
 * in the main loop, and it ends: the fault thread asks for the page and the
 * listen thread places it, and neither takes the BQL. If the connection breaks,
 * the main thread sleeps until migrate-recover, which is a command that may be
 * executed out of band for this reason. Before the listen phase no page can be
 * asked for, and a page that is read may be discarded later; then the guest does
 * not run, and virtio-net launches its device only when it does. So a launch that
 * waits may read memory.
 *
 * Limits: what the model accepts and the device refuses is a launch that fails.
 * A control queue that is passed through waits for the launch.
 */
#include "qemu/osdep.h"
#include "vdpa-internal.h"
#include "hw/virtio/trace.h"

static VdpaQueue *control_queue(VdpaDevice *d)
{
    VdpaQueue *q = d->control < 0 ? NULL : &d->queue[d->control];

    return q && q->ready ? q : NULL;
}

void vdpa_model_begin(VdpaDevice *d)
{
    const VdpaQueueKind *control = vdpa_device_control(d);
    const VdpaQueueKind *kind = control ? control->while_waiting : NULL;
    VdpaQueue *q = control_queue(d);
    VdpaQueueSetup setup;

    if (!kind || !q || q->kind) {
        return;
    }
    setup = q->guest;
    q->programmed = false;
    if (kind->attach(q, &setup, NULL)) {
        return;
    }
    q->kind = kind;
    trace_vdpa_model_begin(d, q->index, q->guest.base);
    kind->run(q);
}

void vdpa_model_end(VdpaDevice *d)
{
    const VdpaQueueKind *control = vdpa_device_control(d);
    VdpaQueue *q = control_queue(d);

    if (!control || !q || !q->kind || q->kind != control->while_waiting) {
        return;
    }
    q->kind->pause(q);
    q->stopped_at = q->kind->detach(q, q->guest.base);
    q->guest.base = q->stopped_at;
    q->kind = NULL;
    q->priv = NULL;
    trace_vdpa_model_end(d, q->index, q->guest.base);
}
