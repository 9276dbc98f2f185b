// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost_iotlb: its rules one by one, and against a naive model.
 *
 * The model of the property test knows nothing of ranges: for each of a few dozen addresses it
 * has the list of what is mapped there.  Adding and deleting is done address by address, and after
 * each step the table has to say the same of every address, walk in order, and count right.  The
 * addresses lie at the bottom, in the middle and at the very top of 2^64.
 *
 * Limits: the model has no limit and no ages; those have tests of their own.
 */
#include <glib.h>

#include <linux/vhost_iotlb.h>
#include "shim.h"

#define SPACE 48
#define MOST 24

static unsigned int count(struct vhost_iotlb *t)
{
	struct vhost_iotlb_map *map;
	unsigned int n = 0;
	u64 before = 0;

	for (map = vhost_iotlb_itree_first(t, 0, U64_MAX); map;
	     map = vhost_iotlb_itree_next(map, 0, U64_MAX)) {
		g_assert_cmphex(map->start, >=, before);
		g_assert_cmphex(map->last, >=, map->start);
		g_assert_cmphex(map->size, ==, map->last - map->start + 1);
		before = map->start;
		n++;
	}
	g_assert_cmpuint(n, ==, t->nmaps);
	return n;
}

/* The only map at @iova, or NULL. */
static struct vhost_iotlb_map *at(struct vhost_iotlb *t, u64 iova)
{
	return vhost_iotlb_itree_first(t, iova, iova);
}

static void assert_map(struct vhost_iotlb_map *map, u64 start, u64 last, u64 addr)
{
	g_assert_nonnull(map);
	g_assert_cmphex(map->start, ==, start);
	g_assert_cmphex(map->last, ==, last);
	g_assert_cmphex(map->addr, ==, addr);
}

static void test_add(void)
{
	struct vhost_iotlb *t = vhost_iotlb_alloc(100, 0);
	int context;

	g_assert_cmpint(vhost_iotlb_add_range(t, 5, 4, 0, VHOST_MAP_RW), ==, -EFAULT);
	g_assert_cmpint(vhost_iotlb_add_range(t, 1, 0, 0, VHOST_MAP_RW), ==, -EFAULT);
	g_assert_cmpuint(count(t), ==, 0);
	g_assert_cmpint(vhost_iotlb_add_range_ctx(t, 4, 4, 77, VHOST_MAP_RO, &context), ==, 0);
	assert_map(at(t, 4), 4, 4, 77);
	g_assert_cmpuint(at(t, 4)->perm, ==, VHOST_MAP_RO);
	g_assert_true(at(t, 4)->opaque == &context);
	g_assert_null(at(t, 3));
	g_assert_null(at(t, 5));
	vhost_iotlb_map_free(t, at(t, 4));
	g_assert_cmpuint(count(t), ==, 0);
	vhost_iotlb_free(t);
	vhost_iotlb_free(NULL);
}

static void test_everything(void)
{
	struct vhost_iotlb *t = vhost_iotlb_alloc(2, 0);
	const u64 half = 1ULL << 63;

	g_assert_cmpint(vhost_iotlb_add_range(t, 0, U64_MAX, 0x1000, VHOST_MAP_RW), ==, 0);
	g_assert_cmpuint(count(t), ==, 2);
	assert_map(at(t, 0), 0, half - 1, 0x1000);
	assert_map(at(t, U64_MAX), half, U64_MAX, half + 0x1000);
	vhost_iotlb_reset(t);

	/* No room for two, so not one either. */
	g_assert_cmpint(vhost_iotlb_add_range(t, 8, 9, 0, VHOST_MAP_RW), ==, 0);
	g_assert_cmpint(vhost_iotlb_add_range(t, 0, U64_MAX, 0, VHOST_MAP_RW), ==, -ENOSPC);
	g_assert_cmpuint(count(t), ==, 1);
	vhost_iotlb_reset(t);

	/* No memory for the second, so the first goes again. */
	shim_fail_alloc = 2;
	g_assert_cmpint(vhost_iotlb_add_range(t, 0, U64_MAX, 0, VHOST_MAP_RW), ==, -ENOMEM);
	g_assert_cmpuint(count(t), ==, 0);
	vhost_iotlb_free(t);

	t = vhost_iotlb_alloc(1, VHOST_IOTLB_FLAG_RETIRE);
	g_assert_cmpint(vhost_iotlb_add_range(t, 0, U64_MAX, 0, VHOST_MAP_RW), ==, -ENOSPC);
	vhost_iotlb_free(t);
}

