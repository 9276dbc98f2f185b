/*
 * Shadow ring: what guests and devices may try, states, notifications, races
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * A small ring with one chain of a readable and a writable piece.  Each
 * hostile case spoils one thing on the way and names the words that the reason
 * must have; that the ring is broken, stays broken, and can be stopped and
 * started again is asked of all of them.  The cases on threads have guest,
 * device and shadow ring run at once.
 *
 * Limits: orders of events at length are test-vdpa-shadow-model.c's.
 */
#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fake-vdpa.h"

#define NUM 8
#define RAM (64u * FAKE_PAGE)
#define DATA 0x10000u
#define TABLE 0x20000u
#define READ_ONLY (RAM - FAKE_PAGE)

static const VdpaGuestLayout layout = {
    .desc = 0x1000,
    .avail = 0x2000,
    .used = 0x3000,
    .num = NUM,
    .indirect = true,
};

typedef struct Bench {
    GRand *rand;
    FakeVdpa *vdpa;
    VdpaGuestLayout layout;
    FakeDriver driver;
    FakeDevice device;
    VdpaShadowRing *ring;
    VdpaRingMemory memory;
    uint16_t num;               /* of the device's ring */
} Bench;

static void bench_start(Bench *b, const VdpaShadowState *state, int error)
{
    g_assert_cmpint(vdpa_shadow_ring_start(b->ring, &b->layout, b->num,
                                           &b->memory, state), ==, error);
    if (!error) {
        fake_device_on_shadow(&b->device, &b->memory, b->num,
                              b->layout.event_idx);
    }
}

static Bench *bench_new(const VdpaGuestLayout *how, uint16_t num)
{
    Bench *b = g_new0(Bench, 1);

    b->rand = g_rand_new_with_seed(1);
    b->vdpa = fake_vdpa_new(RAM, RAM / 2, b->rand);
    b->layout = *how;
    b->num = num;
    b->memory.driver = fake_pages(vdpa_ring_driver_area_size(num));
    b->memory.device = fake_pages(vdpa_ring_device_area_size(num));
    fake_driver_init(&b->driver, b->vdpa, &b->layout, 0);
    b->ring = vdpa_shadow_ring_new(&fake_vdpa_ops, b->vdpa);
    bench_start(b, &(VdpaShadowState) {}, 0);
    return b;
}

static void bench_free(Bench *b)
{
    vdpa_shadow_ring_free(b->ring);
    fake_driver_destroy(&b->driver);
    fake_vdpa_free(b->vdpa);
    free(b->memory.driver);
    free(b->memory.device);
    g_rand_free(b->rand);
    g_free(b);
}

/* A chain of 100 bytes to read and 50 to write; its head. */
static int offer(Bench *b, uint64_t table)
{
    const VdpaGuestSeg segs[] = {
        { DATA, 100, false }, { DATA + 100, 50, true },
    };
    int head = fake_driver_offer(&b->driver, segs, 2, table);

    g_assert_cmpint(head, >=, 0);
    fake_driver_publish(&b->driver);
    return head;
}

static int forward(Bench *b)
{
    return vdpa_shadow_ring_forward(b->ring, 0);
}

static int complete(Bench *b)
{
    return vdpa_shadow_ring_complete(b->ring, 0);
}

/* The device takes one chain and says where it is. */
static int take(Bench *b)
{
    static FakePiece pieces[FAKE_PIECES_MAX];
    unsigned n;

    return fake_device_take(&b->device, pieces, &n);
}

static void expect_broken(Bench *b, int ret, const char *reason)
{
    const char *why = vdpa_shadow_ring_broken(b->ring);

    g_assert_cmpint(ret, ==, -EPROTO);
    g_assert_nonnull(why);
    if (!strstr(why, reason)) {
        g_error("broken for another reason: \"%s\", not \"%s\"", why, reason);
    }
    g_assert_cmpint(forward(b), ==, -EPROTO);
    g_assert_cmpint(complete(b), ==, -EPROTO);
}

