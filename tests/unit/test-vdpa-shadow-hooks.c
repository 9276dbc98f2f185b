/*
 * Shadow ring: the other side acts at the one moment that matters
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Rules about the order of two accesses are broken only if the other side acts
 * between them.  Here it does, each time: the guest by the hook that the fake
 * calls before a write to guest memory, the device when our store to the ring
 * that it reads faults, since the page is read-only until then.
 *
 * Limits: one thread, so that what a processor reorders is not seen.
 */
#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shadow-bench.h"
#include "named-tests.h"

/* --- a hook at our next store to the device's ring ------------------------ */

static struct {
    Bench *b;
    void (*act)(Bench *b);
    size_t size;
} trap;

static void trapped(int signal)
{
    if (!trap.act || mprotect(trap.b->memory.driver, trap.size,
                              PROT_READ | PROT_WRITE)) {
        abort();
    }
    trap.act(trap.b);
    trap.act = NULL;
}

static void trap_set(Bench *b, void (*act)(Bench *b))
{
    struct sigaction action = { .sa_handler = trapped };

    trap.b = b;
    trap.act = act;
    trap.size = vdpa_ring_driver_area_size(b->num);
    g_assert_cmpint(sigaction(SIGSEGV, &action, NULL), ==, 0);
    g_assert_cmpint(mprotect(b->memory.driver, trap.size, PROT_READ), ==, 0);
}

/* --- what the other side does --------------------------------------------- */

static Bench *bench_without_ram(bool event_idx)
{
    VdpaGuestLayout how = bench_layout;
    Bench *b;

    how.event_idx = event_idx;
    b = bench_new(&how, NUM);
    b->vdpa->no_ram = true;
    vdpa_shadow_ring_remap(b->ring);
    return b;
}

static void at_write(Bench *b, uint64_t addr, void (*hook)(void *opaque))
{
    b->vdpa->hook_at = addr;
    b->vdpa->hook = hook;
    b->vdpa->hook_opaque = b;
}

static uint64_t kicks_at(const Bench *b)
{
    return b->layout.used + (b->layout.event_idx ? 4 + 8 * NUM : 0);
}

static void guest_offers(void *opaque)
{
    bench_offer(opaque, TABLE);
}

static void guest_offers_at_kicks_on(void *opaque)
{
    Bench *b = opaque;

    /* The first write turns kicks off, the second on. */
    at_write(b, kicks_at(b), guest_offers);
}

static void guest_wants_calls(void *opaque)
{
    Bench *b = opaque;

    g_assert_false(fake_driver_enable(&b->driver));
}

static void device_returns(Bench *b)
{
    fake_device_return(&b->device, 0, 0);
}

static void device_wants_kicks(Bench *b)
{
    b->device.used->flags = 0;
}

static void calls_are_off(void *opaque)
{
    Bench *b = opaque;

    g_assert_cmpuint(b->device.avail->flags, ==, VRING_AVAIL_F_NO_INTERRUPT);
}

/* --- guest's side --------------------------------------------------------- */

/* Offered while kicks are off, just before they are on: found by the look. */
static void test_kicks_on(void)
{
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        Bench *b = bench_without_ram(event_idx);
        VdpaRingGuest *ring = vdpa_ring_guest_new(&fake_vdpa_ops.guest,
                                                  b->vdpa);

        vdpa_ring_guest_start(ring, &b->layout, 0, 0);
        g_assert_cmpint(vdpa_ring_guest_notify_on(ring), ==, 0);
        at_write(b, kicks_at(b), guest_offers);
        g_assert_cmpint(vdpa_ring_guest_notify_on(ring), ==, 1);
        vdpa_ring_guest_free(ring);
        bench_free(b);
    }
}

static void test_forward_looks_again(void)
{
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        Bench *b = bench_without_ram(event_idx);

        bench_offer(b, 0);
        at_write(b, kicks_at(b), event_idx ? guest_offers
                                           : guest_offers_at_kicks_on);
        g_assert_cmpint(bench_forward(b), ==, VDPA_SHADOW_KICK);
        g_assert_null(b->vdpa->hook);
        g_assert_cmpuint(vdpa_shadow_ring_stats(b->ring)->forwarded, ==, 2);
        bench_free(b);
    }
}

