/*
 * KVM dirty ring: the ring state machine, free of QEMU and of KVM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle
 *
 *   dirty_ring_set_init() -> dirty_ring_add() per vCPU -> reap, any number of
 *   threads, any number of times -> dirty_ring_set_destroy() when no thread
 *   uses the set any more (QEMU never does; tests do).
 *
 * Thread model
 *
 *   Every function may be called from any thread unless its comment says
 *   otherwise.  Rings are added, never removed: a ring outlives its vCPU's
 *   thread because KVM keeps the ring, and its position in it, for as long as
 *   the vCPU file descriptor is open.
 *
 * The theory of operation is at the top of dirty-ring-reap.c.
 */
#ifndef ACCEL_KVM_DIRTY_RING_CORE_H
#define ACCEL_KVM_DIRTY_RING_CORE_H

#include <glib.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dirty-ring-suspects.h"

typedef struct DirtyRing DirtyRing;
typedef struct DirtyRingSet DirtyRingSet;

/* The reason why pages may have been lost, or a vCPU cannot run. */
typedef enum DirtyRingFault {
    DIRTY_RING_FAULT_NONE,
    DIRTY_RING_FAULT_OVERFLOW,      /* the kernel overran a ring */
    DIRTY_RING_FAULT_RESET,         /* the kernel does not reset entries */
} DirtyRingFault;

/* The result of handling a full ring. */
typedef enum DirtyRingFull {
    DIRTY_RING_FULL_FREED,      /* the ring has room, or soon will have */
    DIRTY_RING_FULL_SPURIOUS,   /* it was empty: the caller must slow down */
    DIRTY_RING_FULL_STUCK,      /* it has no room and never will have again */
} DirtyRingFull;

/*
 * The functions that a ring set calls.  QEMU implements them over KVM's file
 * descriptors and the RAM list's dirty bitmaps, the unit tests over a fake kernel.
 */
typedef struct DirtyRingOps {
    /*
     * Calls KVM_RESET_DIRTY_RINGS once.  Called with the reset lock held and no
     * other, and with all signals blocked, which it must not change.  Returns
     * the number of entries that the kernel has reset, those of other threads'
     * batches included, or -errno.
     */
    int (*reset)(void *opaque);

    /*
     * Translates @n entries {slot, offset} of one ring, in place and in
     * order, to the page numbers that publish() takes.  Leaves out entries
     * that name no known page.  Returns how many remain.
     * Called with one ring lock or the reset lock held; must not take the BQL,
     * another lock of the set, or block.
     *
     * @slots: the slot word of each entry, as the kernel wrote it: untrusted
     * @pages: in: the offset word, in host pages; out: page numbers
     */
    size_t (*translate)(void *opaque, const uint32_t *slots, uint64_t *pages,
                        size_t n);

    /*
     * Marks @n pages dirty.  Called with no lock of the set held, possibly
     * from several threads at once.  @pages stays the caller's.
     */
    void (*publish)(void *opaque, const uint64_t *pages, size_t n);

    /*
     * Optional.  Called when a batch of @entries released ones (more than 0) is
     * published, @ns after its begin, with no lock of the set held.
     */
    void (*reaped)(void *opaque, uint64_t entries, uint64_t ns);

    /*
     * Optional.  Called once, when the set breaks.  Called with locks of the
     * set held; must take none of them, and not the BQL.
     */
    void (*broken)(void *opaque, DirtyRingFault fault);
} DirtyRingOps;

/* How often something happened, and how long it took. */
typedef struct DirtyRingTime {
    uint64_t count;             /* all three atomic, without any order */
    uint64_t total_ns;
    uint64_t max_ns;
} DirtyRingTime;

/* 2^0 to 2^15 microseconds. */
#define DIRTY_RING_FULL_BUCKETS 16

/*
 * Counters of a ring set, each a uint64_t.  All but suspects only grow.  Each is
 * read and written atomically, without any order between them.  While no thread
 * is in a function of the set:
 *
 *   published - republished - published_in_place + unknown ==
 *       released_full + released_reaper + released_sync <= harvested
 *   reset_entries == the released entries, once all are reset by these resets
 *   the sum of full_hist == full_exits
 *   full_max_ns <= full_ns, reset_max_ns <= reset_ns
 */
