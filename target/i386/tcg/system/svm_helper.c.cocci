// SPDX-License-Identifier: GPL-2.0-or-later
//
// TCG's SVM: two faults in how VMRUN treats interrupts.
//
// injected: an interrupt delivered twice
//   VMRUN with EVENTINJ of type 0 (external interrupt) delivers the interrupt at once, inside the
//   helper, but leaves CPUState::exception_index at its vector.  If the vCPU's loop is then left for
//   any other reason before the next #VMEXIT (cpu_exit(), queued work, another thread wanting the
//   CPU), the loop takes that for a pending exception and delivers the vector again, with RFLAGS.IF
//   clear and on whatever stack is current.  An event is injected once (AMD APM volume 2, 15.20,
//   "Event Injection"; EVENTINJ.V is cleared by VMRUN).  An exception or a software interrupt
//   leaves the helper through cpu_loop_exit() and is not concerned.
//
// virq: an interrupt lost
//   CPUState::interrupt_request is written by other threads (interrupt controllers, timers) under
//   the BQL; VMRUN runs without it and adds CPU_INTERRUPT_VIRQ in a plain read-modify-write, which
//   can take back a CPU_INTERRUPT_HARD or _POLL that was set meanwhile.  cpu_interrupt() under the
//   BQL is what everyone else uses.
//
// Why here: the lab's L1 runs on this emulation, and its oracles are worth what the machine under
// them is worth.  Delete each rule when the base has the same mend (upstream would want both).
//
// header declares the BQL for `virq`.
//
// Limits: VMRUN only; the CR8 write has the same fault as `virq`, see misc_helper.c.cocci.

@header@
position p;
@@
  #include "qemu/log.h"@p
+ #include "qemu/main-loop.h"

@injected@
expression env, vector;
position p;
@@
  do_interrupt_x86_hardirq@p(env, vector, 1);
+ /* delivered: not to be delivered again when the loop is left */
+ cs->exception_index = -1;

@virq@
expression env;
position p;
@@
- if (ctl_has_irq@p(env)) {
-     cs->interrupt_request |= CPU_INTERRUPT_VIRQ;
- }
+ if (ctl_has_irq(env)) {
+     bql_lock();
+     cpu_interrupt(cs, CPU_INTERRUPT_VIRQ);
+     bql_unlock();
+ }