/* A ring that broke can be stopped, and one that is started is whole. */
static void expect_recovery(Bench *b)
{
    VdpaShadowState state = {};

    vdpa_shadow_ring_stop(b->ring, &state);
    g_assert_cmpuint((uint16_t)(state.avail_idx - state.used_idx), ==,
                     state.ninflight);
    vdpa_shadow_state_clear(&state);
    g_assert_false(vdpa_shadow_ring_started(b->ring));

    fake_driver_destroy(&b->driver);
    fake_driver_init(&b->driver, b->vdpa, &b->layout, 7);
    bench_start(b, &(VdpaShadowState) { .avail_idx = 7, .used_idx = 7 }, 0);
    g_assert_null(vdpa_shadow_ring_broken(b->ring));
    offer(b, 0);
    g_assert_cmpint(forward(b), ==, VDPA_SHADOW_KICK);
    fake_device_return(&b->device, take(b), 50);
    g_assert_cmpint(complete(b), ==, VDPA_SHADOW_CALL);
}

/* --- hostile guests -------------------------------------------------------- */

typedef struct GuestCase {
    const char *name;
    void (*spoil)(Bench *b);
    const char *reason;
    bool in_table;              /* the chain is in an indirect table */
    bool no_indirect;           /* the feature is not agreed on */
} GuestCase;

static struct vring_desc *table(Bench *b)
{
    return (void *)(b->vdpa->ram + TABLE);
}

static void avail_jumps(Bench *b)
{
    b->driver.avail->idx = NUM + 1;
}

static void avail_goes_back(Bench *b)
{
    b->driver.avail->idx = -1;
}

static void head_too_large(Bench *b)
{
    b->driver.avail->ring[0] = NUM;
}

static void head_twice(Bench *b)
{
    b->driver.avail->ring[1] = b->driver.avail->ring[0];
    b->driver.avail->idx = 2;
}

static void next_too_large(Bench *b)
{
    b->driver.desc[0].next = NUM;
}

static void next_is_itself(Bench *b)
{
    b->driver.desc[0].next = 0;
}

static void loop(Bench *b)
{
    b->driver.desc[1] = b->driver.desc[0];
    b->driver.desc[1].next = 0;
}

static void empty_buffer(Bench *b)
{
    b->driver.desc[0].len = 0;
}

static void address_wraps(Bench *b)
{
    b->driver.desc[0].addr = UINT64_MAX - 50;
}

static void address_unmapped(Bench *b)
{
    b->driver.desc[0].addr = RAM;
}

static void end_unmapped(Bench *b)
{
    b->driver.desc[0].addr = RAM - 99;
}

static void not_writable(Bench *b)
{
    b->driver.desc[1].addr = READ_ONLY;
}

static void end_not_writable(Bench *b)
{
    b->driver.desc[1].addr = READ_ONLY - 49;
}

static void readable_last(Bench *b)
{
    b->driver.desc[0].flags |= VRING_DESC_F_WRITE;
    b->driver.desc[1].flags &= ~VRING_DESC_F_WRITE;
}

static void four_gigabytes(Bench *b)
{
    b->driver.desc[0].len = UINT32_MAX;
    b->driver.desc[1].len = 2;
}

static void table_and_next(Bench *b)
{
    b->driver.desc[0].flags |= VRING_DESC_F_NEXT;
}

static void table_empty(Bench *b)
{
    b->driver.desc[0].len = 0;
}

static void table_uneven(Bench *b)
{
    b->driver.desc[0].len = 33;
}

static void table_wraps(Bench *b)
{
    b->driver.desc[0].addr = UINT64_MAX - 15;
    b->driver.desc[0].len = 32;
}

static void table_unmapped(Bench *b)
{
    b->driver.desc[0].addr = RAM;
}

static void table_end_unmapped(Bench *b)
{
    b->driver.desc[0].addr = RAM - 16;
    memcpy(b->vdpa->ram + RAM - 16, table(b), 16);
}

static void table_in_table(Bench *b)
{
    table(b)[1].flags = VRING_DESC_F_INDIRECT;
    table(b)[1].len = 16;
}

static void table_next_too_large(Bench *b)
{
    table(b)[0].next = 2;
}

static void table_loop(Bench *b)
{
    table(b)[1] = table(b)[0];
}

/* More entries than any chain may have, and each of them good. */
static void table_long(Bench *b)
{
    enum { LONG = 1025 };

    for (unsigned i = 0; i < LONG; i++) {
        table(b)[i] = (struct vring_desc) {
            DATA, 1, VRING_DESC_F_NEXT, i + 1 };
    }
    table(b)[LONG - 1].flags = 0;
    b->driver.desc[0].len = LONG * 16;
}

