/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The life of a vDPA device. See vdpa-life.h, also for the limits.
 */
#include <errno.h>
#include <linux/virtio_config.h>

#include "vdpa-life.h"

#define GREETING    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define TROUBLE     (VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET)

/* How an event's failure leaves the device. */
typedef enum Damage {
    HARMLESS,           /* as it was */
    UNKNOWN,            /* only a reset helps */
} Damage;

typedef struct Step {
    const char *name;
    int (*act)(VdpaLife *life);
    Damage damage;
    VdpaState next;
    unsigned from;      /* set of 1 << VdpaState */
} Step;

/* Sets @bits on top of what is set, and sees whether the device took them. */
static int status_add(VdpaLife *life, uint8_t bits)
{
    uint8_t status = 0, now = 0;
    int err = vdpa_fd_command(life->fd, VDPA_GET_STATUS, &status);

    status |= bits;
    err = err ? err : vdpa_fd_command(life->fd, VDPA_SET_STATUS, &status);
    err = err ? err : vdpa_fd_command(life->fd, VDPA_GET_STATUS, &now);
    if (err) {
        return err;
    }
    return (now & bits) == bits && !(now & TROUBLE) ? 0 : -EPROTO;
}

static int greet(VdpaLife *life)
{
    return status_add(life, GREETING);
}

static int agree(VdpaLife *life)
{
    int err = vdpa_fd_command(life->fd, VDPA_SET_FEATURES, &life->features);

    return err ? err : status_add(life, VIRTIO_CONFIG_S_FEATURES_OK);
}

static int start(VdpaLife *life)
{
    return status_add(life, VIRTIO_CONFIG_S_DRIVER_OK);
}

static int suspend(VdpaLife *life)
{
    return vdpa_fd_command(life->fd, VDPA_SUSPEND, NULL);
}

static int resume(VdpaLife *life)
{
    return vdpa_fd_command(life->fd, VDPA_RESUME, NULL);
}

static int reset(VdpaLife *life)
{
    uint8_t status = 0;

    life->resets++;
    return vdpa_fd_command(life->fd, VDPA_SET_STATUS, &status);
}

#define IN(state)   (1u << VDPA_STATE_##state)

static const Step steps[VDPA_EVENT__MAX] = {
    [VDPA_EVENT_GREET] = { "greet", greet, UNKNOWN, VDPA_STATE_KNOWN,
        IN(RESET) },
    [VDPA_EVENT_AGREE] = { "agree", agree, UNKNOWN, VDPA_STATE_AGREED,
        IN(KNOWN) },
    [VDPA_EVENT_START] = { "start", start, UNKNOWN, VDPA_STATE_RUNNING,
        IN(AGREED) },
    [VDPA_EVENT_SUSPEND] = { "suspend", suspend, HARMLESS,
        VDPA_STATE_SUSPENDED, IN(RUNNING) },
    [VDPA_EVENT_RESUME] = { "resume", resume, UNKNOWN, VDPA_STATE_RUNNING,
        IN(SUSPENDED) },
    [VDPA_EVENT_RESET] = { "reset", reset, UNKNOWN, VDPA_STATE_RESET,
        IN(RESET) | IN(KNOWN) | IN(AGREED) | IN(RUNNING) | IN(SUSPENDED) |
        IN(BROKEN) },
};

static const char *const state_names[VDPA_STATE__MAX] = {
    [VDPA_STATE_RESET] = "reset",
    [VDPA_STATE_KNOWN] = "known",
    [VDPA_STATE_AGREED] = "agreed",
    [VDPA_STATE_RUNNING] = "running",
    [VDPA_STATE_SUSPENDED] = "suspended",
    [VDPA_STATE_BROKEN] = "broken",
    [VDPA_STATE_GONE] = "gone",
};

void vdpa_life_init(VdpaLife *life, VdpaFd *fd)
{
    *life = (VdpaLife) { .fd = fd, .state = VDPA_STATE_RESET };
}

bool vdpa_life_may(const VdpaLife *life, VdpaEvent event)
{
    return steps[event].from >> life->state & 1;
}

int vdpa_life_event(VdpaLife *life, VdpaEvent event)
{
    const Step *step = &steps[event];
    int err;

    if (life->state == VDPA_STATE_GONE) {
        return -ENODEV;
    }
    if (!vdpa_life_may(life, event)) {
        return -EPERM;
    }
    err = step->act(life);
    if (!err) {
        life->state = step->next;
    } else if (life->fd->gone) {
        life->state = VDPA_STATE_GONE;
    } else if (step->damage == UNKNOWN) {
        life->state = VDPA_STATE_BROKEN;
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
