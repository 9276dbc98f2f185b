// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hook: a summary of migration's dirty bitmap (dirty-log.h), so that a sync need not read all of it.
//
// All bits of the RAM list's bitmaps are set by three functions of this header.  flag, range and lebitmap note
// each bit of migration's bitmap right after it was set.
//
// Delete these rules when the base keeps a summary itself.

@header@
position p;
@@
  #include "exec/ramblock.h"@p
+ #include "exec/dirty-log.h"

@flag@
expression offset, idx, log;
position p;
@@
  set_bit_atomic@p(offset, log->blocks[idx]);
+ if (client == DIRTY_MEMORY_MIGRATION) { dirty_log_mark(idx, offset, offset + 1); }

@range@
expression log, idx, offset, n;
position p;
@@
  bitmap_set_atomic@p(log[DIRTY_MEMORY_MIGRATION]->blocks[idx], offset, n);
+ dirty_log_mark(idx, offset, offset + n);

@lebitmap@
expression log, idx, offset, temp;
position p;
@@
  qatomic_or@p(&log[DIRTY_MEMORY_MIGRATION][idx][offset], temp);
+ dirty_log_mark_word(idx, offset);
