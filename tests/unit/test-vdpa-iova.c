/*
 * IOVA table: every answer is that of a list that is searched from end to end
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * The model is an array of maps.  Random calls go to both; results, errors,
 * iteration and, now and then, all lookups around all edges must agree.  The
 * address space is small, so that neighbours, overlaps and full tables happen all
 * the time; a second world lies at the upper end of the
 * 64-bit space.  The tree's own promises (height, order) are checked by what
 * they are for: the number of nodes that a lookup can pass.  Sorted blocks are
 * compared with an array by themselves, with many more ranges.
 *
 * Limits: speed is tests/bench's.
 */
#include <errno.h>
#include <glib.h>

#include "hw/virtio/vdpa/core/vdpa-interval.h"
#include "hw/virtio/vdpa/core/vdpa-iova.h"
#include "hw/virtio/vdpa/core/vdpa-lookup.h"

#define PAGE 4096ull
#define HVA 0x7f0000000000ull

static VdpaIovaMap map_of(uint64_t iova, uint64_t size, uint64_t hva,
                          uint64_t gpa)
{
    return (VdpaIovaMap) { iova, size, hva, gpa, VDPA_IOVA_RW };
}

static size_t count(const VdpaIovaTable *table)
{
    size_t n = 0;

    for (const VdpaIovaMap *map = vdpa_iova_at_or_above(table, 0); map;
         map = vdpa_iova_next(table, map)) {
        n++;
    }
    return n;
}

/* --- cases ---------------------------------------------------------------- */

static void test_empty(void)
{
    VdpaIovaTable *t = vdpa_iova_new(0, UINT64_MAX, PAGE);
    VdpaIovaRange range;

    g_assert_null(vdpa_iova_find(t, 0));
    g_assert_null(vdpa_iova_at_or_above(t, 0));
    g_assert_cmpint(vdpa_iova_remove(t, 0, PAGE), ==, -ENOENT);
    g_assert_cmpint(vdpa_iova_range(t, 0, 1, 0, &range), ==, -ENOENT);
    vdpa_iova_free(t);
    vdpa_iova_free(NULL);
}

static void test_refusals(void)
{
    static const struct {
        VdpaIovaMap map;
        int error;
    } cases[] = {
        { { PAGE, 0, HVA, 0, 3 }, -EINVAL },
        { { PAGE + 1, PAGE, HVA, 0, 3 }, -EINVAL },
        { { PAGE, PAGE + 1, HVA, 0, 3 }, -EINVAL },
        { { PAGE, PAGE, HVA + 8, 0, 3 }, -EINVAL },
        { { PAGE, PAGE, HVA, 8, 3 }, -EINVAL },
        { { PAGE, PAGE, HVA, 0, 4 }, -EINVAL },
        { { PAGE, PAGE, HVA, 0, 0 }, -EINVAL },
        { { PAGE, PAGE, VDPA_IOVA_NONE, VDPA_IOVA_NONE, 3 }, -EINVAL },
        { { PAGE, PAGE, VDPA_IOVA_NONE, 0, 0 }, -EINVAL },
        { { -PAGE, 2 * PAGE, HVA, 0, 3 }, -EINVAL },
        { { PAGE, 2 * PAGE, -PAGE, 0, 3 }, -EINVAL },
        { { PAGE, 2 * PAGE, HVA, -PAGE, 3 }, -EINVAL },
        { { 0, PAGE, HVA, 0, 3 }, -ERANGE },
        { { 64 * PAGE, PAGE, HVA, 0, 3 }, -ERANGE },
        { { 63 * PAGE, 2 * PAGE, HVA, 0, 3 }, -ERANGE },
        { { 17 * PAGE, PAGE, HVA, 0, 3 }, -EEXIST },
        { { 15 * PAGE, 2 * PAGE, HVA, 0, 3 }, -EEXIST },
        { { 15 * PAGE, 9 * PAGE, HVA, 0, 3 }, -EEXIST },
        { { 14 * PAGE, 2 * PAGE, HVA, 98 * PAGE, 3 }, 0 },
        { { 18 * PAGE, 2 * PAGE, HVA, 102 * PAGE, 1 }, 0 },
    };
    VdpaIovaTable *t = vdpa_iova_new(PAGE, 64 * PAGE - 1, PAGE);
    VdpaIovaMap first = map_of(16 * PAGE, 2 * PAGE, HVA, 100 * PAGE);

    g_assert_cmpint(vdpa_iova_add(t, &first), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_cmpint(vdpa_iova_add(t, &cases[i].map), ==, cases[i].error);
    }
    g_assert_cmpuint(count(t), ==, 3);
    vdpa_iova_free(t);
}

