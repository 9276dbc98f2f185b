/*
 * KVM dirty ring: dirty log sync, start and stop
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * A sync of a running VM makes all vCPUs leave the guest, releases all rings, and
 * waits until other threads have published what they have released.  A reset of
 * full rings takes milliseconds, so the sync releases the BQL meanwhile; the rings
 * have locks of their own.  It keeps the BQL
 *
 *  - if it runs on a vCPU's thread, which emulates a device, or if nothing tracks
 *    all of memory: a display asks then, in the middle of its own work, and the
 *    rings hold the display's pages only;
 *  - if the RAM list's mutex is held.  A migration holds it when it starts to
 *    log, and a thread that adds memory waits for it with the BQL held.
 *
 * The vCPUs leave the guest because hardware may hold dirty pages back until then
 * (page modification logging).  The sync does not wait for them.  A page that it
 * misses for this reason is not lost: KVM reports it when the vCPU leaves the
 * guest, as a page written after the sync, and a later sync publishes it.
 *
 * A sync of a VM that does not run has no later sync to rely on.  It waits until
 * every vCPU has left the guest: the run state changes before the last one has.
 *
 * The last sync of a migration finds the VM stopped.  No page is written then, so
 * none need be protected, and a reset would only add to the downtime: the sync
 * publishes all entries and leaves them in the rings.  If the migration fails and
 * the VM runs on, the next sync publishes them again, or the end of logging
 * drains them.
 *
 * All functions are called with the BQL held.
 *
 * Under COLO each checkpoint stops the VM and asks for a last sync, and the VM runs
 * on.  These syncs release all entries: pages whose entries stayed in the rings
 * would be sent at each checkpoint.  COLO calls memory_refresh_or_sync() without
 * the BQL, which that takes.
 *
 * Limits: a sync is of all address spaces, since each ring holds the entries of
 * all of them.
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "exec/memory.h"
#include "exec/memory-refresh.h"
#include "exec/ram_addr.h"
#include "exec/ramlist.h"
#include "hw/core/cpu.h"
#include "migration/colo.h"
#include "migration/fail.h"
#include "migration/syncs.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "system/runstate.h"
#include "trace.h"
#include "dirty-ring.h"
#include "dirty-ring-state.h"

/* A wait for vCPUs to leave the guest. */
typedef struct KickAll {
    QemuCond done;
    int pending;        /* protected by the BQL */
} KickAll;

static void vcpu_kicked(CPUState *cpu, run_on_cpu_data data)
{
    KickAll *kick = data.host_ptr;

    if (--kick->pending == 0) {
        qemu_cond_signal(&kick->done);
    }
}

/*
 * Gets every vCPU out of the guest once: asks all, then waits for all.  A vCPU
 * that is stopped or not yet running has nothing to flush.  Releases the BQL
 * while it waits.
 */
static void kick_all_vcpus(void)
{
    KickAll kick = {};
    int64_t start;
    CPUState *cpu;

    qemu_cond_init(&kick.done);
    CPU_FOREACH(cpu) {
        if (cpu->created && !cpu->stopped && !qemu_cpu_is_self(cpu)) {
            kick.pending++;
            async_run_on_cpu(cpu, vcpu_kicked, RUN_ON_CPU_HOST_PTR(&kick));
        }
    }
    start = get_clock();
    while (kick.pending) {
        qemu_cond_wait_bql(&kick.done);
    }
    migration_syncs_without_bql(get_clock() - start);
    qemu_cond_destroy(&kick.done);
}

/* Asks every vCPU to leave the guest once, and does not wait for it. */
static void kick_all_vcpus_nowait(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        if (cpu->created && !cpu->stopped && !qemu_cpu_is_self(cpu)) {
            qemu_cpu_kick(cpu);
        }
    }
}

/* True if this thread may hold the RAM list's mutex. */
static bool ram_list_is_locked(void)
{
    if (qemu_mutex_trylock(&ram_list.mutex)) {
        return true;
    }
    qemu_mutex_unlock(&ram_list.mutex);
    return false;
}

/* Ends @phase of a sync, which began at @start (get_clock()); returns the time now. */
static int64_t phase_end(KVMDirtyRingPhase phase, int64_t start)
{
    static const char *const names[] = { "kick", "reap", "wait", "bql" };
    int64_t now = get_clock();

    QEMU_BUILD_BUG_ON(ARRAY_SIZE(names) != KVM_DIRTY_RING_PHASES);
    dirty_ring_time_add(&kvm_dirty_rings.phases[phase], now - start);
    trace_kvm_dirty_ring_sync_phase(names[phase], (now - start) / SCALE_US);
    return now;
}

static void sync_running(void)
{
    bool release_bql = global_dirty_tracking && !current_cpu &&
                       !ram_list_is_locked();
    DirtyRingStats before, after;
    int64_t at = get_clock();
    int64_t released, resets_ns;

    dirty_ring_stats(&kvm_dirty_rings.set, &before);
    kick_all_vcpus_nowait();
    released = at = phase_end(KVM_DIRTY_RING_PHASE_KICK, at);
    if (release_bql) {
        bql_unlock();
    }
    dirty_ring_reap_all(&kvm_dirty_rings.set);
    at = phase_end(KVM_DIRTY_RING_PHASE_REAP, at);
    dirty_ring_stats(&kvm_dirty_rings.set, &after);
    /* Other threads' resets count, too, as far as they fit. */
    resets_ns = MIN(after.reset_ns - before.reset_ns, at - released);
    dirty_ring_wait_published(&kvm_dirty_rings.set);
    at = phase_end(KVM_DIRTY_RING_PHASE_WAIT, at);
    if (release_bql) {
        bql_lock();
        at = phase_end(KVM_DIRTY_RING_PHASE_BQL, at);
        migration_syncs_without_bql(at - released);
    }
    migration_syncs_running_only(resets_ns);
}

