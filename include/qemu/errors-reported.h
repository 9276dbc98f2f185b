/*
 * How many errors this process has reported
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * So that whoever sums a failure up need not repeat what was said already: one
 * failure, one line.  Counted by error_report() and its like, whatever thread
 * calls them; warnings do not count.
 */
#ifndef QEMU_ERRORS_REPORTED_H
#define QEMU_ERRORS_REPORTED_H

extern unsigned errors_reported;    /* atomic */

#endif
