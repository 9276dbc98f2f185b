// SPDX-License-Identifier: GPL-2.0-or-later
//
// TCG: another CPU's FXRSTOR takes back what the first CPU did to its SVM state.
//
// Every instruction that loads an x87 status word without a pending error (FXRSTOR, XRSTOR, FRSTOR,
// FLDENV: so, every change of context with FPU state) deasserts IGNNE#, and does it by clearing a bit
// in hflags2 of the *first* CPU from the thread of whichever CPU executes it, with a plain
// read-modify-write and no lock.  hflags2 also holds GIF, the nested-paging flag, V_INTR_MASKING, the
// host's interrupt flag and virtual GIF, which the first CPU changes at each VMRUN, #VMEXIT, STGI and
// CLGI.  When the two meet, the first CPU's change is lost.
//
// What was seen of it: the first CPU left a guest, and its nested-paging flag was set again behind its
// back.  The hypervisor's next instruction fetch was walked through the guest's nested page tables;
// that faulted, and a second #VMEXIT stored the hypervisor's RIP, RSP and CR3 as the guest's.  The
// guest then triple-faulted; where the walk did not fault, the hypervisor ran on other memory than its
// own.  Nested guests on CPU 0 fell to this in about every third run of a minute with CPUs really
// running in parallel.
//
// set, clear: the pin is driven by its owner's thread, see ignne.h.
//
// Delete this when the base changes hflags2 on its own CPU's thread only; upstream would want it.
//
// Limits: hflags2 of other CPUs is not concerned, the chipset's pin is the first CPU's.

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
