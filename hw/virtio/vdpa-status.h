/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The life of a vDPA device, as its user sees it.
 *
 * Theory of operation
 * -------------------
 *
 *            greet         agree          start          suspend
 *    RESET -------> KNOWN -------> AGREED ------> RUNNING <------> SUSPENDED
 *      ^              |              |               |    resume       |
 *      |    reset     |              |               |                 |
 *      '--------------+--------------+---------------+-----------------'
 *      |
 *      '-- BROKEN: a step failed in a way that leaves the device in an
 *          unknown state; only reset leads out
 *    GONE: unplugged; no way out
 *
 * An event is asked for by vdpa_life_event(). A table says whether it is legal
 * in the present state, what to do to the device, and which state follows.
 * Status bits are read back after they were set: a device that does not take
 * FEATURES_OK has refused the features, one that sets FAILED or NEEDS_RESET has
 * broken.
 *
 * What failed before it changed anything (a suspend that the device refuses)
 * leaves the state as it was.
 *
 * Thread model: the caller's lock (QEMU: the BQL).
 *
 * Limits: one user a device; nobody else changes its status, except the device.
 */
#ifndef HW_VIRTIO_VDPA_LIFE_H
#define HW_VIRTIO_VDPA_LIFE_H

#include "vdpa-fd.h"

typedef enum VdpaState {
    VDPA_STATE_RESET,
    VDPA_STATE_KNOWN,
    VDPA_STATE_AGREED,
    VDPA_STATE_RUNNING,
    VDPA_STATE_SUSPENDED,
    VDPA_STATE_BROKEN,
    VDPA_STATE_GONE,
    VDPA_STATE__MAX,
} VdpaState;

typedef enum VdpaEvent {
    VDPA_EVENT_GREET,       /* status: ACKNOWLEDGE, DRIVER */
    VDPA_EVENT_AGREE,       /* set @features, status: FEATURES_OK */
    VDPA_EVENT_START,       /* status: DRIVER_OK */
    VDPA_EVENT_SUSPEND,
    VDPA_EVENT_RESUME,
    VDPA_EVENT_RESET,       /* status: 0 */
    VDPA_EVENT__MAX,
} VdpaEvent;

typedef struct VdpaLife {
    VdpaFd *fd;
    VdpaState state;
    uint64_t features;      /* what AGREE asks for */
    uint64_t resets;        /* how often RESET was done */
} VdpaLife;

void vdpa_life_init(VdpaLife *life, VdpaFd *fd);

/*
 * Does @event. 0, -EPERM if the state does not allow it, -ENOTSUP if the
 * device cannot, -EPROTO if it did not take a status bit, or what the kernel
 * said.
 */
int vdpa_life_event(VdpaLife *life, VdpaEvent event);

/* Whether the state allows it. */
bool vdpa_life_may(const VdpaLife *life, VdpaEvent event);

const char *vdpa_state_name(VdpaState state);
const char *vdpa_event_name(VdpaEvent event);

#endif
