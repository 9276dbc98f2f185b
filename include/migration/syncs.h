/*
 * Migration's dirty log syncs: how long they take, and what that means
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Times are of the outgoing migration that runs, or of the last one.  The theory of
 * operation is at the top of migration/syncs.c.
 */
#ifndef MIGRATION_SYNCS_H
#define MIGRATION_SYNCS_H

#include "qapi/qapi-types-migration.h"

/* Forgets all times: a migration begins.  Needs the BQL. */
void migration_syncs_reset(void);

/* A sync begins and ends.  Both need the BQL. */
void migration_syncs_begin(void);
void migration_syncs_end(void);

/*
 * The sync that runs did not hold the BQL for @ns.  Ignored outside of a sync.
 * Needs the BQL.
 */
void migration_syncs_without_bql(uint64_t ns);

/*
 * The sync that runs spent @ns on what the last sync, of a stopped VM, has no need to do.
 * Ignored outside of a sync.  Needs the BQL.
 */
void migration_syncs_running_only(uint64_t ns);

/* A window begins for migration_syncs_bandwidth().  The migration's thread calls it. */
void migration_syncs_window(void);

/* qemu_savevm_state_pending_exact(), whose time is not spent sending. */
void migration_syncs_pending_exact(uint64_t *must_precopy,
                                   uint64_t *can_postcopy);

/* Returns bytes per ms, for @bytes sent in a window of @elapsed_ms (above 0). */
double migration_syncs_bandwidth(uint64_t bytes, uint64_t elapsed_ms);

/* switchover_threshold() for the present downtime limit. */
uint64_t migration_syncs_threshold(double bandwidth, double plain_bandwidth);

/* Returns how long the last sync will take, in ms, as far as can be told. */
double migration_syncs_expected_ms(void);

/* Returns what query-migrate shows; the caller's to free.  Needs the BQL. */
MigrationSyncs *migration_syncs_query(void);

/* Prints @info, NULL for none, for "info migrate". */
void migration_syncs_print(Monitor *mon, const MigrationSyncs *info);

#endif