static void test_range(void)
{
    VdpaIovaTable *t = vdpa_iova_new(0, UINT64_MAX, PAGE);
    VdpaIovaMap map = map_of(-16 * PAGE, 16 * PAGE, HVA, 4 * PAGE);
    VdpaIovaMap host = map_of(0, PAGE, HVA, VDPA_IOVA_NONE);
    VdpaIovaRange range;

    g_assert_cmpint(vdpa_iova_add(t, &map), ==, 0);
    g_assert_cmpint(vdpa_iova_range(t, UINT64_MAX, 1, 3, &range), ==, 0);
    g_assert_cmpuint(range.len, ==, 1);
    g_assert_cmpuint(range.hva, ==, HVA + 16 * PAGE - 1);
    g_assert_cmpuint(range.gpa, ==, 20 * PAGE - 1);
    g_assert_cmpint(vdpa_iova_range(t, UINT64_MAX, 2, 3, &range), ==, -EINVAL);
    g_assert_cmpint(vdpa_iova_range(t, UINT64_MAX, 0, 3, &range), ==, -EINVAL);
    g_assert_cmpint(vdpa_iova_range(t, -PAGE - 5, 4 * PAGE, 3, &range), ==,
                    -EINVAL);
    g_assert_cmpint(vdpa_iova_range(t, -PAGE - 5, PAGE + 5, 3, &range), ==, 0);
    g_assert_cmpuint(range.len, ==, PAGE + 5);
    g_assert_cmpuint(range.iova, ==, -PAGE - 5);
    g_assert_cmpint(vdpa_iova_range(t, PAGE, 1, 3, &range), ==, -ENOENT);
    g_assert_null(vdpa_iova_next(t, vdpa_iova_at_or_above(t, 0)));

    host.perm = VDPA_IOVA_READ;
    g_assert_cmpint(vdpa_iova_add(t, &host), ==, 0);
    g_assert_cmpint(vdpa_iova_range(t, 5, 1, 3, &range), ==, -EACCES);
    g_assert_cmpint(vdpa_iova_range(t, 5, 2 * PAGE, 1, &range), ==, 0);
    g_assert_cmpuint(range.len, ==, PAGE - 5);
    g_assert_cmpuint(range.gpa, ==, VDPA_IOVA_NONE);
    g_assert_cmpuint(count(t), ==, 2);
    vdpa_iova_free(t);
}

static void test_alloc_directions(void)
{
    VdpaIovaTable *t = vdpa_iova_new(0, UINT64_MAX, PAGE);
    VdpaIovaLimits top = { .last = (1ull << 48) - 1, .top_down = true };
    VdpaIovaLimits huge = { .last = UINT64_MAX, .align = 512 * PAGE };
    VdpaIovaMap map = map_of(0, PAGE, HVA, VDPA_IOVA_NONE);
    VdpaIovaMap taken = map_of(0, 3 * PAGE, HVA, VDPA_IOVA_NONE);

    g_assert_cmpint(vdpa_iova_add(t, &taken), ==, 0);
    g_assert_cmpint(vdpa_iova_alloc(t, &map, NULL), ==, 0);
    g_assert_cmpuint(map.iova, ==, 3 * PAGE);
    g_assert_cmpint(vdpa_iova_alloc(t, &map, &top), ==, 0);
    g_assert_cmpuint(map.iova, ==, (1ull << 48) - PAGE);
    g_assert_cmpint(vdpa_iova_alloc(t, &map, &top), ==, 0);
    g_assert_cmpuint(map.iova, ==, (1ull << 48) - 2 * PAGE);
    g_assert_cmpint(vdpa_iova_alloc(t, &map, &huge), ==, 0);
    g_assert_cmpuint(map.iova, ==, 512 * PAGE);
    huge.align = 3 * PAGE;
    g_assert_cmpint(vdpa_iova_alloc(t, &map, &huge), ==, -EINVAL);
    vdpa_iova_free(t);
}