typedef struct DirtyRingStats {
    uint64_t harvested;         /* entries seen in rings */
    uint64_t released_full;     /* entries marked for a reset, by full rings */
    uint64_t released_reaper;   /* ... by the reaper */
    uint64_t released_sync;     /* ... by syncs, and when a vCPU goes */
    uint64_t published;         /* pages handed to publish() */
    uint64_t republished;       /* number of those that were suspects */
    uint64_t published_in_place;    /* ... whose entries were not released */
    uint64_t suspects;          /* at present, see dirty-ring-suspects.h */
    uint64_t unknown;           /* released, and left out by translate() */
    uint64_t resets;            /* KVM_RESET_DIRTY_RINGS issued */
    uint64_t reset_entries;     /* entries that these have reset */
    uint64_t reset_entries_max; /* the most that one has reset */
    uint64_t reset_ns;          /* time spent in them */
    uint64_t reset_max_ns;      /* the longest */
    uint64_t resets_skipped;    /* batches that another thread's ioctl armed */
    /* Ioctls after which a batch was not armed; an alarm on Linux 6.17 and newer. */
    uint64_t resets_incomplete;
    uint64_t resets_failed;     /* ioctls that returned an error */
    uint64_t full_exits;        /* ring-full exits handled */
    uint64_t full_exits_empty;  /* number of those with an empty ring */
    uint64_t full_ns;           /* time spent in them, all vCPUs together */
    uint64_t full_max_ns;       /* the longest */
    /*
     * Their number, by the power of two of microseconds: [0] is less than 2, [n]
     * from 2^n on, the last is open.
     */
    uint64_t full_hist[DIRTY_RING_FULL_BUCKETS];
    uint64_t overflows;         /* times a ring was seen to have lost entries */
} DirtyRingStats;

/*
 * One vCPU's ring.
 *
 * Positions count entries since the ring was created and never wrap; an
 * entry's index is its position modulo the ring size.
 *
 *      armed <= released <= seen
 */
struct DirtyRing {
    DirtyRing *next;                /* set before the ring is published */
    DirtyRingSet *set;
    struct kvm_dirty_gfn *entries;  /* shared with the kernel */
    unsigned long id;               /* vCPU id, as KVM_CREATE_VCPU took it */

    pthread_mutex_t lock;           /* the ring lock */
    uint64_t seen;                  /* all before are counted: by lock */
    uint64_t released;              /* all before are marked: by lock */
    uint64_t armed;                 /* all before are reset: by lock */
    uint64_t most;                  /* largest seen - armed: by lock */
    DirtyRingEntry *copies;         /* by index, of [armed, released): by lock */
    GArray *passed;                 /* of DirtyRingEntry: protected by lock */
    uint64_t *page_counter;         /* may be NULL: protected by lock */
    void *owner;                    /* may be NULL: protected by lock */

    uint64_t uptake_counted;        /* used by the reaper only */
    uint64_t full_exits;            /* atomic */
    uint64_t full_at;               /* released at the last full exit: by lock */
    unsigned full_repeats;          /* full exits since it moved: by lock */
    uint64_t overrun_at;            /* 1 + released, at the last one: by lock */
    bool overflowed;                /* atomic; once true, stays true */
};

/* The rings of one virtual machine. */
struct DirtyRingSet {
    const DirtyRingOps *ops;
    void *opaque;
    uint32_t size;                  /* entries per ring, a power of two */
    uint32_t usable;                /* entries after which KVM says full */
    uint64_t reset_timeout_ns;           /* for resets without any progress */
    bool reset_refused;             /* atomic; once true, stays true */

    DirtyRing *rings;               /* store-release under add_lock */
    pthread_mutex_t add_lock;
    pthread_mutex_t reset_lock;     /* the reset ioctl and its retries */

    DirtySuspects suspects;         /* protected by reset_lock */

    pthread_mutex_t batch_lock;
    pthread_cond_t batch_published;
    struct DirtyBatch *in_flight;   /* oldest first: protected by batch_lock */
    struct DirtyBatch *in_flight_tail;
    struct DirtyBatch *free_batches;    /* protected by batch_lock */
    uint64_t next_seq;              /* protected by batch_lock */

    DirtyRingStats stats;           /* atomic */
    int fault;                      /* atomic: a DirtyRingFault, the first */
    uint64_t fault_clock;           /* atomic: for the planted fault only */
};

/*
 * Initialises @set for rings of @size entries (a power of two, at least 2), of
 * which KVM keeps @reserve (less than @size) free.  @ops and @opaque must outlive
 * the set.
 */
void dirty_ring_set_init(DirtyRingSet *set, uint32_t size, uint32_t reserve,
                         const DirtyRingOps *ops, void *opaque);

/* Frees what @set owns, rings included, but not their entries. */
void dirty_ring_set_destroy(DirtyRingSet *set);

/*
 * Adds the ring of vCPU @id, whose @entries (set->size of them, shared with
 * the kernel) stay the caller's and must outlive the set.  The kernel's and
 * the new ring's position must both be 0.
 */
DirtyRing *dirty_ring_add(DirtyRingSet *set, unsigned long id,
                          struct kvm_dirty_gfn *entries);

/* The ring of vCPU @id, or NULL. */
DirtyRing *dirty_ring_find(DirtyRingSet *set, unsigned long id);

