/*
 * A small shadow ring with a guest and a device, for tests of single events
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle: bench_new(), which starts the ring; bench_free().  One thread.
 */
#ifndef TESTS_UNIT_SHADOW_BENCH_H
#define TESTS_UNIT_SHADOW_BENCH_H

#include "fake-vdpa.h"

#define NUM 8
#define RAM (64u * FAKE_PAGE)
#define DATA 0x10000u
#define TABLE 0x20000u
#define READ_ONLY (RAM - FAKE_PAGE)

extern const VdpaGuestLayout bench_layout;

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

/* A started ring over a guest's ring like @how, with @num descriptors. */
Bench *bench_new(const VdpaGuestLayout *how, uint16_t num);
void bench_free(Bench *b);

/* Starts it, which must end with @error. */
void bench_start(Bench *b, const VdpaShadowState *state, int error);

/*
 * Offers a chain of 100 bytes to read and 50 to write, in an indirect table
 * at @table if that is not 0; its head.
 */
int bench_offer(Bench *b, uint64_t table);

/* Without a limit. */
int bench_forward(Bench *b);
int bench_complete(Bench *b);

/* The device takes one chain: its head there. */
int bench_take(Bench *b);

/* @ret is that of a ring that broke, for a reason with these words in it. */
void bench_expect_broken(Bench *b, int ret, const char *reason);

/* A ring that broke can be stopped, and one that is started is whole. */
void bench_expect_recovery(Bench *b);

#endif
