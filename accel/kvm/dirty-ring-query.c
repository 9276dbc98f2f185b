/*
 * KVM dirty ring: query-kvm-dirty-ring and "info dirty_ring"
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Monitor commands hold the BQL, which keeps the vCPUs that rings are bound to from
 * going away.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-migration.h"
#include "qobject/qdict.h"
#include "hw/core/cpu.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "dirty-ring-state.h"

static KvmDirtyRingVcpu *query_vcpu(DirtyRing *ring)
{
    KvmDirtyRingVcpu *vcpu = g_new0(KvmDirtyRingVcpu, 1);
    CPUState *cpu = dirty_ring_owner(ring);

    vcpu->vcpu_id = ring->id;
    vcpu->has_cpu_index = cpu;
    vcpu->cpu_index = cpu ? cpu->cpu_index : 0;
    vcpu->harvested = dirty_ring_harvested(ring);
    vcpu->occupied = dirty_ring_occupied(ring, &vcpu->occupied_max);
    vcpu->full_exits = qatomic_read(&ring->full_exits);
    vcpu->overflowed = qatomic_read(&ring->overflowed);
    return vcpu;
}

/* Leaves out the empty buckets at the end. */
static void query_full_histogram(const DirtyRingStats *stats,
                                 KvmDirtyRingInfo *info)
{
    uint64List **tail = &info->full_histogram;
    int n = DIRTY_RING_FULL_BUCKETS;

    while (n && !stats->full_hist[n - 1]) {
        n--;
    }
    for (int i = 0; i < n; i++) {
        QAPI_LIST_APPEND(tail, stats->full_hist[i]);
    }
}

static KvmDirtyRingTime *query_phase(KVMDirtyRingPhase phase)
{
    const DirtyRingTime *from = &kvm_dirty_rings.phases[phase];
    KvmDirtyRingTime *time = g_new0(KvmDirtyRingTime, 1);

    time->count = qatomic_read(&from->count);
    time->total_ns = qatomic_read(&from->total_ns);
    time->max_ns = qatomic_read(&from->max_ns);
    return time;
}

static void query_counters(KvmDirtyRingInfo *info)
{
    DirtyRingStats stats;

    dirty_ring_stats(&kvm_dirty_rings.set, &stats);
    info->harvested = stats.harvested;
    info->released_full = stats.released_full;
    info->released_reaper = stats.released_reaper;
    info->released_sync = stats.released_sync;
    info->published = stats.published;
    info->republished = stats.republished;
    info->published_in_place = stats.published_in_place;
    info->suspects = stats.suspects;
    info->unknown = stats.unknown;
    info->resets = stats.resets;
    info->reset_entries = stats.reset_entries;
    info->reset_entries_max = stats.reset_entries_max;
    info->reset_ns = stats.reset_ns;
    info->reset_max_ns = stats.reset_max_ns;
    info->resets_skipped = stats.resets_skipped;
    info->resets_incomplete = stats.resets_incomplete;
    info->resets_failed = stats.resets_failed;
    info->full_exits = stats.full_exits;
    info->full_exits_empty = stats.full_exits_empty;
    info->full_ns = stats.full_ns;
    info->full_max_ns = stats.full_max_ns;
    query_full_histogram(&stats, info);
    info->overflows = stats.overflows;
    info->redirtied = qatomic_read(&kvm_dirty_rings.redirtied);
    info->syncs = qatomic_read(&kvm_dirty_rings.syncs);
    info->sync_kick = query_phase(KVM_DIRTY_RING_PHASE_KICK);
    info->sync_reap = query_phase(KVM_DIRTY_RING_PHASE_REAP);
    info->sync_wait = query_phase(KVM_DIRTY_RING_PHASE_WAIT);
    info->sync_bql = query_phase(KVM_DIRTY_RING_PHASE_BQL);
    info->reaper_wakeups = dirty_reaper_wakeups(&kvm_dirty_rings.reaper);
    info->reaper_interval_us =
        dirty_reaper_interval_ns(&kvm_dirty_rings.reaper) / SCALE_US;
}

