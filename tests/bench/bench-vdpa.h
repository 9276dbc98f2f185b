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

/* An IOVA table of @n maps of a page each, map i at bench_iova(), bench_hva(). */
typedef struct BenchTable {
    void *(*make)(size_t n);
    uint64_t (*look_up)(void *table, uint64_t iova);
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

/* Neighbouring maps do not touch, and the two orders differ. */
static inline uint64_t bench_iova(size_t i)
{
    return (1ull << 32) + i * 2 * BENCH_PAGE;
}

static inline uint64_t bench_hva(size_t i)
{
    return 0x7f0000000000ull + (i ^ 1) * 2 * BENCH_PAGE;
}

#endif
