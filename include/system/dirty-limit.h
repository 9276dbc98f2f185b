/*
 * dirty-limit: what dirtylimit.c calls of the accelerator
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SYSTEM_DIRTY_LIMIT_H
#define SYSTEM_DIRTY_LIMIT_H

/*
 * Limits vCPU @cpu_index, which need not exist yet, to @mib_per_s MiB of newly dirtied
 * pages per second; 0 ends the limit, and what the vCPU owes.  Called with the BQL
 * held.
 */
void dirty_limit_set_vcpu(int cpu_index, uint64_t mib_per_s);

#endif
