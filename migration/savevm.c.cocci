// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hook: devices pin guest memory again when an offer of postcopy has discarded it (postcopy-discard.h).
//
// Delete this rule when the base has a notification after that discard.

@header@
position p;
@@
  #include "postcopy-ram.h"@p
+ #include "migration/postcopy-discard.h"

@advised@
symbol local_err;
position p;
@@
  if (ram_postcopy_incoming_init@p(...)) {
      ...
  }
+ if (postcopy_discarded(&local_err)) {
+     error_report_err(local_err);
+     return -1;
+ }
