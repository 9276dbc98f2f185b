// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hook for system/vl.c.cocci: count reported errors.
//
// system/vl.c reads the count to find out whether an accelerator that failed has reported an error.
//
// Delete these rules with system/vl.c.cocci.

@ header @
position p;
@@
  #include "qemu/error-report.h"@p
+ #include "qemu/atomic.h"
+ #include "qemu/errors-reported.h"

@ counter @
symbol message_with_timestamp;
position p;
@@
  bool message_with_timestamp@p;
+ unsigned errors_reported;

@ count @
position p;
@@
+ qatomic_inc(&errors_reported);
  vreport@p(REPORT_TYPE_ERROR, ...);
