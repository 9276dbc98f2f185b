/*
 * Migration's dirty log syncs: how long they take, and what that means
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Two things are timed:
 *
 *  - each sync of migration's bitmap, for query-migrate: how long it took, and for how
 *    long of that it held the BQL, which stops the monitor and device emulation.  A
 *    sync of the dirty ring releases the BQL and says for how long.  It also says how
 *    much of its time the last sync will not need, which resets no ring;
 *  - each of the migration thread's looks at what remains, for the bandwidth: the
 *    sync in it, the wait for the BQL, and what other devices do then.  Syncs on other
 *    threads (auto-converge has one each 5 s) run beside the sending.
 *
 * switchover-estimate.c says what follows from them for the switchover.
 *
 * Syncs hold the BQL when they begin and end, and it protects their times.
 *
 * Limits: COLO's checkpoints sync without the BQL; their times may be mixed up with
 * those of a sync on another thread.
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "migration/core/switchover-estimate.h"
#include "migration/syncs.h"
#include "monitor/monitor.h"
#include "options.h"
#include "savevm.h"

typedef struct SyncTime {
    uint64_t total_ns;
    uint64_t last_ns;
    uint64_t max_ns;
} SyncTime;

static struct {
    uint64_t count;
    SyncTime time;
    SyncTime bql;               /* with the BQL held */

    /* the sync that runs */
    bool running;
    int64_t start;              /* get_clock() */
    uint64_t without_bql_ns;
    uint64_t running_only_ns;

    uint64_t expected_ns;       /* of the last sync; read without the BQL */

    uint64_t apart_ns;          /* of the window; the migration thread's */
} syncs;

static void add_time(SyncTime *time, uint64_t ns)
{
    time->total_ns += ns;
    time->max_ns = MAX(time->max_ns, ns);
    time->last_ns = ns;
}

void migration_syncs_reset(void)
{
    syncs.count = 0;
    syncs.time = syncs.bql = (SyncTime) {};
    qatomic_set_u64(&syncs.expected_ns, 0);
}

void migration_syncs_begin(void)
{
    syncs.running = true;
    syncs.without_bql_ns = syncs.running_only_ns = 0;
    syncs.start = get_clock();
}

void migration_syncs_end(void)
{
    uint64_t ns = get_clock() - syncs.start;

    syncs.running = false;
    syncs.count++;
    add_time(&syncs.time, ns);
    add_time(&syncs.bql, ns - MIN(ns, syncs.without_bql_ns));
    qatomic_set_u64(&syncs.expected_ns, ns - MIN(ns, syncs.running_only_ns));
}

void migration_syncs_without_bql(uint64_t ns)
{
    if (syncs.running) {
        syncs.without_bql_ns += ns;
    }
}

void migration_syncs_running_only(uint64_t ns)
{
    if (syncs.running) {
        syncs.running_only_ns += ns;
    }
}

void migration_syncs_window(void)
{
    syncs.apart_ns = 0;
}

void migration_syncs_pending_exact(uint64_t *must_precopy,
                                   uint64_t *can_postcopy)
{
    int64_t start = get_clock();

    qemu_savevm_state_pending_exact(must_precopy, can_postcopy);
    syncs.apart_ns += get_clock() - start;
}

double migration_syncs_bandwidth(uint64_t bytes, uint64_t elapsed_ms)
{
    return switchover_bandwidth(bytes, elapsed_ms, syncs.apart_ns,
                                migrate_max_bandwidth());
}

uint64_t migration_syncs_threshold(double bandwidth, double plain_bandwidth)
{
    return switchover_threshold(bandwidth, plain_bandwidth,
                                migrate_downtime_limit(),
                                qatomic_read_u64(&syncs.expected_ns));
}

double migration_syncs_expected_ms(void)
{
    return (double)qatomic_read_u64(&syncs.expected_ns) / SCALE_MS;
}

static MigrationSyncTime *query_time(const SyncTime *time)
{
    MigrationSyncTime *info = g_new0(MigrationSyncTime, 1);

    info->total_ns = time->total_ns;
    info->last_ns = time->last_ns;
    info->max_ns = time->max_ns;
    return info;
}

MigrationSyncs *migration_syncs_query(void)
{
    MigrationSyncs *info = g_new0(MigrationSyncs, 1);

    info->count = syncs.count;
    info->time = query_time(&syncs.time);
    info->bql = query_time(&syncs.bql);
    return info;
}

static void print_time(Monitor *mon, const char *name,
                       const MigrationSyncTime *time)
{
    monitor_printf(mon, "%s: %" PRIu64 " us in all, %" PRIu64 " us last, %"
                   PRIu64 " us at most\n", name, time->total_ns / SCALE_US,
                   time->last_ns / SCALE_US, time->max_ns / SCALE_US);
}

void migration_syncs_print(Monitor *mon, const MigrationSyncs *info)
{
    if (info) {
        print_time(mon, "dirty syncs", info->time);
        print_time(mon, "dirty syncs under the BQL", info->bql);
    }
}
