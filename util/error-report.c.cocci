// SPDX-License-Identifier: GPL-2.0-or-later
//
// util/error-report.c, counting errors.
//
// Why: system/vl.c asks whether an accelerator that failed has said why.
//
// Can be deleted together with system/vl.c.cocci.

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
