/*
 * Shadow ring: states, rewinding, budgets, notifications
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Single events on a small ring (shadow-bench.c), with the outcome of each.
 *
 * Limits: orders of events at length are test-vdpa-shadow-model.c's.
 */
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "shadow-bench.h"
#include "named-tests.h"

/* --- states --------------------------------------------------------------- */

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
    VdpaGuestLayout away = bench_layout;
    Bench *b = bench_new(&bench_layout, NUM);

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
    g_assert_cmpint(vdpa_shadow_ring_start(b->ring, &bench_layout, 6,
                                           &b->memory, &none), ==, -EINVAL);
    away.used = RAM - 16;
    g_assert_cmpint(vdpa_shadow_ring_start(b->ring, &away, NUM, &b->memory,
                                           &none), ==, -EFAULT);
    g_assert_cmpint(bench_forward(b), ==, -EPROTO);
    bench_start(b, &none, 0);
    bench_free(b);
}

/* Out of order, stopped, rewound: the missing ones, in the guest's order. */
static void test_rewind(void)
{
    Bench *b = bench_new(&bench_layout, NUM);
    VdpaShadowState state = {};
    uint16_t *slots = b->driver.avail->ring;
    int heads[3], middle;

    for (unsigned i = 0; i < 3; i++) {
        heads[i] = bench_offer(b, TABLE);
    }
    bench_forward(b);
    bench_take(b);
    middle = bench_take(b);
    fake_device_return(&b->device, middle, 0);
    bench_complete(b);

    vdpa_shadow_ring_rewind(b->ring);
    g_assert_cmpint(bench_forward(b), ==, -EPROTO);
    vdpa_shadow_ring_stop(b->ring, &state);
    g_assert_cmpuint(state.avail_idx, ==, 1);
    g_assert_cmpuint(state.used_idx, ==, 1);
    g_assert_cmpuint(state.ninflight, ==, 0);
    g_assert_cmpuint(slots[1], ==, heads[0]);
    g_assert_cmpuint(slots[2], ==, heads[2]);
    g_assert_true(b->vdpa->dirty[bench_layout.avail + 4 + 2]);
    g_assert_false(b->vdpa->dirty[bench_layout.avail + 4 + 4]);
    vdpa_shadow_state_clear(&state);
    bench_free(b);
}

/* Stopped again before those in flight were all given to the device again. */
static void test_stopped_twice(void)
{
    Bench *b = bench_new(&bench_layout, NUM);
    VdpaShadowState state = {};

    for (unsigned i = 0; i < 4; i++) {
        bench_offer(b, TABLE);
    }
    bench_forward(b);
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

/* --- notifications -------------------------------------------------------- */

/* Who serves the guest's ring next is kicked: the wish not to be is gone. */
static void test_stop_leaves_kicks_on(void)
{
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        VdpaGuestLayout how = bench_layout;
        Bench *b;

        how.event_idx = event_idx;
        b = bench_new(&how, 2);
        bench_offer(b, 0);
        bench_offer(b, 0);
        bench_forward(b);       /* the second has no room: kicks are off */
        vdpa_shadow_ring_stop(b->ring, NULL);
        g_assert_cmpuint(b->driver.used->flags, ==, 0);
        g_assert_cmpuint(*fake_avail_event(b->driver.used, NUM), ==,
                         event_idx ? 1 : 0);
        bench_free(b);
    }
}

static void test_backpressure(void)
{
    Bench *b = bench_new(&bench_layout, 2);
    const VdpaShadowStats *stats = vdpa_shadow_ring_stats(b->ring);

    bench_offer(b, 0);
    bench_offer(b, 0);
    g_assert_cmpint(bench_forward(b), ==, VDPA_SHADOW_KICK);
    g_assert_cmpint(bench_forward(b), ==, 0);
    g_assert_cmpuint(stats->forwarded, ==, 1);
    g_assert_cmpuint(stats->stalls, ==, 1);
    g_assert_cmpuint(b->driver.used->flags, ==, VRING_USED_F_NO_NOTIFY);

    fake_device_return(&b->device, bench_take(b), 7);
    g_assert_cmpint(bench_complete(b), ==, VDPA_SHADOW_CALL | VDPA_SHADOW_KICK);
    g_assert_cmpuint(stats->forwarded, ==, 2);
    g_assert_cmpuint(stats->completed, ==, 1);
    g_assert_cmpuint(stats->bytes_written, ==, 7);
    g_assert_cmpuint(b->driver.used->flags, ==, 0);
    bench_free(b);
}

