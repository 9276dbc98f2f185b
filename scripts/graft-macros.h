/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Macros that spatch must see through before it can parse the base's files.
 *
 * Used besides the base's own scripts/cocci-macro-file.h.  These bodies are never compiled: each
 * only has to be C of the same shape as what stands in the source, a statement head for a guard
 * that opens a block, a declaration for one that opens none.  Add one here when graft says that
 * lines of a file did not parse; `spatch --parse-c FILE` shows which.  A head that is an `if` must
 * not use its argument: spatch 1.1.1 does not parse the block after `if (x)`, it does after `if (1)`.
 *
 * Limits: spatch knows macros by name only, so a name has one meaning for the whole tree.
 */
#define WITH_RCU_READ_LOCK_GUARD() if (1)
#define WITH_QEMU_LOCK_GUARD(lock) if (1)
#define RCU_READ_LOCK_GUARD() int graft_rcu_guard
#define QEMU_LOCK_GUARD(lock) int graft_lock_guard
#define BQL_LOCK_GUARD() int graft_bql_guard
#define g_autoptr(type) int *
#define g_autofree