/*
 * Binds @ring to @owner, which is for the users of the set.  Each harvest adds to
 * @page_counter (may be NULL) atomically.  Once the call has returned, no thread
 * touches the counter that was bound before.
 */
void dirty_ring_bind(DirtyRing *ring, void *owner, uint64_t *page_counter);

/* Returns the owner that was bound last; the caller keeps it alive. */
void *dirty_ring_owner(const DirtyRing *ring);

/*
 * Releases all that @ring holds, waits until KVM has protected its pages, and
 * publishes them.  Returns the number of entries released.  When it returns, pages
 * that *this call* released are published; those that other threads released
 * before may not be: see dirty_ring_wait_published().
 */
uint64_t dirty_ring_reap(DirtyRing *ring);

/* The same for all rings, with one pass of KVM_RESET_DIRTY_RINGS. */
uint64_t dirty_ring_reap_all(DirtyRingSet *set);

/*
 * Publishes all that the rings hold, and releases nothing: for a machine that is
 * stopped, in which no page is written.  Returns the number of pages.  The
 * entries stay in the rings, so each later sync publishes them again, until one
 * releases them; the machine may run again at any time.
 */
uint64_t dirty_ring_publish_all(DirtyRingSet *set);

/* What a peek looks for. */
typedef struct DirtyRingPeek {
    /*
     * Returns true if entries of this slot word are wanted.  Called as
     * ops->translate() is, for some of the entries of a slot.
     */
    bool (*wants)(void *opaque, uint32_t slot);

    /* Takes @n pages, as ops->publish() does. */
    void (*visit)(void *opaque, const uint64_t *pages, size_t n);

    void *opaque;
} DirtyRingPeek;

/*
 * Shows @peek the pages that lie in the rings, released by no thread yet, and
 * changes nothing.  Returns the number of entries that it looked at, wanted or
 * not.  Pages that another thread has released are published by it; see
 * dirty_ring_wait_published().
 */
uint64_t dirty_ring_peek_all(DirtyRingSet *set, const DirtyRingPeek *peek);

/* How full a ring is. */
typedef struct DirtyRingLevel {
    uint32_t usable;        /* entries after which KVM says that it is full */
    uint64_t occupied;      /* entries that KVM has not reset */
    uint64_t uptake;        /* entries added since the call before */
} DirtyRingLevel;

/* How many of the oldest entries of a ring to release; 0 for none. */
typedef uint64_t (*DirtyRingDecide)(void *opaque, const DirtyRingLevel *level);

/*
 * Shows @decide, for each ring, how full it is, and releases, arms and publishes as
 * many entries as that says.  @decide
 * is called with the ring's lock held and must not block.  Returns the number of
 * entries released.  For one thread, the reaper.
 */
uint64_t dirty_ring_make_room(DirtyRingSet *set, DirtyRingDecide decide,
                              void *opaque);

/*
 * Returns once every page that any thread has released before the call is
 * published.  Waits for other threads: the caller must hold no lock that their ops
 * take.
 */
void dirty_ring_wait_published(DirtyRingSet *set);

/*
 * Handles a ring-full exit of @ring's vCPU, on that vCPU's thread: releases a part
 * of the ring, the oldest entries.
 *
 * SPURIOUS: the ring is empty, all its entries are reset, and the kernel repeats
 * the exit.  STUCK: this has gone on for 1,000 exits, or the
 * ring holds entries that the kernel does not reset.  KVM does not enter the
 * guest with a full ring, so the vCPU will not run again; the caller has to stop
 * the machine.
 */
DirtyRingFull dirty_ring_full(DirtyRing *ring);

/*
 * True once pages may have been lost: a ring overflowed, or the kernel
 * refused to reset the rings.  Never goes back to false.
 */
bool dirty_ring_broken(const DirtyRingSet *set);

/* The fault that broke the set first. */
DirtyRingFault dirty_ring_fault(const DirtyRingSet *set);

/* Counts one more in @time, which took @ns.  Any thread may call it. */
void dirty_ring_time_add(DirtyRingTime *time, uint64_t ns);

/* Copies the counters. */
void dirty_ring_stats(const DirtyRingSet *set, DirtyRingStats *stats);

/* Entries seen in @ring since it was added. */
uint64_t dirty_ring_harvested(DirtyRing *ring);

/* The same, after a look at the ring: counts what KVM has added, releases nothing. */
uint64_t dirty_ring_look(DirtyRing *ring);

/* Entries that @ring holds, and *@most, the most that it has held; both <= size. */
uint64_t dirty_ring_occupied(DirtyRing *ring, uint64_t *most);

/* Iterate over the rings of a set, newest first; need no lock. */
DirtyRing *dirty_ring_first(DirtyRingSet *set);
DirtyRing *dirty_ring_next(DirtyRing *ring);

#endif