/* A chain that is within the rules, but not of the device's ring. */
static void table_longer_than_ring(Bench *b)
{
    for (unsigned i = 0; i < NUM + 1; i++) {
        table(b)[i] = (struct vring_desc) {
            DATA, 1, VRING_DESC_F_NEXT, i + 1 };
    }
    table(b)[NUM].flags = 0;
    b->driver.desc[0].len = (NUM + 1) * 16;
}

/* One buffer in more pieces than the device's ring has descriptors. */
static void many_maps(Bench *b)
{
    b->driver.desc[0].addr = RAM / 2;
    b->driver.desc[0].len = RAM / 2;
}

static void nothing(Bench *b)
{
}

/* A translation that answers more than was asked for, or nothing. */
static uint64_t odd_len;

static int odd_translate(void *opaque, uint64_t addr, uint64_t len,
                         bool device_writes, VdpaSpan *span)
{
    *span = (VdpaSpan) { addr, addr, odd_len };
    return 0;
}

static void test_odd_translation(void)
{
    VdpaShadowOps ops = fake_vdpa_ops;
    const VdpaShadowState state = {};
    Bench *b = bench_new(&layout, NUM);
    FakePiece pieces[FAKE_PIECES_MAX];
    unsigned n;

    vdpa_shadow_ring_free(b->ring);
    ops.translate = odd_translate;
    b->ring = vdpa_shadow_ring_new(&ops, b->vdpa);
    bench_start(b, &state, 0);
    odd_len = 1ull << 40;
    offer(b, 0);
    g_assert_cmpint(forward(b), ==, VDPA_SHADOW_KICK);
    fake_device_take(&b->device, pieces, &n);
    g_assert_cmpuint(n, ==, 2);
    g_assert_cmpuint(pieces[0].len, ==, 100);
    g_assert_cmpuint(pieces[1].len, ==, 50);
    odd_len = 0;
    offer(b, 0);
    expect_broken(b, forward(b), "not mapped");
    bench_free(b);
}

static const GuestCase guest_cases[] = {
    { "avail-jumps", avail_jumps, "available index" },
    { "avail-goes-back", avail_goes_back, "available index" },
    { "head-too-large", head_too_large, "chain head 8" },
    { "head-twice", head_twice, "twice" },
    { "next-too-large", next_too_large, "descriptor 8 of a table of 8" },
    { "next-is-itself", next_is_itself, "loop" },
    { "loop", loop, "loop" },
    { "empty-buffer", empty_buffer, "buffer of 0x0 bytes" },
    { "address-wraps", address_wraps, "buffer of 0x64 bytes" },
    { "address-unmapped", address_unmapped, "not mapped" },
    { "end-unmapped", end_unmapped, "not mapped" },
    { "not-writable", not_writable, "not for the device to write" },
    { "end-not-writable", end_not_writable, "not for the device to write" },
    { "readable-last", readable_last, "readable buffer after" },
    { "four-gigabytes", four_gigabytes, "2^32 bytes" },
    { "many-maps", many_maps, "chain needs more than the 8" },
    { "indirect/not-agreed", nothing, "without the feature", true, true },
    { "indirect/and-next", table_and_next, "not the last", true },
    { "indirect/empty", table_empty, "indirect table of 0x0", true },
    { "indirect/uneven", table_uneven, "indirect table of 0x21", true },
    { "indirect/wraps", table_wraps, "indirect table of 0x20", true },
    { "indirect/unmapped", table_unmapped, "not in guest memory", true },
    { "indirect/end-unmapped", table_end_unmapped, "not in guest memory",
      true },
    { "indirect/in-table", table_in_table, "in an indirect table", true },
    { "indirect/next-too-large", table_next_too_large,
      "descriptor 2 of a table of 2", true },
    { "indirect/loop", table_loop, "loop", true },
    { "indirect/long", table_long, "more than 1024 descriptors", true },
    { "indirect/longer-than-ring", table_longer_than_ring,
      "chain needs more than the 8", true },
};

static void run_guest_case(const GuestCase *c, bool no_ram)
{
    VdpaGuestLayout how = layout;
    Bench *b;

    how.indirect = !c->no_indirect;
    b = bench_new(&how, NUM);
    b->vdpa->no_ram = no_ram;
    vdpa_shadow_ring_remap(b->ring);
    offer(b, c->in_table ? TABLE : 0);
    c->spoil(b);
    expect_broken(b, forward(b), c->reason);
    expect_recovery(b);
    bench_free(b);
}

