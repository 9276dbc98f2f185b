/*
 * A small shadow ring with a guest and a device, for tests of single events
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: a ring of eight descriptors, rings and data in the half
 * of guest memory that is one map.
 *
 * Limits: asserts; a test that wants to see a failure calls the ring itself.
 */
#include "shadow-bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const VdpaGuestLayout bench_layout = {
    .desc = 0x1000,
    .avail = 0x2000,
    .used = 0x3000,
    .num = NUM,
    .indirect = true,
};

void bench_start(Bench *b, const VdpaShadowState *state, int error)
{
    g_assert_cmpint(vdpa_shadow_ring_start(b->ring, &b->layout, b->num,
                                           &b->memory, state), ==, error);
    if (!error) {
        fake_device_on_shadow(&b->device, &b->memory, b->num,
                              b->layout.event_idx);
    }
}

Bench *bench_new(const VdpaGuestLayout *how, uint16_t num)
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

void bench_free(Bench *b)
{
    vdpa_shadow_ring_free(b->ring);
    fake_driver_destroy(&b->driver);
    fake_vdpa_free(b->vdpa);
    free(b->memory.driver);
    free(b->memory.device);
    g_rand_free(b->rand);
    g_free(b);
}

int bench_offer(Bench *b, uint64_t table)
{
    const VdpaGuestSegment segments[] = {
        { DATA, 100, false }, { DATA + 100, 50, true },
    };
    int head = fake_driver_offer(&b->driver, segments, 2, table);

    g_assert_cmpint(head, >=, 0);
    fake_driver_publish(&b->driver);
    return head;
}

int bench_forward(Bench *b)
{
    return vdpa_shadow_ring_forward(b->ring, 0);
}

int bench_complete(Bench *b)
{
    return vdpa_shadow_ring_complete(b->ring, 0);
}

int bench_take(Bench *b)
{
    static FakeSegment segs[FAKE_SEGMENTS_MAX];
    unsigned n;

    return fake_device_take(&b->device, segs, &n);
}

void bench_expect_broken(Bench *b, int ret, const char *reason)
{
    const char *why = vdpa_shadow_ring_broken(b->ring);

    g_assert_cmpint(ret, ==, -EPROTO);
    g_assert_nonnull(why);
    if (!strstr(why, reason)) {
        g_error("broken for another reason: \"%s\", not \"%s\"", why, reason);
    }
    g_assert_cmpint(bench_forward(b), ==, -EPROTO);
    g_assert_cmpint(bench_complete(b), ==, -EPROTO);
}

void bench_expect_recovery(Bench *b)
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
    bench_offer(b, 0);
    g_assert_cmpint(bench_forward(b), ==, VDPA_SHADOW_KICK);
    fake_device_return(&b->device, bench_take(b), 50);
    g_assert_cmpint(bench_complete(b), ==, VDPA_SHADOW_CALL);
}