KvmDirtyRingInfo *qmp___org_qemu_live_query_kvm_dirty_ring(Error **errp)
{
    KvmDirtyRingInfo *info;
    DirtyRing *ring;

    GLOBAL_STATE_CODE();
    if (!kvm_enabled() || !kvm_dirty_ring_enabled()) {
        error_setg(errp, "the accelerator has no dirty rings "
                   "(-accel kvm,dirty-ring=on)");
        return NULL;
    }
    info = g_new0(KvmDirtyRingInfo, 1);
    info->size = kvm_dirty_rings.set.size;
    info->usable = kvm_dirty_rings.set.usable;
    info->backup_bitmap = kvm_state->kvm_dirty_ring_with_bitmap;
    info->broken = dirty_ring_broken(&kvm_dirty_rings.set);
    query_counters(info);
    ring = dirty_ring_first(&kvm_dirty_rings.set);
    for (; ring; ring = dirty_ring_next(ring)) {
        QAPI_LIST_PREPEND(info->vcpus, query_vcpu(ring));
    }
    return info;
}

static void print_phase(Monitor *mon, const char *name,
                        const KvmDirtyRingTime *time)
{
    monitor_printf(mon, "sync %s: %" PRIu64 " us in all, %" PRIu64
                   " us at most\n", name, time->total_ns / SCALE_US,
                   time->max_ns / SCALE_US);
}

static void print_vcpu(Monitor *mon, const KvmDirtyRingVcpu *vcpu)
{
    monitor_printf(mon, "vcpu %" PRIu64 "%s: harvested %" PRIu64
                   ", occupied %" PRIu64 " (most %" PRIu64 "), full exits %"
                   PRIu64 "%s\n", vcpu->vcpu_id,
                   vcpu->has_cpu_index ? "" : " (unplugged)",
                   vcpu->harvested, vcpu->occupied, vcpu->occupied_max,
                   vcpu->full_exits,
                   vcpu->overflowed ? ", overflowed" : "");
}

static void hmp_info_dirty_ring(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;
    g_autoptr(KvmDirtyRingInfo) info =
        qmp___org_qemu_live_query_kvm_dirty_ring(&err);

    if (hmp_handle_error(mon, err)) {
        return;
    }
    monitor_printf(mon, "entries per ring: %" PRIu32 " (full at %" PRIu32
                   ")%s%s\n", info->size, info->usable,
                   info->backup_bitmap ? ", backup bitmap" : "",
                   info->broken ? ", broken: dirty pages were lost" : "");
    monitor_printf(mon, "pages: harvested %" PRIu64 ", published %" PRIu64
                   " (suspects again %" PRIu64 ", in place %" PRIu64
                   ", dirty already %" PRIu64 "), suspects %" PRIu64
                   ", unknown %" PRIu64 "\n",
                   info->harvested, info->published, info->republished,
                   info->published_in_place, info->redirtied,
                   info->suspects, info->unknown);
    monitor_printf(mon, "released: by full rings %" PRIu64 ", by the reaper %"
                   PRIu64 ", by syncs %" PRIu64 "\n", info->released_full,
                   info->released_reaper, info->released_sync);
    monitor_printf(mon, "resets: %" PRIu64 ", skipped %" PRIu64
                   ", incomplete %" PRIu64 ", failed %" PRIu64 "\n",
                   info->resets, info->resets_skipped,
                   info->resets_incomplete, info->resets_failed);
    monitor_printf(mon, "reset entries: %" PRIu64 " (most %" PRIu64 "), %"
                   PRIu64 " us in all, %" PRIu64 " us at most\n",
                   info->reset_entries, info->reset_entries_max,
                   info->reset_ns / SCALE_US, info->reset_max_ns / SCALE_US);
    monitor_printf(mon, "full exits: %" PRIu64 ", empty %" PRIu64
                   ", %" PRIu64 " us in all, %" PRIu64 " us at most, "
                   "overflows %" PRIu64 "\n",
                   info->full_exits, info->full_exits_empty,
                   info->full_ns / SCALE_US, info->full_max_ns / SCALE_US,
                   info->overflows);
    monitor_printf(mon, "syncs: %" PRIu64 "\n", info->syncs);
    print_phase(mon, "kick", info->sync_kick);
    print_phase(mon, "reap", info->sync_reap);
    print_phase(mon, "wait", info->sync_wait);
    print_phase(mon, "BQL", info->sync_bql);
    monitor_printf(mon, "reaper: %" PRIu64 " wake-ups, pause %" PRIu64
                   " us\n", info->reaper_wakeups, info->reaper_interval_us);
    for (KvmDirtyRingVcpuList *v = info->vcpus; v; v = v->next) {
        print_vcpu(mon, v->value);
    }
}

static void dirty_ring_register_hmp(void)
{
    monitor_register_hmp("dirty_ring", true, hmp_info_dirty_ring);
}

type_init(dirty_ring_register_hmp);