static void test_guest_case(gconstpointer opaque)
{
    run_guest_case(opaque, false);
    run_guest_case(opaque, true);
}

/* --- hostile devices ------------------------------------------------------- */

typedef struct DeviceCase {
    const char *name;
    void (*spoil)(Bench *b);
    const char *reason;
} DeviceCase;

static void used_jumps(Bench *b)
{
    b->device.used->idx = 3;
}

static void used_goes_back(Bench *b)
{
    b->device.used->idx = -1;
}

static void used_id_too_large(Bench *b)
{
    fake_device_return(&b->device, NUM, 0);
}

static void used_id_huge(Bench *b)
{
    fake_device_return(&b->device, 0, 0);
    b->device.used->ring[0].id = 0x10000;
}

static void used_id_not_a_head(Bench *b)
{
    fake_device_return(&b->device, 1, 0);
}

static void used_id_free(Bench *b)
{
    fake_device_return(&b->device, 6, 0);
}

static void used_twice(Bench *b)
{
    fake_device_return(&b->device, 0, 0);
    fake_device_return(&b->device, 0, 0);
}

static void used_too_long(Bench *b)
{
    fake_device_return(&b->device, 0, 51);
}

static void used_longest(Bench *b)
{
    fake_device_return(&b->device, 0, UINT32_MAX);
}

static const DeviceCase device_cases[] = {
    { "used-jumps", used_jumps, "used index 3" },
    { "used-goes-back", used_goes_back, "used index 65535" },
    { "id-too-large", used_id_too_large, "descriptor 8" },
    { "id-huge", used_id_huge, "descriptor 65536" },
    { "id-not-a-head", used_id_not_a_head, "descriptor 1," },
    { "id-free", used_id_free, "descriptor 6" },
    { "id-twice", used_twice, "descriptor 0" },
    { "length-51-of-50", used_too_long, "51 bytes for a buffer of 50" },
    { "length-huge", used_longest, "4294967295 bytes" },
};

static void test_device_case(gconstpointer opaque)
{
    const DeviceCase *c = opaque;
    Bench *b = bench_new(&layout, NUM);
    const uint8_t *dirty = b->vdpa->dirty;

    offer(b, 0);
    offer(b, 0);
    forward(b);
    c->spoil(b);
    expect_broken(b, complete(b), c->reason);
    g_assert_null(memchr(dirty + DATA, 1, 200));
    expect_recovery(b);
    bench_free(b);
}

/* A device that scribbles over descriptors and available ring: they are its
 * to read only, but nothing here depends on that. */
static void test_device_scribbles(void)
{
    Bench *b = bench_new(&layout, NUM);
    uint32_t len;
    int head = offer(b, 0), device_head;

    forward(b);
    device_head = take(b);
    memset(b->memory.driver, 0xff, vdpa_ring_driver_area_size(NUM));
    fake_device_return(&b->device, device_head, 50);
    g_assert_cmpint(complete(b), ==, VDPA_SHADOW_CALL);
    g_assert_cmpint(fake_driver_reap(&b->driver, &len), ==, head);
    g_assert_cmpuint(len, ==, 50);
    offer(b, 0);
    g_assert_cmpint(forward(b) & ~VDPA_SHADOW_KICK, ==, 0);
    g_assert_null(vdpa_shadow_ring_broken(b->ring));
    bench_free(b);
}

/* --- states ---------------------------------------------------------------- */

