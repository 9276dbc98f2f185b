/*
 * Fuzz target: a shadow ring between a guest and a device that write anything
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * The input is a program: a header that says how the rings are, then one
 * operation after another, until it ends.  Guest and device work properly
 * where they are told to (offer, take, return), so that the depths are
 * reached, and else write bytes of the input where it says: into descriptors,
 * rings, indirect tables, at any time.
 *
 * What must hold whatever the input is, beside what the sanitizers check:
 *
 *   exposed     each descriptor that the device is shown lies in a map of the
 *               device's, which allows what the descriptor says
 *   returned    heads that come into the used ring were taken from the
 *               guest, once for each time, with lengths of at most 2^32
 *   dirty       dirty() is called for guest memory only (asserted by it)
 *   broken      once broken is broken: every later call says so
 *   ends        each call returns; a time limit is libFuzzer's
 *
 * fuzz-corpus writes inputs to start from.
 *
 * Limits: one thread: what changes while the code runs is not tried here.
 */
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "fake-vdpa.h"
#include "fuzz-input.h"

#define DESC_AT 0x1000u
#define AVAIL_AT 0x2ff0u
#define USED_AT 0x3ffcu
#define TABLE_AT 0x8000u
#define DATA_AT 0xc000u
#define RAM (32u * FAKE_PAGE)
#define MAX_NUM 16u

typedef struct Fuzz {
    Input in;
    FakeVdpa *vdpa;
    FakeDriver driver;
    FakeDevice device;
    VdpaGuestLayout layout;
    VdpaShadowRing *ring;
    VdpaRingMemory memory;
    uint16_t device_num;
    uint16_t shown;             /* avail index of the device's seen so far */
    int held[MAX_NUM * 2];      /* heads that the device took */
    unsigned nheld;
} Fuzz;

static void check(bool holds, const char *what)
{
    if (!holds) {
        g_printerr("does not hold: %s\n", what);
        abort();
    }
}

/* --- what must hold ------------------------------------------------------- */

/* Chains that became visible: in maps, of the right permission, in bounds. */
static void check_exposed(Fuzz *f)
{
    FakeDevice look = f->device;
    uint16_t idx = look.avail->idx;

    check((uint16_t)(idx - f->shown) <= f->device_num, "avail index");
    for (; f->shown != idx; f->shown++) {
        uint16_t index = look.avail->ring[f->shown % f->device_num];
        unsigned n = 0;
        bool more;

        do {
            const struct vring_desc *desc;

            check(index < f->device_num && n++ < f->device_num, "chain");
            desc = &look.desc[index];
            check(desc->len, "empty descriptor");
            check(fake_vdpa_gpa(f->vdpa, desc->addr, desc->len,
                                desc->flags & VRING_DESC_F_WRITE) !=
                  UINT64_MAX, "exposed memory is mapped");
            check(!(desc->flags & VRING_DESC_F_INDIRECT), "no indirect");
            more = desc->flags & VRING_DESC_F_NEXT;
            index = desc->next;
        } while (more);
    }
}

static void check_call(Fuzz *f, int ret, bool was_broken)
{
    bool broken = vdpa_shadow_ring_broken(f->ring);

    check(!was_broken || (broken && ret < 0), "broken stays broken");
    check(broken ? ret < 0 : ret >= 0, "errors are broken rings");
    check(vdpa_shadow_ring_inflight(f->ring) <= f->layout.num, "in flight");
}

/* --- operations ----------------------------------------------------------- */

static void op_offer(Fuzz *f)
{
    VdpaGuestSegment segments[4];
    unsigned n = 1 + eat(&f->in, 1) % 4;
    bool table = eat(&f->in, 1) & 1;
    bool writes = false;

    for (unsigned i = 0; i < n; i++) {
        uint64_t word = eat(&f->in, 4);

        writes |= word & 1;
        segments[i] = (VdpaGuestSegment) {
            DATA_AT + (word >> 1) % (RAM - DATA_AT),
            1 + (word >> 16) % 5000, writes
        };
    }
    if (fake_driver_offer(&f->driver, segments, n, table ? TABLE_AT : 0) >= 0) {
        fake_driver_publish(&f->driver);
    }
}

