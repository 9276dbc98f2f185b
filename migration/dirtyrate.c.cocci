// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fault: calc-dirty-rate in ring mode, and dirty-limit, fail when a vCPU is plugged in or out meanwhile.
//
// The measurement begins again when the list of vCPUs has changed.  Two faults are there; `gap` needs
// no change during the measurement:
//
// sync, stop: the last sync of a single measurement stops dirty logging before the list is compared.  The
//   second round then stops logging that does not run, which ends QEMU with an assertion
//   (memory_global_dirty_log_do_stop).  These rules stop logging once, after a good round.
//
// gap: the base allocates as many records as there are vCPUs and indexes them by vCPU number.  Numbers have
//   gaps when vCPUs are plugged in or out in any order; QEMU then writes beyond the records.
//
// unlock: the base releases the list's lock by hand inside a guard that releases it too.
//
// A guest can cause this: it decides when a vCPU that is to go is ejected.
//
// Test: tests/lab/scenarios/hotplug.py ends QEMU without these rules.  Delete them when the base does the
// same.
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