/* @in_place: publish all entries and leave them in the rings. */
static void sync_stopped(bool in_place)
{
    int64_t at = get_clock();

    /* Holding the mutex means that logging starts: more syncs will follow. */
    if (ram_list_is_locked()) {
        kick_all_vcpus_nowait();
    } else {
        kick_all_vcpus();
    }
    at = phase_end(KVM_DIRTY_RING_PHASE_KICK, at);
    if (in_place) {
        dirty_ring_publish_all(&kvm_dirty_rings.set);
    } else {
        dirty_ring_reap_all(&kvm_dirty_rings.set);
    }
    at = phase_end(KVM_DIRTY_RING_PHASE_REAP, at);
    dirty_ring_wait_published(&kvm_dirty_rings.set);
    phase_end(KVM_DIRTY_RING_PHASE_WAIT, at);
}

void kvm_dirty_ring_sync_backup(KVMSlot *slot)
{
    if (slot->memory_size && slot->flags & KVM_MEM_LOG_DIRTY_PAGES &&
        kvm_dirty_ring_kernel_get_backup(slot)) {
        cpu_physical_memory_set_dirty_lebitmap(
            slot->dirty_bmap, slot->ram_start_offset,
            slot->memory_size / qemu_real_host_page_size());
        memset(slot->dirty_bmap, 0, slot->dirty_bmap_size);
    }
}

/* Needs stopped vCPUs; the BQL keeps the slots in place. */
static void sync_backup_bitmaps(KVMState *s)
{
    for (int as = 0; as < s->nr_as; as++) {
        KVMMemoryListener *kml = s->as[as].ml;

        for (int i = 0; kml && i < kml->nr_slots_allocated; i++) {
            kvm_dirty_ring_sync_backup(&kml->slots[i]);
        }
    }
}

/*
 * True if the backup bitmaps have to be read.  KVM writes guest memory outside of
 * vCPUs when device state is saved, which happens while the VM does not run.
 * Postcopy's sync with the source stopped does not set @last_stage.
 */
static bool backup_bitmaps_final(bool last_stage)
{
    return last_stage || !runstate_is_running();
}

/* Keeps a migration from completing without pages that KVM has lost. */
static void fail_migration(void)
{
    Error *err = NULL;

    error_setg(&err, "KVM dirty ring: the kernel has lost dirty pages");
    migration_fail_outgoing(err);
    error_free(err);
}

/*
 * Brings every page that the guest dirtied before the call into the RAM list's
 * bitmaps, if the VM does not run; otherwise, every page that KVM has reported.
 * Releases the BQL meanwhile, see the top of this file.
 */
static void kvm_dirty_ring_sync(MemoryListener *listener, bool last_stage)
{
    GLOBAL_STATE_CODE();
    trace_kvm_dirty_ring_flush(0);
    if (runstate_is_running() && !last_stage) {
        sync_running();
    } else {
        sync_stopped(last_stage && !runstate_is_running() &&
                     !migration_in_colo_state());
    }
    qatomic_inc(&kvm_dirty_rings.syncs);
    if (kvm_state->kvm_dirty_ring_with_bitmap &&
        backup_bitmaps_final(last_stage)) {
        sync_backup_bitmaps(kvm_state);
    }
    if (dirty_ring_broken(&kvm_dirty_rings.set)) {
        fail_migration();
    }
    trace_kvm_dirty_ring_flush(1);
}

/*
 * Refuses migrations only.  calc-dirty-rate and dirty-limit do not check that
 * logging began, and would end QEMU with an assertion when they stop it.
 */
static bool kvm_dirty_ring_log_start(MemoryListener *listener, Error **errp)
{
    GLOBAL_STATE_CODE();
    if (global_dirty_tracking & GLOBAL_DIRTY_MIGRATION &&
        dirty_ring_broken(&kvm_dirty_rings.set)) {
        error_setg(errp, "KVM dirty ring: the kernel has lost dirty pages "
                   "before; start the guest without a dirty ring to "
                   "migrate it");
        return false;
    }
    /* Entries that came after the reaper had drained the rings, or before it did. */
    dirty_ring_reap_all(&kvm_dirty_rings.set);
    dirty_reaper_set_active(&kvm_dirty_rings.reaper, true);
    return true;
}

/* The reaper drains the rings: what they hold is of no use to the next start. */
static void kvm_dirty_ring_log_stop(MemoryListener *listener)
{
    GLOBAL_STATE_CODE();
    dirty_reaper_set_active(&kvm_dirty_rings.reaper, false);
}

bool kvm_dirty_ring_register(KVMMemoryListener *kml)
{
    GLOBAL_STATE_CODE();
    if (!kvm_dirty_ring_enabled()) {
        return false;
    }
    if (kml->as_id == 0) {
        kml->listener.log_sync_global = kvm_dirty_ring_sync;
        kml->listener.log_global_start = kvm_dirty_ring_log_start;
        kml->listener.log_global_stop = kvm_dirty_ring_log_stop;
        memory_refresh_register(&kml->listener, kvm_dirty_ring_refresh);
    }
    return true;
}
