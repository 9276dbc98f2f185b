/*
 * dirty-limit: the arithmetic of the limit, free of QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle: an account that is all zero -> dirty_limit_charge() any number of
 * times.  An account belongs to one vCPU's thread; no lock is needed.
 *
 * The theory of operation is at the top of core/dirty-limit.c.
 */
#ifndef SYSTEM_CORE_DIRTY_LIMIT_H
#define SYSTEM_CORE_DIRTY_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define DIRTY_LIMIT_NS_PER_MS 1000000ll

/* Longest sleep that is asked for at a time. */
#define DIRTY_LIMIT_SLEEP_MAX_NS (100 * DIRTY_LIMIT_NS_PER_MS)

/* Debt that a vCPU may run up before it has to sleep. */
#define DIRTY_LIMIT_OVERDRAFT_NS (20 * DIRTY_LIMIT_NS_PER_MS)

/* Debt and credit beyond these are dropped. */
#define DIRTY_LIMIT_DEBT_MAX_NS (4000 * DIRTY_LIMIT_NS_PER_MS)
#define DIRTY_LIMIT_CREDIT_MAX_NS (1000 * DIRTY_LIMIT_NS_PER_MS)

/* Bounds of the time that a vCPU runs until it is charged again. */
#define DIRTY_LIMIT_SLICE_MIN_NS (DIRTY_LIMIT_NS_PER_MS / 20)
#define DIRTY_LIMIT_SLICE_MAX_NS (20 * DIRTY_LIMIT_NS_PER_MS)

/* What one vCPU has dirtied, and what it has slept for it. */
typedef struct DirtyLimitAccount {
    uint64_t limit;             /* bytes per second; 0: none */
    uint64_t pages;             /* dirtied, at the last charge */
    uint64_t now_ns;            /* of the last charge */
    int64_t debt_ns;            /* to sleep; below 0: credit */
    bool asleep;                /* the last charge asked for a sleep */
    double pressure;            /* rate of the last slice, limit = 1 */
    uint64_t slice_ns;          /* length of the last slice */
    uint64_t slice_start_ns;
    uint64_t slice_end_ns;      /* charge again from here on */
    uint64_t window_ns;         /* start of the present window */
    uint64_t window_pages;      /* dirtied in it */
    uint64_t window_slept_ns;   /* slept in it */
    double slept_per_page_ns;   /* of the last complete window */
} DirtyLimitAccount;

/* True if the vCPU has to be charged before it enters the guest at @now_ns. */
static inline bool dirty_limit_due(const DirtyLimitAccount *account,
                                   uint64_t limit, uint64_t now_ns)
{
    return limit != account->limit ||
           (limit && now_ns >= account->slice_end_ns);
}

/* Charges the vCPU at the next opportunity: its ring was full. */
static inline void dirty_limit_set_due(DirtyLimitAccount *account)
{
    account->slice_end_ns = 0;
}

/*
 * Charges the vCPU.  Returns for how many nanoseconds it has to sleep before it is
 * charged again, DIRTY_LIMIT_SLEEP_MAX_NS at most; a sleep may be cut short.
 * Returns 0 if it may run, until account->slice_end_ns.
 *
 * @limit: bytes per second, 0 for none; another than before clears all debt
 * @pages: number of pages, of @page_bytes, that the vCPU has dirtied since it was
 *         created, each counted once
 * @now_ns: monotonic
 */
uint64_t dirty_limit_charge(DirtyLimitAccount *account, uint64_t limit,
                            uint64_t pages, uint32_t page_bytes,
                            uint64_t now_ns);

/*
 * Returns the time in microseconds that the vCPU has slept, in the last second, for
 * as many pages as a ring of @entries holds.
 */
uint64_t dirty_limit_slept_us(const DirtyLimitAccount *account,
                              uint32_t entries);

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