static void test_states_refused(void)
{
    static uint16_t twice[] = { 3, 3 }, large[] = { 3, NUM };
    static uint16_t many[NUM + 1] = { 0, 1, 2, 3, 4, 5, 6, 7, 0 };
    static const VdpaShadowState states[] = {
        { 1, 0, 0, NULL },
        { 0, 1, 0, NULL },
        { 0, 0, 1, twice },
        { 2, 0, 2, twice },
        { 2, 0, 2, large },
        { NUM + 1, 0, NUM + 1, many },
    };
    static const VdpaGuestLayout layouts[] = {
        { 0x1000, 0x2000, 0x3000, 0 },
        { 0x1000, 0x2000, 0x3000, 12 },
        { 0x1008, 0x2000, 0x3000, NUM },
        { 0x1000, 0x2001, 0x3000, NUM },
        { 0x1000, 0x2000, 0x3002, NUM },
        { -0x10ull, 0x2000, 0x3000, NUM },
    };
    static const VdpaShadowState none = {};
    VdpaGuestLayout away = layout;
    Bench *b = bench_new(&layout, NUM);

    bench_start(b, &none, -EINVAL);     /* it is running */
    vdpa_shadow_ring_stop(b->ring, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(states); i++) {
        bench_start(b, &states[i], -EINVAL);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(layouts); i++) {
        g_assert_cmpint(vdpa_shadow_ring_start(b->ring, &layouts[i], NUM,
                                               &b->memory, &none), ==,
                        -EINVAL);
    }
    g_assert_cmpint(vdpa_shadow_ring_start(b->ring, &layout, 6, &b->memory,
                                           &none), ==, -EINVAL);
    away.used = RAM - 16;
    g_assert_cmpint(vdpa_shadow_ring_start(b->ring, &away, NUM, &b->memory,
                                           &none), ==, -EFAULT);
    g_assert_cmpint(forward(b), ==, -EPROTO);
    bench_start(b, &none, 0);
    bench_free(b);
}

/* Out of order, stopped, rewound: the missing ones, in the guest's order. */
static void test_rewind(void)
{
    Bench *b = bench_new(&layout, NUM);
    VdpaShadowState state = {};
    uint16_t *slots = b->driver.avail->ring;
    int heads[3], middle;

    for (unsigned i = 0; i < 3; i++) {
        heads[i] = offer(b, TABLE);
    }
    forward(b);
    take(b);
    middle = take(b);
    fake_device_return(&b->device, middle, 0);
    complete(b);

    vdpa_shadow_ring_rewind(b->ring);
    g_assert_cmpint(forward(b), ==, -EPROTO);
    vdpa_shadow_ring_stop(b->ring, &state);
    g_assert_cmpuint(state.avail_idx, ==, 1);
    g_assert_cmpuint(state.used_idx, ==, 1);
    g_assert_cmpuint(state.ninflight, ==, 0);
    g_assert_cmpuint(slots[1], ==, heads[0]);
    g_assert_cmpuint(slots[2], ==, heads[2]);
    g_assert_true(b->vdpa->dirty[layout.avail + 4 + 2]);
    g_assert_false(b->vdpa->dirty[layout.avail + 4 + 4]);
    vdpa_shadow_state_clear(&state);
    bench_free(b);
}

/* Stopped again before those in flight were all given to the device again. */
static void test_stopped_twice(void)
{
    Bench *b = bench_new(&layout, NUM);
    VdpaShadowState state = {};

    for (unsigned i = 0; i < 4; i++) {
        offer(b, TABLE);
    }
    forward(b);
    vdpa_shadow_ring_stop(b->ring, &state);
    g_assert_cmpuint(state.ninflight, ==, 4);
    for (unsigned i = 0; i < 2; i++) {
        VdpaShadowState again = {};

        bench_start(b, &state, 0);
        g_assert_cmpuint(vdpa_shadow_ring_inflight(b->ring), ==, 4);
        vdpa_shadow_ring_forward(b->ring, 1 + i);
        vdpa_shadow_ring_stop(b->ring, &again);
        g_assert_cmpuint(again.ninflight, ==, 4);
        g_assert_cmpmem(again.inflight, 8, state.inflight, 8);
        vdpa_shadow_state_clear(&state);
        state = again;
    }
    vdpa_shadow_state_clear(&state);
    bench_free(b);
}

/* --- notifications --------------------------------------------------------- */

/* Who serves the guest's ring next is kicked: the wish not to be is gone. */
static void test_stop_leaves_kicks_on(void)
{
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        VdpaGuestLayout how = layout;
        Bench *b;

        how.event_idx = event_idx;
        b = bench_new(&how, 2);
        offer(b, 0);
        offer(b, 0);
        forward(b);             /* the second has no room: kicks are off */
        vdpa_shadow_ring_stop(b->ring, NULL);
        g_assert_cmpuint(b->driver.used->flags, ==, 0);
        g_assert_cmpuint(*fake_avail_event(b->driver.used, NUM), ==,
                         event_idx ? 1 : 0);
        bench_free(b);
    }
}

