/*
 * What bench-vdpa measures, of this branch and of the base
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each subject implements these; see bench-vdpa.c.
 */
#ifndef TESTS_BENCH_BENCH_VDPA_H
#define TESTS_BENCH_BENCH_VDPA_H

#include "fake-vdpa.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which address a lookup starts from. */
typedef enum BenchFrom { FROM_IOVA, FROM_HVA, FROM_GPA } BenchFrom;

/* An IOVA table of @n maps of a page each, map i at the addresses that
 * bench_addr() gives. */
typedef struct BenchTable {
    void *(*make)(size_t n);
    uint64_t (*look_up)(void *table, BenchFrom from, uint64_t addr);
    void (*free)(void *table);
    void *(*make_empty)(void);
    bool (*alloc)(void *table, size_t i);
} BenchTable;

/* A shadow ring over a guest's ring of RING_NUM descriptors. */
typedef struct BenchRing {
    void *(*make)(FakeVdpa *vdpa, FakeDriver *driver,
                  FakeDevice *device, bool event_idx);
    void (*forward)(void *ring);
    void (*complete)(void *ring);
    uint64_t (*kicks)(void *ring);      /* and calls */
} BenchRing;

#define RING_NUM 256

extern const BenchTable table_ours, table_stock;
extern const BenchRing ring_ours, ring_stock;

#define BENCH_PAGE 4096ull

/* Neighbouring maps do not touch, and the three orders differ. */
static inline uint64_t bench_addr(BenchFrom from, size_t i)
{
    static const uint64_t base[] = { 1ull << 32, 0x7f0000000000ull, 0 };
    uint64_t slot = from == FROM_IOVA ? i : i ^ (from == FROM_HVA ? 1 : 2);

    return base[from] + slot * 2 * BENCH_PAGE;
}

#endif
