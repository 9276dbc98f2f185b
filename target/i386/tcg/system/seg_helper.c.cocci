// SPDX-License-Identifier: GPL-2.0-or-later
//
// TCG: a busy task state segment permits port I/O, too.
//
// busy: user code that may not do I/O by its privilege alone may by the bitmap in the TSS.  The check
//   takes a TSS of type 9 only, a 32-bit or 64-bit one that is available.  LTR marks the descriptor
//   busy, type 11 (AMD APM volume 2, 4.8.3), and on a CPU TR holds just that.  TCG's own LTR keeps 9
//   in TR, so its guests do not notice; a hypervisor does: KVM puts 11 into the VMCB whenever it has
//   read and written TR (the tool that runs the guest need only have read its registers), and from
//   then on any iopl() or ioperm() in the nested guest ends in #GP.
//
// Why here: the lab's payload raises SMIs and sets a screen's mode by port I/O.  Delete it when the
// base's check takes 11 (upstream would want it).
//
// Limits: task switches have a check of their own (get_ss_esp_from_tss), which gives up the emulator
// on a busy TSS; no 32-bit system runs nested in the lab, and that one is left alone.

@busy@
expression flags, shift;
position p;
@@
- ((flags >> shift) & 0xf) != 9@p
+ ((flags >> shift) & 0xd) != 9