static void test_backpressure(void)
{
    Bench *b = bench_new(&layout, 2);
    const VdpaShadowStats *stats = vdpa_shadow_ring_stats(b->ring);

    offer(b, 0);
    offer(b, 0);
    g_assert_cmpint(forward(b), ==, VDPA_SHADOW_KICK);
    g_assert_cmpint(forward(b), ==, 0);
    g_assert_cmpuint(stats->forwarded, ==, 1);
    g_assert_cmpuint(stats->stalls, ==, 1);
    g_assert_cmpuint(b->driver.used->flags, ==, VRING_USED_F_NO_NOTIFY);

    fake_device_return(&b->device, take(b), 7);
    g_assert_cmpint(complete(b), ==, VDPA_SHADOW_CALL | VDPA_SHADOW_KICK);
    g_assert_cmpuint(stats->forwarded, ==, 2);
    g_assert_cmpuint(stats->completed, ==, 1);
    g_assert_cmpuint(stats->bytes_written, ==, 7);
    g_assert_cmpuint(b->driver.used->flags, ==, 0);
    bench_free(b);
}

/* The budget ends a call; MORE says so; the same call goes on. */
static void test_budget(void)
{
    Bench *b = bench_new(&layout, NUM);

    for (unsigned i = 0; i < 3; i++) {
        offer(b, TABLE);
    }
    g_assert_cmpint(vdpa_shadow_ring_forward(b->ring, 2), ==,
                    VDPA_SHADOW_KICK | VDPA_SHADOW_MORE);
    g_assert_cmpint(vdpa_shadow_ring_forward(b->ring, 2), ==,
                    VDPA_SHADOW_KICK);
    for (unsigned i = 0; i < 3; i++) {
        fake_device_return(&b->device, take(b), 0);
    }
    g_assert_cmpint(vdpa_shadow_ring_complete(b->ring, 1), ==,
                    VDPA_SHADOW_CALL | VDPA_SHADOW_MORE);
    g_assert_cmpint(vdpa_shadow_ring_complete(b->ring, 5), ==,
                    VDPA_SHADOW_CALL);
    g_assert_cmpint(vdpa_shadow_ring_complete(b->ring, 5), ==, 0);
    bench_free(b);
}

/* Events that suppress: neither kick nor call without being asked for. */
static void test_suppression(void)
{
    VdpaGuestLayout how = layout;
    Bench *b;

    how.event_idx = true;
    b = bench_new(&how, NUM);
    b->driver.avail->ring[NUM] = 5;     /* used_event */
    *fake_avail_event(b->device.used, NUM) = 5;
    for (unsigned i = 0; i < 7; i++) {
        offer(b, TABLE);
        g_assert_cmpint(forward(b), ==, i == 5 ? VDPA_SHADOW_KICK : 0);
        fake_device_return(&b->device, take(b), 0);
        /* The first always: who served the ring before may owe one. */
        g_assert_cmpint(complete(b), ==,
                        i == 0 || i == 5 ? VDPA_SHADOW_CALL : 0);
    }
    bench_free(b);
}

static void test_features(void)
{
    const uint64_t v1 = 1ull << 32;

    g_assert_cmphex(vdpa_shadow_ring_refused(v1), ==, 0);
    g_assert_cmphex(vdpa_shadow_ring_refused(v1 | 1ull << 33 | 1ull << 29 |
                                             1ull << 28 | 0xffffff), ==, 0);
    g_assert_cmphex(vdpa_shadow_ring_refused(0), ==, v1);
    for (unsigned bit = 34; bit < 41; bit++) {
        g_assert_cmphex(vdpa_shadow_ring_refused(v1 | 1ull << bit), ==,
                        1ull << bit);
    }
}

/* --- the guest's side by itself, as for a control queue -------------------- */