/* Limits are those of the device, too. */
static void test_alloc_in_range(void)
{
    VdpaIovaTable *t = vdpa_iova_new(2 * PAGE, 64 * PAGE - 1, PAGE);
    VdpaIovaLimits limits = { .last = UINT64_MAX };
    VdpaIovaMap map = map_of(0, PAGE, HVA, VDPA_IOVA_NONE);

    g_assert_cmpint(vdpa_iova_alloc(t, &map, &limits), ==, 0);
    g_assert_cmphex(map.iova, ==, 2 * PAGE);
    limits.top_down = true;
    g_assert_cmpint(vdpa_iova_alloc(t, &map, &limits), ==, 0);
    g_assert_cmphex(map.iova, ==, 63 * PAGE);
    vdpa_iova_free(t);
}

/* All but the last page, and then that page. */
static void test_alloc_everything(void)
{
    VdpaIovaTable *t = vdpa_iova_new(0, UINT64_MAX, PAGE);
    VdpaIovaMap taken = map_of(0, -PAGE, 0, VDPA_IOVA_NONE);
    VdpaIovaMap rest = map_of(0, PAGE, HVA, VDPA_IOVA_NONE);

    g_assert_cmpint(vdpa_iova_add(t, &taken), ==, 0);
    g_assert_cmpint(vdpa_iova_alloc(t, &rest, NULL), ==, 0);
    g_assert_cmpuint(rest.iova, ==, -PAGE);
    g_assert_cmpint(vdpa_iova_alloc(t, &rest, NULL), ==, -ENOSPC);
    vdpa_iova_free(t);
}

/* What a node says of itself and all below it. */
static void check_node(const VdpaInterval *node)
{
    const VdpaInterval *left = node->kid[0], *right = node->kid[1];
    uint64_t gap = 0;

    g_assert_cmphex(node->low, ==, left ? left->low : node->first);
    g_assert_cmphex(node->high, ==, right ? right->high : node->last);
    if (left) {
        gap = MAX(left->gap, node->first - left->high - 1);
    }
    if (right) {
        gap = MAX(gap, MAX(right->gap, right->low - node->last - 1));
    }
    g_assert_cmphex(node->gap, ==, gap);
}

/* Its height; subtrees' heights differ by one at most. */
static int check_balance(const VdpaInterval *node)
{
    int left, right;

    if (!node) {
        return 0;
    }
    left = check_balance(node->kid[0]);
    right = check_balance(node->kid[1]);
    g_assert_cmpint(ABS(left - right), <=, 1);
    check_node(node);
    return 1 + MAX(left, right);
}

/* Up, down, or both by turns: no order of insertion makes the tree deep. */
static void test_balance(void)
{
    static const char orders[] = "upz", *order;
    enum { N = 1 << 14 };

    for (order = orders; *order; order++) {
        g_autofree VdpaInterval *nodes = g_new0(VdpaInterval, N);
        VdpaIntervals set = {};

        for (unsigned i = 0; i < N; i++) {
            bool low = *order == 'u' || (*order == 'z' && i % 2);

            nodes[i].first = nodes[i].last = low ? i : N + N - i;
            vdpa_intervals_insert(&set, &nodes[i]);
        }
        g_assert_cmpint(check_balance(set.root), <=, 20);
        for (unsigned i = 0; i < N - N / 16; i++) {
            vdpa_intervals_remove(&set, &nodes[i]);
        }
        g_assert_cmpint(check_balance(set.root), <=, 15);
    }
}

