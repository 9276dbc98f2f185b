// SPDX-License-Identifier: GPL-2.0-or-later
//
// Faults: TCG's VMRUN delivers an interrupt twice, or loses one.
//
// injected: an interrupt delivered twice
//   VMRUN with EVENTINJ of type 0 (external interrupt) delivers the interrupt inside the helper, but leaves
//   CPUState::exception_index at its vector.  If the vCPU's loop ends before the next #VMEXIT (cpu_exit(),
//   queued work, a thread that wants the CPU), the loop delivers the vector again as a pending exception, with
//   RFLAGS.IF clear and on the current stack.  An event is injected once (AMD APM volume 2, 15.20, "Event
//   Injection"; VMRUN clears EVENTINJ.V).  Exceptions and software interrupts leave the helper through
//   cpu_loop_exit() and are not affected.
//
// virq: an interrupt lost
//   Other threads (interrupt controllers, timers) write CPUState::interrupt_request under the BQL.  VMRUN adds
//   CPU_INTERRUPT_VIRQ without the BQL in a plain read-modify-write, which can undo a CPU_INTERRUPT_HARD or
//   _POLL that another thread sets meanwhile.  The rule calls cpu_interrupt() under the BQL, as other code
//   does.  header declares the BQL for it.
//
// Why here: the lab's L1 runs on this emulation.  Delete each rule when the base has the same mend.
//
// Limits: VMRUN only; misc_helper.c.cocci has the CR8 write.

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
