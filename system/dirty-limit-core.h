/*
 * dirty-limit: the arithmetic of the throttle, free of QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SYSTEM_DIRTY_LIMIT_CORE_H
#define SYSTEM_DIRTY_LIMIT_CORE_H

#include <stdint.h>

/*
 * How long a vCPU that dirties @rate_mib MiB a second takes to fill a ring of
 * @entries, each of which stands for a page of @page_bytes, in microseconds.
 * @rate_mib is a rounded measurement: 0 is less than 1 MiB/s and taken as 1.
 * Exact up to 2^24 entries for pages of up to 64 KiB.
 */
static inline uint64_t dirty_limit_ring_full_us(uint32_t entries,
                                                uint32_t page_bytes,
                                                uint64_t rate_mib)
{
    const uint64_t us_per_s = 1000000, mib = 1 << 20;

    return entries * (page_bytes * us_per_s / 4096) /
           (mib / 4096 * (rate_mib ? rate_mib : 1));
}

#endif