static void test_guest_ring(void)
{
    Bench *b = bench_new(&layout, NUM);
    VdpaRingGuest *ring = vdpa_ring_guest_new(&fake_vdpa_ops.guest, b->vdpa);
    VdpaGuestChain chain;
    uint32_t len;
    int head;

    g_assert_cmpint(vdpa_ring_guest_pop(ring, &chain), ==, -EPROTO);
    vdpa_ring_guest_start(ring, &layout, 0, 0);
    g_assert_cmpint(vdpa_ring_guest_pop(ring, &chain), ==, 0);
    head = offer(b, TABLE);
    g_assert_cmpuint(vdpa_ring_guest_waiting(ring), ==, 1);
    g_assert_cmpint(vdpa_ring_guest_pop(ring, &chain), ==, 1);
    vdpa_ring_guest_unpop(ring);
    g_assert_cmpint(vdpa_ring_guest_push(ring, head, 0), ==, -EINVAL);
    g_assert_cmpint(vdpa_ring_guest_pop(ring, &chain), ==, 1);
    g_assert_cmpuint(chain.head, ==, head);
    g_assert_cmpuint(chain.nread, ==, 1);
    g_assert_cmpuint(chain.nwrite, ==, 1);
    g_assert_cmpuint(chain.read_len, ==, 100);
    g_assert_cmpuint(chain.write_len, ==, 50);
    g_assert_cmpuint(chain.segs[1].addr, ==, DATA + 100);

    g_assert_cmpint(vdpa_ring_guest_push(ring, NUM, 0), ==, -EINVAL);
    g_assert_cmpint(vdpa_ring_guest_push(ring, head, 1), ==, 0);
    g_assert_cmpint(fake_driver_reap(&b->driver, &len), ==, -1);
    g_assert_cmpint(vdpa_ring_guest_flush(ring), ==, 1);
    g_assert_cmpint(fake_driver_reap(&b->driver, &len), ==, head);
    g_assert_cmpint(vdpa_ring_guest_flush(ring), ==, 0);

    vdpa_ring_guest_break(ring, "the user's own reason %d", 7);
    g_assert_cmpstr(vdpa_ring_guest_broken(ring), ==,
                    "the user's own reason 7");
    g_assert_cmpint(vdpa_ring_guest_pop(ring, &chain), ==, -EPROTO);
    g_assert_cmpuint(vdpa_ring_guest_waiting(ring), ==, 0);
    vdpa_ring_guest_stop(ring);
    vdpa_ring_guest_free(ring);
    bench_free(b);
}

/* --- threads --------------------------------------------------------------- */

#define CHAINS 10000
#define PATIENCE_S 30

/* An eventfd's like; of POSIX locks, which ThreadSanitizer knows. */
typedef struct Event {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool set;                   /* protected by lock */
} Event;

static void event_init(Event *event)
{
    pthread_mutex_init(&event->lock, NULL);
    pthread_cond_init(&event->cond, NULL);
    event->set = false;
}

static void event_set(Event *event)
{
    pthread_mutex_lock(&event->lock);
    event->set = true;
    pthread_cond_signal(&event->cond);
    pthread_mutex_unlock(&event->lock);
}

static void event_wait(Event *event, const char *whose)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&event->lock);
    while (!event->set) {
        if (pthread_cond_timedwait(&event->cond, &event->lock, &until)) {
            g_error("%s waits for ever", whose);
        }
    }
    event->set = false;
    pthread_mutex_unlock(&event->lock);
}

typedef struct Race {
    Bench *b;
    Event guest, device, host;
    bool over;                  /* atomic */
} Race;

static void *device_thread(void *opaque)
{
    Race *race = opaque;
    FakeDevice *device = &race->b->device;
    g_autofree FakePiece *pieces = g_new(FakePiece, FAKE_PIECES_MAX);
    unsigned n;
    int head;

    while (!__atomic_load_n(&race->over, __ATOMIC_ACQUIRE)) {
        while ((head = fake_device_take(device, pieces, &n)) >= 0) {
            uint8_t *ram = race->b->vdpa->ram;
            uint64_t from = fake_vdpa_gpa(race->b->vdpa, pieces[0].addr, 8,
                                          false);
            uint64_t to = fake_vdpa_gpa(race->b->vdpa, pieces[1].addr, 8,
                                        true);

            memcpy(ram + to, ram + from, 8);
            if (fake_device_return(device, head, 8)) {
                event_set(&race->host);
            }
        }
        if (!fake_device_enable(device)) {
            event_wait(&race->device, "the device");
        }
    }
    return NULL;
}

