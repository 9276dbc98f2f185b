/*
 * KVM dirty ring: the ring state machine, free of QEMU and of KVM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * KVM keeps one ring of entries {slot, offset} per vCPU, in memory that it
 * shares with us (Linux, Documentation/virt/kvm/api.rst, "KVM_CAP_DIRTY_LOG_
 * RING").  An entry's flags walk round
 *
 *          kernel pushes            we harvest           kernel resets
 *   invalid ------------> F_DIRTY ------------> F_RESET ------------> invalid
 *
 * The kernel write-protects a page again when it resets its entry, and tells
 * all CPUs before KVM_RESET_DIRTY_RINGS returns.  A page that is published
 * (handed to those who copy it) before that can be written once more without
 * a trace, after it was copied: silent corruption.  So a page goes through
 *
 *   harvest   copy {slot, offset} into a batch, translate it, mark the entry;
 *             under the ring lock
 *   arm       KVM_RESET_DIRTY_RINGS until the batch's entries are reset; under
 *             the reset lock
 *   publish   hand the pages over; under no lock
 *
 * The ioctl is VM-wide: it may reset other threads' entries, and it may stop
 * anywhere (at a limit).  Its return value therefore says nothing about a batch;
 * the flags do, under two conditions:
 *
 *  - The ioctl has returned.  The kernel clears flags first and flushes TLBs
 *    last, so a flag that is clear while another thread is still inside the ioctl
 *    proves nothing.  All ioctls run under the reset lock, and flags are judged
 *    under it.  That is also why a thread that finds its batch armed by another
 *    thread's ioctl needs none.
 *  - No signal interrupted the ioctl.  Linux 6.17 and newer clear the flags of up
 *    to 64 pages before they protect any of them, look for a pending signal in
 *    between, and return without protecting them if there is one.  Neither the
 *    flags nor the return value show this.  So every signal is blocked around
 *    the ioctl (reset_with_signals_blocked()).  A signal that arrives meanwhile is
 *    delivered afterwards; QEMU's kick of a vCPU is not lost by that, since it
 *    sets a flag that the next KVM_RUN obeys.
 *
 * Signals that cannot be blocked interrupt the ioctl all the same.  What they may
 * have made it forget are suspects, see dirty-ring-suspects.c: the end of each
 * ioctl's work in a ring is noted there, and each sync publishes them again.
 *
 * Each ring has two positions, armed <= fetch.  Entries in [armed, fetch) are
 * harvested and not known to be reset.  Once an entry is reset, the kernel may
 * fill it again and a harvest may mark it again, a whole ring further on; its
 * flag then speaks for the later incarnation, which errs on the safe side: the
 * earlier one was reset, or the kernel could not have used the entry again.
 *
 * A harvest stops after as many entries as the ring has.  More cannot have
 * been there when it began, so a guest that continues to write does not keep it
 * busy.
 *
 * A sync must also see pages that another thread has harvested and not yet
 * published.  Each batch takes a sequence number before it harvests, and is in
 * flight until it is published; dirty_ring_wait_published() waits for all batches
 * with lower numbers than the next one.
 *
 * Locks, in order: reset lock, ring lock.  The batch lock is taken with neither
 * of them held.  No lock is held while pages are published.  No thread holds a
 * ring lock during an ioctl.
 *
 * Failures: the kernel may refuse to reset (the VM is dead), may reset nothing
 * for as long as the set has patience, or may report a full ring that has nothing
 * in it (a kernel that overran its ring).  In each case pages can be lost, and no
 * retry brings them back: the set is marked broken, once and for all, and its
 * user decides what that means.  Patience is spent once: a thread may hold locks
 * of its own meanwhile, the BQL among them, so a set whose entries were not reset
 * once gets one ioctl per batch from then on.  A vCPU whose ring stays full
 * cannot run any more, since KVM does not enter the guest: it is stuck.
 *
 * Limits: the number of entries per ring is fixed at creation; rings are never
 * removed; positions are 64-bit counters and assumed not to wrap.
 */
#include "dirty-ring-core.h"
#include "dirty-ring-batch.h"

#include <assert.h>
#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <time.h>