static void test_limit(void)
{
	struct vhost_iotlb t;
	u64 i;

	vhost_iotlb_init(&t, 0, 0);
	g_assert_cmpint(vhost_iotlb_add_range(&t, 0, 1, 0, VHOST_MAP_RW), ==, -EINVAL);
	vhost_iotlb_init(&t, 3, 0);
	for (i = 0; i < 3; i++)
		g_assert_cmpint(vhost_iotlb_add_range(&t, i, i, 0, VHOST_MAP_RW), ==, 0);
	g_assert_cmpint(vhost_iotlb_add_range(&t, 3, 3, 0, VHOST_MAP_RW), ==, -ENOSPC);
	g_assert_cmpuint(count(&t), ==, 3);
	vhost_iotlb_del_range(&t, 1, 1);
	g_assert_cmpint(vhost_iotlb_add_range(&t, 3, 3, 0, VHOST_MAP_RW), ==, 0);
	vhost_iotlb_reset(&t);
	g_assert_cmpuint(count(&t), ==, 0);
	g_assert_cmpuint(t.limit, ==, 3);
}

static void test_no_memory(void)
{
	struct vhost_iotlb t;

	vhost_iotlb_init(&t, 3, 0);
	shim_fail_alloc = 1;
	g_assert_cmpint(vhost_iotlb_add_range(&t, 0, 1, 0, VHOST_MAP_RW), ==, -ENOMEM);
	g_assert_cmpuint(count(&t), ==, 0);
	shim_fail_alloc = 1;
	g_assert_null(vhost_iotlb_alloc(1, 0));
}

static void test_retire(void)
{
	struct vhost_iotlb t;
	u64 i;

	vhost_iotlb_init(&t, 3, VHOST_IOTLB_FLAG_RETIRE);
	for (i = 0; i < 10; i++) {
		g_assert_cmpint(vhost_iotlb_add_range(&t, 100 - i, 100 - i, i, VHOST_MAP_RW), ==, 0);
		g_assert_cmpuint(count(&t), ==, MIN(i + 1, 3));
	}
	/* The three youngest are there. */
	g_assert_null(at(&t, 94));
	for (i = 7; i < 10; i++)
		assert_map(at(&t, 100 - i), 100 - i, 100 - i, i);
	/* A cache gives up two for everything. */
	g_assert_cmpint(vhost_iotlb_add_range(&t, 0, U64_MAX, 0, VHOST_MAP_RW), ==, 0);
	g_assert_cmpuint(count(&t), ==, 3);
	vhost_iotlb_reset(&t);
}

static void test_split(void)
{
	struct vhost_iotlb t;

	vhost_iotlb_init(&t, 10, 0);
	vhost_iotlb_add_range(&t, 100, 199, 5000, VHOST_MAP_WO);
	vhost_iotlb_del_range(&t, 0, 109);
	assert_map(at(&t, 110), 110, 199, 5010);
	vhost_iotlb_del_range(&t, 190, 1000);
	assert_map(at(&t, 110), 110, 189, 5010);
	vhost_iotlb_del_range(&t, 150, 159);
	g_assert_cmpuint(count(&t), ==, 2);
	assert_map(at(&t, 149), 110, 149, 5010);
	assert_map(at(&t, 160), 160, 189, 5060);
	g_assert_cmpuint(at(&t, 160)->perm, ==, VHOST_MAP_WO);
	g_assert_null(vhost_iotlb_itree_first(&t, 150, 159));
	vhost_iotlb_del_range(&t, 100, 200);
	g_assert_cmpuint(count(&t), ==, 0);
}

