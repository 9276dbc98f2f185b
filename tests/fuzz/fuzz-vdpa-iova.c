/*
 * Fuzz target: an IOVA table under any sequence of calls
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * The input is a sequence of calls: one byte says which, others give the
 * numbers, most of which are small multiples of a page, so that maps meet, and
 * some of which are anything.  The model is a byte for each of 256 pages at
 * each end of the address space: which of the calls mapped it.
 *
 * Limits: tests/unit/test-vdpa-iova.c has the full model; this one looks for
 * sequences that no unit test has.
 */
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz-vdpa.h"
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

/* Maps come in order, do not overlap, and are found by all their addresses. */
static void check_table(const VdpaIovaTable *table)
{
    uint64_t end = 0;
    size_t count = 0;

    for (const VdpaIovaMap *map = vdpa_iova_first(table); map;
         map = vdpa_iova_next(table, map)) {
        uint64_t last = map->size - 1;
        const VdpaIovaMap *by_hva;

        check(map->iova >= end || !count);
        check(count == 0 || map->iova > end);
        end = map->iova + last;
        count++;
        check(vdpa_iova_find(table, map->iova) == map);
        check(vdpa_iova_find(table, end) == map);
        if (map->gpa != VDPA_IOVA_NONE) {
            check(vdpa_iova_find_gpa(table, map->gpa + last) == map);
        }
        for (by_hva = NULL; map->hva != VDPA_IOVA_NONE && by_hva != map;) {
            by_hva = vdpa_iova_find_hva(table, map->hva + last, by_hva);
            check(by_hva);
        }
    }
    check(count == vdpa_iova_count(table));
}

static void op_add(VdpaIovaTable *table, Input *in)
{
    VdpaIovaMap map = eat_map(in);
    size_t before = vdpa_iova_count(table);
    int ret = vdpa_iova_add(table, &map);

    check(vdpa_iova_count(table) == before + !ret);
}

static void op_alloc(VdpaIovaTable *table, Input *in)
{
    VdpaIovaMap map = eat_map(in);
    VdpaIovaLimits window = {
        .first = eat_addr(in),
        .last = eat_addr(in),
        .align = eat(in, 1) % 4 ? 0 : 1ull << eat(in, 1) % 64,
        .top_down = eat(in, 1) & 1,
    };

    if (!vdpa_iova_alloc(table, &map, &window)) {
        const VdpaIovaMap *there = vdpa_iova_find(table, map.iova);

        check(there && there->iova == map.iova && there->size == map.size);
        check(map.iova >= window.first);
        check(map.iova + (map.size - 1) <= window.last);
        check(!window.align || map.iova % window.align == 0);
    }
}

static void op_remove(VdpaIovaTable *table, Input *in)
{
    const VdpaIovaMap *map = vdpa_iova_at_or_above(table, eat_addr(in));

    if (map) {
        check(!vdpa_iova_remove(table, map->iova, map->size));
    }
}

static void op_span(VdpaIovaTable *table, Input *in)
{
    uint64_t addr = eat_addr(in), len = eat(in, 1) & 1 ? eat(in, 8) : 5000;
    VdpaIovaRange span;

    if (!vdpa_iova_range(table, addr, len, 0, &span)) {
        check(span.iova == addr && span.len && span.len <= len);
    }
    if (!vdpa_iova_range_hva(table, addr, len, 1, &span)) {
        check(span.hva == addr && span.len && span.len <= len);
    }
    if (!vdpa_iova_range_gpa(table, addr, len, 2, &span)) {
        check(span.gpa == addr && span.len && span.len <= len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const ops[])(VdpaIovaTable *table, Input *in) = {
        op_add, op_add, op_alloc, op_remove, op_span,
    };
    Input in = { data, size };
    VdpaIovaTable *table = vdpa_iova_new(0, UINT64_MAX, PAGE);

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
