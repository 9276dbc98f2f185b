// SPDX-License-Identifier: GPL-2.0-or-later
//
// TCG's SVM: reads of CR2, CR3, CR4 and CR8 must be checked against their own intercepts.
//
// read_cr: the decoder adds the control register's number to the exit code of the instruction, but
//   only `if (decode->e.intercept)`, and the exit code of a CR0 read is 0 (VMEXIT_CR[0-15]_READ, AMD
//   APM volume 2, appendix C).  So a guest's read of any control register is checked against the
//   intercept of CR0 reads.  A hypervisor without nested paging intercepts CR3 reads alone, to hide
//   its shadow page table: its guest then reads the shadow's address, and Linux halts in early boot,
//   where it compares CR3 with its first page table.  `has_intercept` is what says that there is one.
//
// Why here: the lab's mode without nested paging needs it for 64-bit guests.  Delete it when the base
// tests `has_intercept` (upstream would want it).
//
// Limits: the same statement for debug registers is mended along with it; it was right, as their
// exit codes are not 0.

@read_cr@
expression decode, op;
position p;
@@
- if (decode->e.intercept@p) {
+ if (decode->e.has_intercept) {
      decode->e.intercept += op->n;
  }
