// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fault: in TCG, another CPU's FXRSTOR undoes a change that the first CPU made to its SVM state.
//
// Every instruction that loads an x87 status word without a pending error (FXRSTOR, XRSTOR, FRSTOR, FLDENV:
// every context switch with FPU state) deasserts IGNNE#.  It clears a bit in hflags2 of the *first* CPU from
// the thread of the CPU that executes it, with a plain read-modify-write and no lock.  hflags2 also holds GIF,
// the nested-paging flag, V_INTR_MASKING, the host's interrupt flag and virtual GIF, which the first CPU
// changes at each VMRUN, #VMEXIT, STGI and CLGI.  When both happen at once, the first CPU's change is lost.
//
// Seen: the first CPU left a guest, and its nested-paging flag was set again.  The hypervisor's next
// instruction fetch was walked through the guest's nested page tables and faulted; a second #VMEXIT stored
// the hypervisor's RIP, RSP and CR3 as the guest's, and the guest triple-faulted.  Where the walk did not
// fault, the hypervisor ran on the wrong memory.  With CPUs that really run in parallel, nested guests on CPU 0
// failed in about every third run of a minute.
//
// set, clear: the thread of the CPU that has the pin changes it, see ignne.h.
//
// Delete these rules when the base changes hflags2 on its own CPU's thread only.
//
// Limits: hflags2 of other CPUs is not affected; the chipset's pin is the first CPU's.

@header@
position p;
@@
  #include "hw/irq.h"@p
+ #include "tcg/system/ignne.h"

@clear@
expression env;
position p;
@@
- env->hflags2@p &= ~HF2_IGNNE_MASK;
+ ignne_drive(env, false);

@set@
expression env;
position p;
@@
- env->hflags2@p |= HF2_IGNNE_MASK;
+ ignne_drive(env, true);
