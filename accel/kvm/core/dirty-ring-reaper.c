/*
 * KVM dirty ring: the reaper
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * A page that is protected again faults again when the guest writes it.  So an
 * entry should stay in its ring, and its page writable, until a sync needs it or
 * the ring runs out of room.  When it does, the vCPU leaves the guest, and frees a
 * part of its ring itself; that costs the guest time.  The reaper is a thread that
 * frees room just before that: it does what a vCPU would have to do soon, and
 * no more.  Nothing depends on it: a page in a ring is as good as published, since
 * every sync takes all rings itself.
 *
 * While dirty logging is off it sleeps on a condition, without a timeout.  While
 * logging is on it looks at how full each ring is and how fast it fills.  A
 * ring whose room does not last for LEAD_NS at that rate gets as much room again.
 * A guest that writes the same pages over and over adds no entries once all of them
 * are in the ring, however full it is: it is left alone.
 *
 * A ring that is full within LEAVE_NS is left to its vCPU, and the reaper sleeps.  It
 * would be awake all the time, for a few hundred entries each, and its ioctls make
 * the vCPU leave the guest, too.  Where both share a CPU that took more than the
 * vCPU's own exits: a guest with 1,024 entries wrote 7 % less.
 *
 * The reaper wakes up again when the first ring is to have no more room than it
 * needs, at the present rate.  Its pause shortens at once and at most doubles.  A
 * vCPU that meets a full ring shortens it too (dirty_reaper_hurry()), unless a ring
 * is left to its vCPU: the guest has begun to write faster than before.
 *
 * When logging ends, the reaper empties all rings once, since what they hold is of no
 * use any more.  The thread that ends logging would hold the BQL meanwhile.
 *
 * It takes no lock but its own and, inside dirty_ring_make_room(), those of the
 * ring set.
 *
 * Limits: one reaper per ring set, since the rate is kept in the rings.
 */
#include "dirty-ring-internal.h"
#include "dirty-ring-reaper.h"

#include <errno.h>
#include <glib.h>
#include <time.h>

#define NS_PER_S 1000000000ull

/* Entries that come within @ns at the rate of @uptake in @elapsed_ns. */
static uint64_t entries_within(uint64_t ns, uint64_t uptake,
                               uint64_t elapsed_ns)
{
    return (double)uptake * ns / MAX(elapsed_ns, 1);
}

bool dirty_reaper_leaves(const DirtyRingLevel *level, uint64_t elapsed_ns)
{
    return entries_within(DIRTY_REAPER_LEAVE_NS, level->uptake, elapsed_ns) >
           level->usable;
}

uint64_t dirty_reaper_want(const DirtyRingLevel *level, uint64_t elapsed_ns)
{
    return dirty_reaper_leaves(level, elapsed_ns) ? 0
           : entries_within(DIRTY_REAPER_LEAD_NS, level->uptake, elapsed_ns);
}

static uint64_t level_room(const DirtyRingLevel *level)
{
    return level->usable > level->occupied ? level->usable - level->occupied
                                           : 0;
}

uint64_t dirty_reaper_release(const DirtyRingLevel *level, uint64_t want)
{
    uint64_t room = level_room(level);

    return want > room ? 2 * want - room : 0;
}

uint64_t dirty_reaper_lasts_ns(const DirtyRingLevel *level, uint64_t want,
                               uint64_t released, uint64_t elapsed_ns)
{
    uint64_t room = level_room(level) + released;

    if (!level->uptake || dirty_reaper_leaves(level, elapsed_ns)) {
        return DIRTY_REAPER_MAX_NS;
    }
    return room <= want ? 0
           : MIN((double)(room - want) * elapsed_ns / level->uptake,
                 DIRTY_REAPER_MAX_NS);
}

/* What one wake-up knows and finds out. */
typedef struct Look {
    uint64_t elapsed_ns;
    uint64_t lasts_ns;      /* the shortest of all rings */
    bool leaves;            /* a ring is left to its vCPU */
} Look;

static uint64_t look_decide(void *opaque, const DirtyRingLevel *level)
{
    Look *look = opaque;
    uint64_t want = dirty_reaper_want(level, look->elapsed_ns);
    uint64_t released = dirty_reaper_release(level, want);
    uint64_t lasts_ns = dirty_reaper_lasts_ns(level, want, released,
                                              look->elapsed_ns);

    look->lasts_ns = MIN(look->lasts_ns, lasts_ns);
    look->leaves |= dirty_reaper_leaves(level, look->elapsed_ns);
    return released;
}

uint64_t dirty_reaper_step(DirtyReaper *reaper, uint64_t now_ns)
{
    uint64_t pause_ns = reaper->pause_ns;
    Look look = {
        .elapsed_ns = now_ns - reaper->last_ns,
        .lasts_ns = MIN(2 * pause_ns, DIRTY_REAPER_MAX_NS),
    };

    dirty_ring_make_room(reaper->set, look_decide, &look);
    __atomic_store_n(&reaper->leaves, look.leaves, __ATOMIC_RELAXED);
    reaper->last_ns = now_ns;
    reaper->pause_ns = MAX(look.lasts_ns, DIRTY_REAPER_MIN_NS);
    __atomic_fetch_add(&reaper->wakeups, 1, __ATOMIC_RELAXED);
    return reaper->pause_ns;
}

