/*
 * dirty-limit: a machine with a virtual clock, on which limits are compared
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle: limit_run() does all of it, on the calling thread.  Nothing depends
 * on real time or on chance: the same case gives the same result.
 */
#ifndef TESTS_UNIT_LIMIT_MODEL_H
#define TESTS_UNIT_LIMIT_MODEL_H

#include <stdbool.h>
#include <stdint.h>

typedef enum LimitRule {
    LIMIT_BASE,         /* QEMU 10.0: a sleep per full ring, adjusted each second */
    LIMIT_OURS,         /* core/dirty-limit.c */
} LimitRule;

typedef struct LimitCase {
    uint64_t mib_per_s;     /* the limit of each vCPU */
    uint32_t ring_size;     /* entries */
    unsigned nvcpus;
    uint64_t page_ns;       /* a vCPU that is let dirties a page in this time */
    uint64_t idle_ns;       /* after each BURST_PAGES pages; 0: never */
    bool polled;            /* calc-dirty-rate and other kicks meanwhile */
} LimitCase;

typedef struct LimitResult {
    double slowest, fastest;    /* rate of a vCPU after 3 s, limit = 1 */
    uint64_t longest_sleep_ns;  /* a single one */
    uint64_t longest_rest_ns;   /* from leaving the guest to entering it again */
    uint64_t longest_kick_ns;   /* from a kick until its vCPU serves it */
    uint64_t sleeps;            /* per vCPU and second */
    uint64_t charges;           /* the same */
} LimitResult;

/* Pages that a bursty guest dirties between two pauses. */
#define BURST_PAGES 256

LimitResult limit_run(LimitRule rule, const LimitCase *c);

#endif
