// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The shim's variables; see shim.h.
 *
 * Limits: one of each for the whole process.
 */
#include "shim.h"

unsigned int shim_warnings, shim_messages, shim_fail_alloc, shim_rcu;
unsigned int shim_locks_held, shim_pages_unlocked;
uintptr_t shim_user_start, shim_user_end = UINTPTR_MAX;
