// SPDX-License-Identifier: GPL-2.0-or-later
//
// TCG: a vCPU accesses the wrong device, or QEMU dies, while another vCPU changes the memory map.
//
// An entry of TCG's TLB names a device by its index in the table of sections of a flat view.  A vCPU
// that hits such an entry looks the index up in the view that is current then.  When another thread
// publishes a new view, each vCPU is told to flush its TLB a moment later; until then it looks indices
// of the old view up in the new one.  If the new one is shorter, that is an assertion
// (iotlb_to_section: section_index < sections_nb).  If not, it is the access to another device
// that now has this index: a read gives that device's register, a write goes to it.
//
// What was seen of it: the assertion, when a device of the lab's L1 was unplugged.  And where one CPU
// reads a register while another disables and enables a BAR below it, 13 of 1,574,000 reads gave
// another device's register in nine seconds (tests/lab/scenarios/remap.py); mended, none does.
//
// holder, header: each address space of a CPU keeps the view that its TLB is filled from; see tlb-view.h.
// fill, lookup: both go by that view.
// follow: it changes where the TLB is flushed, on the CPU's own thread.
// drop: the CPU is going.
//
// Delete this when the base keeps the section, or the view, with the TLB; upstream would want it.
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
