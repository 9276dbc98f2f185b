/*
 * vDPA: shadow virtqueue, between a guest's ring and a device's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 *   guest memory                    here                    our memory
 *
 *   available ring --- pop ---> translate each  --- add ---> available ring
 *   descriptors                 segment: guest               descriptors
 *   indirect tables             address to IOVA
 *
 *   used ring <------- push ---  mark written  <--- get ---- used ring
 *                                pages dirty
 *
 * A device that works on the guest's ring writes guest memory unseen, which a
 * migration cannot have.  Shadowed, it works on QEMU's ring; payload stays
 * where it is, at the IOVAs it has anyway, and each buffer that comes back
 * says what was written.  Chains may come back in any order.
 *
 * Address translation.  One segment of the guest's may lie in several maps; it
 * becomes as many descriptors.  What continues the one before, in IOVA and in
 * the log, is joined to it.
 *
 * Backpressure.  If the device's ring has no room for a chain, the chain goes
 * back to the guest's available ring, the guest is left asked not to kick, and
 * complete() goes on when as many descriptors are free as were missing.  A
 * chain that an empty ring could not hold breaks the ring.
 *
 * Fairness.  A guest can add, and a device can return, as fast as the
 * ring takes, so each call has a budget and says MORE when it ran out; the caller
 * lets others run and calls again.  A guest whose buffers consist of very many
 * small maps costs one translation each; a chain may cost RANGES_MAX.
 *
 * Chains in flight.  Each one's place in the order of taking is kept by head.
 * At stop() the heads of those that the device has not returned are part of
 * the state, oldest first, and start() gives them to the device again.
 *
 * Rewinding.  Another server of the ring, the device itself or the peer of a
 * migration, knows one number only, the ring base: take up at this
 * available index, used is as far.  With chains returned out of order, the
 * available slots between used and available index do not name those that are
 * missing: for A, B, C with B returned, the slots that are left say B, C.  So
 * rewind() writes A, C there and steps back by two.  A driver has no business
 * with slots that were taken from it and does not read them (VIRTIO 1.2,
 * section 2.7.6); nothing is written if the device kept the order.  The
 * device is then given the same buffers again: harmless to a NIC, whose packet
 * may go out twice or whose buffer is filled again.
 *
 * Lifetime.  Nothing that is called from here may stop or free the ring: see
 * "Lifetime" in vdpa-ring-guest.c.  What the guest is to be told is returned to
 * the caller, who does it when no function of the ring is running.
 *
 * Failures: either side's violation, an address that does not translate, a
 * chain too long.  Each breaks this ring for good, with a reason; the caller
 * tells the guest that the device needs a reset.
 *
 * Limits: split rings only, no VIRTIO_F_IN_ORDER, no notification data.  With
 * chains of many ranges fewer are in flight than the guest's ring could hold.
 */
#include "vdpa-shadow-ring.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

#define RANGES_MAX 65536

#define BIT64(n) (1ull << (n))

/* virtio's transport features, and those of them that a shadow ring has. */
#define TRANSPORT_BITS (BIT64(41) - BIT64(24))
#define KNOWN_BITS (BIT64(27) /* ANY_LAYOUT */ | \
                    BIT64(28) /* RING_F_INDIRECT_DESC */ | \
                    BIT64(29) /* RING_F_EVENT_IDX */ | \
                    BIT64(32) /* F_VERSION_1 */ | \
                    BIT64(33) /* F_ACCESS_PLATFORM */)

/* What forward_one() found; negative: errno. */
enum { NOTHING, FORWARDED, STALLED };

struct VdpaShadowRing {
    const VdpaShadowOps *ops;
    void *opaque;
    VdpaRingGuest *guest;
    VdpaRingDevice *device;     /* NULL until started */
    bool started;
    bool rewound;               /* only stop() may follow */

    uint64_t *order;            /* by head: when it was taken; 0: it is not */
    uint64_t sequence;          /* of order */
    uint16_t num;               /* of the guest's ring */

    uint16_t *replay;            /* in flight at start: to be given once more */
    unsigned n_replay, replayed;