/* What takes the place of a root comes from its right subtree, which has to be balanced again. */
static void test_balance_roots(void)
{
    enum { N = 1 << 10 };
    g_autofree VdpaInterval *nodes = g_new0(VdpaInterval, N);
    VdpaIntervals set = {};

    for (unsigned i = 0; i < N; i++) {
        nodes[i].first = nodes[i].last = i;
        vdpa_intervals_insert(&set, &nodes[i]);
    }
    while (set.root) {
        vdpa_intervals_remove(&set, set.root);
        check_balance(set.root);
    }
}

/* --- sorted blocks -------------------------------------------------------- */

#define SLOTS 3000

/* Ranges of a slot each, at its begin, at its end, or all of it. */
typedef struct Slots {
    VdpaLookup lookup;
    uint64_t first[SLOTS], last[SLOTS];
    bool there[SLOTS];
    size_t count;
    GRand *rand;
} Slots;

static void *slot_at_or_above(Slots *s, uint64_t point)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (s->there[i] && s->last[i] >= point) {
            return &s->first[i];
        }
    }
    return NULL;
}

static void check_point(Slots *s, uint64_t point)
{
    uint64_t *want = slot_at_or_above(s, point);

    g_assert_true(vdpa_lookup_at_or_above(&s->lookup, point) == want);
    if (want && *want > point) {
        want = NULL;
    }
    g_assert_true(vdpa_lookup_find(&s->lookup, point) == want);
}

static void slot_toggle(Slots *s, unsigned i)
{
    uint64_t start = i * 16ull + (i == SLOTS - 1 ? -16ull * SLOTS : 0);

    if (s->there[i]) {
        vdpa_lookup_remove(&s->lookup, s->first[i]);
        s->count--;
    } else {
        s->first[i] = start + g_rand_int_range(s->rand, 0, 2);
        s->last[i] = start + 15 - g_rand_int_range(s->rand, 0, 2);
        vdpa_lookup_insert(&s->lookup, s->first[i], s->last[i], &s->first[i]);
        s->count++;
    }
    s->there[i] = !s->there[i];
    /* the rest of many entries takes fewer blocks */
    g_assert_cmpuint(s->lookup.nblocks, <=, s->count / 16 + 1);
    for (int k = -1; k < 2; k++) {
        check_point(s, s->first[i] + k);
        check_point(s, s->last[i] + k);
    }
}

/* Toggles until @count are there, by lot or in order. */
static void slots_until(Slots *s, size_t count, bool in_order)
{
    for (unsigned next = 0; s->count != count; next++) {
        unsigned i = in_order ? next : g_rand_int(s->rand);

        i %= SLOTS;
        if (s->there[i] == (s->count > count)) {
            slot_toggle(s, i);
        }
    }
}

static void test_lookup(void)
{
    g_autofree Slots *s = g_new0(Slots, 1);

    s->rand = g_rand_new_with_seed(7);
    check_point(s, 0);
    for (int round = 0; round < 2; round++) {
        slots_until(s, SLOTS, round);
        g_assert_true(!round || s->lookup.nblocks <= SLOTS / 64 + 1);
        slots_until(s, 40, false);
        slots_until(s, 500, false);
        slots_until(s, 0, round);
        g_assert_cmpuint(s->lookup.nblocks, ==, 0);
    }
    slots_until(s, 100, false);
    vdpa_lookup_clear(&s->lookup);
    g_assert_null(vdpa_lookup_at_or_above(&s->lookup, 0));
    g_rand_free(s->rand);
}

/*
 * Two blocks that were filled in order, and ranges between them from above
 * downwards: each belongs behind all of the first block.
 */
static void test_lookup_between(void)
{
    enum { FULL = 64, BETWEEN = 100 };
    g_autofree uint64_t *item = g_new0(uint64_t, 2 * FULL + BETWEEN);
    VdpaLookup lookup = {};

    for (unsigned i = 0; i < 2 * FULL + BETWEEN; i++) {
        item[i] = i < FULL ? i : i < 2 * FULL ? 10000 + i : 5000 - i;
        vdpa_lookup_insert(&lookup, item[i], item[i], &item[i]);
        g_assert_cmpuint(lookup.nblocks, <=, i / 32 + 1);
    }
    for (unsigned i = 0; i < 2 * FULL + BETWEEN; i++) {
        g_assert_true(vdpa_lookup_find(&lookup, item[i]) == &item[i]);
    }
    vdpa_lookup_clear(&lookup);
}

