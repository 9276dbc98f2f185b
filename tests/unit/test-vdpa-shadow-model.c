/*
 * Shadow ring: whatever the order of events, no buffer is lost, changed,
 * returned twice or written without a trace
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * A guest offers chains; a device takes and returns them; between them is a
 * shadow ring; now and then the device is stopped and the ring started anew,
 * or the device serves the guest's ring itself for a while.  The next to act is
 * drawn by lot among those that have been notified, or have work they know of.
 * If there is none and work is left, a notification was lost.
 *
 * The model is a list of heads in the order of their offering, and for each
 * chain its segments:
 *
 *   taken       the next that the device gets is the first of the list that
 *               it has not got (since it was last stopped), in these very
 *               segments, found through a table of pages; what it is to read is
 *               there
 *   returned    the guest gets what the device returned, with its length; what
 *               the device wrote is there
 *   dirty log   has exactly the bytes that were written, the used ring's
 *               included, and nothing of the rest of guest memory
 *
 * --descriptors=N    how many the guest offers in all (default 240,000)
 *
 * Limits: one thread; races are test-vdpa-shadow-race.c's.
 */
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "fake-vdpa.h"

#define MAX_NUM 256u
#define ARENA 2560u                 /* bytes of guest memory for one head */
#define MAX_SEGS 24u
#define RINGS (16u * FAKE_PAGE)
#define DATA RINGS
#define RAM ((DATA + MAX_NUM * ARENA + FAKE_PAGE - 1) / FAKE_PAGE * FAKE_PAGE \
             + FAKE_PAGE)           /* the last page is read-only */
#define DESC_AT 0x1000u
#define AVAIL_AT 0x2ff0u
#define USED_AT 0x3ffcu

typedef struct Params {
    const char *name;
    uint16_t num, device_num;
    unsigned max_segments;
    bool event_idx, indirect, slow, in_order;
    unsigned stop_every;            /* steps; 0: never */
} Params;

static uint64_t total = 240000;

typedef struct Chain {
    VdpaGuestSegment segments[MAX_SEGS];
    unsigned n;
    uint32_t serial;
    uint32_t write_len, returned_len;
    bool offered, taken, returned, logged;
} Chain;

typedef struct Held {               /* by the device */
    uint16_t device_head, head;
} Held;

typedef struct Model {
    const Params *p;
    GRand *rand;
    FakeVdpa *vdpa;
    FakeDriver driver;
    FakeDevice device;
    VdpaShadowRing *ring;
    VdpaRingMemory memory;
    uint16_t device_num;
    bool shadowed;

    Chain chains[MAX_NUM];
    uint16_t order[MAX_NUM];        /* offered, not returned; oldest first */
    unsigned norder;
    Held held[MAX_NUM];
    unsigned nheld;
    uint32_t serial;
    uint64_t offered;               /* descriptors */

    bool kick, call;                /* the shadow ring's events */
    bool more_forward, more_complete;
    bool driver_awake, device_awake;
    FakeSegment segs[FAKE_SEGMENTS_MAX];
} Model;

static unsigned pick(Model *m, unsigned below)
{
    return g_rand_int_range(m->rand, 0, below);
}

static uint8_t pattern(uint32_t serial, uint32_t at)
{
    return serial * 31 + at * 7 + 1;
}

/* --- the guest ------------------------------------------------------------ */

static unsigned seg_len(Model *m, unsigned room)
{
    unsigned len = pick(m, 16) ? 1 + pick(m, 40) : 1 + pick(m, 1600);

    return MIN(len, room);
}

/* Now and then just before the end of a page, where a map may end. */
static unsigned near_boundary(Model *m, unsigned at, unsigned limit)
{
    unsigned close = (at / FAKE_PAGE + 1) * FAKE_PAGE - 8 - pick(m, 8);

    return pick(m, 3) || close < at || close > limit ? at : close;
}

