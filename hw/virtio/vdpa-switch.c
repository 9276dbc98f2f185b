/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What changing a device's mode costs. See vdpa-switch.h, also for the limits.
 */
#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "vdpa-switch.h"
#include "trace.h"

static uint64_t messages(const VdpaDevice *d)
{
    VdpaMapStats now = vdpa_map_stats(d->map);

    return now.maps + now.unmaps;
}

void vdpa_switch_begins(VdpaDevice *d)
{
    d->switching = (VdpaSwitch) {
        .pending = true,
        .start = qemu_clock_get_ns(QEMU_CLOCK_REALTIME),
        .messages = messages(d),
        .resets = d->life.resets,
    };
}

void vdpa_switch_ends(VdpaDevice *d)
{
    const VdpaSwitch *s = &d->switching;
    uint64_t spent = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - s->start;

    if (!s->pending) {
        return;
    }
    d->switching.pending = false;
    d->stats.switches++;
    d->stats.switch_ns = spent;
    d->stats.switch_worst_ns = MAX(d->stats.switch_worst_ns, spent);
    d->stats.switch_messages += messages(d) - s->messages;
    d->stats.switch_resets += d->life.resets - s->resets;
    trace_vdpa_switched(d, d->mode, spent);
}

void vdpa_switch_fails(VdpaDevice *d)
{
    if (d->switching.pending) {
        d->switching.pending = false;
        d->stats.switches_failed++;
    }
}

void vdpa_switch_forgotten(VdpaDevice *d)
{
    d->switching.pending = false;
}
