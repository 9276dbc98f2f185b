/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Workers and their jobs. Theory of operation and limits: crew.h.
 */
#include "crew.h"

#define STEP_FILL       16u
#define STEP_VERIFY     16u
#define STEP_WRITES     32u
#define BURSTS_PER_S    1000u   /* at most; fewer where the rate is lower */
#define DEBTS_PER_S     10u     /* a debt of 1/10 s is the most kept */

uint64_t crew_divide(uint64_t n, uint32_t d, uint32_t *remainder)
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

void crew_init(Crew *crew, const Oracle *o, uint32_t size,
               uint64_t ticks_per_s)
{
    crew->oracle = o;
    crew->size = size;
    crew->ticks_per_s = ticks_per_s;
    for (uint32_t i = 0; i < size; i++) {
        crew->worker[i].random = 0x2c1b3c6du * (2 * i + 1);
    }
}

static uint32_t share(uint32_t pages, uint32_t i, uint32_t workers)
{
    return crew_divide((uint64_t)pages * i, workers, NULL);
}

/* Pairs with the acquire in crew_step(): a worker sees its whole order. */
static void give(CrewWorker *w, Job job)
{
    __atomic_store_n(&w->job, job, __ATOMIC_RELEASE);
}

void crew_order(Crew *crew, Job job)
{
    uint32_t pages = crew->oracle->pages;

    for (uint32_t i = 0; i < crew->size; i++) {
        CrewWorker *w = &crew->worker[i];

        w->next = share(pages, i, crew->size);
        w->end = share(pages, i + 1, crew->size);
        oracle_sum_init(&w->sum);
        give(w, job);
    }
}

static void pace_init(Crew *crew, CrewWorker *w, uint32_t i, uint64_t now)
{
    uint32_t spare, rate = crew_divide(crew->plan.rate, crew->plan.workers,
                                       &spare);

    rate += i < spare;
    w->due = now;
    w->interval = 0;
    w->burst = STEP_WRITES;
    if (!crew->plan.rate) {
        return;
    }
    w->burst = rate < BURSTS_PER_S ? !!rate : rate / BURSTS_PER_S;
    w->interval = rate ? crew_divide(crew->ticks_per_s * w->burst, rate, NULL)
                       : crew->ticks_per_s;
}

void crew_load(Crew *crew, const LoadPlan *plan, uint64_t now)
{
    uint32_t pages = crew->oracle->pages;

    crew->plan = *plan;
    __atomic_store_n(&crew->stop, 0, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < plan->workers; i++) {
        CrewWorker *w = &crew->worker[i];

        w->pos = share(pages, i, plan->workers);
        w->lane = 0;
        if (plan->mode == LOAD_STRIDE) {
            w->lane = w->pos = share(plan->stride, i, plan->workers);
        }
        pace_init(crew, w, i, now);
        give(w, JOB_LOAD);
    }
}

void crew_stop(Crew *crew)
{
    __atomic_store_n(&crew->stop, 1, __ATOMIC_RELAXED);
}

int crew_busy(const Crew *crew)
{
    uint32_t busy = 0;

    /* Pairs with the release in done(): its writes are seen by verify. */
    for (uint32_t i = 0; i < crew->size; i++) {
        busy |= __atomic_load_n(&crew->worker[i].job, __ATOMIC_ACQUIRE);
    }
    return busy != JOB_IDLE;
}

OracleSum crew_found(const Crew *crew)
{
    OracleSum all;

    oracle_sum_init(&all);
    for (uint32_t i = 0; i < crew->size; i++) {
        oracle_sum_merge(&all, &crew->worker[i].sum);
    }
    oracle_verify_totals(crew->oracle, &all);
    return all;
}

static uint64_t done(CrewWorker *w)
{
    __atomic_store_n(&w->job, JOB_IDLE, __ATOMIC_RELEASE);
    return 0;
}

static uint32_t random_below(CrewWorker *w, uint32_t below)
{
    uint32_t r = w->random;

    r ^= r << 13;
    r ^= r >> 17;
    r ^= r << 5;
    w->random = r;
    return (uint64_t)r * below >> 32;
}

/* Every page in turn, @stride apart, then the pages between. */
static uint32_t next_strided(CrewWorker *w, uint32_t stride, uint32_t pages)
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

static uint32_t next_page(CrewWorker *w, const LoadPlan *plan, uint32_t pages)
{
    if (plan->mode == LOAD_RANDOM) {
        return random_below(w, pages);
    }
    return next_strided(w, plan->mode == LOAD_SEQ ? 1 : plan->stride, pages);
}

/* Ticks until the next burst; 0: now, and the one after it is noted. */
static uint64_t pace(const Crew *crew, CrewWorker *w, uint64_t now)
{
    uint64_t debt = now - w->due;

    if (!w->interval) {
        return 0;
    }
    if (w->due > now && w->due - now <= w->interval) {
        return w->due - now;
    }
    if (w->due > now || debt * DEBTS_PER_S > crew->ticks_per_s) {
        w->due = now;
    }
    w->due += w->interval;
    return 0;
}

static uint64_t step_load(Crew *crew, uint32_t i, uint64_t now)
{
    CrewWorker *w = &crew->worker[i];
    uint64_t wait;

    if (__atomic_load_n(&crew->stop, __ATOMIC_RELAXED)) {
        return done(w);
    }
    wait = pace(crew, w, now);
    for (uint32_t n = 0; !wait && n < w->burst; n++) {
        oracle_write(crew->oracle, i,
                     next_page(w, &crew->plan, crew->oracle->pages));
    }
    return wait;
}

static uint32_t take(CrewWorker *w, uint32_t pages)
{
    uint32_t left = w->end - w->next;

    w->next += left < pages ? left : pages;
    return w->next;
}

uint64_t crew_step(Crew *crew, uint32_t i, uint64_t now)
{
    CrewWorker *w = &crew->worker[i];
    uint32_t from;

    switch (__atomic_load_n(&w->job, __ATOMIC_ACQUIRE)) {
    case JOB_LOAD:
        return step_load(crew, i, now);
    case JOB_FILL:
        from = w->next;
        oracle_fill(crew->oracle, from, take(w, STEP_FILL));
        break;
    case JOB_VERIFY:
        from = w->next;
        oracle_verify_range(crew->oracle, from, take(w, STEP_VERIFY), &w->sum);
        break;
    default:
        return CREW_IDLE;
    }
    return w->next == w->end ? done(w) : 0;
}