/* A chain's segments lie in its head's own part of memory, gaps between. */
static void make_chain(Model *m, Chain *c, uint16_t head, unsigned n)
{
    unsigned nread = pick(m, n + 1), at = DATA + head * ARENA;
    unsigned end = at + ARENA, room;

    *c = (Chain) { .n = n, .serial = ++m->serial, .offered = true };
    for (unsigned i = 0; i < n; i++) {
        VdpaGuestSegment *seg = &c->segments[i];

        at = near_boundary(m, at, end - (n - i) * 9);
        at += pick(m, 8);
        room = end - at - (n - i - 1) * 9;
        seg->addr = at;
        seg->len = seg_len(m, room);
        seg->device_writes = i >= nread;
        at += seg->len;
        c->write_len += seg->device_writes ? seg->len : 0;
        for (unsigned k = 0; k < seg->len; k++) {
            m->vdpa->ram[seg->addr + k] = seg->device_writes
                                          ? 0 : pattern(c->serial, k);
        }
    }
}

static uint64_t table_for(Model *m, uint16_t head)
{
    return DATA + head * ARENA + ARENA - MAX_SEGS * 16;
}

static bool offer_one(Model *m)
{
    bool indirect = m->p->indirect && pick(m, 2);
    unsigned n = 1 + (pick(m, 3) ? 0 : pick(m, m->p->max_segments));
    int head = fake_driver_next_head(&m->driver, indirect ? 1 : n);
    Chain *c;

    if (head < 0) {
        return false;
    }
    c = &m->chains[head];
    g_assert_false(c->offered);
    make_chain(m, c, head, n);
    /* A table shares the arena with the segments: only if they leave room. */
    if (c->segments[n - 1].addr + c->segments[n - 1].len > table_for(m, head)) {
        indirect = false;
    }
    if (fake_driver_offer(&m->driver, c->segments, n,
                          indirect ? table_for(m, head) : 0) < 0) {
        c->offered = false;
        return false;
    }
    m->order[m->norder++] = head;
    m->offered += n;
    return true;
}

static void driver_offers(Model *m)
{
    bool any = false;

    for (unsigned i = 1 + pick(m, pick(m, 4) ? 4 : 200); i; i--) {
        if (!offer_one(m)) {
            break;
        }
        any = true;
    }
    if (any && fake_driver_publish(&m->driver)) {
        m->kick = true;
    }
}

static void check_written(Model *m, const Chain *c)
{
    uint32_t left = c->returned_len;

    for (unsigned i = 0; i < c->n; i++) {
        const VdpaGuestSegment *seg = &c->segments[i];
        uint32_t written = seg->device_writes ? MIN(left, seg->len) : 0;

        for (unsigned k = 0; k < seg->len; k++) {
            uint64_t at = seg->addr + k;
            uint8_t want = !seg->device_writes || k < written
                           ? pattern(c->serial, k) : 0;

            g_assert_cmpuint(m->vdpa->ram[at], ==, want);
            g_assert_cmpuint(m->vdpa->dirty[at], ==,
                             k < written && c->logged);
            m->vdpa->dirty[at] = 0;
        }
        left -= written;
    }
}

static void driver_reaps(Model *m)
{
    for (unsigned i = 1 + pick(m, 40); i; i--) {
        uint32_t len;
        int head = fake_driver_reap(&m->driver, &len);
        Chain *c;

        if (head < 0) {
            m->driver_awake = fake_driver_enable(&m->driver);
            return;
        }
        c = &m->chains[head];
        g_assert_true(c->offered && c->returned);
        g_assert_cmpuint(len, ==, c->returned_len);
        check_written(m, c);
        c->offered = false;
    }
}

/* --- the device ----------------------------------------------------------- */

/* The next chain in the order of offering that the device has not had. */
static Chain *next_in_order(Model *m, uint16_t *head)
{
    for (unsigned i = 0; i < m->norder; i++) {
        if (!m->chains[m->order[i]].taken) {
            *head = m->order[i];
            return &m->chains[*head];
        }
    }
    g_error("the device has a chain that the guest did not offer");
}

