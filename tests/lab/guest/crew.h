/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The crew: one worker a vCPU, and the jobs that they do on an oracle.
 *
 * Theory of operation
 * -------------------
 *                     control                        worker i
 *                     crew_order(job)                loop: crew_step(i, now)
 *   IDLE ---------------------------------> FILL, LOAD or VERIFY
 *        <---------------------------------          range done; for LOAD,
 *                                                    the crew's stop is set
 *
 * Control writes a worker's job only while it is IDLE, and a worker only to
 * IDLE, so whoever may write it is one. A step is short (some dozen pages) and
 * ends between two oracle operations: once crew_busy() is 0, verify is exact.
 *
 * How workers run is the payload's business: threads that sleep as long as
 * crew_step() says, or CPUs that spin. Time is whatever counter the payload
 * has, with crew.ticks_per_s of them a second.
 *
 * A load that is rate-limited is paced by each worker for itself: a burst of
 * writes is due every interval. Debts older than a tenth of a second are
 * dropped (a guest that stood still does not catch up with a storm), and a
 * clock that jumped back, as it may in a migration, starts the pace anew.
 *
 * Limits: freestanding as the oracle is. Rates below one write a second for
 * a worker are not kept exactly: the remainder of rate / workers goes to the
 * first workers.
 */
#ifndef TESTS_LAB_GUEST_CREW_H
#define TESTS_LAB_GUEST_CREW_H

#include "oracle.h"

#define CREW_IDLE   UINT64_MAX

typedef enum LoadMode { LOAD_RANDOM, LOAD_SEQ, LOAD_STRIDE } LoadMode;

typedef struct LoadPlan {
    LoadMode mode;
    uint32_t stride;    /* pages, LOAD_STRIDE only, at least 1 */
    uint32_t rate;      /* pages a second, all workers; 0: flat out */
    uint32_t workers;   /* how many of the crew */
} LoadPlan;

typedef enum Job { JOB_IDLE, JOB_FILL, JOB_LOAD, JOB_VERIFY } Job;

/* Aligned so that no two workers write the same cache line. */
typedef struct CrewWorker {
    uint32_t job;           /* Job; atomic, see above */
    uint32_t next, end;     /* FILL and VERIFY: what is left of the range */
    uint32_t pos, lane;     /* LOAD: where seq and stride are */
    uint32_t random;
    uint32_t burst;         /* writes that fall due together; 0: never */
    uint64_t interval;      /* ticks between two bursts; 0: flat out */
    uint64_t due;
    OracleSum sum;
} __attribute__((aligned(128))) CrewWorker;

typedef struct Crew {
    const Oracle *oracle;
    uint32_t size;
    uint32_t stop;          /* atomic; LOAD ends at the next step */
    uint64_t ticks_per_s;
    LoadPlan plan;          /* constant while any worker has JOB_LOAD */
    CrewWorker worker[ORACLE_WORKERS];
} Crew;

void crew_init(Crew *crew, const Oracle *o, uint32_t size,
               uint64_t ticks_per_s);

/* Control only; the crew must be idle. Jobs but LOAD go to all workers. */
void crew_order(Crew *crew, Job job);
void crew_load(Crew *crew, const LoadPlan *plan, uint64_t now);

/* Control only: ends LOAD; the crew is idle soon after. */
void crew_stop(Crew *crew);
int crew_busy(const Crew *crew);

/* After JOB_VERIFY: what was found, totals included. */
OracleSum crew_found(const Crew *crew);

/*
 * Worker @i does a little of its job. Returns 0 if there is more to do, ticks
 * until there is, or CREW_IDLE.
 */
uint64_t crew_step(Crew *crew, uint32_t i, uint64_t now);

/* @n / @d without the compiler's 64-bit division. */
uint64_t crew_divide(uint64_t n, uint32_t d, uint32_t *remainder);

#endif
