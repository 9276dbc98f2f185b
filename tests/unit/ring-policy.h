/*
 * Dirty ring: a machine with a virtual clock, on which policies are compared
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle: policy_run() does all of it, on the calling thread.  Nothing
 * depends on real time or on chance: the same load and policy give the same
 * result.
 */
#ifndef TESTS_UNIT_RING_POLICY_H
#define TESTS_UNIT_RING_POLICY_H

#include <stdint.h>

/* Who decides when entries are released and pages protected again. */
typedef enum PolicyKind {
    POLICY_BITMAP,      /* no ring: a sync protects what was written */
    POLICY_STOCK,       /* QEMU 10.0: a second's pause; full: all rings */
    POLICY_HALF_FULL,   /* a reaper that empties all rings at half full */
    POLICY_OURS,        /* dirty-ring-core.c and dirty-ring-reaper.c */
} PolicyKind;

/* In which order a vCPU writes the pages of its hot set. */
typedef enum PolicyLoad {
    LOAD_UNIFORM,
    LOAD_ZIPF,          /* page k with a weight of 1 / k */
    LOAD_CYCLIC,        /* one after another, from the start again */
    LOAD_SEQUENTIAL,    /* one after another, never the same again */
} PolicyLoad;

typedef struct PolicyCase {
    PolicyLoad load;
    unsigned nvcpus;
    uint64_t hot_pages;     /* per vCPU, disjoint */
    uint32_t ring_size;     /* entries */
} PolicyCase;

typedef struct PolicyResult {
    uint64_t writes;        /* of all vCPUs, in the time that was simulated */
    uint64_t faults;        /* number of those that had to make a page writable */
    uint64_t full_exits;
    uint64_t resets;        /* ioctls that found an entry to reset */
    uint64_t redirtied;     /* pages published that were dirty already */
    uint64_t published;
    uint64_t wakeups;       /* of the reaper */
    uint64_t stall_max_ns;  /* longest time that a vCPU spent in one full exit */
} PolicyResult;

/* Simulates a second of @c under @kind, with four syncs. */
PolicyResult policy_run(PolicyKind kind, const PolicyCase *c);

const char *policy_kind_name(PolicyKind kind);
const char *policy_load_name(PolicyLoad load);

#endif
