/*
 * KVM dirty ring: the reaper
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle: dirty_reaper_init() -> the user's thread calls
 * dirty_reaper_run() -> dirty_reaper_set_active() from any thread ->
 * dirty_reaper_quit(), the thread returns -> dirty_reaper_destroy().
 */
#ifndef ACCEL_KVM_DIRTY_RING_REAPER_H
#define ACCEL_KVM_DIRTY_RING_REAPER_H

#include "dirty-ring-core.h"

/* Bounds of the time between two wake-ups, in nanoseconds. */
#define DIRTY_REAPER_MIN_NS (1ull * 1000 * 1000)
#define DIRTY_REAPER_MAX_NS (1000ull * 1000 * 1000)

typedef struct DirtyReaper {
    DirtyRingSet *set;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool active;            /* protected by lock */
    bool quit;              /* protected by lock */
    uint64_t interval_ns;   /* written by the reaper thread, atomic */
    uint64_t wakeups;       /* written by the reaper thread, atomic */
} DirtyReaper;

void dirty_reaper_init(DirtyReaper *reaper, DirtyRingSet *set);
void dirty_reaper_destroy(DirtyReaper *reaper);

/* The body of the reaper thread; returns after dirty_reaper_quit(). */
void dirty_reaper_run(DirtyReaper *reaper);

/* Starts or stops reaping.  While it is off, the thread does not wake up. */
void dirty_reaper_set_active(DirtyReaper *reaper, bool active);

/* Makes dirty_reaper_run() return soon. */
void dirty_reaper_quit(DirtyReaper *reaper);

/* Returns how often the reaper has woken up to reap, and its last pause. */
uint64_t dirty_reaper_wakeups(const DirtyReaper *reaper);
uint64_t dirty_reaper_interval_ns(const DirtyReaper *reaper);

/*
 * Returns the pause in nanoseconds after which the fastest ring is half full,
 * between DIRTY_REAPER_MIN_NS and DIRTY_REAPER_MAX_NS.
 *
 * @pause_ns: the pause before, which is at most doubled
 * @elapsed_ns: time in which the fastest ring took up @fastest entries
 * @size: entries per ring
 */
uint64_t dirty_reaper_pause(uint64_t pause_ns, uint64_t elapsed_ns,
                            uint64_t fastest, uint32_t size);

#endif
