// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hook: the summary of migration's dirty bitmap (dirty-log.h) grows before the bitmap does.
//
// Delete this rule when the base keeps a summary itself.

@extend@
identifier old_num_blocks, new_num_blocks, i;
statement S;
position p;
@@
  static void dirty_memory_extend(...)
  {
  ...
  if (new_num_blocks <= old_num_blocks) { return@p; }
+ dirty_log_extend(old_num_blocks, new_num_blocks);
  ...
  }
