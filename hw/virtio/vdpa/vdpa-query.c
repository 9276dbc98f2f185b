/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * query-vhost-vdpa and "info vhost-vdpa"
 *
 * Theory of operation: reads what the devices count, under the BQL, which
 * monitor commands hold; asks the kernel nothing, so it answers while memory is
 * being pinned.
 *
 * Limits: none.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-net.h"
#include "qapi/util.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "vdpa-internal.h"

static VhostVdpaQueue *query_queue(const VdpaQueue *q)
{
    VhostVdpaQueue *info = g_new0(VhostVdpaQueue, 1);

    info->index = q->index;
    info->kind = qapi_enum_parse(&VhostVdpaQueueKind_lookup, q->kind->name,
                                 VHOST_VDPA_QUEUE_KIND_PASSTHROUGH,
                                 &error_abort);
    if (q->kind == &vdpa_queue_shadow) {
        unsigned in_flight;
        VdpaShadowStats stats = vdpa_queue_shadow_stats(q, &in_flight);

        info->has_forwarded = info->has_completed = info->has_in_flight = true;
        info->forwarded = stats.forwarded;
        info->completed = stats.completed;
        info->in_flight = in_flight;
    }
    return info;
}

static void query_map(VhostVdpaInfo *info, const VdpaMap *map)
{
    VdpaMapStats stats = vdpa_map_stats(map);

    info->ranges = stats.ranges;
    info->mapped = stats.bytes;
    info->unreachable_ranges = stats.skipped;
    info->maps = stats.maps;
    info->unmaps = stats.unmaps;
    info->host_buf_maps = stats.host_buf_maps;
}

static void query_counters(VhostVdpaInfo *info, const VdpaDevice *d)
{
    info->launches = d->stats.launches;
    info->resets = d->status.resets;
    info->switches = d->stats.switches;
    info->switches_failed = d->stats.switches_failed;
    info->last_switch_us = d->stats.switch_ns / SCALE_US;
    info->longest_switch_us = d->stats.switch_worst_ns / SCALE_US;
    info->switch_messages = d->stats.switch_messages;
    info->switch_resets = d->stats.switch_resets;
}

static uint64_t step_us(const VdpaDevice *d, VdpaStep step)
{
    return d->stats.step_ns[step] / SCALE_US;
}

static void query_steps(VhostVdpaInfo *info, const VdpaDevice *d)
{
    if (d->stats.launches) {
        info->last_launch = g_new(VhostVdpaLaunch, 1);
        *info->last_launch = (VhostVdpaLaunch) {
            .features = step_us(d, VDPA_STEP_FEATURES),
            .queues = step_us(d, VDPA_STEP_QUEUES),
            .start = step_us(d, VDPA_STEP_START),
            .control = step_us(d, VDPA_STEP_CONTROL),
            .enable = step_us(d, VDPA_STEP_ENABLE),
        };
    }
    if (d->stats.halted) {
        info->last_halt = g_new(VhostVdpaHalt, 1);
        *info->last_halt = (VhostVdpaHalt) {
            .suspend = step_us(d, VDPA_STEP_SUSPEND),
            .positions = step_us(d, VDPA_STEP_POSITIONS),
            .detach = step_us(d, VDPA_STEP_DETACH),
        };
    }
}

static const VhostVdpaState states[VDPA_STATE__MAX] = {
    [VDPA_STATE_RESET] = VHOST_VDPA_STATE_RESET,
    [VDPA_STATE_DRIVER] = VHOST_VDPA_STATE_DRIVER,
    [VDPA_STATE_FEATURES_OK] = VHOST_VDPA_STATE_FEATURES_OK,
    [VDPA_STATE_DRIVER_OK] = VHOST_VDPA_STATE_DRIVER_OK,
    [VDPA_STATE_SUSPENDED] = VHOST_VDPA_STATE_SUSPENDED,
    [VDPA_STATE_NEEDS_RESET] = VHOST_VDPA_STATE_NEEDS_RESET,
    [VDPA_STATE_REMOVED] = VHOST_VDPA_STATE_REMOVED,
};