static void test_split_without_room(void)
{
	struct vhost_iotlb t;

	vhost_iotlb_init(&t, 1, 0);
	vhost_iotlb_add_range(&t, 100, 199, 5000, VHOST_MAP_RW);
	vhost_iotlb_del_range(&t, 150, 159);
	g_assert_cmpuint(count(&t), ==, 1);
	assert_map(at(&t, 100), 100, 149, 5000);
	vhost_iotlb_reset(&t);

	vhost_iotlb_init(&t, 10, 0);
	vhost_iotlb_add_range(&t, 100, 199, 5000, VHOST_MAP_RW);
	shim_fail_alloc = 1;
	vhost_iotlb_del_range(&t, 150, 159);
	g_assert_cmpuint(count(&t), ==, 1);
	assert_map(at(&t, 100), 100, 149, 5000);
	vhost_iotlb_reset(&t);
}

/* A map with a context is never two. */
static void test_context_goes_whole(void)
{
	struct vhost_iotlb t;

	vhost_iotlb_init(&t, 10, 0);
	vhost_iotlb_add_range_ctx(&t, 100, 199, 5000, VHOST_MAP_RW, &t);
	vhost_iotlb_del_range(&t, 150, 159);
	g_assert_cmpuint(count(&t), ==, 0);
}

static void test_empty_deletion(void)
{
	struct vhost_iotlb t;

	vhost_iotlb_init(&t, 10, 0);
	vhost_iotlb_add_range(&t, 100, 199, 5000, VHOST_MAP_RW);
	vhost_iotlb_del_range(&t, 150, 149);
	vhost_iotlb_del_range(&t, 1, 0);
	assert_map(at(&t, 100), 100, 199, 5000);
	vhost_iotlb_reset(&t);
}

/* What a split leaves keeps its age: a cache retires it first. */
static void test_split_keeps_age(void)
{
	struct vhost_iotlb t;

	vhost_iotlb_init(&t, 3, VHOST_IOTLB_FLAG_RETIRE);
	vhost_iotlb_add_range(&t, 100, 199, 0, VHOST_MAP_RW);
	vhost_iotlb_add_range(&t, 300, 399, 0, VHOST_MAP_RW);
	vhost_iotlb_del_range(&t, 150, 150);
	vhost_iotlb_add_range(&t, 500, 500, 0, VHOST_MAP_RW);
	vhost_iotlb_add_range(&t, 501, 501, 0, VHOST_MAP_RW);
	g_assert_null(vhost_iotlb_itree_first(&t, 100, 199));
	g_assert_nonnull(at(&t, 300));
	g_assert_cmpuint(count(&t), ==, 3);
	vhost_iotlb_reset(&t);
}

/* What is mapped at one address: where to, and how. */
struct fact {
	u64 addr;
	u32 perm;
};

struct model {
	u64 base;
	struct fact facts[SPACE][MOST];
	unsigned int n[SPACE];
};

static int by_address(const void *a, const void *b)
{
	const struct fact *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	return (int)x->perm - (int)y->perm;
}

static void compare(struct model *m, struct vhost_iotlb *t)
{
	unsigned int i, j;

	count(t);
	for (i = 0; i < SPACE; i++) {
		struct fact said[MOST + 1];
		struct vhost_iotlb_map *map;
		u64 iova = m->base + i;
		unsigned int n = 0;

		for (map = vhost_iotlb_itree_first(t, iova, iova); map;
		     map = vhost_iotlb_itree_next(map, iova, iova)) {
			g_assert_cmpuint(n, <, MOST);
			said[n++] = (struct fact) { map->addr + (iova - map->start), map->perm };
		}
		g_assert_cmpuint(n, ==, m->n[i]);
		qsort(said, n, sizeof(said[0]), by_address);
		qsort(m->facts[i], n, sizeof(said[0]), by_address);
		for (j = 0; j < n; j++) {
			g_assert_cmphex(said[j].addr, ==, m->facts[i][j].addr);
			g_assert_cmpuint(said[j].perm, ==, m->facts[i][j].perm);
		}
	}
}

