// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hook: a sync, and the search for the next dirty page, cost what is dirty (dirty-log.h, bmap-summary.h).
//
// sync: the RAM list's bitmap is read where its summary says so.
// unused, find: so is the RAM block's.
// new, free: the summary of the RAM block's bitmap comes and goes with it.
// hostpages, reload: postcopy sets bits of the bitmap, too.
// begin, end: syncs are timed (syncs.h).
//
// Delete these rules when the base keeps summaries itself.

@header@
position p;
@@
  #include "exec/ram_addr.h"@p
+ #include "migration/bmap-summary.h"
+ #include "migration/syncs.h"

@sync@
typedef RAMBlock;
RAMBlock *rb;
position p;
@@
- cpu_physical_memory_sync_dirty_bitmap@p(rb, 0, rb->used_length)
+ dirty_log_sync_block(rb)

@unused@
expression rb;
identifier bitmap;
position p;
@@
  static void pss_find_next_dirty(...)
  {
  <...
- unsigned long *bitmap@p = rb->bmap;
  ...>
  }

@find@
expression size, start;
identifier bitmap;
position p;
@@
  static void pss_find_next_dirty(...)
  {
  <...
- find_next_bit@p(bitmap, size, start)
+ bmap_summary_find(rb, size, start)
  ...>
  }

@new@
typedef RAMBlock;
RAMBlock *block;
expression pages;
position p;
@@
  bitmap_set@p(block->bmap, 0, pages);
+ bmap_summary_new(block);

@free@
typedef RAMBlock;
RAMBlock *block;
position p;
@@
  static void ram_bitmaps_destroy(void)
  {
  <...
  g_free@p(block->bmap);
+ bmap_summary_free(block);
  ...>
  }

@hostpages@
identifier fixup_start_addr;
expression run_start, host_ratio;
position p;
@@
  unsigned long fixup_start_addr = QEMU_ALIGN_DOWN(run_start, host_ratio);
  run_start = QEMU_ALIGN_UP@p(run_start, host_ratio);
+ bmap_summary_mark(block, fixup_start_addr, run_start);

@reload@
typedef RAMBlock;
RAMBlock *block;
expression nbits;
position p;
@@
  bitmap_complement@p(block->bmap, block->bmap, nbits);
+ bmap_summary_mark(block, 0, nbits);

@begin@
position p;
@@
  trace_migration_bitmap_sync_start@p();
+ migration_syncs_begin();

@end@
expression dirty;
position p;
@@
  trace_migration_bitmap_sync_end@p(dirty);
+ migration_syncs_end();