    bool unfinished;            /* forwarding ended before the guest's ring */
    unsigned missing;           /* descriptors that a stalled chain needs */
    VdpaDeviceBuf *bufs;        /* of the chain at hand */
    VdpaShadowStats stats;
};

VdpaShadowRing *vdpa_shadow_ring_new(const VdpaShadowOps *ops, void *opaque)
{
    VdpaShadowRing *ring = g_new0(VdpaShadowRing, 1);

    ring->ops = ops;
    ring->opaque = opaque;
    ring->guest = vdpa_ring_guest_new(&ops->guest, opaque);
    return ring;
}

static void forget(VdpaShadowRing *ring)
{
    g_clear_pointer(&ring->device, vdpa_ring_device_free);
    g_clear_pointer(&ring->order, g_free);
    g_clear_pointer(&ring->replay, g_free);
    g_clear_pointer(&ring->bufs, g_free);
    ring->n_replay = ring->replayed = 0;
    ring->missing = 0;
    ring->unfinished = false;
    ring->started = ring->rewound = false;
}

void vdpa_shadow_ring_free(VdpaShadowRing *ring)
{
    if (ring) {
        forget(ring);
        vdpa_ring_guest_free(ring->guest);
        g_free(ring);
    }
}

uint64_t vdpa_shadow_ring_refused(uint64_t features)
{
    uint64_t missing = ~features & BIT64(32);

    return (features & TRANSPORT_BITS & ~KNOWN_BITS) | missing;
}

char *vdpa_shadow_ring_feature_names(uint64_t features)
{
    static const char *const names[64] = {
        [24] = "NOTIFY_ON_EMPTY", [32] = "no VERSION_1", [34] = "RING_PACKED",
        [35] = "IN_ORDER", [36] = "ORDER_PLATFORM", [37] = "SR_IOV",
        [38] = "NOTIFICATION_DATA", [39] = "NOTIF_CONFIG_DATA",
        [40] = "RING_RESET",
    };
    GString *text = g_string_new(NULL);

    for (unsigned bit = 0; bit < 64; bit++) {
        if (features >> bit & 1) {
            g_string_append(text, text->len ? ", " : "");
            if (names[bit]) {
                g_string_append(text, names[bit]);
            } else {
                g_string_append_printf(text, "feature %u", bit);
            }
        }
    }
    return g_string_free(text, FALSE);
}

bool vdpa_shadow_ring_started(const VdpaShadowRing *ring)
{
    return ring->started;
}

const VdpaShadowStats *vdpa_shadow_ring_stats(const VdpaShadowRing *ring)
{
    return &ring->stats;
}

const char *vdpa_shadow_ring_broken(const VdpaShadowRing *ring)
{
    const char *reason = vdpa_ring_guest_broken(ring->guest);

    return reason || !ring->device ? reason
                                   : vdpa_ring_device_broken(ring->device);
}

void vdpa_shadow_state_clear(VdpaShadowState *state)
{
    g_clear_pointer(&state->inflight, g_free);
    state->ninflight = 0;
}

/* --- life cycle ----------------------------------------------------------- */

/* Whether a state can be one of a ring of @num descriptors. */
static bool state_fit(const VdpaShadowState *state, uint16_t num)
{
    g_autofree bool *seen = g_new0(bool, num);

    if (state->ninflight > num ||
        (uint16_t)(state->avail_idx - state->used_idx) != state->ninflight) {
        return false;
    }
    for (unsigned i = 0; i < state->ninflight; i++) {
        uint16_t head = state->inflight[i];

        if (head >= num || seen[head]) {
            return false;
        }
        seen[head] = true;
    }
    return true;
}