/* --- the model ------------------------------------------------------------ */

typedef struct World {
    VdpaIovaTable *table;
    uint64_t first, last;
    GArray *model;              /* VdpaIovaMap, in no order */
    GRand *rand;
} World;

#define MODEL(w, i) (&g_array_index((w)->model, VdpaIovaMap, i))

static bool overlap(uint64_t a, uint64_t b, uint64_t a_size, uint64_t b_size)
{
    return a <= b + (b_size - 1) && b <= a + (a_size - 1);
}

static int model_check(World *w, const VdpaIovaMap *map)
{
    if (map->iova < w->first || map->iova + (map->size - 1) > w->last) {
        return -ERANGE;
    }
    for (unsigned i = 0; i < w->model->len; i++) {
        const VdpaIovaMap *old = MODEL(w, i);

        if (overlap(old->iova, map->iova, old->size, map->size)) {
            return -EEXIST;
        }
    }
    return 0;
}

static bool model_same(const VdpaIovaMap *a, const VdpaIovaMap *b)
{
    return a->iova == b->iova && a->size == b->size && a->hva == b->hva &&
           a->gpa == b->gpa && a->perm == b->perm;
}

static bool covers(const VdpaIovaMap *map, uint64_t addr)
{
    return addr >= map->iova && addr - map->iova < map->size;
}

static void expect(const VdpaIovaMap *model, const VdpaIovaMap *found)
{
    if (!model) {
        g_assert_null(found);
        return;
    }
    g_assert_nonnull(found);
    g_assert_true(model_same(model, found));
}

static void check_lookups(World *w, uint64_t addr)
{
    const VdpaIovaMap *at = NULL, *above = NULL;

    for (unsigned i = 0; i < w->model->len; i++) {
        const VdpaIovaMap *map = MODEL(w, i);

        at = covers(map, addr) ? map : at;
        if (map->iova >= addr && (!above || map->iova < above->iova)) {
            above = map;
        }
    }
    expect(at, vdpa_iova_find(w->table, addr));
    expect(above, vdpa_iova_at_or_above(w->table, addr));
}

static void check_all(World *w)
{
    g_assert_cmpuint(count(w->table), ==, w->model->len);
    for (unsigned i = 0; i < w->model->len; i++) {
        check_lookups(w, MODEL(w, i)->iova - 1);
        check_lookups(w, MODEL(w, i)->iova);
        check_lookups(w, MODEL(w, i)->iova + MODEL(w, i)->size - 1);
        check_lookups(w, MODEL(w, i)->iova + MODEL(w, i)->size);
    }
}

static uint64_t pick(World *w, unsigned below)
{
    return g_rand_int_range(w->rand, 0, below);
}

static VdpaIovaMap random_map(World *w)
{
    uint64_t pages = (w->last - w->first) / PAGE;
    VdpaIovaMap map = {
        .iova = w->first + (pick(w, pages + 8) - 4) * PAGE,
        .size = (1 + pick(w, pick(w, 8) ? 4 : 40)) * PAGE,
        .hva = w->first + pick(w, pages / 2) * PAGE,
        .gpa = pick(w, 3) ? w->first + pick(w, pages) * PAGE : VDPA_IOVA_NONE,
        .perm = 1 + pick(w, 3),
    };

    /* What wraps is refused, which the cases above look at. */
    if (map.iova + map.size - 1 < map.iova) {
        map.iova -= map.size;
    }
    if (map.gpa != VDPA_IOVA_NONE && map.gpa + map.size - 1 < map.gpa) {
        map.gpa = VDPA_IOVA_NONE;
    }
    return map;
}

static void step_add(World *w)
{
    VdpaIovaMap map = random_map(w);
    int error = model_check(w, &map);

    g_assert_cmpint(vdpa_iova_add(w->table, &map), ==, error);
    if (!error) {
        g_array_append_val(w->model, map);
    }
}

