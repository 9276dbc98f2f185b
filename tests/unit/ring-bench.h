/*
 * Dirty ring: two rings in plain memory and a scripted kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each call of reset takes the next step of a script, which says how many entries
 * to reset or which error to return, and what else happens meanwhile.  Publishing
 * appends to a list, with the number of ioctls made so far.
 *
 * Life cycle: bench_new() -> any number of threads use it -> bench_free(), which
 * checks the counters.
 */
#ifndef TESTS_UNIT_RING_BENCH_H
#define TESTS_UNIT_RING_BENCH_H

#include <glib.h>

#include "accel/kvm/core/dirty-ring-core.h"
#include "accel/kvm/core/dirty-ring-slots.h"

#define SIZE 16
#define RESERVE 2
#define SLOT_PAGES 1000
#define ALL 1000

typedef struct Bench Bench;

/* One call of reset: how many entries, or -errno; then what happens. */
typedef struct Step {
    int ret;
    void (*meanwhile)(Bench *bench);
} Step;

struct Bench {
    DirtyRingSet set;
    DirtySlotTable slots;
    struct kvm_dirty_gfn entries[2][SIZE];
    DirtyRing *ring[2];
    uint64_t pushed[2];
    uint64_t reset[2];
    const Step *script;         /* the last step repeats */
    unsigned calls;             /* atomic */
    GArray *published;          /* of uint64_t: protected by lock */
    unsigned calls_at_publish;
    pthread_mutex_t lock;
    pthread_t thread;
    uint64_t reaped;            /* by thread */
    bool waited;                /* atomic: wait_published() has returned */
    pthread_mutex_t gate[2];    /* publish() passes: by parity of the page */
    void (*translating)(Bench *bench);  /* may be NULL: called in translate() */
    bool flag[2];               /* atomic: for the test's own threads */
    uint64_t counter;
    uint64_t told;              /* atomic: entries that reaped() was told */
    DirtyRingFault fault;       /* what broken() was told */
    unsigned broken;            /* how often */
};

/* A script of one step: resets all there is. */
extern const Step reset_all[];

/* A bench whose kernel follows @script; slot 0 has SLOT_PAGES pages from 0 on. */
Bench *bench_new(const Step *script);
void bench_free(Bench *b);

/* The kernel pushes an entry onto ring @r, or @n entries of slot 0. */
void bench_push(Bench *b, int r, uint32_t slot, uint64_t offset);
void bench_push_run(Bench *b, int r, uint64_t first, int n);

DirtyRingStats bench_stats(Bench *b);

/* What the reaper would do, did it take all of each ring. */
uint64_t bench_make_room(Bench *b);

/* Pages published so far; from any thread. */
unsigned bench_published(Bench *b);

/* The set's operations, for a test that replaces some; @opaque is the bench. */
int bench_reset(void *opaque);
size_t bench_translate(void *opaque, const uint32_t *slots, uint64_t *pages,
                       size_t n);
void bench_publish(void *opaque, const uint64_t *pages, size_t n);

void nap_ms(int ms);

#endif