int vdpa_shadow_ring_start(VdpaShadowRing *ring, const VdpaGuestLayout *layout,
                           uint16_t num, const VdpaRingMemory *memory,
                           const VdpaShadowState *state)
{
    int ret;

    if (ring->started || !state_fit(state, layout->num)) {
        return -EINVAL;
    }
    forget(ring);
    ret = vdpa_ring_guest_start(ring->guest, layout, state->avail_idx,
                                state->used_idx);
    if (ret) {
        return ret;
    }
    ring->device = vdpa_ring_device_new(num, memory, layout->event_idx,
                                        ring->ops->guest.dirty, ring->opaque);
    if (!ring->device) {
        vdpa_ring_guest_stop(ring->guest);
        return -EINVAL;
    }
    ring->num = layout->num;
    ring->order = g_new0(uint64_t, layout->num);
    ring->bufs = g_new(VdpaDeviceBuf, num);
    ring->n_replay = state->ninflight;
    ring->replay = g_new(uint16_t, ring->n_replay);
    for (unsigned i = 0; i < ring->n_replay; i++) {
        ring->replay[i] = state->inflight[i];
    }
    ring->started = true;
    return 0;
}

typedef struct TakenHead {
    uint64_t when;
    uint16_t head;
} TakenHead;

static int by_age(const void *a, const void *b)
{
    uint64_t x = ((const TakenHead *)a)->when, y = ((const TakenHead *)b)->when;

    return x < y ? -1 : x > y;
}

/*
 * The heads in flight, oldest first; *@n of them.  Those that were in flight
 * at start and wait to be given to the device again come last: while any
 * waits, nothing younger is taken.
 */
static uint16_t *heads_in_flight(const VdpaShadowRing *ring, uint16_t *n)
{
    g_autofree TakenHead *taken = g_new(TakenHead, ring->num);
    uint16_t *heads = g_new(uint16_t, ring->num);
    unsigned count = 0;

    for (unsigned head = 0; head < ring->num; head++) {
        if (ring->order[head]) {
            taken[count++] = (TakenHead) { ring->order[head], head };
        }
    }
    qsort(taken, count, sizeof(TakenHead), by_age);
    for (unsigned i = 0; i < count; i++) {
        heads[i] = taken[i].head;
    }
    for (unsigned i = ring->replayed; i < ring->n_replay; i++) {
        heads[count++] = ring->replay[i];
    }
    *n = count;
    return heads;
}

int vdpa_shadow_ring_rewind(VdpaShadowRing *ring)
{
    g_autofree uint16_t *heads = NULL;
    uint16_t n;
    int ret;

    if (!ring->started) {
        return -EINVAL;
    }
    heads = heads_in_flight(ring, &n);
    ret = vdpa_ring_guest_rewind(ring->guest, heads, n);
    if (!ret) {
        memset(ring->order, 0, sizeof(uint64_t) * ring->num);
        ring->n_replay = ring->replayed = 0;
        ring->rewound = true;
    }
    return ret;
}

void vdpa_shadow_ring_stop(VdpaShadowRing *ring, VdpaShadowState *state)
{
    if (!ring->started) {
        return;
    }
    vdpa_ring_guest_stop(ring->guest);
    if (state) {
        state->avail_idx = vdpa_ring_guest_avail_idx(ring->guest);
        state->used_idx = vdpa_ring_guest_used_idx(ring->guest);
        state->inflight = heads_in_flight(ring, &state->ninflight);
    }
    forget(ring);
}

void vdpa_shadow_ring_remap(VdpaShadowRing *ring)
{
    vdpa_ring_guest_remap(ring->guest);
}

unsigned vdpa_shadow_ring_inflight(const VdpaShadowRing *ring)
{
    return ring->started ? vdpa_ring_device_inflight(ring->device) +
                           ring->n_replay - ring->replayed
                         : 0;
}

/* --- guest to device ------------------------------------------------------ */

static bool continues(const VdpaDeviceBuf *buf, const VdpaRange *range)
{
    return range->iova && buf->iova + buf->len == range->iova &&
           buf->log + buf->len == range->log;
}

static int G_GNUC_PRINTF(2, 3) guest_fault(VdpaShadowRing *ring,
                                           const char *format, ...)
{
    g_autofree char *reason = NULL;
    va_list args;

    va_start(args, format);
    reason = g_strdup_vprintf(format, args);
    va_end(args);
    vdpa_ring_guest_break(ring->guest, "%s", reason);
    return -EPROTO;
}

