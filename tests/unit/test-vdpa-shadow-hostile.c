/*
 * Shadow ring: what hostile guests and devices may try
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Each case spoils one thing on the way of one chain and names the words that
 * the reason must have; that the ring is broken, stays broken, and can be
 * stopped and started again is asked of all of them.  Guests are tried twice:
 * with memory that is mapped, and with memory that is read and written.
 *
 * Limits: one malformed ring at a time; fuzz-vdpa-shadow-ring.c does more.
 */
#include <glib.h>
#include <string.h>

#include "shadow-bench.h"
#include "named-tests.h"

/* --- hostile guests ------------------------------------------------------- */

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

/* One buffer in more segments than the device's ring has descriptors. */
static void many_maps(Bench *b)
{
    b->driver.desc[0].addr = RAM / 2;
    b->driver.desc[0].len = RAM / 2;
}

static void nothing(Bench *b)
{
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
    VdpaGuestLayout how = bench_layout;
    Bench *b;

    how.indirect = !c->no_indirect;
    b = bench_new(&how, NUM);
    b->vdpa->no_ram = no_ram;
    vdpa_shadow_ring_remap(b->ring);
    b->vdpa->reads = 0;
    bench_offer(b, c->in_table ? TABLE : 0);
    c->spoil(b);
    bench_expect_broken(b, bench_forward(b), c->reason);
    /* The second half of the cases goes the other way indeed. */
    g_assert_true(!no_ram || b->vdpa->reads);
    bench_expect_recovery(b);
    bench_free(b);
}

static void test_guest_case(gconstpointer opaque)
{
    run_guest_case(opaque, false);
    run_guest_case(opaque, true);
}

/* --- hostile devices ------------------------------------------------------ */

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
    Bench *b = bench_new(&bench_layout, NUM);
    const uint8_t *dirty = b->vdpa->dirty;

    bench_offer(b, 0);
    bench_offer(b, 0);
    bench_forward(b);
    c->spoil(b);
    bench_expect_broken(b, bench_complete(b), c->reason);
    g_assert_null(memchr(dirty + DATA, 1, 200));
    bench_expect_recovery(b);
    bench_free(b);
}

/* A device that scribbles over descriptors and available ring: they are its
 * to read only, but nothing here depends on that. */
static void test_device_scribbles(void)
{
    Bench *b = bench_new(&bench_layout, NUM);
    uint32_t len;
    int head = bench_offer(b, 0), device_head;

    bench_forward(b);
    device_head = bench_take(b);
    memset(b->memory.driver, 0xff, vdpa_ring_driver_area_size(NUM));
    fake_device_return(&b->device, device_head, 50);
    g_assert_cmpint(bench_complete(b), ==, VDPA_SHADOW_CALL);
    g_assert_cmpint(fake_driver_reap(&b->driver, &len), ==, head);
    g_assert_cmpuint(len, ==, 50);
    bench_offer(b, 0);
    g_assert_cmpint(bench_forward(b) & ~VDPA_SHADOW_KICK, ==, 0);
    g_assert_null(vdpa_shadow_ring_broken(b->ring));
    bench_free(b);
}

/* --- memory that goes ------------------------------------------------------ */

/* The guest's used ring turns into something else, a device's registers. */
static void test_used_goes(void)
{
    for (int i = 0; i < 2; i++) {
        Bench *b = bench_new(&bench_layout, NUM);
        uint8_t before[64];

        b->vdpa->no_ram = i;
        vdpa_shadow_ring_remap(b->ring);
        bench_offer(b, 0);
        bench_forward(b);
        fake_device_return(&b->device, bench_take(b), 50);
        memcpy(before, b->driver.used, sizeof(before));
        b->vdpa->hole = b->layout.used;
        b->vdpa->hole_size = FAKE_PAGE;
        vdpa_shadow_ring_remap(b->ring);
        g_assert_null(vdpa_shadow_ring_broken(b->ring));
        bench_expect_broken(b, bench_complete(b), "in guest memory");
        g_assert_cmpint(memcmp(before, b->driver.used, sizeof(before)), ==, 0);
        b->vdpa->hole_size = 0;
        bench_expect_recovery(b);
        bench_free(b);
    }
}

/* It comes back before the ring is used again: nothing has happened. */
static void test_used_returns(void)
{
    Bench *b = bench_new(&bench_layout, NUM);

    bench_offer(b, 0);
    bench_forward(b);
    fake_device_return(&b->device, bench_take(b), 50);
    b->vdpa->hole = b->layout.used;
    b->vdpa->hole_size = FAKE_PAGE;
    vdpa_shadow_ring_remap(b->ring);
    b->vdpa->hole_size = 0;
    g_assert_cmpint(bench_complete(b), ==, VDPA_SHADOW_CALL);
    g_assert_null(vdpa_shadow_ring_broken(b->ring));
    bench_free(b);
}

/* A ring of several pages, the middle one of which is not there. */
static void test_hole_in_area(void)
{
    static const struct {
        uint64_t hole;
        int error;
    } cases[] = {
        { 0x10000 + 1 * FAKE_PAGE, -EFAULT }, { 0x10000 + 3 * FAKE_PAGE, -EFAULT },
        { 0x14000, -EFAULT }, { 0x18000 + 1 * FAKE_PAGE, -EFAULT },
        { 0x18000 + 2 * FAKE_PAGE, -EFAULT }, { 0x18000 + 3 * FAKE_PAGE, 0 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        Bench *b = bench_new(&bench_layout, NUM);

        vdpa_shadow_ring_stop(b->ring, NULL);
        b->layout.num = 1024;
        b->layout.desc = 0x10000;
        b->layout.avail = 0x14000;
        b->layout.used = 0x18000;
        b->vdpa->hole = cases[i].hole;
        b->vdpa->hole_size = FAKE_PAGE;
        bench_start(b, &(VdpaShadowState) {}, cases[i].error);
        bench_free(b);
    }
}

/* Without the event index, what would be the event's field is no part of it. */
static void test_no_event_field(void)
{
    Bench *b = bench_new(&bench_layout, NUM);

    vdpa_shadow_ring_stop(b->ring, NULL);
    b->layout.used = 0x5000 - 4 - 8 * NUM;
    b->vdpa->hole = 0x5000;
    b->vdpa->hole_size = FAKE_PAGE;
    bench_start(b, &(VdpaShadowState) {}, 0);
    vdpa_shadow_ring_stop(b->ring, NULL);
    b->layout.event_idx = true;
    bench_start(b, &(VdpaShadowState) {}, -EFAULT);
    bench_free(b);
}

int main(int argc, char **argv)
{
    static const NamedTest tests[] = {
        { "device/scribbles", test_device_scribbles },
        { "memory/used-goes", test_used_goes },
        { "memory/used-returns", test_used_returns },
        { "memory/hole-in-area", test_hole_in_area },
        { "memory/no-event-field", test_no_event_field },
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(guest_cases); i++) {
        g_autofree char *path = g_strconcat("/vdpa-shadow-hostile/guest/",
                                            guest_cases[i].name, NULL);

        g_test_add_data_func(path, &guest_cases[i], test_guest_case);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(device_cases); i++) {
        g_autofree char *path = g_strconcat("/vdpa-shadow-hostile/device/",
                                            device_cases[i].name, NULL);

        g_test_add_data_func(path, &device_cases[i], test_device_case);
    }
    named_tests_add("vdpa-shadow-hostile", tests, G_N_ELEMENTS(tests));
    return g_test_run();
}
