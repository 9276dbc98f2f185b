// SPDX-License-Identifier: GPL-2.0-or-later
//
// A display's refresh syncs one memory region.  The base calls log_sync_global for it, which syncs all of
// memory: with the dirty ring, 30 times a second, every page of a migrating guest is write-protected again.
//
// header, sync: a listener may answer for the region alone (memory-refresh.h).
//
// Test: tests/lab/scenarios/display.py, variant ring: the screen is right, and no refresh syncs.

@header@
position p;
@@
  #include "exec/memory.h"@p
+ #include "exec/memory-refresh.h"

@sync@
typedef MemoryRegion;
identifier mr, last_stage;
expression listener;
position p;
@@
  static void memory_region_sync_dirty_bitmap(MemoryRegion *mr, bool last_stage)
  {
  <...
- listener->log_sync_global@p(listener, last_stage)
+ memory_refresh_or_sync(listener, mr, last_stage)
  ...>
  }
