// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fault: query-migrate divides by zero while dirty-limit is in use.
//
// The base computes the time in which a ring fills and divides by the largest rate that it has seen, in whole
// MiB/s.  query-migrate passes the average of all vCPUs, which is 0 when one writes a little and the others
// nothing: SIGFPE.  The base also rounds the ring's size down to whole MiB, so that a ring of fewer than 256
// entries fills in no time.  full_time calls system/core/dirty-limit.h, which computes in bytes.
//
// Fault: dirty-limit does not limit.
//
// The base puts a vCPU to sleep when its ring is full, for a time that a thread adjusts each second, if the rate is
// 25 MiB/s off.  Nothing limits a vCPU whose ring does not fill between two syncs.  `gone` and `thread` cut this rule
// out, `set` tells the accelerator (accel/kvm/dirty-ring-limit.c) the limit of each vCPU.
//
// Test: tests/unit/test-dirty-limit.c, tests/unit/test-dirty-limit-model.c; tests/lab/scenarios/limit-rate.py, and
// limits.py, variant query.  Delete these rules when the base does the same.

@ header @
position p;
@@
  #include "system/dirtylimit.h"@p
+ #include "system/dirty-limit.h"
+ #include "system/core/dirty-limit.h"

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

@ gone @
identifier f =~ "^dirtylimit_(done|need_linear_adjustment|set_throttle|adjust_throttle|process|vcpu_execute)$";
position p;
@@
- f@p(...) { ... }

@ thread @
position p;
@@
  vcpu_dirty_rate_stat_collect@p();
- if (dirtylimit_in_service())
- {
-     dirtylimit_process();
- }

@ set @
expression e;
symbol dirtylimit_state, cpu_index, quota;
position p;
@@
  dirtylimit_state->states[cpu_index].enabled = e@p;
+ dirty_limit_set_vcpu(cpu_index, e ? quota : 0);
