/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Workers and their jobs. Theory of operation and limits: workers.h.
 */
#include "workers.h"

#define STEP_FILL       16u
#define STEP_VERIFY     16u
#define STEP_WRITES     32u
#define BURSTS_PER_S    1000u   /* at most; fewer where the rate is lower */
#define SCATTER         2654435761u /* a prime near 2^32 / the golden ratio */
#define DEBTS_PER_S     10u     /* a debt of 1/10 s is the most kept */

uint64_t divide_u64(uint64_t n, uint32_t d, uint32_t *remainder)
{
    uint64_t quotient = 0, rest = 0;

    for (int bit = 63; bit >= 0; bit--) {
        rest = rest << 1 | (n >> bit & 1);
        if (rest >= d) {
            rest -= d;
            quotient |= (uint64_t)1 << bit;
        }
    }
    if (remainder) {
        *remainder = rest;
    }
    return quotient;
}

void workers_init(Workers *workers, const Oracle *o, uint32_t size,
               uint64_t ticks_per_s)
{
    workers->oracle = o;
    workers->size = size;
    workers->ticks_per_s = ticks_per_s;
    for (uint32_t i = 0; i < size; i++) {
        workers->worker[i].random = 0x2c1b3c6du * (2 * i + 1);
    }
}

static uint32_t share(uint32_t pages, uint32_t i, uint32_t workers)
{
    return divide_u64((uint64_t)pages * i, workers, NULL);
}

/* Pairs with the acquire in worker_step(): a worker sees its whole order. */
static void set_job(Worker *w, Job job)
{
    __atomic_store_n(&w->job, job, __ATOMIC_RELEASE);
}

void workers_start_job(Workers *workers, Job job)
{
    uint32_t pages = workers->oracle->pages;

    for (uint32_t i = 0; i < workers->size; i++) {
        Worker *w = &workers->worker[i];

        w->next = share(pages, i, workers->size);
        w->end = share(pages, i + 1, workers->size);
        oracle_sum_init(&w->sum);
        set_job(w, job);
    }
}

static void pace_init(Workers *workers, Worker *w, uint32_t i, uint64_t now)
{
    uint32_t spare, rate = divide_u64(workers->plan.rate, workers->plan.workers,
                                       &spare);

    rate += i < spare;
    w->due = now;
    w->interval = 0;
    w->burst = STEP_WRITES;
    if (!workers->plan.rate) {
        return;
    }
    w->burst = rate < BURSTS_PER_S ? !!rate : rate / BURSTS_PER_S;
    w->interval = rate ? divide_u64(workers->ticks_per_s * w->burst, rate, NULL)
                       : workers->ticks_per_s;
}

void workers_start_load(Workers *workers, const LoadPlan *plan, uint64_t now)
{
    uint32_t pages = workers->oracle->pages;

    workers->plan = *plan;
    __atomic_store_n(&workers->stop, 0, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < plan->workers; i++) {
        Worker *w = &workers->worker[i];

        w->pos = share(pages, i, plan->workers);
        w->lane = 0;
        if (plan->mode == LOAD_STRIDE) {
            w->lane = w->pos = share(plan->stride, i, plan->workers);
        }
        pace_init(workers, w, i, now);
        set_job(w, JOB_LOAD);
    }
}

void workers_stop(Workers *workers)
{
    __atomic_store_n(&workers->stop, 1, __ATOMIC_RELAXED);
}

int workers_busy(const Workers *workers)
{
    uint32_t busy = 0;

    /* Pairs with the release in done(): its writes are seen by verify. */
    for (uint32_t i = 0; i < workers->size; i++) {
        busy |= __atomic_load_n(&workers->worker[i].job, __ATOMIC_ACQUIRE);
    }
    return busy != JOB_IDLE;
}

OracleSum workers_result(const Workers *workers)
{
    OracleSum all;

    oracle_sum_init(&all);
    for (uint32_t i = 0; i < workers->size; i++) {
        oracle_sum_merge(&all, &workers->worker[i].sum);
    }
    oracle_verify_totals(workers->oracle, &all);
    return all;
}

static uint64_t done(Worker *w)
{
    __atomic_store_n(&w->job, JOB_IDLE, __ATOMIC_RELEASE);
    return 0;
}

static uint32_t random_below(Worker *w, uint32_t below)
{
    uint32_t r = w->random;

    r ^= r << 13;
    r ^= r >> 17;
    r ^= r << 5;
    w->random = r;
    return (uint64_t)r * below >> 32;
}

/* Every page in turn, @stride apart, then the pages between. */
static uint32_t next_strided(Worker *w, uint32_t stride, uint32_t pages)
{
    uint32_t page = w->pos < pages ? w->pos : 0;

    if (stride < pages - page) {
        w->pos = page + stride;
    } else {
        w->lane = w->lane + 1 < stride && w->lane + 1 < pages ? w->lane + 1 : 0;
        w->pos = w->lane;
    }
    return page;
}

static uint32_t next_zipf(Worker *w, uint32_t pages)
{
    uint32_t octaves = 32 - __builtin_clz(pages);
    uint32_t least = (uint32_t)1 << random_below(w, octaves);

    return (least + random_below(w, least)) * SCATTER % pages;
}

static uint32_t next_page(Worker *w, const LoadPlan *plan, uint32_t pages)
{
    if (plan->mode == LOAD_ZIPF) {
        return next_zipf(w, pages);
    }
    if (plan->mode == LOAD_RANDOM) {
        return random_below(w, pages);
    }
    return next_strided(w, plan->mode == LOAD_SEQ ? 1 : plan->stride, pages);
}

/* Ticks until the next burst; 0: now, and the one after it is noted. */
static uint64_t pace(const Workers *workers, Worker *w, uint64_t now)
{
    uint64_t debt = now - w->due;

    if (!w->interval) {
        return 0;
    }
    if (w->due > now && w->due - now <= w->interval) {
        return w->due - now;
    }
    if (w->due > now || debt * DEBTS_PER_S > workers->ticks_per_s) {
        w->due = now;
    }
    w->due += w->interval;
    return 0;
}

static uint64_t step_load(Workers *workers, uint32_t i, uint64_t now)
{
    Worker *w = &workers->worker[i];
    uint64_t wait;

    if (__atomic_load_n(&workers->stop, __ATOMIC_RELAXED)) {
        return done(w);
    }
    wait = pace(workers, w, now);
    for (uint32_t n = 0; !wait && n < w->burst; n++) {
        oracle_write(workers->oracle, i,
                     next_page(w, &workers->plan, workers->oracle->pages));
    }
    return wait;
}

static uint32_t take(Worker *w, uint32_t pages)
{
    uint32_t left = w->end - w->next;

    w->next += left < pages ? left : pages;
    return w->next;
}

uint64_t worker_step(Workers *workers, uint32_t i, uint64_t now)
{
    Worker *w = &workers->worker[i];
    uint32_t from;

    switch (__atomic_load_n(&w->job, __ATOMIC_ACQUIRE)) {
    case JOB_LOAD:
        return step_load(workers, i, now);
    case JOB_FILL:
        from = w->next;
        oracle_fill(workers->oracle, from, take(w, STEP_FILL));
        break;
    case JOB_VERIFY:
        from = w->next;
        oracle_verify_range(workers->oracle, from, take(w, STEP_VERIFY), &w->sum);
        break;
    default:
        return WORKER_IDLE;
    }
    return w->next == w->end ? done(w) : 0;
}
