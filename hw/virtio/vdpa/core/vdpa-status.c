/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The status of a vDPA device. See vdpa-status.h, also for the limits.
 */
#include <errno.h>
#include <linux/virtio_config.h>

#include "vdpa-status.h"

#define ACK_DRIVER_BITS (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define FAILURE_BITS    (VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET)

/* How an event's failure leaves the device. */
typedef enum Damage {
    HARMLESS,           /* as it was */
    UNKNOWN,            /* only a reset helps */
} Damage;

typedef struct Step {
    const char *name;
    int (*act)(VdpaStatus *status);
    Damage damage;
    VdpaState next;
    unsigned from;      /* set of 1 << VdpaState */
} Step;

/* Sets @bits on top of what is set, and sees whether the device took them. */
static int status_add(VdpaStatus *status, uint8_t bits)
{
    uint8_t old = 0, now = 0;
    int err = vdpa_fd_command(status->fd, VDPA_GET_STATUS, &old);

    old |= bits;
    err = err ? err : vdpa_fd_command(status->fd, VDPA_SET_STATUS, &old);
    err = err ? err : vdpa_fd_command(status->fd, VDPA_GET_STATUS, &now);
    if (err) {
        return err;
    }
    return (now & bits) == bits && !(now & FAILURE_BITS) ? 0 : -EPROTO;
}

static int ack_driver(VdpaStatus *status)
{
    return status_add(status, ACK_DRIVER_BITS);
}

static int set_features(VdpaStatus *status)
{
    int err = vdpa_fd_command(status->fd, VDPA_SET_FEATURES, &status->features);

    return err ? err : status_add(status, VIRTIO_CONFIG_S_FEATURES_OK);
}

static int start(VdpaStatus *status)
{
    return status_add(status, VIRTIO_CONFIG_S_DRIVER_OK);
}

static int suspend(VdpaStatus *status)
{
    return vdpa_fd_command(status->fd, VDPA_SUSPEND, NULL);
}

static int resume(VdpaStatus *status)
{
    return vdpa_fd_command(status->fd, VDPA_RESUME, NULL);
}

static int reset(VdpaStatus *status)
{
    uint8_t none = 0;

    status->resets++;
    return vdpa_fd_command(status->fd, VDPA_SET_STATUS, &none);
}

#define IN(state)   (1u << VDPA_STATE_##state)

static const Step steps[VDPA_EVENT__MAX] = {
    [VDPA_EVENT_ACK_DRIVER] = { "ack_driver", ack_driver, UNKNOWN, VDPA_STATE_DRIVER,
        IN(RESET) },
    [VDPA_EVENT_SET_FEATURES] = { "set_features", set_features, UNKNOWN,
        VDPA_STATE_FEATURES_OK, IN(DRIVER) },
    [VDPA_EVENT_START] = { "start", start, UNKNOWN, VDPA_STATE_DRIVER_OK,
        IN(FEATURES_OK) },
    [VDPA_EVENT_SUSPEND] = { "suspend", suspend, HARMLESS,
        VDPA_STATE_SUSPENDED, IN(DRIVER_OK) },
    [VDPA_EVENT_RESUME] = { "resume", resume, UNKNOWN, VDPA_STATE_DRIVER_OK,
        IN(SUSPENDED) },
    [VDPA_EVENT_RESET] = { "reset", reset, UNKNOWN, VDPA_STATE_RESET,
        IN(RESET) | IN(DRIVER) | IN(FEATURES_OK) | IN(DRIVER_OK) | IN(SUSPENDED) |
        IN(NEEDS_RESET) },
};

static const char *const state_names[VDPA_STATE__MAX] = {
    [VDPA_STATE_RESET] = "reset",
    [VDPA_STATE_DRIVER] = "driver",
    [VDPA_STATE_FEATURES_OK] = "features-ok",
    [VDPA_STATE_DRIVER_OK] = "driver-ok",
    [VDPA_STATE_SUSPENDED] = "suspended",
    [VDPA_STATE_NEEDS_RESET] = "needs-reset",
    [VDPA_STATE_REMOVED] = "removed",
};

void vdpa_status_init(VdpaStatus *status, VdpaFd *fd)
{
    *status = (VdpaStatus) { .fd = fd, .state = VDPA_STATE_RESET };
}

bool vdpa_status_may(const VdpaStatus *status, VdpaEvent event)
{
    return steps[event].from >> status->state & 1;
}

int vdpa_status_event(VdpaStatus *status, VdpaEvent event)
{
    const Step *step = &steps[event];
    int err;

    if (status->state == VDPA_STATE_REMOVED) {
        return -ENODEV;
    }
    if (!vdpa_status_may(status, event)) {
        return -EPERM;
    }
    err = step->act(status);
    if (!err) {
        status->state = step->next;
    } else if (status->fd->gone) {
        status->state = VDPA_STATE_REMOVED;
    } else if (step->damage == UNKNOWN) {
        status->state = VDPA_STATE_NEEDS_RESET;
    }
    return err;
}

const char *vdpa_state_name(VdpaState state)
{
    return state_names[state];
}

const char *vdpa_event_name(VdpaEvent event)
{
    return steps[event].name;
}
