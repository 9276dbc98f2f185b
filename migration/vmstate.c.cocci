// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hook: how long a field is, is found out for the description of the stream only.
//
// Structs in an array are described once; for the others there is nothing to describe.
//
// Delete these rules when the base counts for the description only.

@begin@
identifier old;
expression f;
position p;
@@
- old = qemu_file_transferred@p(f);
+ old = vmdesc ? qemu_file_transferred(f) : 0;

@end@
identifier bytes, old;
expression f;
position p;
@@
- bytes = qemu_file_transferred@p(f) - old;
+ bytes = vmdesc ? qemu_file_transferred(f) - old : 0;
