// SPDX-License-Identifier: GPL-2.0-or-later
//
// calc-dirty-rate in ring mode, and dirty-limit: a vCPU that is plugged in or out while they measure.
//
// The measurement begins again when the list of vCPUs has changed meanwhile.  Two things go wrong
// there, and one wherever vCPUs are plugged:
//
// sync, stop: a single measurement stops dirty logging in its last sync, which comes before the list is
//   looked at.  The second round then stops what is not running, and QEMU dies of an assertion
//   (memory_global_dirty_log_do_stop).  Logging is now stopped once, when a round was good.
//
// gap: records are counted by vCPUs and indexed by their numbers.  These have gaps when vCPUs are plugged
//   in or out in any order, and then QEMU writes behind the records.
//
// unlock: the list's lock is released by hand inside a guard that releases it too.
//
// A guest can bring this about: it decides when a vCPU that is to go is ejected.
//
// Delete this when the base does the same.  tests/lab/scenarios/hotplug.py dies without it.
//
// Limits: a guest whose vCPUs come and go faster than calc-time never gets a result.

@sync@
expression flag;
symbol one_shot;
position p;
@@
- global_dirty_log_sync@p(flag, one_shot);
+ global_dirty_log_sync(flag, false);

@gap@
iterator name CPU_FOREACH;
identifier cpu, nvcpu;
position p;
@@
  CPU_FOREACH(cpu) {
-     nvcpu@p++;
+     nvcpu = MAX(nvcpu, cpu->cpu_index + 1);
  }

@unlock@
position p;
@@
- cpu_list_unlock@p();
  goto retry;

@stop@
identifier vcpu_calculate_dirtyrate, duration, flag, one_shot, calc, stat;
type T1, T2, T3;
position p;
@@
  T1 vcpu_calculate_dirtyrate(T2 calc, VcpuStat *stat, T3 flag, bool one_shot)
  {
  <...
+ if (one_shot) {
+     bql_lock();
+     memory_global_dirty_log_stop(flag);
+     bql_unlock();
+ }
  return@p duration;
  ...>
  }