/* The first fit, page by page. */
static int model_alloc(World *w, VdpaIovaMap *map, const VdpaIovaLimits *limits)
{
    uint64_t low = MAX(limits->first, w->first), high = MIN(limits->last, w->last);
    uint64_t n = low > high ? 0 : (high - low) / PAGE + 1;
    VdpaIovaMap try = *map;

    for (uint64_t i = 0; i < n; i++) {
        try.iova = limits->top_down ? high - (high - low) % PAGE - i * PAGE
                                 : low + i * PAGE;
        if (try.iova % MAX(limits->align, PAGE) == 0 &&
            try.iova + (try.size - 1) >= try.iova &&
            try.iova + (try.size - 1) <= high && !model_check(w, &try)) {
            map->iova = try.iova;
            return 0;
        }
    }
    return -ENOSPC;
}

static void step_alloc(World *w)
{
    uint64_t pages = (w->last - w->first) / PAGE;
    uint64_t from = pick(w, pages);
    VdpaIovaLimits limits = {
        .first = w->first + from * PAGE,
        .last = w->first + (from + pick(w, pages - from + 1)) * PAGE +
                (PAGE - 1),
        .align = pick(w, 3) ? 0 : PAGE << pick(w, 4),
        .top_down = pick(w, 2),
    };
    VdpaIovaMap map = random_map(w), model;
    int error;

    model = map;
    error = model_alloc(w, &model, &limits);
    g_assert_cmpint(vdpa_iova_alloc(w->table, &map, &limits), ==, error);
    if (!error) {
        g_assert_cmphex(map.iova, ==, model.iova);
        g_array_append_val(w->model, map);
    }
}

static void step_remove(World *w)
{
    VdpaIovaMap map;
    unsigned i;

    if (!w->model->len) {
        return;
    }
    i = pick(w, w->model->len);
    map = *MODEL(w, i);
    g_assert_cmpint(vdpa_iova_remove(w->table, map.iova, map.size + PAGE), ==,
                    -ENOENT);
    g_assert_cmpint(vdpa_iova_remove(w->table, map.iova + PAGE / 2, map.size),
                    ==, -ENOENT);
    g_assert_cmpint(vdpa_iova_remove(w->table, map.iova, map.size), ==, 0);
    g_array_remove_index_fast(w->model, i);
}

static void run_model(uint64_t first, uint64_t last, unsigned steps)
{
    World w = {
        .table = vdpa_iova_new(first, last, PAGE),
        .first = first,
        .last = last,
        .model = g_array_new(false, false, sizeof(VdpaIovaMap)),
        .rand = g_rand_new_with_seed(g_test_rand_int()),
    };

    for (unsigned i = 0; i < steps; i++) {
        bool shrink = i / 500 % 2;
        unsigned what = pick(&w, 8);

        if (what < (shrink ? 5u : 2u)) {
            step_remove(&w);
        } else if (what == 7) {
            step_alloc(&w);
        } else {
            step_add(&w);
        }
        check_lookups(&w, first + pick(&w, (last - first) / 64) * 64);
        if (i % 100 == 0) {
            check_all(&w);
        }
    }
    g_rand_free(w.rand);
    g_array_free(w.model, true);
    vdpa_iova_free(w.table);
}

static void test_model(void)
{
    run_model(0, 512 * PAGE - 1, 40000);
    run_model(64 * PAGE, 300 * PAGE - 1, 20000);
}

/*
 * What a guest's IOMMU unmaps, all of it or a part, is guest memory; rings of
 * QEMU's own, which have no guest address, stay.
 */
