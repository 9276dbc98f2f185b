// SPDX-License-Identifier: GPL-2.0-or-later
//
// Cut: numbers in a migration's stream are written and read by qemu-file-numbers.c.
//
// Delete these rules when the base does not write them byte by byte.

@put@
typedef QEMUFile;
identifier put =~ "^qemu_put_be(16|32|64)$";
type number;
identifier f, v;
position p;
@@
- void put@p(QEMUFile *f, number v) { ... }

@get@
identifier get =~ "^qemu_get_be(16|32|64)$";
type number;
identifier f;
position p;
@@
- number get@p(QEMUFile *f) { ... }
