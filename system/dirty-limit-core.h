/*
 * dirty-limit: the arithmetic of the throttle, free of QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SYSTEM_DIRTY_LIMIT_CORE_H
#define SYSTEM_DIRTY_LIMIT_CORE_H

#include <stdint.h>

/*
 * Returns the time in microseconds in which a vCPU that dirties @rate_mib MiB per
 * second fills a ring of @entries, one per page of @page_bytes.  @rate_mib is a
 * rounded measurement: 0 means less than 1 MiB/s and counts as 1.
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