static int chain_too_long(VdpaShadowRing *ring)
{
    return guest_fault(ring, "chain needs more than the %u descriptors that "
                       "the device's ring has",
                       vdpa_ring_device_num(ring->device));
}

static int translate(VdpaShadowRing *ring, const VdpaGuestSegment *segment,
                     uint64_t offset, VdpaRange *range)
{
    uint64_t left = segment->len - offset;
    int ret = ring->ops->translate(ring->opaque, segment->addr + offset, left,
                                   segment->device_writes, range);

    if (ret || !range->len) {
        return guest_fault(ring, "buffer address 0x%" PRIx64 " is %s",
                           segment->addr + offset,
                           ret == -EACCES ? "not for the device to write"
                                          : "not mapped for the device");
    }
    range->len = MIN(range->len, left);
    return 0;
}

/* Adds @segment's ranges to ring->bufs from *@n on. */
static int add_ranges(VdpaShadowRing *ring, const VdpaGuestSegment *segment,
                      unsigned *n, unsigned *ranges)
{
    unsigned first = *n;
    VdpaRange range;

    for (uint64_t offset = 0; offset < segment->len; offset += range.len) {
        int ret = translate(ring, segment, offset, &range);

        if (ret) {
            return ret;
        }
        if (++*ranges > RANGES_MAX) {
            return guest_fault(ring, "chain in more than %u ranges",
                               RANGES_MAX);
        }
        if (*n > first && continues(&ring->bufs[*n - 1], &range)) {
            ring->bufs[*n - 1].len += range.len;
            continue;
        }
        if (*n == vdpa_ring_device_num(ring->device)) {
            return chain_too_long(ring);
        }
        ring->bufs[(*n)++] = (VdpaDeviceBuf) {
            .iova = range.iova,
            .log = range.log,
            .len = range.len,
            .device_writes = segment->device_writes,
        };
    }
    return 0;
}

/* Fills ring->bufs from @chain: how many, or -errno. */
static int expand(VdpaShadowRing *ring, const VdpaGuestChain *chain)
{
    unsigned segments = chain->nread + chain->nwrite;
    unsigned n = 0, ranges = 0;

    for (unsigned i = 0; i < segments; i++) {
        int ret = add_ranges(ring, &chain->segments[i], &n, &ranges);

        if (ret) {
            return ret;
        }
    }
    ring->stats.split += n > segments;
    return n;
}

/* The next chain for the device: 1, 0 (none) or -errno. */
static int next_chain(VdpaShadowRing *ring, VdpaGuestChain *chain)
{
    if (ring->replayed < ring->n_replay) {
        return vdpa_ring_guest_take(ring->guest, ring->replay[ring->replayed],
                                    chain);
    }
    return vdpa_ring_guest_pop(ring->guest, chain);
}

static void account(VdpaShadowRing *ring, uint16_t head, unsigned n)
{
    ring->replayed += ring->replayed < ring->n_replay;
    ring->order[head] = ++ring->sequence;
    ring->stats.forwarded++;
    ring->stats.descriptors += n;
    ring->missing = 0;
}

/* Gives @chain to the device: FORWARDED, STALLED or -errno. */
static int add_to_device(VdpaShadowRing *ring, const VdpaGuestChain *chain)
{
    int n = expand(ring, chain);
    int ret;

    if (n < 0) {
        return n;
    }
    ret = vdpa_ring_device_add(ring->device, ring->bufs, n, chain->head);
    if (ret == -ENOSPC) {
        ring->missing = n;
        ring->stats.stalls++;
        return STALLED;
    }
    if (ret) {
        return ret;
    }
    account(ring, chain->head, n);
    return FORWARDED;
}

static int forward_one(VdpaShadowRing *ring)
{
    VdpaGuestChain chain;
    int ret;

    if (vdpa_ring_device_room(ring->device) < ring->missing) {
        return STALLED;
    }
    ret = next_chain(ring, &chain);
    if (ret <= 0) {
        return ret;
    }
    ret = add_to_device(ring, &chain);
    if (ret != FORWARDED) {
        vdpa_ring_guest_unpop(ring->guest);
    }
    return ret;
}