/* The driver believes nothing of what may have been spoilt. */
static void op_reap(Fuzz *f)
{
    const struct vring_used *used = f->driver.used;

    while (f->driver.last_used != used->idx) {
        uint32_t id = used->ring[f->driver.last_used % f->layout.num].id;
        uint32_t len;

        if (id >= f->layout.num || !f->driver.count[id]) {
            f->driver.last_used = used->idx;
            return;
        }
        fake_driver_reap(&f->driver, &len);
    }
}

static void op_forward(Fuzz *f)
{
    bool was_broken = vdpa_shadow_ring_broken(f->ring);

    check_call(f, vdpa_shadow_ring_forward(f->ring, eat(&f->in, 1) % 4),
               was_broken);
    check_exposed(f);
}

static void op_complete(Fuzz *f)
{
    const VdpaShadowStats *stats = vdpa_shadow_ring_stats(f->ring);
    bool was_broken = vdpa_shadow_ring_broken(f->ring);

    check_call(f, vdpa_shadow_ring_complete(f->ring, eat(&f->in, 1) % 4),
               was_broken);
    check(stats->completed <= stats->forwarded, "completed what was forwarded");
    check_exposed(f);
}

static void op_take(Fuzz *f)
{
    static FakeSegment segs[FAKE_SEGMENTS_MAX];
    unsigned n;

    if (f->device.next_avail != f->shown && f->nheld < f->device_num) {
        f->held[f->nheld++] = fake_device_take(&f->device, segs, &n);
    }
}

static void op_return(Fuzz *f)
{
    unsigned i = eat(&f->in, 1);

    if (f->nheld) {
        i %= f->nheld;
        fake_device_return(&f->device, f->held[i], eat(&f->in, 2));
        f->held[i] = f->held[--f->nheld];
    }
}

/* Bytes of the input go where they want: the guest's rings and tables. */
static void op_guest_scribbles(Fuzz *f)
{
    uint64_t at = eat(&f->in, 2) % (DATA_AT - 8);
    unsigned n = 1 + eat(&f->in, 1) % 8;

    for (unsigned i = 0; i < n; i++) {
        f->vdpa->ram[at + i] = eat(&f->in, 1);
    }
}

/* ... to a field, by name, which hits more often. */
static void op_guest_spoils(Fuzz *f)
{
    unsigned what = eat(&f->in, 1), num = f->layout.num;
    struct vring_desc *desc = what & 8
        ? (struct vring_desc *)(f->vdpa->ram + TABLE_AT) + what / 16 % 4
        : &f->driver.desc[what / 16 % num];

    switch (what % 8) {
    case 0:
        desc->addr = eat(&f->in, 8);
        break;
    case 1:
        desc->addr = eat(&f->in, 3) % (RAM + FAKE_PAGE);
        break;
    case 2:
        desc->len = eat(&f->in, 4);
        break;
    case 3:
        desc->flags = eat(&f->in, 1);
        break;
    case 4:
        desc->next = eat(&f->in, 1);
        break;
    case 5:
        f->driver.avail->idx += eat(&f->in, 1) % (2 * num) - num / 2;
        break;
    case 6:
        f->driver.avail->ring[what / 16 % num] = eat(&f->in, 1);
        break;
    default:
        desc->len = 16 * (eat(&f->in, 1) % 70);
        break;
    }
}

static void op_device_scribbles(Fuzz *f)
{
    uint8_t *area = f->memory.device;
    uint64_t at = eat(&f->in, 1) % (6 + 8 * f->device_num);

    area[at] = eat(&f->in, 1);
}

