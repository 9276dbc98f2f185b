// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fault: query-migrate divides by zero while dirty-limit is in use.
//
// The base computes the time in which a ring fills and divides by the largest rate that it has seen, in whole
// MiB/s.  query-migrate passes the average of all vCPUs, which is 0 when one writes a little and the others
// nothing: SIGFPE.  The base also rounds the ring's size down to whole MiB, so that a ring of fewer than 256
// entries fills in no time.  full_time calls system/dirty-limit-core.h, which computes in bytes.
//
// Test: tests/unit/test-dirty-limit.c; tests/lab/scenarios/limits.py, variant query.  Delete these rules when
// the base does the same.

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
