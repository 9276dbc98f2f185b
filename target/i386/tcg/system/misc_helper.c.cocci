// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fault: in TCG's SVM, a CR8 write raises the virtual interrupt without the BQL.
//
// virq: a guest's write to CR8 may unmask the virtual interrupt that its hypervisor has requested (V_IRQ
//   against V_TPR; AMD APM volume 2, 15.21.4).  The helper calls cpu_interrupt() without the BQL, which
//   cpu_interrupt() asserts: the emulator aborts.
//
// Why here: the lab's L1 runs on this emulation.  Delete this rule when the base takes the lock.
//
// Limits: the other writers of CPUState::interrupt_request in this file hold the lock already.

@virq@
expression env, cs;
position p;
@@
+ bql_lock();
  if (ctl_has_irq@p(env)) {
      cpu_interrupt(cs, CPU_INTERRUPT_VIRQ);
  } else {
      cpu_reset_interrupt(cs, CPU_INTERRUPT_VIRQ);
  }
+ bql_unlock();
