/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The status of a vDPA device, and the steps between its states.
 *
 * Theory of operation
 * -------------------
 * States are named after the status bits of VIRTIO (2.1, "Device Status Field").
 *
 *          acknowledge,     set            start           suspend
 *          DRIVER           features
 *    RESET --------> DRIVER -----> FEATURES_OK ----> DRIVER_OK <------> SUSPENDED
 *      ^               |               |                |      resume      |
 *      |     reset     |               |                |                  |
 *      '---------------+---------------+----------------+------------------'
 *      |
 *      '-- NEEDS_RESET: a step failed and left the device in an unknown state;
 *          reset is the only way out
 *    REMOVED: the device was unplugged from the host; no way out
 *
 * The caller asks for an event, vdpa_status_event(). A table says in which states
 * the event is legal, what to do to the device, and which state follows. Every
 * status bit is read back after it was set: a device that does not take
 * FEATURES_OK has refused the features; one that sets FAILED or NEEDS_RESET has
 * failed.
 *
 * A step that fails before it has changed anything (the device refuses to
 * suspend) leaves the state as it was.
 *
 * Thread model: the caller's lock (QEMU: the BQL).
 *
 * Limits: one user per device; only this file and the device change its status.
 */
#ifndef HW_VIRTIO_VDPA_STATUS_H
#define HW_VIRTIO_VDPA_STATUS_H

#include "vdpa-fd.h"

typedef enum VdpaState {
    VDPA_STATE_RESET,
    VDPA_STATE_DRIVER,
    VDPA_STATE_FEATURES_OK,
    VDPA_STATE_DRIVER_OK,
    VDPA_STATE_SUSPENDED,
    VDPA_STATE_NEEDS_RESET,
    VDPA_STATE_REMOVED,
    VDPA_STATE__MAX,
} VdpaState;

typedef enum VdpaEvent {
    VDPA_EVENT_ACK_DRIVER,      /* status: ACKNOWLEDGE, DRIVER */
    VDPA_EVENT_SET_FEATURES,    /* set @features, status: FEATURES_OK */
    VDPA_EVENT_START,       /* status: DRIVER_OK */
    VDPA_EVENT_SUSPEND,
    VDPA_EVENT_RESUME,
    VDPA_EVENT_RESET,       /* status: 0 */
    VDPA_EVENT__MAX,
} VdpaEvent;

typedef struct VdpaStatus {
    VdpaFd *fd;
    VdpaState state;
    uint64_t features;      /* of VDPA_EVENT_SET_FEATURES */
    uint64_t resets;        /* how often VDPA_EVENT_RESET was done */
} VdpaStatus;

void vdpa_status_init(VdpaStatus *status, VdpaFd *fd);

/*
 * Does @event. 0, -EPERM if the state does not allow it, -ENOTSUP if the
 * device cannot, -EPROTO if it did not take a status bit, or what the kernel
 * said.
 */
int vdpa_status_event(VdpaStatus *status, VdpaEvent event);

/* Whether the state allows it. */
bool vdpa_status_may(const VdpaStatus *status, VdpaEvent event);

const char *vdpa_state_name(VdpaState state);
const char *vdpa_event_name(VdpaEvent event);

#endif
