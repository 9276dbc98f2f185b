// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hook: KVM's dirty ring, without the base's and with that of dirty-ring.h.
//
// The base keeps rings, reaper and sync as static functions of kvm-all.c, between
// the slots and the vCPUs.  These rules cut them out, and call dirty-ring.h where a
// slot comes or goes, where a vCPU starts, ends or leaves the guest with a full
// ring, and where the accelerator is set up.
//
// Fault of the base, rule `inhibit`: with page modification logging a vCPU flushes
// its buffer of dirty addresses when it leaves the guest.  If a slot has been
// removed by then, KVM finds no slot for its addresses and drops them.
// Fault of the base, rule `functions`: the base's sync reads the backup bitmap in the
// last stage only, which postcopy's last sync is not (dirty-ring-sync.c).
//
// Delete this when the base calls an interface like dirty-ring.h itself.

@ functions @
identifier f =~ "^(kvm_dirty_ring_(mark_page|reap_one|reap_locked|reap|flush|reaper_thread|reaper_init|init|enabled|size)|dirty_gfn_(is_dirtied|set_collected)|(do_)?kvm_cpu_synchronize_kick(_all)?|kvm_slot_reset_dirty_pages|kvm_log_sync_global|kvm_[gs]et_dirty_ring_size)$";
position p;
@@
- f@p(...) { ... }

@ header @
position p;
@@
  #include "system/kvm_int.h"@p
+ #include "dirty-ring.h"

// Keeps the manual-protect half of this function, which serves the bitmap.
@ setup @
expression s;
position p;
@@
- kvm_dirty_ring_init@p(s)
+ kvm_dirty_ring_setup(s)

@ reaper @
expression s;
position p;
@@
- if (s->kvm_dirty_ring_size) { kvm_dirty_ring_reaper_init@p(s); }
+ kvm_dirty_ring_start_reaper(s);

@ listener @
expression kml, s;
statement S;
position p;
@@
- if (s->kvm_dirty_ring_size) { kml->listener.log_sync_global = kvm_log_sync_global@p; } else S
+ if (!kvm_dirty_ring_register(kml)) S

@ init_vcpu @
expression cpu, s;
identifier err;
statement S;
position p;
@@
- if (s->kvm_dirty_ring_size) { cpu->kvm_dirty_gfns = mmap@p(...); S }
+ ret = kvm_dirty_ring_init_vcpu(cpu, errp);
+ if (ret < 0) { goto err; }
  ret = kvm_arch_init_vcpu(cpu);
  if (ret < 0) { ... }
  ...
err:

// The ring stays mapped: KVM keeps it, and its position, with the parked vCPU.
@ destroy_vcpu @
expression cpu;
identifier ret, err;
position p;
@@
- if (cpu->kvm_dirty_gfns) { ret = munmap@p(...); if (ret < 0) { goto err; } }
+ kvm_dirty_ring_destroy_vcpu(cpu);

@ full @
expression cpu;
position p;
@@
- trace_kvm_dirty_ring_full@p(cpu->cpu_index);
- bql_lock();
- if (dirtylimit_in_service()) { ... } else { ... }
- bql_unlock();
- dirtylimit_vcpu_execute(cpu);
+ kvm_dirty_ring_vcpu_full(cpu);

@ pay @
expression cpu, run;
position p;
@@
+ kvm_dirty_ring_vcpu_pay(cpu);
  kvm_arch_pre_run@p(cpu, run);

// One bit per page of guest memory that rings never use.
@ slot_bitmap @
expression mem;
position p;
@@
  static void kvm_slot_init_dirty_bitmap(...)
  {
  ...
- if (!(mem->flags & KVM_MEM_LOG_DIRTY_PAGES) || mem->dirty_bmap@p) { return; }
+ if (!(mem->flags & KVM_MEM_LOG_DIRTY_PAGES) || mem->dirty_bmap ||
+     !kvm_dirty_ring_slots_have_bitmaps()) { return; }
  ...
  }

@ slot_add @
expression mem, err, kml;
position p;
@@
  kvm_slot_init_dirty_bitmap(mem);
+ kvm_dirty_ring_slot_add(mem);
  err = kvm_set_user_memory_region@p(kml, mem, true);

@ slot_removing @
expression mem, s;
position p;
@@
- if (s->kvm_dirty_ring_size) { kvm_dirty_ring_reap_locked@p(...); ... }
- else { kvm_slot_get_dirty_log(s, mem); }
- kvm_slot_sync_dirty_pages(mem);
+ if (kvm_dirty_ring_enabled()) { kvm_dirty_ring_slot_removing(mem); }
+ else { kvm_slot_get_dirty_log(s, mem); kvm_slot_sync_dirty_pages(mem); }

@ slot_removed @
expression mem, err, kml;
statement S;
position p;
@@
  mem->flags = 0;
  err = kvm_set_user_memory_region@p(kml, mem, false);
  if (err) S
+ kvm_dirty_ring_slot_removed(mem);

@ inhibit @
identifier kml, need_inhibit;
position p;
@@
  kvm_slots_lock();
+ need_inhibit = need_inhibit || kvm_dirty_ring_removal_loses_pages(kml);
  if (need_inhibit) { accel_ioctl_inhibit_begin@p(); }
  ...
  while (!QSIMPLEQ_EMPTY(&kml->transaction_del)) { ... }

@ property @
expression oc;
position p;
@@
- object_class_property_add@p(oc, "dirty-ring-size", ...);
- object_class_property_set_description(oc, "dirty-ring-size", ...);
+ kvm_dirty_ring_class_init(oc);
