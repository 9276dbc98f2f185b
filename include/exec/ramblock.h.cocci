// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hook: the summary of a RAM block's migration bitmap (migration/bmap-summary.h).
//
// Delete this rule when the base keeps a summary itself.

@summary@
typedef ram_addr_t;
position p;
@@
  struct RAMBlock {
  ...
  unsigned long *bmap@p;
+ struct BmapSummary *bmap_summary;
  ...
  };