static void check_segments(Model *m, const Chain *c, unsigned n)
{
    const VdpaGuestSegment *seg = c->segments;
    uint32_t offset = 0;

    for (unsigned i = 0; i < n; i++) {
        const FakeSegment *found = &m->segs[i];
        uint64_t gpa = !m->shadowed ? found->addr
                       : fake_vdpa_gpa(m->vdpa, found->addr, found->len,
                                       found->writes);

        g_assert_cmpuint(seg - c->segments, <, c->n);
        g_assert_cmphex(gpa, ==, seg->addr + offset);
        g_assert_cmpuint(found->len, <=, seg->len - offset);
        g_assert_cmpint(found->writes, ==, seg->device_writes);
        for (unsigned k = 0; !found->writes && k < found->len; k++) {
            g_assert_cmpuint(m->vdpa->ram[gpa + k], ==,
                             pattern(c->serial, offset + k));
        }
        offset += found->len;
        if (offset == seg->len) {
            seg++;
            offset = 0;
        }
    }
    g_assert_cmpuint(seg - c->segments, ==, c->n);
}

static void device_takes(Model *m)
{
    for (unsigned i = 1 + pick(m, 40); i; i--) {
        unsigned n;
        int device_head = fake_device_take(&m->device, m->segs, &n);
        uint16_t head;
        Chain *c;

        if (device_head < 0) {
            m->device_awake = fake_device_enable(&m->device);
            return;
        }
        c = next_in_order(m, &head);
        check_segments(m, c, n);
        c->taken = true;
        m->held[m->nheld++] = (Held) { device_head, head };
    }
}

static void device_writes(Model *m, Chain *c, uint32_t len)
{
    for (unsigned i = 0; i < c->n && len; i++) {
        const VdpaGuestSegment *seg = &c->segments[i];

        for (unsigned k = 0; seg->device_writes && k < seg->len && len; k++) {
            m->vdpa->ram[seg->addr + k] = pattern(c->serial, k);
            len--;
        }
    }
}

static void forget_order(Model *m, uint16_t head)
{
    unsigned i = 0;

    while (m->order[i] != head) {
        i++;
    }
    memmove(&m->order[i], &m->order[i + 1], (--m->norder - i) * 2);
}

static void device_returns(Model *m)
{
    unsigned i = m->p->in_order ? 0 : pick(m, m->nheld);
    Held held = m->held[i];
    Chain *c = &m->chains[held.head];
    bool sloppy = m->shadowed && !c->write_len && !pick(m, 4);

    memmove(&m->held[i], &m->held[i + 1], (--m->nheld - i) * sizeof(Held));
    c->returned_len = pick(m, 4) ? c->write_len : pick(m, c->write_len + 1);
    c->returned = true;
    c->logged = m->shadowed;
    device_writes(m, c, c->returned_len);
    forget_order(m, held.head);
    if (fake_device_return(&m->device, held.device_head,
                           sloppy ? 1234 : c->returned_len)) {
        *(m->shadowed ? &m->call : &m->driver_awake) = true;
    }
}

/* --- who runs the shadow ring --------------------------------------------- */

static void notify_from_flags(Model *m, int flags, bool *more)
{
    if (flags < 0) {
        g_error("broken: %s", vdpa_shadow_ring_broken(m->ring));
    }
    m->device_awake |= flags & VDPA_SHADOW_KICK;
    m->driver_awake |= flags & VDPA_SHADOW_CALL;
    *more = flags & VDPA_SHADOW_MORE;
}

static unsigned budget(Model *m)
{
    return pick(m, 3) ? 0 : 1 + pick(m, 9);
}

static void shadow_forwards(Model *m)
{
    m->kick = false;
    notify_from_flags(m, vdpa_shadow_ring_forward(m->ring, budget(m)), &m->more_forward);
}

/* Used entries from @from on and the index are in the dirty log. */
static void check_used_logged(Model *m, uint16_t from)
{
    uint16_t to = m->driver.used->idx;
    uint8_t *dirty = m->vdpa->dirty + USED_AT;

    for (uint16_t i = from; i != to; i++) {
        for (unsigned k = 0; k < 8; k++) {
            g_assert_true(dirty[4 + i % m->p->num * 8 + k]);
        }
    }
    g_assert_true(from == to || (dirty[2] && dirty[3]));
    memset(dirty, 0, 6 + 8 * m->p->num);
}