static void start(Fuzz *f, const VdpaShadowState *state)
{
    int ret = vdpa_shadow_ring_start(f->ring, &f->layout, f->device_num,
                                     &f->memory, state);

    check(!ret || !vdpa_shadow_ring_started(f->ring), "not started");
    fake_device_on_shadow(&f->device, &f->memory, f->device_num,
                          f->layout.event_idx);
    f->shown = 0;
    f->nheld = 0;
}

static void op_restart(Fuzz *f)
{
    VdpaShadowState state = {};
    bool rewound = eat(&f->in, 1) & 1 && !vdpa_shadow_ring_rewind(f->ring);

    if (!vdpa_shadow_ring_started(f->ring)) {
        return;
    }
    vdpa_shadow_ring_stop(f->ring, &state);
    check((uint16_t)(state.avail_idx - state.used_idx) == state.ninflight,
          "state adds up");
    check(!rewound || !state.ninflight, "rewound: none in flight");
    start(f, &state);
    check(vdpa_shadow_ring_started(f->ring), "a state from stop() is taken");
    vdpa_shadow_state_clear(&state);
}

/* A state as out of a migration stream. */
static void op_foreign_state(Fuzz *f)
{
    uint16_t heads[MAX_NUM + 1];
    VdpaShadowState state = { .inflight = heads };

    state.avail_idx = eat(&f->in, 2);
    state.used_idx = state.avail_idx - eat(&f->in, 1) % (MAX_NUM + 2);
    state.ninflight = eat(&f->in, 1) % (MAX_NUM + 2);
    for (unsigned i = 0; i < G_N_ELEMENTS(heads); i++) {
        heads[i] = eat(&f->in, 1) % (MAX_NUM + 1);
    }
    vdpa_shadow_ring_stop(f->ring, NULL);
    start(f, &state);
    if (!vdpa_shadow_ring_started(f->ring)) {
        state.avail_idx = state.used_idx;
        state.ninflight = 0;
        start(f, &state);
    }
}

static void (*const ops[])(Fuzz *f) = {
    op_offer, op_reap, op_forward, op_complete, op_take, op_return,
    op_guest_scribbles, op_guest_spoils, op_device_scribbles, op_restart,
    op_foreign_state,
};

static void fuzz_init(Fuzz *f, const uint8_t *data, size_t size, GRand *rand)
{
    uint8_t how;

    *f = (Fuzz) { .in = { data, size } };
    how = eat(&f->in, 1);
    f->layout = (VdpaGuestLayout) {
        .desc = DESC_AT, .avail = AVAIL_AT, .used = USED_AT,
        .num = 1u << how % 5,
        .event_idx = how & 0x20,
        .indirect = how & 0x40,
    };
    f->device_num = 1u << eat(&f->in, 1) % 6;
    f->vdpa = fake_vdpa_new(RAM, DATA_AT, rand);
    f->vdpa->no_ram = how & 0x80;
    f->memory.driver = fake_pages(vdpa_ring_driver_area_size(f->device_num));
    f->memory.device = fake_pages(vdpa_ring_device_area_size(f->device_num));
    fake_driver_init(&f->driver, f->vdpa, &f->layout, 0);
    f->ring = vdpa_shadow_ring_new(&fake_vdpa_ops, f->vdpa);
    start(f, &(VdpaShadowState) {});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    GRand *rand = g_rand_new_with_seed(7);
    Fuzz f;

    fuzz_init(&f, data, size, rand);
    for (unsigned i = 0; f.in.left && i < 4096; i++) {
        ops[eat(&f.in, 1) % G_N_ELEMENTS(ops)](&f);
    }
    vdpa_shadow_ring_free(f.ring);
    fake_driver_destroy(&f.driver);
    fake_vdpa_free(f.vdpa);
    free(f.memory.driver);
    free(f.memory.device);
    g_rand_free(rand);
    return 0;
}
