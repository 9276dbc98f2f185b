/*
 * KVM dirty ring: the reaper
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * A vCPU whose ring is full leaves the guest and empties the ring; that costs the
 * guest time.  The reaper is a thread that empties rings before they are full.
 * It saves exits; correctness does not depend on it, since every sync harvests all
 * rings itself.
 *
 * While dirty logging is off it sleeps on a condition, without a timeout.  While
 * logging is on it wakes up when it expects the fastest ring to be half full, by
 * the rate at which rings filled since it woke up last, no matter which thread
 * emptied them.  A burst shortens the pause at once, a quiet guest at most doubles
 * it.  If a guest fills a ring within the shortest pause, vCPUs empty their own
 * rings at ring-full and the reaper does not try to keep up.
 *
 * It takes no lock but its own and, inside the reap, those of the ring set.
 *
 * Limits: one reaper per ring set, since the rate is kept in the rings.
 */
#include "dirty-ring-reaper.h"

#include <errno.h>
#include <glib.h>
#include <time.h>

#define NS_PER_S 1000000000ull

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

uint64_t dirty_reaper_pause(uint64_t pause_ns, uint64_t elapsed_ns,
                            uint64_t fastest, uint32_t size)
{
    uint64_t longest = MIN(pause_ns * 2, DIRTY_REAPER_MAX_NS);
    double half_full;

    if (!fastest) {
        return MAX(longest, DIRTY_REAPER_MIN_NS);
    }
    half_full = (double)elapsed_ns * (size / 2) / fastest;
    if (half_full >= longest) {
        return MAX(longest, DIRTY_REAPER_MIN_NS);
    }
    return MAX((uint64_t)half_full, DIRTY_REAPER_MIN_NS);
}

void dirty_reaper_init(DirtyReaper *reaper, DirtyRingSet *set)
{
    pthread_condattr_t attr;

    *reaper = (DirtyReaper){
        .set = set,
        .interval_ns = DIRTY_REAPER_MIN_NS,
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
 * Waits until @deadline_ns on the monotonic clock or, if the reaper is off,
 * until it is switched on; *@slept is true if it was off.  Returns false once
 * the reaper has to quit.
 */
static bool reaper_wait(DirtyReaper *reaper, uint64_t deadline_ns,
                        bool *slept)
{
    struct timespec deadline = {
        .tv_sec = deadline_ns / NS_PER_S,
        .tv_nsec = deadline_ns % NS_PER_S,
    };
    bool keep_running;
    int ret = 0;

    *slept = false;
    pthread_mutex_lock(&reaper->lock);
    while (!reaper->quit && (!reaper->active || ret != ETIMEDOUT)) {
        if (reaper->active) {
            ret = pthread_cond_timedwait(&reaper->wake, &reaper->lock,
                                         &deadline);
        } else {
            *slept = true;
            pthread_cond_wait(&reaper->wake, &reaper->lock);
        }
    }
    keep_running = !reaper->quit;
    pthread_mutex_unlock(&reaper->lock);
    return keep_running;
}

void dirty_reaper_run(DirtyReaper *reaper)
{
    uint64_t pause = DIRTY_REAPER_MIN_NS;
    uint64_t last = now_ns();
    bool slept;

    while (reaper_wait(reaper, last + pause, &slept)) {
        uint64_t now = now_ns(), fastest;

        dirty_ring_reap_idle(reaper->set, &fastest);
        /* Entries from before it was switched on do not count for the rate. */
        pause = slept ? DIRTY_REAPER_MIN_NS
                      : dirty_reaper_pause(pause, now - last, fastest,
                                           reaper->set->size);
        last = now;
        __atomic_store_n(&reaper->interval_ns, pause, __ATOMIC_RELAXED);
        __atomic_fetch_add(&reaper->wakeups, 1, __ATOMIC_RELAXED);
    }
}

void dirty_reaper_set_active(DirtyReaper *reaper, bool active)
{
    pthread_mutex_lock(&reaper->lock);
    reaper->active = active;
    pthread_cond_signal(&reaper->wake);
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