static void shadow_completes(Model *m)
{
    uint16_t used = m->driver.used->idx;

    m->call = false;
    notify_from_flags(m, vdpa_shadow_ring_complete(m->ring, budget(m)), &m->more_complete);
    check_used_logged(m, used);
}

static void start(Model *m, const VdpaShadowState *state)
{
    m->device_num = pick(m, 2) ? m->p->device_num : m->p->device_num * 2;
    g_assert_cmpint(vdpa_shadow_ring_start(m->ring, &m->driver.layout,
                                           m->device_num, &m->memory, state),
                    ==, 0);
    fake_device_on_shadow(&m->device, &m->memory, m->device_num,
                          m->p->event_idx);
    m->shadowed = true;
    m->more_forward = true;
}

/* The device stands still; what it has returned is given to the guest. */
static void drain(Model *m)
{
    uint16_t used = m->driver.used->idx;

    g_assert_cmpint(vdpa_shadow_ring_drain(m->ring), >=, 0);
    check_used_logged(m, used);
    g_assert_cmpuint(vdpa_shadow_ring_inflight(m->ring), <=, m->norder);
    m->nheld = 0;
    for (unsigned i = 0; i < m->norder; i++) {
        m->chains[m->order[i]].taken = false;
    }
    m->kick = m->call = m->more_forward = m->more_complete = false;
}

static void to_passthrough(Model *m)
{
    VdpaShadowState state = {};

    drain(m);
    g_assert_cmpint(vdpa_shadow_ring_rewind(m->ring), ==, 0);
    vdpa_shadow_ring_stop(m->ring, &state);
    g_assert_cmpuint(state.ninflight, ==, 0);
    g_assert_cmpuint(state.avail_idx, ==, state.used_idx);
    g_assert_cmpuint(state.used_idx, ==, m->driver.used->idx);
    vdpa_shadow_state_clear(&state);
    fake_device_on_guest(&m->device, &m->driver, state.avail_idx);
    m->shadowed = false;
    m->device_awake = m->driver_awake = true;
    /* What rewinding wrote. */
    memset(m->vdpa->dirty, 0, RINGS);
}

static void restart(Model *m)
{
    VdpaShadowState state = {};

    drain(m);
    vdpa_shadow_ring_stop(m->ring, &state);
    m->driver_awake = true;
    start(m, &state);
    g_assert_cmpuint(vdpa_shadow_ring_inflight(m->ring), ==, state.ninflight);
    vdpa_shadow_state_clear(&state);
}

/* The device returns what it has, stands still, and is shadowed again. */
static void from_passthrough(Model *m)
{
    VdpaShadowState state = {};

    while (m->nheld) {
        device_returns(m);
    }
    state.avail_idx = state.used_idx = m->device.next_avail;
    m->driver_awake = true;
    m->kick = false;
    start(m, &state);
}

static void change_mode(Model *m)
{
    if (!m->shadowed) {
        from_passthrough(m);
    } else if (pick(m, 2)) {
        to_passthrough(m);
    } else {
        restart(m);
    }
}

/* --- the lot -------------------------------------------------------------- */

/* One step of an actor that may act; false if there is none. */
static bool act(Model *m, uint64_t target)
{
    const struct {
        bool may;
        void (*run)(Model *m);
    } actors[] = {
        { m->offered < target && m->driver.nfree, driver_offers },
        { m->driver_awake, driver_reaps },
        { m->shadowed && (m->kick || m->more_forward), shadow_forwards },
        { m->shadowed && (m->call || m->more_complete), shadow_completes },
        { m->device_awake, device_takes },
        { m->nheld, device_returns },
        { m->nheld, device_returns },
    };
    unsigned may[G_N_ELEMENTS(actors)], n = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(actors); i++) {
        if (actors[i].may) {
            may[n++] = i;
        }
    }
    if (n) {
        actors[may[pick(m, n)]].run(m);
    }
    return n;
}

static void run(Model *m, uint64_t target)
{
    while (m->offered < target || m->norder || m->driver.nfree < m->p->num) {
        if (!m->shadowed && m->kick) {
            m->kick = false;
            m->device_awake = true;
        }
        if (m->p->stop_every && !pick(m, m->p->stop_every)) {
            change_mode(m);
        }
        if (!act(m, target)) {
            g_error("stands still: %u chains not returned", m->norder);
        }
    }
}