/*
 * Forwards until there is nothing, no room, or no budget.  What ended it, as
 * forward_one(); FORWARDED: the budget.
 */
static int forward_some(VdpaShadowRing *ring, unsigned *budget)
{
    int ret = FORWARDED;

    while (*budget && ret == FORWARDED) {
        ret = forward_one(ring);
        *budget -= ret == FORWARDED;
    }
    return ret;
}

/* The same, and leaves the guest's kicks on exactly if there is nothing. */
static int forward_all(VdpaShadowRing *ring, unsigned budget)
{
    int ret;

    vdpa_ring_guest_notify_off(ring->guest);
    do {
        ret = forward_some(ring, &budget);
        if (ret != NOTHING) {
            return ret;
        }
        ret = vdpa_ring_guest_notify_on(ring->guest);
    } while (ret > 0);
    return ret;
}

static bool usable(const VdpaShadowRing *ring)
{
    return ring->started && !ring->rewound && !vdpa_shadow_ring_broken(ring);
}

static unsigned limit(const VdpaShadowRing *ring, unsigned budget)
{
    return budget ? budget : vdpa_ring_device_num(ring->device);
}

int vdpa_shadow_ring_forward(VdpaShadowRing *ring, unsigned budget)
{
    int ret, flags = 0;

    if (!usable(ring)) {
        return -EPROTO;
    }
    ret = forward_all(ring, limit(ring, budget));
    if (vdpa_ring_device_publish(ring->device)) {
        ring->stats.kicks++;
        flags |= VDPA_SHADOW_KICK;
    }
    if (ret < 0) {
        return ret;
    }
    ring->unfinished = ret != NOTHING;
    return flags | (ret == FORWARDED ? VDPA_SHADOW_MORE : 0);
}

/* --- device to guest ------------------------------------------------------ */

static int complete_one(VdpaShadowRing *ring)
{
    VdpaDeviceDone done;
    int ret = vdpa_ring_device_get(ring->device, &done);

    if (ret <= 0) {
        return ret;
    }
    ret = vdpa_ring_guest_push(ring->guest, done.token, done.len);
    if (ret) {
        return ret;
    }
    ring->order[done.token] = 0;
    ring->stats.completed++;
    ring->stats.bytes_written += done.len;
    ring->stats.lengths_ignored += done.len_ignored;
    return 1;
}

/* Gives back until there is nothing, 0, or no budget, 1; or -errno. */
static int complete_all(VdpaShadowRing *ring, unsigned budget)
{
    int ret = 1;

    vdpa_ring_device_notify_off(ring->device);
    do {
        while (budget && (ret = complete_one(ring)) > 0) {
            budget--;
        }
    } while (!ret && vdpa_ring_device_notify_on(ring->device));
    return ret;
}

/* What complete() and drain() have in common. */
static int return_chains(VdpaShadowRing *ring, unsigned budget)
{
    int ret, call, flags = 0;

    if (!usable(ring)) {
        return -EPROTO;
    }
    ret = complete_all(ring, limit(ring, budget));
    call = vdpa_ring_guest_flush(ring->guest);
    if (ret < 0 || call < 0) {
        return ret < 0 ? ret : call;
    }
    if (call) {
        ring->stats.calls++;
        flags |= VDPA_SHADOW_CALL;
    }
    return flags | (ret ? VDPA_SHADOW_MORE : 0);
}

int vdpa_shadow_ring_complete(VdpaShadowRing *ring, unsigned budget)
{
    int flags = return_chains(ring, budget);
    int ret;

    if (flags < 0 || !ring->unfinished) {
        return flags;
    }
    ret = vdpa_shadow_ring_forward(ring, budget);
    return ret < 0 ? ret : flags | ret;
}

/* The device's ring holds no more than it has descriptors: one round does. */
int vdpa_shadow_ring_drain(VdpaShadowRing *ring)
{
    int flags = return_chains(ring, 0);

    return flags < 0 ? flags : flags & VDPA_SHADOW_CALL;
}