/* Entries translated at a time: what fits comfortably on a stack. */
#define HARVEST_CHUNK 256

/* Repeated full exits of an empty ring before it counts as overrun. */
#define FULL_REPEATS_MAX 3

/* ... and before its vCPU is stuck. */
#define FULL_REPEATS_STUCK 1000

/* How long KVM_RESET_DIRTY_RINGS may go without progress, and between tries. */
#define RESET_PATIENCE_NS (1000ull * 1000 * 1000)
#define RESET_STEP_NS (50ull * 1000)

static inline void count(uint64_t *counter, uint64_t n)
{
    __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static inline uint64_t counted(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void set_broken(DirtyRingSet *set, DirtyRingFault fault)
{
    int none = DIRTY_RING_FAULT_NONE;

    if (__atomic_compare_exchange_n(&set->fault, &none, fault, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) &&
        set->ops->broken) {
        set->ops->broken(set->opaque, fault);
    }
}

static bool reset_refused(const DirtyRingSet *set)
{
    return __atomic_load_n(&set->reset_refused, __ATOMIC_ACQUIRE);
}

static void ring_overflowed(DirtyRing *ring)
{
    count(&ring->set->stats.overflows, 1);
    __atomic_store_n(&ring->overflowed, true, __ATOMIC_RELAXED);
    set_broken(ring->set, DIRTY_RING_FAULT_OVERFLOW);
}

/* Hands suspects to a batch, a chunk at a time; see DirtySuspectsTake. */
typedef struct Republish {
    DirtyRingSet *set;
    DirtyBatch *batch;
} Republish;

static void republish_chunk(void *opaque, const uint32_t *slots,
                            uint64_t *pages, size_t n)
{
    Republish *to = opaque;

    n = to->set->ops->translate(to->set->opaque, slots, pages, n);
    g_array_append_vals(to->batch->pages, pages, n);
    count(&to->set->stats.republished, n);
}

/* Appends all suspects to @batch. */
static void suspects_republish(DirtyRingSet *set, DirtyBatch *batch)
{
    Republish to = { set, batch };

    pthread_mutex_lock(&set->reset_lock);
    dirty_suspects_take(&set->suspects, republish_chunk, &to);
    pthread_mutex_unlock(&set->reset_lock);
}

/* Set-up and tear-down */

void dirty_ring_set_init(DirtyRingSet *set, uint32_t size,
                         const DirtyRingOps *ops, void *opaque)
{
    assert(size >= 2 && !(size & (size - 1)));

    memset(set, 0, sizeof(*set));
    set->ops = ops;
    set->opaque = opaque;
    set->size = size;
    set->patience_ns = RESET_PATIENCE_NS;
    pthread_mutex_init(&set->add_lock, NULL);
    pthread_mutex_init(&set->reset_lock, NULL);
    pthread_mutex_init(&set->batch_lock, NULL);
    pthread_cond_init(&set->batch_published, NULL);
    dirty_suspects_init(&set->suspects);
}

void dirty_ring_set_destroy(DirtyRingSet *set)
{
    DirtyRing *ring = set->rings;

    assert(!set->in_flight);
    while (ring) {
        DirtyRing *next = ring->next;

        pthread_mutex_destroy(&ring->lock);
        g_free(ring->seen);
        g_array_unref(ring->passed);
        g_free(ring);
        ring = next;
    }
    set->rings = NULL;
    while (set->free_batches) {
        DirtyBatch *batch = set->free_batches;

        set->free_batches = batch->next;
        dirty_batch_free(batch);
    }
    dirty_suspects_destroy(&set->suspects);
    pthread_cond_destroy(&set->batch_published);
    pthread_mutex_destroy(&set->batch_lock);
    pthread_mutex_destroy(&set->reset_lock);
    pthread_mutex_destroy(&set->add_lock);
}

DirtyRing *dirty_ring_add(DirtyRingSet *set, unsigned long id,
                          struct kvm_dirty_gfn *entries)
{
    DirtyRing *ring = g_new0(DirtyRing, 1);

    ring->set = set;
    ring->id = id;
    ring->entries = entries;
    ring->seen = g_new(DirtyRingEntry, set->size);
    ring->passed = g_array_new(FALSE, FALSE, sizeof(DirtyRingEntry));
    pthread_mutex_init(&ring->lock, NULL);

    pthread_mutex_lock(&set->add_lock);
    ring->next = set->rings;
    /* Pairs with dirty_ring_first(): publishes the ring's contents. */
    __atomic_store_n(&set->rings, ring, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&set->add_lock);
    return ring;
}

DirtyRing *dirty_ring_first(DirtyRingSet *set)
{
    /* Pairs with the store in dirty_ring_add(). */
    return __atomic_load_n(&set->rings, __ATOMIC_ACQUIRE);
}

DirtyRing *dirty_ring_next(DirtyRing *ring)
{
    return ring->next;
}

DirtyRing *dirty_ring_find(DirtyRingSet *set, unsigned long id)
{
    DirtyRing *ring = dirty_ring_first(set);

    while (ring && ring->id != id) {
        ring = dirty_ring_next(ring);
    }
    return ring;
}

void dirty_ring_bind(DirtyRing *ring, void *owner, uint64_t *page_counter)
{
    pthread_mutex_lock(&ring->lock);
    ring->page_counter = page_counter;
    __atomic_store_n(&ring->owner, owner, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&ring->lock);
}

void *dirty_ring_owner(const DirtyRing *ring)
{
    return __atomic_load_n(&ring->owner, __ATOMIC_ACQUIRE);
}

/* Harvest */

static inline struct kvm_dirty_gfn *entry_at(DirtyRing *ring, uint64_t pos)
{
    return &ring->entries[pos & (ring->set->size - 1)];
}

static inline uint32_t entry_flags(struct kvm_dirty_gfn *entry)
{
    /*
     * Pairs with the kernel's store-release of the flags: for F_DIRTY, it
     * publishes slot and offset; for 0, it comes after our F_RESET was seen.
     */
    return __atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE);
}

static inline void entry_mark_collected(struct kvm_dirty_gfn *entry)
{
    /*
     * Pairs with the kernel's load-acquire in KVM_RESET_DIRTY_RINGS: our
     * reads of slot and offset come before the entry may be filled again.
     */
    __atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
}

/*
 * True for the entry that a build with a planted fault loses, one in 100,000
 * harvested.  It exists to show that the tests notice.
 */
static inline bool fault_drops(DirtyRingSet *set)
{
#ifdef CONFIG_DIRTY_RING_FAULT_DROP
    return __atomic_add_fetch(&set->fault_clock, 1, __ATOMIC_RELAXED) %
           100000 == 0;
#else
    (void)set;
    return false;
#endif
}

/*
 * Makes room for one more in ring->seen.  There is none while an ioctl is
 * running that has reset a whole ring: the guest fills it anew, and it is
 * harvested, before the ioctl's end is noted.  Entries that are passed over then
 * are suspects, wherever they stood.  They are reset, or the kernel could not
 * have filled them; code that judges by ring->armed waits for the ioctl first.
 */
static void ring_make_room_locked(DirtyRing *ring)
{
    uint32_t size = ring->set->size;

    if (ring->fetch - ring->armed == size) {
        g_array_append_val(ring->passed, ring->seen[ring->armed & (size - 1)]);
        ring->armed++;
    }
}

/*
 * Takes at most @max entries, puts their two words into @slots and @pages,
 * and returns how many; 0 once the ring holds no further dirty entry.  An entry
 * that the planted fault loses is taken and left out.
 */
static size_t harvest_chunk_locked(DirtyRing *ring, uint32_t *slots,
                                   uint64_t *pages, size_t max, size_t *taken)
{
    size_t n = 0;

    *taken = 0;
    while (*taken < max) {
        struct kvm_dirty_gfn *entry = entry_at(ring, ring->fetch);
        DirtyRingEntry *seen = &ring->seen[ring->fetch & (ring->set->size - 1)];

        if (entry_flags(entry) != KVM_DIRTY_GFN_F_DIRTY) {
            break;
        }
        ring_make_room_locked(ring);
        seen->slot = entry->slot;
        seen->offset = entry->offset;
        if (!fault_drops(ring->set)) {
            slots[n] = seen->slot;
            pages[n] = seen->offset;
            n++;
        }
        entry_mark_collected(entry);
        ring->fetch++;
        ++*taken;
    }
    return n;
}

/*
 * Advances armed over the entries that the kernel has reset.  Proves something
 * only while no KVM_RESET_DIRTY_RINGS is running: for callers that hold the
 * reset lock.
 */
static void ring_note_resets_locked(DirtyRing *ring)
{
    uint64_t from = ring->armed;

    while (ring->armed < ring->fetch &&
           !(entry_flags(entry_at(ring, ring->armed)) &
             KVM_DIRTY_GFN_F_RESET)) {
        ring->armed++;
    }
    if (ring->armed > from) {
        dirty_suspects_note(&ring->set->suspects, ring->seen,
                            ring->set->size, from, ring->armed);
    }
    dirty_suspects_note_passed(&ring->set->suspects, ring->passed);
}

/*
 * A kernel that keeps its soft limit always leaves reserved entries free.  The
 * entry just before fetch was harvested last; if it is dirty again while
 * fetch is not yet harvested, the ring is full to the last entry: it has been
 * overrun, or will be by the next write.
 */
static void ring_check_overrun_locked(DirtyRing *ring)
{
    if (entry_flags(entry_at(ring, ring->fetch - 1)) ==
        KVM_DIRTY_GFN_F_DIRTY) {
        ring_overflowed(ring);
    }
}

static void count_harvest_locked(DirtyRing *ring, uint64_t found)
{
    count(&ring->set->stats.harvested, found);
    if (ring->page_counter) {
        count(ring->page_counter, found);
    }
}

/* Moves what @ring holds into @batch. */
static uint64_t harvest_ring_locked(DirtyRing *ring, DirtyBatch *batch)
{
    DirtyRingSet *set = ring->set;
    uint32_t slots[HARVEST_CHUNK];
    uint64_t pages[HARVEST_CHUNK];
    uint64_t found = 0;
    size_t taken;

    ring_check_overrun_locked(ring);
    do {
        size_t max = MIN(HARVEST_CHUNK, set->size - found);
        size_t n = harvest_chunk_locked(ring, slots, pages, max, &taken);
        size_t known = n ? set->ops->translate(set->opaque, slots, pages, n)
                         : 0;

        g_array_append_vals(batch->pages, pages, known);
        count(&set->stats.unknown, n - known);
        found += taken;
    } while (taken);
    count_harvest_locked(ring, found);
    return found;
}

/*
 * Harvests @ring and notes in @batch what has to be armed: all entries up to
 * fetch, other threads' too, since waiting for those is harmless.
 */
static uint64_t harvest_ring(DirtyRing *ring, DirtyBatch *batch)
{
    DirtyMark mark = { .ring = ring };
    uint64_t found;

    pthread_mutex_lock(&ring->lock);
    found = harvest_ring_locked(ring, batch);
    mark.upto = ring->fetch;
    pthread_mutex_unlock(&ring->lock);

    if (found) {
        g_array_append_val(batch->marks, mark);
    }
    batch->harvested += found;
    return found;
}

/* Arm */

static bool mark_is_armed(const DirtyMark *mark)
{
    bool armed;

    pthread_mutex_lock(&mark->ring->lock);
    armed = mark->ring->armed >= mark->upto;
    pthread_mutex_unlock(&mark->ring->lock);
    return armed;
}

/* Called with the reset lock held. */
static bool batch_is_armed_locked(DirtyBatch *batch)
{
    while (batch->marks->len) {
        guint last = batch->marks->len - 1;

        if (!mark_is_armed(&g_array_index(batch->marks, DirtyMark, last))) {
            return false;
        }
        g_array_set_size(batch->marks, last);
    }
    return true;
}

/*
 * One ioctl with all signals blocked, see the top of this file.  Returns what
 * ops->reset() does.  How far it got is noted for each ring, since it is the end
 * of each ioctl's work that leaves suspects.
 */
static int reset_with_signals_blocked(DirtyRingSet *set)
{
    sigset_t all, before;
    DirtyRing *ring;
    int ret;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ret = set->ops->reset(set->opaque);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (ring = dirty_ring_first(set); ring; ring = dirty_ring_next(ring)) {
        pthread_mutex_lock(&ring->lock);
        ring_note_resets_locked(ring);
        pthread_mutex_unlock(&ring->lock);
    }
    __atomic_store_n(&set->stats.suspects,
                     dirty_suspects_noted(&set->suspects), __ATOMIC_RELAXED);
    return ret;
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/*
 * One ioctl.  Returns true if it is worth another try: it was interrupted, or
 * it may have got somewhere.  @progress_ns is when it last did.
 */
static bool reset_once_locked(DirtyRingSet *set, uint64_t *progress_ns)
{
    int ret = reset_with_signals_blocked(set);
    struct timespec step = { .tv_nsec = RESET_STEP_NS };

    count(&set->stats.resets, 1);
    if (ret > 0) {
        *progress_ns = now_ns();
        return true;
    }
    if (ret < 0) {
        count(&set->stats.resets_failed, 1);
        if (ret != -EINTR && ret != -EAGAIN) {
            return false;
        }
    }
    if (reset_refused(set) || now_ns() - *progress_ns >= set->patience_ns) {
        return false;
    }
    /* Interrupted, or nothing done: let the thread that prevents it run. */
    nanosleep(&step, NULL);
    return true;
}

/*
 * Returns when every page of @batch is write-protected again on all CPUs.  If
 * the kernel will not do it, marks the set broken and returns all the same:
 * the caller still publishes, since a page sent too early may be stale and a
 * page not sent is stale for certain.
 */
static void batch_arm(DirtyRingSet *set, DirtyBatch *batch)
{
    uint64_t progress_ns;

    if (!batch->marks->len) {
        return;
    }
    pthread_mutex_lock(&set->reset_lock);
    if (batch_is_armed_locked(batch)) {
        count(&set->stats.resets_skipped, 1);
    } else {
        progress_ns = now_ns();
        while (true) {
            bool again = reset_once_locked(set, &progress_ns);

            if (batch_is_armed_locked(batch)) {
                break;
            }
            count(&set->stats.resets_incomplete, 1);
            if (!again) {
                __atomic_store_n(&set->reset_refused, true, __ATOMIC_RELEASE);
                set_broken(set, DIRTY_RING_FAULT_RESET);
                break;
            }
        }
    }
    pthread_mutex_unlock(&set->reset_lock);
}

static void batch_publish(DirtyRingSet *set, DirtyBatch *batch)
{
    if (!batch->pages->len) {
        return;
    }
    set->ops->publish(set->opaque, (const uint64_t *)batch->pages->data,
                      batch->pages->len);
    count(&set->stats.published, batch->pages->len);
}

static uint64_t batch_finish(DirtyRingSet *set, DirtyBatch *batch)
{
    uint64_t harvested = batch->harvested;

    batch_arm(set, batch);
    batch_publish(set, batch);
    dirty_batch_published(set, batch);
    return harvested;
}

/* Reap */

uint64_t dirty_ring_reap(DirtyRing *ring)
{
    DirtyBatch *batch = dirty_batch_start(ring->set);

    harvest_ring(ring, batch);
    return batch_finish(ring->set, batch);
}

uint64_t dirty_ring_reap_all(DirtyRingSet *set)
{
    DirtyBatch *batch = dirty_batch_start(set);
    DirtyRing *ring;

    for (ring = dirty_ring_first(set); ring; ring = dirty_ring_next(ring)) {
        harvest_ring(ring, batch);
    }
    suspects_republish(set, batch);
    return batch_finish(set, batch);
}

/* Entries harvested since the call before; one caller, the reaper. */
static uint64_t ring_uptake(DirtyRing *ring)
{
    uint64_t fetch = dirty_ring_harvested(ring);
    uint64_t uptake = fetch - ring->uptake_counted;

    ring->uptake_counted = fetch;
    return uptake;
}

static bool ring_left_alone(DirtyRing *ring)
{
    const DirtyRingOps *ops = ring->set->ops;
    bool left_alone = false;

    pthread_mutex_lock(&ring->lock);
    if (ops->leave_alone && ring->owner) {
        left_alone = ops->leave_alone(ring->set->opaque, ring->owner);
    }
    pthread_mutex_unlock(&ring->lock);
    return left_alone;
}

uint64_t dirty_ring_reap_idle(DirtyRingSet *set, uint64_t *fastest)
{
    DirtyBatch *batch = dirty_batch_start(set);
    DirtyRing *ring;

    *fastest = 0;
    for (ring = dirty_ring_first(set); ring; ring = dirty_ring_next(ring)) {
        if (!ring_left_alone(ring)) {
            uint64_t uptake;

            harvest_ring(ring, batch);
            uptake = ring_uptake(ring);
            *fastest = MAX(*fastest, uptake);
        }
    }
    return batch_finish(set, batch);
}

/* Ring full */

/* Arms what other threads have harvested from @ring and not yet reset. */
static void ring_arm(DirtyRing *ring)
{
    DirtyBatch *batch = dirty_batch_start(ring->set);
    DirtyMark mark = { .ring = ring };

    pthread_mutex_lock(&ring->lock);
    mark.upto = ring->fetch;
    pthread_mutex_unlock(&ring->lock);

    g_array_append_val(batch->marks, mark);
    batch_finish(ring->set, batch);
}

/*
 * Counts full exits between which nothing could be harvested.  One or two
 * happen when another thread empties the ring between the exit and us.
 */
static DirtyRingFull ring_count_full_locked(DirtyRing *ring)
{
    if (ring->full_at != ring->fetch) {
        ring->full_at = ring->fetch;
        ring->full_repeats = 0;
        return DIRTY_RING_FULL_FREED;
    }
    ring->full_repeats++;
    if (ring->full_repeats == FULL_REPEATS_MAX) {
        ring_overflowed(ring);
    }
    return ring->full_repeats < FULL_REPEATS_MAX ? DIRTY_RING_FULL_FREED
           : ring->full_repeats < FULL_REPEATS_STUCK ? DIRTY_RING_FULL_SPURIOUS
           : DIRTY_RING_FULL_STUCK;
}

/* Judges a ring-full exit, after @ring was harvested and its entries armed. */
static DirtyRingFull ring_judge_full(DirtyRing *ring)
{
    DirtyRingFull full;

    pthread_mutex_lock(&ring->lock);
    full = ring->armed < ring->fetch && reset_refused(ring->set)
           ? DIRTY_RING_FULL_STUCK : ring_count_full_locked(ring);
    pthread_mutex_unlock(&ring->lock);
    return full;
}

DirtyRingFull dirty_ring_full(DirtyRing *ring)
{
    DirtyRingSet *set = ring->set;
    uint64_t found = dirty_ring_reap(ring);

    count(&set->stats.full_exits, 1);
    count(&ring->full_exits, 1);
    if (!found) {
        count(&set->stats.full_exits_empty, 1);
        ring_arm(ring);
    }
    return ring_judge_full(ring);
}

/* State and statistics */

DirtyRingFault dirty_ring_fault(const DirtyRingSet *set)
{
    return __atomic_load_n(&set->fault, __ATOMIC_ACQUIRE);
}

bool dirty_ring_broken(const DirtyRingSet *set)
{
    return dirty_ring_fault(set) != DIRTY_RING_FAULT_NONE;
}

void dirty_ring_stats(const DirtyRingSet *set, DirtyRingStats *stats)
{
    const DirtyRingStats *from = &set->stats;

    stats->harvested = counted(&from->harvested);
    stats->published = counted(&from->published);
    stats->republished = counted(&from->republished);
    stats->suspects = counted(&from->suspects);
    stats->unknown = counted(&from->unknown);
    stats->resets = counted(&from->resets);
    stats->resets_skipped = counted(&from->resets_skipped);
    stats->resets_incomplete = counted(&from->resets_incomplete);
    stats->resets_failed = counted(&from->resets_failed);
    stats->full_exits = counted(&from->full_exits);
    stats->full_exits_empty = counted(&from->full_exits_empty);
    stats->overflows = counted(&from->overflows);
}

uint64_t dirty_ring_harvested(DirtyRing *ring)
{
    uint64_t harvested;

    pthread_mutex_lock(&ring->lock);
    harvested = ring->fetch;
    pthread_mutex_unlock(&ring->lock);
    return harvested;
}