static void test_guest_in(void)
{
    VdpaIovaTable *table = vdpa_iova_new(0, UINT64_MAX, PAGE);
    const VdpaIovaMap *map;
    unsigned left = 0;

    for (uint64_t i = 0; i < 16; i++) {
        bool ours = i % 3 == 0;
        uint64_t iova = i < 8 ? i * PAGE : -(16 - i) * PAGE;
        VdpaIovaMap one = {
            .iova = iova, .size = PAGE, .perm = VDPA_IOVA_RW,
            .hva = (1ull << 40) + i * PAGE, .gpa = ours ? VDPA_IOVA_NONE : iova,
        };

        g_assert_cmpint(vdpa_iova_add(table, &one), ==, 0);
        left += ours;
    }
    g_assert_null(vdpa_iova_guest_in(table, 0, PAGE - 1));
    g_assert_null(vdpa_iova_guest_in(table, 3 * PAGE, 4 * PAGE - 1));
    g_assert_null(vdpa_iova_guest_in(table, 8 * PAGE, 9 * PAGE));
    g_assert_null(vdpa_iova_guest_in(table, -PAGE, UINT64_MAX));
    map = vdpa_iova_guest_in(table, 3 * PAGE, UINT64_MAX);
    g_assert_cmphex(map->iova, ==, 4 * PAGE);
    while ((map = vdpa_iova_guest_in(table, 0, UINT64_MAX))) {
        g_assert_cmphex(map->gpa, !=, VDPA_IOVA_NONE);
        g_assert_cmpint(vdpa_iova_remove(table, map->iova, map->size), ==, 0);
    }
    g_assert_cmpuint(count(table), ==, left);
    vdpa_iova_free(table);
}

/* An IOMMU unmaps a part of a map: the beginning, the end, the middle, all. */
static void test_unmap_part(void)
{
    static const struct {
        unsigned first, last;       /* pages that go, of 4 to 11 */
        unsigned n;
        struct { unsigned first, pages; } rest[2];
    } cases[] = {
        { 4, 5, 1, { { 6, 6 } } }, { 10, 20, 1, { { 4, 6 } } },
        { 6, 7, 2, { { 4, 2 }, { 8, 4 } } }, { 0, 30, 0 }, { 11, 11, 1, { { 4, 7 } } },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        VdpaIovaTable *table = vdpa_iova_new(0, UINT64_MAX, PAGE);
        VdpaIovaMap old, rest[2], map = {
            .iova = 4 * PAGE, .size = 8 * PAGE, .hva = 1ull << 40,
            .gpa = 4 * PAGE, .perm = VDPA_IOVA_READ,
        };

        g_assert_cmpint(vdpa_iova_add(table, &map), ==, 0);
        g_assert_cmpint(vdpa_iova_remove_guest(table, 0, 4 * PAGE - 1, &old,
                                               rest), ==, -ENOENT);
        g_assert_cmpint(vdpa_iova_remove_guest(table, cases[i].first * PAGE,
                                               cases[i].last * PAGE, &old, rest),
                        ==, cases[i].n);
        g_assert_cmphex(old.iova, ==, map.iova);
        g_assert_cmphex(old.size, ==, map.size);
        g_assert_cmpuint(count(table), ==, 0);
        for (unsigned j = 0; j < cases[i].n; j++) {
            uint64_t first = cases[i].rest[j].first * PAGE;

            g_assert_cmphex(rest[j].iova, ==, first);
            g_assert_cmphex(rest[j].gpa, ==, first);
            g_assert_cmphex(rest[j].size, ==, cases[i].rest[j].pages * PAGE);
            g_assert_cmphex(rest[j].hva, ==, map.hva + first - map.iova);
            g_assert_cmpuint(rest[j].perm, ==, VDPA_IOVA_READ);
            g_assert_cmpint(vdpa_iova_add(table, &rest[j]), ==, 0);
        }
        vdpa_iova_free(table);
    }
}

static void test_model_at_the_end(void)
{
    run_model(-512 * PAGE, UINT64_MAX, 40000);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        { "empty", test_empty },
        { "refusals", test_refusals },
        { "range", test_range },
        { "alloc/directions", test_alloc_directions },
        { "alloc/in-range", test_alloc_in_range },
        { "alloc/everything", test_alloc_everything },
        { "guest-memory-alone", test_guest_in },
        { "unmap-part", test_unmap_part },
        { "balance", test_balance },
        { "balance-roots", test_balance_roots },
        { "sorted-blocks", test_lookup },
        { "sorted-blocks-between", test_lookup_between },
        { "model", test_model },
        { "model/end-of-the-address-space", test_model_at_the_end },
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strconcat("/vdpa-iova/", tests[i].name,
                                            NULL);

        g_test_add_func(path, tests[i].run);
    }
    return g_test_run();
}