static void step(struct model *m, struct vhost_iotlb *t)
{
	unsigned int a = g_test_rand_int_range(0, SPACE), b = g_test_rand_int_range(a, SPACE), i;
	u64 addr = (u64)g_test_rand_int() << 16;
	u32 perm = g_test_rand_int_range(1, 4);

	if (g_test_rand_int_range(0, 100) < 45) {
		vhost_iotlb_del_range(t, m->base + a, m->base + b);
		for (i = a; i <= b; i++)
			m->n[i] = 0;
		return;
	}
	for (i = a; i <= b; i++)
		if (m->n[i] == MOST)
			return;
	g_assert_cmpint(vhost_iotlb_add_range(t, m->base + a, m->base + b, addr, perm), ==, 0);
	for (i = a; i <= b; i++)
		m->facts[i][m->n[i]++] = (struct fact) { addr + (i - a), perm };
}

static void test_model(gconstpointer base)
{
	int run, i;

	for (run = 0; run < 60; run++) {
		struct vhost_iotlb *t = vhost_iotlb_alloc(UINT_MAX, 0);
		struct model m = { .base = *(const u64 *)base };

		for (i = 0; i < 120; i++) {
			step(&m, t);
			compare(&m, t);
		}
		vhost_iotlb_free(t);
	}
}

/* Holes cannot make a table larger than its limit. */
static void test_limit_holds_against_holes(void)
{
	struct vhost_iotlb t;
	unsigned int i;

	vhost_iotlb_init(&t, 16, 0);
	vhost_iotlb_add_range(&t, 0, 9999, 0, VHOST_MAP_RW);
	for (i = 1; i < 5000; i++) {
		u64 hole = g_test_rand_int_range(0, 10000);

		vhost_iotlb_del_range(&t, hole, hole);
		g_assert_null(at(&t, hole));
		g_assert_cmpuint(count(&t), <=, 16);
	}
	vhost_iotlb_reset(&t);
}

/* No map is left, and the table keeps its limit and its flags. */
static void test_reset(void)
{
	struct vhost_iotlb *t = vhost_iotlb_alloc(2, VHOST_IOTLB_FLAG_RETIRE);
	unsigned int round, i;

	for (round = 0; round < 2; round++) {
		for (i = 0; i < 3; i++)
			g_assert_cmpint(vhost_iotlb_add_range(t, i, i, i, VHOST_MAP_RW), ==, 0);
		g_assert_cmpuint(count(t), ==, 2);
		g_assert_null(at(t, 0));
		vhost_iotlb_reset(t);
		g_assert_cmpuint(count(t), ==, 0);
		g_assert_true(t->list.next == &t->list);
		g_assert_cmpuint(t->limit, ==, 2);
		g_assert_cmpuint(t->flags, ==, VHOST_IOTLB_FLAG_RETIRE);
	}
	vhost_iotlb_free(t);
}

int main(int argc, char **argv)
{
	static const u64 bottom, middle = (1ULL << 63) - SPACE / 2, top = U64_MAX - SPACE + 1;

	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/iotlb/add", test_add);
	g_test_add_func("/iotlb/everything", test_everything);
	g_test_add_func("/iotlb/limit", test_limit);
	g_test_add_func("/iotlb/limit-and-holes", test_limit_holds_against_holes);
	g_test_add_func("/iotlb/no-memory", test_no_memory);
	g_test_add_func("/iotlb/retire", test_retire);
	g_test_add_func("/iotlb/reset", test_reset);
	g_test_add_func("/iotlb/split", test_split);
	g_test_add_func("/iotlb/split-without-room", test_split_without_room);
	g_test_add_func("/iotlb/split-keeps-age", test_split_keeps_age);
	g_test_add_func("/iotlb/context-goes-whole", test_context_goes_whole);
	g_test_add_func("/iotlb/empty-deletion", test_empty_deletion);
	g_test_add_data_func("/iotlb/model/bottom", &bottom, test_model);
	g_test_add_data_func("/iotlb/model/middle", &middle, test_model);
	g_test_add_data_func("/iotlb/model/top", &top, test_model);
	return g_test_run();
}
