/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How large a dirty ring may be.
 *
 * Linux offers 65,536 entries, 256 MiB of written memory per vCPU between two resets.  A process maps
 * rings of up to this size within the vCPU's file, at KVM_DIRTY_LOG_PAGE_OFFSET; 16 MiB each.
 */
#ifndef QEMU_LIVE_DIRTY_RING_LIMITS_H
#define QEMU_LIVE_DIRTY_RING_LIMITS_H

#define DIRTY_RING_MAX_ENTRIES (1u << 20)

#endif
