// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hook: the time of syncs is shown, and is no time spent sending (migration/syncs.h).
//
// reset: each migration's times begin with it.
// query: query-migrate shows them.
// pending, window, bandwidth: the bandwidth is that of the time outside of syncs.
// threshold, expected: the last sync is a part of the downtime.
//
// Test: tests/unit/test-switchover-estimate.c; tests/avocado/layouts.py.
// Delete these rules when the base tells syncs from sending.

@header@
position p;
@@
  #include "migration.h"@p
+ #include "migration/syncs.h"

@reset@
position p;
@@
  memset@p(&mig_stats, 0, sizeof(mig_stats));
+ migration_syncs_reset();

@query@
identifier info;
position p;
@@
  info->ram = g_malloc0@p(sizeof(*info->ram));
+ info->__org_qemu_live_syncs = migration_syncs_query();

@pending@
expression must, can;
position p;
@@
- qemu_savevm_state_pending_exact@p(must, can)
+ migration_syncs_pending_exact(must, can)

@window@
expression s;
position p;
@@
  s->iteration_initial_bytes = migration_transferred_bytes@p();
+ migration_syncs_window();

@bandwidth@
expression bytes, spent;
identifier result;
position p;
@@
- result = (double)bytes / spent@p;
+ result = migration_syncs_bandwidth(bytes, spent);

@threshold@
expression rate, s;
position p;
@@
- s->threshold_size = rate * migrate_downtime_limit@p();
+ s->threshold_size = migration_syncs_threshold(rate, switchover_bw ? rate : (double)transferred / time_spent);

@expected@
expression s, rate;
position p;
@@
  s->expected_downtime = stat64_get@p(&mig_stats.dirty_bytes_last_sync) / rate
+ + migration_syncs_expected_ms()
  ;