/* The budget ends a call; MORE says so; the same call goes on. */
static void test_budget(void)
{
    Bench *b = bench_new(&bench_layout, NUM);

    for (unsigned i = 0; i < 3; i++) {
        bench_offer(b, TABLE);
    }
    g_assert_cmpint(vdpa_shadow_ring_forward(b->ring, 2), ==,
                    VDPA_SHADOW_KICK | VDPA_SHADOW_MORE);
    g_assert_cmpint(vdpa_shadow_ring_forward(b->ring, 2), ==,
                    VDPA_SHADOW_KICK);
    for (unsigned i = 0; i < 3; i++) {
        fake_device_return(&b->device, bench_take(b), 0);
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
    VdpaGuestLayout how = bench_layout;
    Bench *b;

    how.event_idx = true;
    b = bench_new(&how, NUM);
    b->driver.avail->ring[NUM] = 5;     /* used_event */
    *fake_avail_event(b->device.used, NUM) = 5;
    for (unsigned i = 0; i < 7; i++) {
        bench_offer(b, TABLE);
        g_assert_cmpint(bench_forward(b), ==, i == 5 ? VDPA_SHADOW_KICK : 0);
        fake_device_return(&b->device, bench_take(b), 0);
        /* The first always: who served the ring before may owe one. */
        g_assert_cmpint(bench_complete(b), ==,
                        i == 0 || i == 5 ? VDPA_SHADOW_CALL : 0);
    }
    bench_free(b);
}

static void test_features(void)
{
    const uint64_t v1 = 1ull << 32;
    g_autofree char *names = NULL;

    g_assert_cmphex(vdpa_shadow_ring_refused(v1), ==, 0);
    g_assert_cmphex(vdpa_shadow_ring_refused(v1 | 1ull << 33 | 1ull << 29 |
                                             1ull << 28 | 0xffffff), ==, 0);
    g_assert_cmphex(vdpa_shadow_ring_refused(0), ==, v1);
    for (unsigned bit = 34; bit < 41; bit++) {
        g_assert_cmphex(vdpa_shadow_ring_refused(v1 | 1ull << bit), ==,
                        1ull << bit);
    }
    names = vdpa_shadow_ring_feature_names(v1 | 1ull << 34 | 1ull << 41);
    g_assert_cmpstr(names, ==, "no VERSION_1, RING_PACKED, feature 41");
}

/* What came back between the last look and asking to be told is told. */
static void test_device_ring(void)
{
    Bench *b = bench_new(&bench_layout, NUM);
    const VdpaDeviceBuf buf = { .iova = 1, .len = 1 };
    VdpaRingDevice *ring = vdpa_ring_device_new(NUM, &b->memory, false, NULL,
                                                NULL);
    VdpaDeviceDone done;

    g_assert_cmpint(vdpa_ring_device_add(ring, &buf, 1, 77), ==, 0);
    g_assert_true(vdpa_ring_device_publish(ring));
    g_assert_false(vdpa_ring_device_notify_on(ring));
    fake_device_return(&b->device, bench_take(b), 0);
    g_assert_true(vdpa_ring_device_notify_on(ring));
    g_assert_cmpint(vdpa_ring_device_get(ring, &done), ==, 1);
    g_assert_cmpuint(done.token, ==, 77);
    g_assert_false(vdpa_ring_device_notify_on(ring));
    vdpa_ring_device_free(ring);
    bench_free(b);
}

/* The device is asked to call at the next buffer, not at one behind it. */
static void test_device_event(void)
{
    Bench *b = bench_new(&bench_layout, NUM);
    const VdpaDeviceBuf buf = { .iova = 1, .len = 1 };
    VdpaRingDevice *ring = vdpa_ring_device_new(NUM, &b->memory, true, NULL,
                                                NULL);
    VdpaDeviceDone done;

    for (unsigned i = 0; i < 3; i++) {
        g_assert_false(vdpa_ring_device_notify_on(ring));
        g_assert_cmpuint(b->device.avail->ring[NUM], ==, i);    /* used_event */
        g_assert_cmpint(vdpa_ring_device_add(ring, &buf, 1, i), ==, 0);
        vdpa_ring_device_publish(ring);
        fake_device_return(&b->device, bench_take(b), 0);
        g_assert_cmpint(vdpa_ring_device_get(ring, &done), ==, 1);
    }
    vdpa_ring_device_free(ring);
    bench_free(b);
}

/* --- the guest's side by itself, as for a control queue ------------------- */

static void test_guest_ring(void)
{
    Bench *b = bench_new(&bench_layout, NUM);
    VdpaRingGuest *ring = vdpa_ring_guest_new(&fake_vdpa_ops.guest, b->vdpa);
    VdpaGuestChain chain;
    uint32_t len;
    int head;

    g_assert_cmpint(vdpa_ring_guest_pop(ring, &chain), ==, -EPROTO);
    vdpa_ring_guest_start(ring, &bench_layout, 0, 0);
    g_assert_cmpint(vdpa_ring_guest_pop(ring, &chain), ==, 0);
    head = bench_offer(b, TABLE);
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
    g_assert_cmpuint(chain.segments[1].addr, ==, DATA + 100);

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

/* A translation that answers more than was asked for, or nothing. */
static uint64_t odd_len;

static int odd_translate(void *opaque, uint64_t addr, uint64_t len,
                         bool device_writes, VdpaRange *range)
{
    *range = (VdpaRange) { addr, addr, odd_len };
    return 0;
}

static void test_odd_translation(void)
{
    VdpaShadowOps ops = fake_vdpa_ops;
    const VdpaShadowState state = {};
    Bench *b = bench_new(&bench_layout, NUM);
    FakeSegment segs[FAKE_SEGMENTS_MAX];
    unsigned n;

    vdpa_shadow_ring_free(b->ring);
    ops.translate = odd_translate;
    b->ring = vdpa_shadow_ring_new(&ops, b->vdpa);
    bench_start(b, &state, 0);
    odd_len = 1ull << 40;
    bench_offer(b, 0);
    g_assert_cmpint(bench_forward(b), ==, VDPA_SHADOW_KICK);
    fake_device_take(&b->device, segs, &n);
    g_assert_cmpuint(n, ==, 2);
    g_assert_cmpuint(segs[0].len, ==, 100);
    g_assert_cmpuint(segs[1].len, ==, 50);
    odd_len = 0;
    bench_offer(b, 0);
    bench_expect_broken(b, bench_forward(b), "not mapped");
    bench_free(b);
}

/*
 * A device that was reset: what it returned goes back to the guest, and what had
 * no room before is not forwarded, as nothing is mapped for the device any more.
 */
static void test_drain(void)
{
    for (int drained = 0; drained < 2; drained++) {
        VdpaShadowOps ops = fake_vdpa_ops;
        Bench *b = bench_new(&bench_layout, 2);
        VdpaShadowState state = {};
        uint32_t len;
        int head;

        vdpa_shadow_ring_free(b->ring);
        ops.translate = odd_translate;
        odd_len = 1ull << 40;
        b->ring = vdpa_shadow_ring_new(&ops, b->vdpa);
        bench_start(b, &state, 0);
        head = bench_offer(b, 0);
        bench_offer(b, 0);
        bench_forward(b);           /* the second has no room */
        fake_device_return(&b->device, bench_take(b), 50);
        odd_len = 0;                /* all maps are gone */
        if (!drained) {
            bench_expect_broken(b, bench_complete(b), "not mapped");
            bench_free(b);
            continue;
        }
        g_assert_cmpint(vdpa_shadow_ring_drain(b->ring), ==, VDPA_SHADOW_CALL);
        g_assert_cmpint(vdpa_shadow_ring_drain(b->ring), ==, 0);
        g_assert_null(vdpa_shadow_ring_broken(b->ring));
        g_assert_cmpint(fake_driver_reap(&b->driver, &len), ==, head);
        g_assert_cmpint(vdpa_shadow_ring_rewind(b->ring), ==, 0);
        vdpa_shadow_ring_stop(b->ring, &state);
        g_assert_cmpuint(state.avail_idx, ==, 1);
        g_assert_cmpuint(state.ninflight, ==, 0);
        vdpa_shadow_state_clear(&state);
        bench_free(b);
    }
}

int main(int argc, char **argv)
{
    static const NamedTest tests[] = {
        { "odd-translation", test_odd_translation },
        { "states-refused", test_states_refused },
        { "rewind", test_rewind },
        { "stopped-twice", test_stopped_twice },
        { "stop-leaves-kicks-on", test_stop_leaves_kicks_on },
        { "backpressure", test_backpressure },
        { "drain", test_drain },
        { "budget", test_budget },
        { "suppression", test_suppression },
        { "features", test_features },
        { "device-ring", test_device_ring },
        { "device-ring-event", test_device_event },
        { "guest-ring", test_guest_ring },
    };

    g_test_init(&argc, &argv, NULL);
    named_tests_add("vdpa-shadow-ring", tests, G_N_ELEMENTS(tests));
    return g_test_run();
}
