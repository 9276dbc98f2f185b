/*
 * KVM dirty ring: the reaper
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle: dirty_reaper_init() -> a thread of the user's calls
 * dirty_reaper_run() -> dirty_reaper_set_active() from any thread ->
 * dirty_reaper_quit(), the thread returns -> dirty_reaper_destroy().
 */
#ifndef ACCEL_KVM_DIRTY_RING_REAPER_H
#define ACCEL_KVM_DIRTY_RING_REAPER_H

#include "dirty-ring-core.h"

/* Bounds of the time between two wake-ups, in nanoseconds. */
#define DIRTY_REAPER_MIN_NS (1ull * 1000 * 1000)
#define DIRTY_REAPER_MAX_NS (1000ull * 1000 * 1000)

/* How long the room of a ring has to last. */
#define DIRTY_REAPER_LEAD_NS (2 * DIRTY_REAPER_MIN_NS)

/* A ring that is filled in less than this is left to its vCPU. */
#define DIRTY_REAPER_LEAVE_NS (32 * DIRTY_REAPER_LEAD_NS)

typedef struct DirtyReaper {
    DirtyRingSet *set;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool active;            /* protected by lock */
    bool drain;             /* protected by lock: empty all rings once */
    bool hurry;             /* protected by lock: wake up soon */
    bool quit;              /* protected by lock */
    uint64_t last_ns;       /* of the last step: reaper thread only */
    uint64_t pause_ns;      /* chosen by the last step: reaper thread only */
    uint64_t interval_ns;   /* the same, atomic */
    uint64_t wakeups;       /* written by the reaper thread, atomic */
    bool leaves;            /* atomic: the last step left a ring to its vCPU */
    /* May be NULL: told "init", "wait" and "wakeup" by the reaper thread. */
    void (*trace)(const char *event);
} DirtyReaper;

/* @reaper->trace may be set before dirty_reaper_run(). */
void dirty_reaper_init(DirtyReaper *reaper, DirtyRingSet *set);
void dirty_reaper_destroy(DirtyReaper *reaper);

/* The body of the reaper thread; returns after dirty_reaper_quit(). */
void dirty_reaper_run(DirtyReaper *reaper);

/*
 * Starts or stops reaping.  When it is switched off, the thread empties all rings
 * once, some time after this call, and does not wake up any more.
 */
void dirty_reaper_set_active(DirtyReaper *reaper, bool active);

/* Makes dirty_reaper_run() return soon. */
void dirty_reaper_quit(DirtyReaper *reaper);

/* Times the reaper has woken up to reap, and the pause it chose last. */
uint64_t dirty_reaper_wakeups(const DirtyReaper *reaper);
uint64_t dirty_reaper_interval_ns(const DirtyReaper *reaper);

/*
 * A full ring was met: look within DIRTY_REAPER_MIN_NS, unless full rings are left to
 * their vCPUs anyway.  From any thread.
 */
void dirty_reaper_hurry(DirtyReaper *reaper);

/*
 * One wake-up at @now_ns (monotonic): makes room where it is needed, and returns
 * the pause until the next, in nanoseconds.  What dirty_reaper_run() does each
 * time; for the reaper thread, or a test with a clock of its own.
 */
uint64_t dirty_reaper_step(DirtyReaper *reaper, uint64_t now_ns);

/*
 * True if the ring is left to its vCPU, since it is filled in less than
 * DIRTY_REAPER_LEAVE_NS.
 *
 * @elapsed_ns: time in which the ring took up @level->uptake entries
 */
bool dirty_reaper_leaves(const DirtyRingLevel *level, uint64_t elapsed_ns);

/*
 * Entries of room that a ring needs until the reaper can have looked twice more:
 * what it takes up in DIRTY_REAPER_LEAD_NS; 0 for a ring that is left to its vCPU.
 */
uint64_t dirty_reaper_want(const DirtyRingLevel *level, uint64_t elapsed_ns);

/* Entries to release now: none while there is room for @want, else to twice that. */
uint64_t dirty_reaper_release(const DirtyRingLevel *level, uint64_t want);

/*
 * Nanoseconds after which the ring has room for @want entries only, @released of
 * them being released now; at most DIRTY_REAPER_MAX_NS.
 */
uint64_t dirty_reaper_lasts_ns(const DirtyRingLevel *level, uint64_t want,
                               uint64_t released, uint64_t elapsed_ns);

#endif
