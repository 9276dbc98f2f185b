// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fault: a TCG vCPU accesses the wrong device, or QEMU ends, while another vCPU changes the memory map.
//
// An entry of TCG's TLB names a device by its index in the table of sections of a flat view.  A vCPU that
// hits the entry looks the index up in the current view.  When another thread publishes a new view, each vCPU
// flushes its TLB a moment later; until then it looks up indices of the old view in the new one.  If the new
// table is shorter, an assertion fails (iotlb_to_section: section_index < sections_nb).  If not, the vCPU
// reads from or writes to the device that now has this index.
//
// Seen: the assertion, when a device of the lab's L1 was unplugged.  With one CPU that reads a register while
// another disables and enables a BAR below it, 13 of 1,574,000 reads gave another device's register in nine
// seconds; with these rules none does.
//
// holder, header: each address space of a CPU keeps the view that its TLB is filled from (tlb-view.h).
// fill, lookup: both use that view.
// follow: takes the new view where the TLB is flushed, on the CPU's own thread.
// drop: releases the view when the CPU goes.
//
// Test: tests/lab/scenarios/remap.py.  Delete these rules when the base keeps the section, or the view, with
// the TLB.
//
// Limits: as in tlb-view.h.

@header@
position p;
@@
  #include "exec/memory-internal.h"@p
+ #include "tlb-view.h"

@holder@
typedef FlatView, MemoryListener;
position p;
@@
  typedef struct CPUAddressSpace {
  ...
  MemoryListener tcg_as_listener@p;
+ FlatView *tlb_view;
  } CPUAddressSpace;

@fill@
expression cpu, asidx;
position p;
@@
- address_space_to_dispatch@p(cpu->cpu_ases[asidx].as)
+ tlb_view_dispatch(cpu->cpu_ases[asidx].tlb_view, cpu->cpu_ases[asidx].as)

@lookup@
typedef CPUAddressSpace;
CPUAddressSpace *cpuas;
position p;
@@
- address_space_to_dispatch@p(cpuas->as)
+ tlb_view_dispatch(cpuas->tlb_view, cpuas->as)

@follow@
typedef CPUState, run_on_cpu_data;
identifier cpu, data;
position p;
@@
  static void tcg_commit_cpu(CPUState *cpu, run_on_cpu_data data)
  {
+ CPUAddressSpace *cpuas = data.host_ptr;
+
+ tlb_view_follow(&cpuas->tlb_view, cpuas->as);
  tlb_flush@p(cpu);
  }

@drop@
expression cpuas;
position p;
@@
  memory_listener_unregister@p(&cpuas->tcg_as_listener);
+ tlb_view_drop(&cpuas->tlb_view);
