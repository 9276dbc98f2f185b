/*
 * How many errors this process has reported
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A caller that reports a failure reads the count to find out whether the function
 * that failed has reported it already.  error_report() and its variants count, in
 * any thread; warnings do not.
 */
#ifndef QEMU_ERRORS_REPORTED_H
#define QEMU_ERRORS_REPORTED_H

extern unsigned errors_reported;    /* atomic */

#endif