static VhostVdpaInfo *query_device(const VdpaDevice *d)
{
    VhostVdpaInfo *info = g_new0(VhostVdpaInfo, 1);
    VhostVdpaQueueList **tail = &info->queues;

    info->path = g_strdup(d->path);
    info->state = states[d->status.state];
    info->waiting = d->phase == VDPA_WAITING;
    info->mode = vdpa_device_shadows(d) ? VHOST_VDPA_MODE_SHADOW
                                        : VHOST_VDPA_MODE_PASSTHROUGH;
    info->reason = g_strdup(d->shared_asid ? "control queue in the data queues' group"
                                     : d->reason);
    info->control_isolated = vdpa_device_control(d) && d->control_asid &&
                             !d->shared_asid;
    info->backend_features = d->fd.backend;
    info->last_error = g_strdup(d->last_error);
    query_map(info, d->map);
    query_counters(info, d);
    query_steps(info, d);
    for (unsigned i = 0; i < d->nqueues; i++) {
        if (d->queue[i].kind) {
            QAPI_LIST_APPEND(tail, query_queue(&d->queue[i]));
        }
    }
    return info;
}

VhostVdpaInfoList *qmp___org_qemu_live_query_vhost_vdpa(Error **errp)
{
    VhostVdpaInfoList *list = NULL, **tail = &list;

    for (VdpaDevice *d = vdpa_device_first(); d; d = QTAILQ_NEXT(d, next)) {
        QAPI_LIST_APPEND(tail, query_device(d));
    }
    return list;
}

static void print_queue(Monitor *mon, const VhostVdpaQueue *q)
{
    monitor_printf(mon, "  queue %u: %s", q->index,
                   VhostVdpaQueueKind_str(q->kind));
    if (q->has_forwarded) {
        monitor_printf(mon, ", forwarded %" PRIu64 ", completed %" PRIu64
                       ", in flight %u", q->forwarded, q->completed,
                       q->in_flight);
    }
    monitor_printf(mon, "\n");
}

static void print_steps(Monitor *mon, const VhostVdpaInfo *info)
{
    const VhostVdpaLaunch *launch = info->last_launch;
    const VhostVdpaHalt *halt = info->last_halt;

    if (launch) {
        monitor_printf(mon, "  last launch, us: features %" PRIu64 ", queues %"
                       PRIu64 ", start %" PRIu64 ", control %" PRIu64
                       ", enable %" PRIu64 "\n", launch->features,
                       launch->queues, launch->start, launch->control,
                       launch->enable);
    }
    if (halt) {
        monitor_printf(mon, "  last halt, us: suspend %" PRIu64 ", positions %"
                       PRIu64 ", detach %" PRIu64 "\n", halt->suspend,
                       halt->positions, halt->detach);
    }
}

static void print_device(Monitor *mon, const VhostVdpaInfo *info)
{
    monitor_printf(mon, "%s: %s%s, %s (%s)\n", info->path ?: "(descriptor)",
                   VhostVdpaState_str(info->state),
                   info->waiting ? ", waiting for memory" : "",
                   VhostVdpaMode_str(info->mode), info->reason);
    if (info->last_error) {
        monitor_printf(mon, "  last error: %s\n", info->last_error);
    }
    monitor_printf(mon, "  memory: %" PRIu64 " MiB in %" PRIu64 " ranges; "
                   "messages: %" PRIu64 " map, %" PRIu64 " unmap\n",
                   info->mapped / MiB, info->ranges, info->maps, info->unmaps);
    monitor_printf(mon, "  launches %" PRIu64 ", resets %" PRIu64 ", switches %"
                   PRIu64 " (%" PRIu64 " failed), last %" PRIu64
                   " us, longest %" PRIu64 " us\n",
                   info->launches, info->resets, info->switches,
                   info->switches_failed, info->last_switch_us,
                   info->longest_switch_us);
    print_steps(mon, info);
    for (VhostVdpaQueueList *q = info->queues; q; q = q->next) {
        print_queue(mon, q->value);
    }
}

static void hmp_info_vhost_vdpa(Monitor *mon, const QDict *qdict)
{
    g_autoptr(VhostVdpaInfoList) list =
        qmp___org_qemu_live_query_vhost_vdpa(NULL);

    for (VhostVdpaInfoList *i = list; i; i = i->next) {
        print_device(mon, i->value);
    }
}

static void vdpa_query_register(void)
{
    monitor_register_hmp("vhost-vdpa", true, hmp_info_vhost_vdpa);
}

type_init(vdpa_query_register);
