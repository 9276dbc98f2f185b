// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fault: TCG refuses port I/O to user code whose task state segment is busy.
//
// busy: user code without I/O privilege may use the ports that the bitmap in the TSS permits.  The base's check
//   accepts a TSS of type 9 only (32-bit or 64-bit, available).  LTR marks the descriptor busy, type 11 (AMD
//   APM volume 2, 4.8.3), and TR of a CPU has that type.  TCG's own LTR keeps 9 in TR, so its guests are not
//   affected.  A hypervisor is: KVM puts 11 into the VMCB once it has read and written TR (reading the guest's
//   registers is enough), and every iopl() or ioperm() in the nested guest then ends in #GP.
//
// Why here: the lab's payload raises SMIs and sets a screen's mode by port I/O.  Delete this rule when the
// base's check accepts 11.
//
// Limits: task switches have a check of their own (get_ss_esp_from_tss), which aborts the emulator on a busy
// TSS; no 32-bit system runs nested in the lab, and the rule leaves that check alone.

@busy@
expression flags, shift;
position p;
@@
- ((flags >> shift) & 0xf) != 9@p
+ ((flags >> shift) & 0xd) != 9