void dirty_reaper_init(DirtyReaper *reaper, DirtyRingSet *set)
{
    pthread_condattr_t attr;

    *reaper = (DirtyReaper){
        .set = set,
        .pause_ns = DIRTY_REAPER_MIN_NS,
    };
    pthread_mutex_init(&reaper->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&reaper->wake, &attr);
    pthread_condattr_destroy(&attr);
}

void dirty_reaper_destroy(DirtyReaper *reaper)
{
    pthread_cond_destroy(&reaper->wake);
    pthread_mutex_destroy(&reaper->lock);
}

/*
 * Waits until the pause that began at reaper->last_ns is over or, if the reaper is
 * off, until it is switched on or has to drain the rings; *@slept says that it was
 * off.  Returns false once the reaper has to quit.
 */
static bool reaper_wait(DirtyReaper *reaper, bool *slept)
{
    bool keep_running, due = false;

    *slept = false;
    pthread_mutex_lock(&reaper->lock);
    while (!reaper->quit && !reaper->drain && (!reaper->active || !due)) {
        uint64_t deadline_ns = reaper->last_ns +
            (reaper->hurry ? DIRTY_REAPER_MIN_NS : reaper->pause_ns);
        struct timespec deadline = {
            .tv_sec = deadline_ns / NS_PER_S,
            .tv_nsec = deadline_ns % NS_PER_S,
        };

        if (reaper->active) {
            due = pthread_cond_timedwait(&reaper->wake, &reaper->lock,
                                         &deadline) == ETIMEDOUT;
        } else {
            *slept = true;
            pthread_cond_wait(&reaper->wake, &reaper->lock);
        }
    }
    reaper->hurry = false;
    keep_running = !reaper->quit;
    pthread_mutex_unlock(&reaper->lock);
    return keep_running;
}

static void reaper_trace(const DirtyReaper *reaper, const char *event)
{
    if (reaper->trace) {
        reaper->trace(event);
    }
}

/* Waits as reaper_wait() does, and traces the wait. */
static bool reaper_wait_traced(DirtyReaper *reaper, bool *slept)
{
    bool keep_running;

    reaper_trace(reaper, "wait");
    keep_running = reaper_wait(reaper, slept);
    if (keep_running) {
        reaper_trace(reaper, "wakeup");
    }
    return keep_running;
}

/* True once after the reaper was switched off. */
static bool reaper_has_to_drain(DirtyReaper *reaper)
{
    bool drain;

    pthread_mutex_lock(&reaper->lock);
    drain = reaper->drain;
    reaper->drain = false;
    pthread_mutex_unlock(&reaper->lock);
    return drain;
}

static void reaper_drain(DirtyReaper *reaper)
{
    dirty_ring_reap_all(reaper->set);
    __atomic_fetch_add(&reaper->wakeups, 1, __ATOMIC_RELAXED);
}

void dirty_reaper_run(DirtyReaper *reaper)
{
    bool slept;

    reaper_trace(reaper, "init");
    reaper->last_ns = dirty_ring_now_ns();
    while (reaper_wait_traced(reaper, &slept)) {
        uint64_t pause_ns;

        if (reaper_has_to_drain(reaper)) {
            reaper_drain(reaper);
            continue;
        }
        pause_ns = dirty_reaper_step(reaper, dirty_ring_now_ns());
        if (slept) {
            /* Entries from while the reaper was off say nothing of the rate. */
            pause_ns = reaper->pause_ns = DIRTY_REAPER_MIN_NS;
        }
        __atomic_store_n(&reaper->interval_ns, pause_ns, __ATOMIC_RELAXED);
    }
}

void dirty_reaper_set_active(DirtyReaper *reaper, bool active)
{
    pthread_mutex_lock(&reaper->lock);
    reaper->active = active;
    reaper->drain = !active;
    pthread_cond_signal(&reaper->wake);
    pthread_mutex_unlock(&reaper->lock);
}

void dirty_reaper_hurry(DirtyReaper *reaper)
{
    if (dirty_reaper_interval_ns(reaper) <= DIRTY_REAPER_MIN_NS ||
        __atomic_load_n(&reaper->leaves, __ATOMIC_RELAXED)) {
        return;
    }
    pthread_mutex_lock(&reaper->lock);
    if (reaper->active && !reaper->hurry) {
        reaper->hurry = true;
        pthread_cond_signal(&reaper->wake);
    }
    pthread_mutex_unlock(&reaper->lock);
}

void dirty_reaper_quit(DirtyReaper *reaper)
{
    pthread_mutex_lock(&reaper->lock);
    reaper->quit = true;
    pthread_cond_signal(&reaper->wake);
    pthread_mutex_unlock(&reaper->lock);
}

uint64_t dirty_reaper_wakeups(const DirtyReaper *reaper)
{
    return __atomic_load_n(&reaper->wakeups, __ATOMIC_RELAXED);
}

uint64_t dirty_reaper_interval_ns(const DirtyReaper *reaper)
{
    return __atomic_load_n(&reaper->interval_ns, __ATOMIC_RELAXED);
}