static void *host_thread(void *opaque)
{
    Race *race = opaque;

    while (!__atomic_load_n(&race->over, __ATOMIC_ACQUIRE)) {
        int flags = vdpa_shadow_ring_forward(race->b->ring, 5);

        g_assert_cmpint(flags, >=, 0);
        if (flags & VDPA_SHADOW_KICK) {
            event_set(&race->device);
        }
        int more = vdpa_shadow_ring_complete(race->b->ring, 5);

        g_assert_cmpint(more, >=, 0);
        if (more & VDPA_SHADOW_CALL) {
            event_set(&race->guest);
        }
        if (more & VDPA_SHADOW_KICK) {
            event_set(&race->device);
        }
        if (!((flags | more) & VDPA_SHADOW_MORE)) {
            event_wait(&race->host, "the shadow ring");
        }
    }
    return NULL;
}

static void guest_offers(Race *race, uint64_t serial, unsigned slot)
{
    FakeDriver *driver = &race->b->driver;
    uint64_t at = DATA + slot * 16;
    const VdpaGuestSeg segs[] = { { at, 8, false }, { at + 8, 8, true } };

    memcpy(race->b->vdpa->ram + at, &serial, 8);
    g_assert_cmpint(fake_driver_offer(driver, segs, 2, 0), ==, slot);
    if (fake_driver_publish(driver)) {
        event_set(&race->host);
    }
}

static void guest_takes_back(Race *race)
{
    uint32_t len;
    int head;

    while ((head = fake_driver_reap(&race->b->driver, &len)) >= 0) {
        uint8_t *at = race->b->vdpa->ram + DATA + head * 16;

        g_assert_cmpuint(len, ==, 8);
        g_assert_cmpmem(at, 8, at + 8, 8);
    }
}

/* With @depth chains under way at most: one alone goes to and fro, and all
 * sleep and wake all the time. */
static void run_race(bool event_idx, unsigned depth)
{
    VdpaGuestLayout how = layout;
    Race race = {};
    pthread_t device, host;
    uint64_t serial = 0;
    int slot;

    how.event_idx = event_idx;
    race.b = bench_new(&how, NUM);
    race.b->vdpa->quiet = true;
    event_init(&race.guest);
    event_init(&race.device);
    event_init(&race.host);
    pthread_create(&device, NULL, device_thread, &race);
    pthread_create(&host, NULL, host_thread, &race);
    while (serial < CHAINS || race.b->driver.nfree < NUM) {
        while (serial < CHAINS && race.b->driver.nfree > NUM - 2 * depth &&
               (slot = fake_driver_next_head(&race.b->driver, 2)) >= 0) {
            guest_offers(&race, ++serial, slot);
        }
        guest_takes_back(&race);
        if (race.b->driver.nfree < NUM &&
            !fake_driver_enable(&race.b->driver)) {
            event_wait(&race.guest, "the guest");
        }
    }
    __atomic_store_n(&race.over, true, __ATOMIC_RELEASE);
    event_set(&race.host);
    event_set(&race.device);
    pthread_join(device, NULL);
    pthread_join(host, NULL);
    bench_free(race.b);
}

static void test_race_flags(void)
{
    run_race(false, NUM / 2);
    run_race(false, 1);
}

static void test_race_event_idx(void)
{
    run_race(true, NUM / 2);
    run_race(true, 1);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        { "odd-translation", test_odd_translation },
        { "device/scribbles", test_device_scribbles },
        { "states-refused", test_states_refused },
        { "rewind", test_rewind },
        { "stopped-twice", test_stopped_twice },
        { "stop-leaves-kicks-on", test_stop_leaves_kicks_on },
        { "backpressure", test_backpressure },
        { "budget", test_budget },
        { "suppression", test_suppression },
        { "features", test_features },
        { "guest-ring", test_guest_ring },
        { "race/flags", test_race_flags },
        { "race/event-idx", test_race_event_idx },
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(guest_cases); i++) {
        g_autofree char *path = g_strconcat("/vdpa-shadow-ring/guest/",
                                            guest_cases[i].name, NULL);

        g_test_add_data_func(path, &guest_cases[i], test_guest_case);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(device_cases); i++) {
        g_autofree char *path = g_strconcat("/vdpa-shadow-ring/device/",
                                            device_cases[i].name, NULL);

        g_test_add_data_func(path, &device_cases[i], test_device_case);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strconcat("/vdpa-shadow-ring/",
                                            tests[i].name, NULL);

        g_test_add_func(path, tests[i].run);
    }
    return g_test_run();
}
