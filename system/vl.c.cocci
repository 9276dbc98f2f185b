// SPDX-License-Identifier: GPL-2.0-or-later
//
// system/vl.c: an accelerator that cannot start is one line on stderr.
//
// Why: KVM says what is wrong (no /dev/kvm, a dirty-ring-size that the kernel
// refuses), and then vl.c adds that KVM failed with the same error.  A failure
// should be one clear line.  What is said in general stays for accelerators
// that have said nothing.
//
// Can be deleted when the base passes an Error up from AccelClass.init_machine.

@ header @
position p;
@@
  #include "qemu/error-report.h"@p
+ #include "qemu/errors-reported.h"

@ once @
expression accel, machine, ret, doubt;
statement S;
position p;
@@
+ qatomic_set(&errors_reported, 0);
  ret = accel_init_machine@p(accel, machine);
  if (ret < 0) {
-     if (doubt) S
+     if (!qatomic_read(&errors_reported) && (doubt)) S
      ...
  }
