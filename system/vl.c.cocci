// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fault: an accelerator that cannot start is reported twice.
//
// KVM reports its error (no /dev/kvm, a dirty-ring-size that the kernel refuses); then vl.c reports that
// KVM failed with the same error.  `once` skips the second line if the accelerator has reported an error.
//
// Delete these rules when the base passes an Error up from AccelClass.init_machine.

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
