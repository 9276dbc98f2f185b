/*
 * dirty-limit: how long a vCPU has to sleep for what it has dirtied
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Each page that a vCPU dirties costs it the time that the limit grants for a page.
 * Time that passes, asleep or not, pays.  The difference is the vCPU's debt.  A vCPU
 * in debt sleeps until it has paid, DIRTY_LIMIT_SLEEP_MAX_NS at a time.  A sleep may be
 * cut short, because the clock is what pays: the rest is slept later.
 *
 *      run for a slice --charged, in debt--> sleep --charged, paid--> run ...
 *
 * Pages are those that were seen in the vCPU's ring, so neither the ring's size nor
 * the thread that empties it matters.
 *
 * A slice is the time after which a vCPU has to be charged, full ring or not.  It is
 * as long as a vCPU that dirties pages as fast as in its last slice takes to run up a
 * debt of DIRTY_LIMIT_OVERDRAFT_NS.  Slices shorten at once and at most double, so a
 * vCPU that pauses for a moment does not get a long one.
 *
 * A vCPU below its limit gathers credit, one second's worth at most: a guest that
 * dirties in bursts is not slowed down while its rate over a second is below the
 * limit.  Credit also makes good sleeps that took longer than asked for.  Debt is
 * bounded: a vCPU that dirties much within a slice is not asleep for minutes.
 *
 * Limits: a vCPU that dirties DIRTY_LIMIT_DEBT_MAX_NS worth of pages within the
 * shortest slice exceeds its limit (at 1 MiB/s: 80 GiB/s).
 */
#include "system/core/dirty-limit.h"

#define NS_PER_S 1e9
#define WINDOW_NS (1000 * DIRTY_LIMIT_NS_PER_MS)

static int64_t clamp_ns(double ns, int64_t low, int64_t high)
{
    return ns < low ? low : ns > high ? high : (int64_t)ns;
}

/* Forgets everything: the limit is another than before. */
static void account_reset(DirtyLimitAccount *account, uint64_t limit,
                          uint64_t pages, uint64_t now_ns)
{
    *account = (DirtyLimitAccount){
        .limit = limit,
        .pages = pages,
        .now_ns = now_ns,
        .slice_ns = DIRTY_LIMIT_SLICE_MIN_NS / 2,
        .slice_start_ns = now_ns,
        .window_ns = now_ns,
    };
}

/* Notes how much of the last second was slept. */
static void account_window(DirtyLimitAccount *account, uint64_t pages,
                           uint64_t slept_ns, uint64_t now_ns)
{
    account->window_pages += pages;
    account->window_slept_ns += slept_ns;
    if (now_ns - account->window_ns >= WINDOW_NS) {
        account->slept_per_page_ns = account->window_pages
            ? (double)account->window_slept_ns / account->window_pages : 0;
        account->window_pages = 0;
        account->window_slept_ns = 0;
        account->window_ns = now_ns;
    }
}

/* The next slice: until the debt is DIRTY_LIMIT_OVERDRAFT_NS. */
static uint64_t account_next_slice(const DirtyLimitAccount *account)
{
    double rest = DIRTY_LIMIT_OVERDRAFT_NS - account->debt_ns;
    double slice = account->pressure > 1 ? rest / (account->pressure - 1)
                                         : DIRTY_LIMIT_SLICE_MAX_NS;
    double most = 2.0 * account->slice_ns;

    return clamp_ns(slice < most ? slice : most, DIRTY_LIMIT_SLICE_MIN_NS,
                    DIRTY_LIMIT_SLICE_MAX_NS);
}

uint64_t dirty_limit_charge(DirtyLimitAccount *account, uint64_t limit,
                            uint64_t pages, uint32_t page_bytes,
                            uint64_t now_ns)
{
    uint64_t dirtied, elapsed_ns;
    double cost_ns;

    if (limit != account->limit) {
        account_reset(account, limit, pages, now_ns);
    }
    if (!limit) {
        return 0;
    }
    dirtied = pages - account->pages;
    elapsed_ns = now_ns - account->now_ns;
    cost_ns = (double)dirtied * page_bytes * NS_PER_S / limit;
    account->debt_ns = clamp_ns(account->debt_ns + cost_ns - elapsed_ns,
                                -DIRTY_LIMIT_CREDIT_MAX_NS,
                                DIRTY_LIMIT_DEBT_MAX_NS);
    account->pages = pages;
    account->now_ns = now_ns;
    account_window(account, dirtied, account->asleep ? elapsed_ns : 0, now_ns);
    if (!account->asleep && now_ns > account->slice_start_ns) {
        account->pressure = cost_ns / (now_ns - account->slice_start_ns);
    }

    account->asleep = account->debt_ns > DIRTY_LIMIT_SLICE_MIN_NS;
    if (account->asleep) {
        account->slice_end_ns = 0;
        return clamp_ns(account->debt_ns, 0, DIRTY_LIMIT_SLEEP_MAX_NS);
    }
    account->slice_ns = account_next_slice(account);
    account->slice_start_ns = now_ns;
    account->slice_end_ns = now_ns + account->slice_ns;
    return 0;
}

uint64_t dirty_limit_slept_us(const DirtyLimitAccount *account,
                              uint32_t entries)
{
    return account->slept_per_page_ns * entries / 1000;
}