/* The guest asks for interrupts before it can see the index: it gets one. */
static void test_flush(void)
{
    for (int event_idx = 0; event_idx < 2; event_idx++) {
        for (int asks = 0; asks < 2; asks++) {
            Bench *b = bench_without_ram(event_idx);

            bench_offer(b, 0);
            bench_forward(b);
            fake_device_return(&b->device, bench_take(b), 0);
            g_assert_cmpint(bench_complete(b), ==, VDPA_SHADOW_CALL);
            fake_driver_reap(&b->driver, &(uint32_t) { 0 });
            b->driver.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
            b->driver.avail->ring[NUM] = 0x4000;    /* used_event */
            bench_offer(b, 0);
            bench_forward(b);
            fake_device_return(&b->device, bench_take(b), 0);
            if (asks) {
                at_write(b, b->layout.used + 2, guest_wants_calls);
            }
            g_assert_cmpint(bench_complete(b), ==,
                            asks ? VDPA_SHADOW_CALL : 0);
            bench_free(b);
        }
    }
}

static void test_flush_fails(void)
{
    Bench *b = bench_without_ram(false);

    bench_offer(b, 0);
    bench_forward(b);
    fake_device_return(&b->device, bench_take(b), 0);
    b->vdpa->fail_at = b->layout.used + 2;
    bench_expect_broken(b, bench_complete(b), "not in guest memory");
    bench_free(b);
}

/* stop() shows the entries that were pushed. */
static void test_stop_flushes(void)
{
    Bench *b = bench_new(&bench_layout, NUM);
    VdpaRingGuest *ring = vdpa_ring_guest_new(&fake_vdpa_ops.guest, b->vdpa);
    VdpaGuestChain chain;
    uint32_t len;
    int head = bench_offer(b, 0);

    vdpa_ring_guest_start(ring, &bench_layout, 0, 0);
    g_assert_cmpint(vdpa_ring_guest_pop(ring, &chain), ==, 1);
    g_assert_cmpint(vdpa_ring_guest_push(ring, head, 5), ==, 0);
    vdpa_ring_guest_stop(ring);
    g_assert_cmpint(fake_driver_reap(&b->driver, &len), ==, head);
    vdpa_ring_guest_free(ring);
    bench_free(b);
}

/* remap() asks anew: for calls, for memory, and for memory that is gone. */
static void test_remap(void)
{
    Bench *b = bench_without_ram(false);

    bench_offer(b, 0);
    b->vdpa->reads = 0;
    bench_forward(b);
    g_assert_cmpuint(b->vdpa->reads, >, 0);
    b->vdpa->no_ram = false;
    vdpa_shadow_ring_remap(b->ring);
    bench_offer(b, 0);
    b->vdpa->reads = 0;
    bench_forward(b);
    g_assert_cmpuint(b->vdpa->reads, ==, 0);
    b->vdpa->gone = true;
    vdpa_shadow_ring_remap(b->ring);
    bench_expect_broken(b, bench_forward(b), "not all of the ring");
    b->vdpa->gone = false;
    bench_free(b);
}

/* A loop is left after as many steps as its table has entries. */
static void test_loop_steps(void)
{
    Bench *b = bench_without_ram(false);

    bench_offer(b, 0);
    b->driver.desc[0].next = 0;
    b->vdpa->reads = 0;
    bench_expect_broken(b, bench_forward(b), "loop");
    g_assert_cmpuint(b->vdpa->reads, <=, NUM + 2 + 6);     /* 6: both ends of each area */
    bench_free(b);
}

/* --- the device's side ---------------------------------------------------- */

/* Returned just before calls are enabled: the look after that finds it. */
static void test_calls_on(void)
{
    VdpaGuestLayout how = bench_layout;
    Bench *b;

    how.event_idx = true;           /* so that the first store is the event */
    b = bench_new(&how, NUM);
    bench_offer(b, 0);
    bench_forward(b);
    g_assert_cmpint(bench_take(b), ==, 0);
    trap_set(b, device_returns);
    g_assert_cmpint(bench_complete(b), ==, VDPA_SHADOW_CALL);
    g_assert_null(trap.act);
    g_assert_cmpuint(vdpa_shadow_ring_stats(b->ring)->completed, ==, 1);
    g_assert_cmpuint(b->device.avail->ring[NUM], ==, 1);    /* used_event */
    bench_free(b);
}

