// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hook: "info migrate" shows the times of syncs, as query-migrate does (migration/syncs.h).
//
// Delete these rules with those of migration.c.cocci.

@header@
position p;
@@
  #include "migration.h"@p
+ #include "migration/syncs.h"

@print@
identifier info;
position p;
@@
  void hmp_info_migrate(...)
  {
  <...
+ migration_syncs_print(mon, info->__org_qemu_live_syncs);
  qapi_free_MigrationInfo@p(info);
  ...>
  }
