// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hook: devices that keep guest memory pinned let it go before postcopy discards it (postcopy-discard.h).
//
// Delete these rules when the base has a notification for the first discard.

@header@
position p;
@@
  #include "postcopy-ram.h"@p
+ #include "migration/postcopy-discard.h"

@first@
position p;
@@
  postcopy_ram_prepare_discard(...)
  {
+     postcopy_discard_begins();
      if (foreach_not_ignored_block@p(...)) {
          ...
      }
      ...
  }
