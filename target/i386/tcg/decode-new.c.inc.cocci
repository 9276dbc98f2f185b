// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fault: TCG's SVM checks reads of CR2, CR3, CR4 and CR8 against the intercept of CR0 reads.
//
// read_cr: the decoder adds the control register's number to the exit code of the instruction only
//   `if (decode->e.intercept)`, and the exit code of a CR0 read is 0 (VMEXIT_CR[0-15]_READ, AMD APM volume 2,
//   appendix C).  A hypervisor without nested paging intercepts CR3 reads alone, to hide its shadow page
//   table.  Its guest reads the shadow's address; Linux halts in early boot, where it compares CR3 with its
//   first page table.  `has_intercept` is set for every instruction with an intercept.
//
// Why here: the lab's mode without nested paging needs it for 64-bit guests.  Delete this rule when the base
// tests `has_intercept`.
//
// Limits: the rule changes the same statement for debug registers, which was right: their exit codes are not
// 0.

@read_cr@
expression decode, op;
position p;
@@
- if (decode->e.intercept@p) {
+ if (decode->e.has_intercept) {
      decode->e.intercept += op->n;
  }
