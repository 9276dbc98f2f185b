// SPDX-License-Identifier: GPL-2.0-or-later
//
// system/dirtylimit.c: the time in which a ring fills, without a division by zero.
//
// The base divides by the largest rate that it has seen, in whole MiB/s.  query-migrate asks with the
// average of all vCPUs, which is 0 as soon as one writes a little and the others nothing: SIGFPE.  The
// ring's size is rounded down to whole MiB, too, so that a ring of fewer than 256 entries fills in no
// time.  The arithmetic is ours, in bytes (system/dirty-limit-core.h).
//
// Delete this when the base does the same.  The test is tests/unit/test-dirty-limit.c; in the lab,
// tests/lab/scenarios/limits.py, variant query.

@ header @
position p;
@@
  #include "system/dirtylimit.h"@p
+ #include "dirty-limit-core.h"

@ full_time @
identifier size, rate, max;
position p;
@@
- uint64_t size;
- size = qemu_target_pages_to_MiB@p(kvm_dirty_ring_size());
  if (max < rate) { ... }
- return size * 1000000 / max;
+ return dirty_limit_ring_full_us(kvm_dirty_ring_size(),
+                                 qemu_target_page_size(), max);
