/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Workers, one per vCPU, and the jobs that they do on an oracle.
 *
 * Theory of operation
 * -------------------
 *              control                            worker i
 *              workers_start_job(job)             loop: worker_step(i, now)
 *   IDLE ---------------------------------> FILL, LOAD or VERIFY
 *        <---------------------------------          range done; for LOAD,
 *                                                    workers_stop() was called
 *
 * Only control writes a worker's job while it is IDLE; only the worker writes
 * it back to IDLE. A step is short (some dozen pages) and ends between two
 * oracle operations: when workers_busy() is 0, verify is exact.
 *
 * The payload decides how workers run: threads that sleep as long as
 * worker_step() says, or CPUs that spin. Time is whatever counter the payload
 * has, with ticks_per_s ticks per second.
 *
 * Each worker paces its own part of a load with a rate: a burst of writes is
 * due every interval. Writes that are due for more than a tenth of a second
 * are dropped (a guest that stood still does not catch up), and a clock that
 * jumped back, as it may in a migration, starts the pace anew.
 *
 * LOAD_ZIPF writes the page of rank r with a probability of about 1/r: each octave of ranks (1; 2, 3; 4 to 7;
 * and so on) is as likely as any other, and so is each rank within one. The ranks are scattered over the load
 * area by a hash, so that the pages that are written most are no neighbours; a few ranks share a page.
 *
 * Limits: freestanding as the oracle is. Rates below one write per second
 * and worker are not kept exactly: the remainder of rate / workers goes to the
 * first workers.
 */
#ifndef TESTS_LAB_GUEST_WORKERS_H
#define TESTS_LAB_GUEST_WORKERS_H

#include "oracle.h"

#define WORKER_IDLE   UINT64_MAX

typedef enum LoadMode { LOAD_RANDOM, LOAD_SEQ, LOAD_STRIDE, LOAD_ZIPF } LoadMode;

typedef struct LoadPlan {
    LoadMode mode;
    uint32_t stride;    /* pages, LOAD_STRIDE only, at least 1 */
    uint32_t rate;      /* pages per second, all workers; 0: as fast as possible */
    uint32_t workers;   /* how many of the workers write */
} LoadPlan;

typedef enum Job { JOB_IDLE, JOB_FILL, JOB_LOAD, JOB_VERIFY } Job;

/* Aligned so that no two workers write the same cache line. */
typedef struct Worker {
    uint32_t job;           /* Job; atomic, see above */
    uint32_t next, end;     /* FILL and VERIFY: what is left of the range */
    uint32_t pos, lane;     /* LOAD: where seq and stride are */
    uint32_t random;
    uint32_t burst;         /* writes that fall due together; 0: never */
    uint64_t interval;      /* ticks between two bursts; 0: flat out */
    uint64_t due;
    OracleSum sum;
} __attribute__((aligned(128))) Worker;

typedef struct Workers {
    const Oracle *oracle;
    uint32_t size;
    uint32_t stop;          /* atomic; LOAD ends at the next step */
    uint64_t ticks_per_s;
    LoadPlan plan;          /* constant while any worker has JOB_LOAD */
    Worker worker[ORACLE_WORKERS];
} Workers;

void workers_init(Workers *workers, const Oracle *o, uint32_t size,
               uint64_t ticks_per_s);

/* Control only; the workers must be idle. Jobs but LOAD go to all workers. */
void workers_start_job(Workers *workers, Job job);
void workers_start_load(Workers *workers, const LoadPlan *plan, uint64_t now);

/* Control only: ends LOAD; the workers are idle soon after. */
void workers_stop(Workers *workers);
int workers_busy(const Workers *workers);

/* After JOB_VERIFY: what was found, totals included. */
OracleSum workers_result(const Workers *workers);

/*
 * Worker @i does a little of its job. Returns 0 if there is more to do, ticks
 * until there is, or WORKER_IDLE.
 */
uint64_t worker_step(Workers *workers, uint32_t i, uint64_t now);

/* @n / @d without the compiler's 64-bit division. */
uint64_t divide_u64(uint64_t n, uint32_t d, uint32_t *remainder);

#endif
