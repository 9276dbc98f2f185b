/*
 * Fuzz target: an IOVA table under any sequence of calls
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * The input is a sequence of calls: one byte says which, others give the
 * numbers, most of which are small multiples of a page, so that maps meet, and
 * some of which are anything.  Maps are counted; now and then they have to be in
 * order, not overlap, and be found by their addresses.
 *
 * Limits: tests/unit/test-vdpa-iova.c has the full model; this one looks for
 * sequences that no unit test has.
 */
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz-input.h"
#include "hw/virtio/vdpa/core/vdpa-iova.h"

#define PAGE 4096ull
#define PAGES 256

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* A page number's address, from 0 up or from the end down, or anything. */
static uint64_t eat_addr(Input *in)
{
    uint8_t kind = eat(in, 1);
    uint64_t page = eat(in, 1);

    return kind < 110 ? page * PAGE : kind < 220 ? (page - PAGES) * PAGE
                                                 : eat(in, 8);
}

static VdpaIovaMap eat_map(Input *in)
{
    uint8_t kind = eat(in, 1);
    VdpaIovaMap map = {
        .iova = eat_addr(in),
        .size = kind & 0x80 ? eat(in, 8) : (1 + kind % 16) * PAGE,
        .hva = eat_addr(in),
        .gpa = kind & 0x40 ? VDPA_IOVA_NONE : eat_addr(in),
        .perm = kind & 0x20 ? eat(in, 1) : 3,
    };

    return map;
}

static size_t maps;             /* that the table should have */

/* Maps come in order, do not overlap, and are found by their addresses. */
static void check_table(const VdpaIovaTable *table)
{
    uint64_t end = 0;
    size_t count = 0;

    for (const VdpaIovaMap *map = vdpa_iova_at_or_above(table, 0); map;
         map = vdpa_iova_next(table, map)) {
        check(count == 0 || map->iova > end);
        end = map->iova + (map->size - 1);
        count++;
        check(vdpa_iova_find(table, map->iova) == map);
        check(vdpa_iova_find(table, end) == map);
    }
    check(count == maps);
}

static void op_add(VdpaIovaTable *table, Input *in)
{
    VdpaIovaMap map = eat_map(in);

    maps += !vdpa_iova_add(table, &map);
}

static void op_alloc(VdpaIovaTable *table, Input *in)
{
    VdpaIovaMap map = eat_map(in);
    VdpaIovaLimits limits = {
        .first = eat_addr(in),
        .last = eat_addr(in),
        .align = eat(in, 1) % 4 ? 0 : 1ull << eat(in, 1) % 64,
        .top_down = eat(in, 1) & 1,
    };

    if (!vdpa_iova_alloc(table, &map, &limits)) {
        const VdpaIovaMap *there = vdpa_iova_find(table, map.iova);

        maps++;
        check(there && there->iova == map.iova && there->size == map.size);
        check(map.iova >= limits.first);
        check(map.iova + (map.size - 1) <= limits.last);
        check(!limits.align || map.iova % limits.align == 0);
    }
}

static void op_remove(VdpaIovaTable *table, Input *in)
{
    const VdpaIovaMap *map = vdpa_iova_at_or_above(table, eat_addr(in));

    if (map) {
        check(!vdpa_iova_remove(table, map->iova, map->size));
        maps--;
    }
}

static void op_range(VdpaIovaTable *table, Input *in)
{
    uint64_t addr = eat_addr(in), len = eat(in, 1) & 1 ? eat(in, 8) : 5000;
    VdpaIovaRange range;

    if (!vdpa_iova_range(table, addr, len, eat(in, 1) % 4, &range)) {
        check(range.iova == addr && range.len && range.len <= len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const ops[])(VdpaIovaTable *table, Input *in) = {
        op_add, op_add, op_alloc, op_remove, op_range,
    };
    Input in = { data, size };
    VdpaIovaTable *table = vdpa_iova_new(0, UINT64_MAX, PAGE);

    maps = 0;
    for (unsigned i = 0; in.left && i < 1024; i++) {
        ops[eat(&in, 1) % G_N_ELEMENTS(ops)](table, &in);
        if (i % 8 == 0) {
            check_table(table);
        }
    }
    check_table(table);
    vdpa_iova_free(table);
    return 0;
}