static void check_nothing_else_dirty(Model *m)
{
    memset(m->vdpa->dirty + USED_AT, 0, 6 + 8 * m->p->num);
    for (uint64_t i = 0; i < RAM; i++) {
        g_assert_cmpuint(m->vdpa->dirty[i], ==, 0);
    }
}

static void model_init(Model *m, const Params *p)
{
    const VdpaGuestLayout layout = {
        DESC_AT, AVAIL_AT, USED_AT, p->num, p->event_idx, p->indirect,
    };
    uint16_t index;

    *m = (Model) { .p = p };
    m->rand = g_rand_new_with_seed(g_test_rand_int());
    m->vdpa = fake_vdpa_new(RAM, RINGS, m->rand);
    m->vdpa->no_ram = p->slow;
    m->memory.driver = fake_pages(
        vdpa_ring_driver_area_size(p->device_num * 2));
    m->memory.device = fake_pages(
        vdpa_ring_device_area_size(p->device_num * 2));
    /* So that indices wrap soon, and not where slots do. */
    index = 65000 + pick(m, 600);
    fake_driver_init(&m->driver, m->vdpa, &layout, index);
    m->ring = vdpa_shadow_ring_new(&fake_vdpa_ops, m->vdpa);
    start(m, &(VdpaShadowState) { .avail_idx = index, .used_idx = index });
}

static void model_free(Model *m)
{
    const VdpaShadowStats *stats = vdpa_shadow_ring_stats(m->ring);

    g_test_message("%" G_GUINT64_FORMAT " descriptors offered; forwarded %"
                   G_GUINT64_FORMAT " chains in %" G_GUINT64_FORMAT
                   ", split %" G_GUINT64_FORMAT ", stalls %" G_GUINT64_FORMAT
                   ", kicks %" G_GUINT64_FORMAT ", calls %" G_GUINT64_FORMAT,
                   m->offered, stats->forwarded, stats->descriptors,
                   stats->split, stats->stalls, stats->kicks, stats->calls);
    vdpa_shadow_ring_free(m->ring);
    fake_driver_destroy(&m->driver);
    fake_vdpa_free(m->vdpa);
    free(m->memory.driver);
    free(m->memory.device);
    g_rand_free(m->rand);
}

static const Params params[] = {
    { "plain", 256, 256, 1 },
    { "event-idx", 256, 256, 4, .event_idx = true, .stop_every = 3000 },
    { "chains", 64, 64, 20, .stop_every = 500 },
    { "indirect", 256, 256, 24, .event_idx = true, .indirect = true,
      .stop_every = 1000 },
    { "in-order", 128, 128, 6, .indirect = true, .in_order = true,
      .stop_every = 300 },
    { "backpressure", 256, 64, 24, .event_idx = true, .indirect = true,
      .stop_every = 1000 },
    { "backpressure-flags", 128, 64, 20, .indirect = true },
    { "tiny", 2, 2, 1, .event_idx = true, .stop_every = 100 },
    { "one", 1, 1, 1, .stop_every = 100 },
    { "not-ram", 64, 64, 8, .event_idx = true, .indirect = true, .slow = true,
      .stop_every = 500 },
};

static void test_model(gconstpointer opaque)
{
    g_autofree Model *m = g_new(Model, 1);

    model_init(m, opaque);
    run(m, total / G_N_ELEMENTS(params));
    check_nothing_else_dirty(m);
    model_free(m);
}

int main(int argc, char **argv)
{
    if (argc > 1 && g_str_has_prefix(argv[1], "--descriptors=")) {
        total = g_ascii_strtoull(strchr(argv[1], '=') + 1, NULL, 10);
        argv[1] = argv[0];
        argc--;
        argv++;
    }
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(params); i++) {
        g_autofree char *path = g_strconcat("/vdpa-shadow-model/",
                                            params[i].name, NULL);

        g_test_add_data_func(path, &params[i], test_model);
    }
    return g_test_run();
}