static void test_calls_off_meanwhile(void)
{
    Bench *b = bench_without_ram(false);

    bench_offer(b, 0);
    bench_forward(b);
    fake_device_return(&b->device, bench_take(b), 0);
    at_write(b, b->layout.used + 4, calls_are_off);     /* a used entry */
    g_assert_cmpint(bench_complete(b), ==, VDPA_SHADOW_CALL);
    g_assert_null(b->vdpa->hook);
    g_assert_cmpuint(b->device.avail->flags, ==, 0);
    bench_free(b);
}

/* The device asks for kicks before it can see the index: it gets one. */
static void test_publish(void)
{
    for (int asks = 0; asks < 2; asks++) {
        Bench *b = bench_new(&bench_layout, NUM);
        const VdpaDeviceBuf buf = { .iova = 1, .len = 1 };
        VdpaRingDevice *ring = vdpa_ring_device_new(NUM, &b->memory, false,
                                                    NULL, NULL);

        vdpa_ring_device_add(ring, &buf, 1, 0);
        b->device.used->flags = VRING_USED_F_NO_NOTIFY;
        if (asks) {
            trap_set(b, device_wants_kicks);
        }
        g_assert_cmpint(vdpa_ring_device_publish(ring), ==, asks);
        vdpa_ring_device_free(ring);
        bench_free(b);
    }
}

/* --- segments ------------------------------------------------------------- */

static bool log_apart;

/* Pages that adjoin for the device, and in the log only unless apart. */
static int page_translate(void *opaque, uint64_t addr, uint64_t len,
                          bool device_writes, VdpaRange *range)
{
    uint64_t log = log_apart ? addr ^ FAKE_PAGE : addr;

    *range = (VdpaRange) { FAKE_IOVA + addr, log, FAKE_PAGE - addr % FAKE_PAGE };
    return 0;
}

static void test_log(void)
{
    const VdpaGuestSegment seg = { DATA + FAKE_PAGE - 10, 30, true };
    VdpaShadowOps ops = fake_vdpa_ops;

    ops.translate = page_translate;
    for (int apart = 0; apart < 2; apart++) {
        Bench *b = bench_new(&bench_layout, NUM);
        const uint8_t *dirty = b->vdpa->dirty;
        FakeSegment segs[NUM];
        unsigned n;

        log_apart = apart;
        vdpa_shadow_ring_free(b->ring);
        b->ring = vdpa_shadow_ring_new(&ops, b->vdpa);
        bench_start(b, &(VdpaShadowState) {}, 0);
        fake_driver_offer(&b->driver, &seg, 1, 0);
        fake_driver_publish(&b->driver);
        bench_forward(b);
        fake_device_return(&b->device,
                           fake_device_take(&b->device, segs, &n), 30);
        g_assert_cmpuint(n, ==, apart ? 2 : 1);
        bench_complete(b);
        for (uint64_t at = 0; at < 3 * FAKE_PAGE; at++) {
            uint64_t addr = apart ? at ^ FAKE_PAGE : at;

            g_assert_cmpuint(dirty[DATA + at], ==,
                             addr >= FAKE_PAGE - 10 && addr < FAKE_PAGE + 20);
        }
        bench_free(b);
    }
}

int main(int argc, char **argv)
{
    static const NamedTest tests[] = {
        { "kicks-on", test_kicks_on },
        { "forward-looks-again", test_forward_looks_again },
        { "flush", test_flush },
        { "flush-fails", test_flush_fails },
        { "stop-flushes", test_stop_flushes },
        { "remap", test_remap },
        { "loop-steps", test_loop_steps },
        { "calls-on", test_calls_on },
        { "calls-off-meanwhile", test_calls_off_meanwhile },
        { "publish", test_publish },
        { "log", test_log },
    };

    g_test_init(&argc, &argv, NULL);
    named_tests_add("vdpa-shadow-hooks", tests, G_N_ELEMENTS(tests));
    return g_test_run();
}
