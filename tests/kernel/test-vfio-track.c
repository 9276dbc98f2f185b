// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Dirty pages of a VFIO container: type1_track.h against a table of what was done to each page.
 *
 * The table says of each page how often it is pinned, and whether it was unpinned, or written by the
 * CPU, since tracking began or it was last reported.  A bitmap must have the bits of exactly those
 * pages, wherever it begins and however many pages a bit stands for.
 *
 * Limits: one thread; the xarray is shim/sorted-xarray.h.
 */
#include <glib.h>

#include "shim.h"
#include "type1_track.h"

#define PAGES 5000u
#define BASE  0xfffff0000ul	/* of the table */

struct model {
	struct type1_track track;
	unsigned int pins[PAGES];
	unsigned long pfn[PAGES];
	bool stone[PAGES];
	bool on;
};

static struct model *begin(void)
{
	struct model *m = g_new0(struct model, 1);

	type1_track_init(&m->track);
	return m;
}

static void end(struct model *m)
{
	for (size_t i = 0; i < m->track.blocks.n; i++)
		kfree(m->track.blocks.slots[i].entry);
	xa_destroy(&m->track.blocks);
	g_free(m);
}

/* How many pages are not clean.  Marks and masks of each block agree, and none is empty. */
static unsigned int known(const struct model *m)
{
	unsigned int n = 0;

	for (size_t i = 0; i < m->track.blocks.n; i++) {
		const struct shim_xa_slot *slot = &m->track.blocks.slots[i];
		const struct type1_block *b = slot->entry;

		g_assert_cmphex(b->pinned & b->stones, ==, 0);
		g_assert_cmphex(b->pinned | b->stones, !=, 0);
		g_assert_cmpuint(hweight64(b->pinned), <=, b->room);
		g_assert_cmpuint(slot->marks, ==, TYPE1_USED | (b->stones ? TYPE1_STONES : 0) |
						  (b->pinned ? TYPE1_PINNED : 0));
		n += hweight64(b->pinned | b->stones);
	}
	return n;
}

static void start(struct model *m)
{
	type1_track_start(&m->track);
	m->on = true;
}

static void stop(struct model *m)
{
	type1_track_stop(&m->track);
	memset(m->stone, 0, sizeof(m->stone));
	m->on = false;
}

static void pin(struct model *m, unsigned int page)
{
	unsigned long pfn = 0;
	int err = type1_track_again(&m->track, BASE + page, &pfn);

	if (m->pins[page]) {
		g_assert_cmpint(err, ==, 0);
		g_assert_cmpuint(pfn, ==, m->pfn[page]);
	} else {
		g_assert_cmpint(err, ==, -ENOENT);
		m->pfn[page] = g_test_rand_int() & (TYPE1_PFN_LIMIT - 1);
		g_assert_cmpint(type1_track_first(&m->track, BASE + page, m->pfn[page]), ==, 0);
	}
	m->pins[page]++;
	m->stone[page] = false;
}

static void unpin(struct model *m, unsigned int page)
{
	unsigned long pfn = 0;
	long left = type1_track_unpin(&m->track, BASE + page, &pfn);

	if (!m->pins[page]) {
		g_assert_cmpint(left, ==, -ENOENT);
		return;
	}
	g_assert_cmpint(left, ==, --m->pins[page]);
	g_assert_cmpuint(pfn, ==, m->pfn[page]);
	m->stone[page] = m->on && !m->pins[page];
}

static void touch(struct model *m, unsigned int first, unsigned int last)
{
	g_assert_cmpint(type1_track_touch(&m->track, BASE + first, BASE + last), ==, 0);
	for (; m->on && first <= last; first++)
		m->stone[first] |= !m->pins[first];
}

static bool dirty(const struct model *m, unsigned int page)
{
	return m->pins[page] || m->stone[page];
}

/* What collect() says, as bytes: one for each bit. */
static GByteArray *collect(struct model *m, unsigned int first, unsigned int last, unsigned int base,
			   unsigned int order, unsigned int max)
{
	GByteArray *bits = g_byte_array_new();
	struct type1_dirty_word words[64];
	unsigned long index = BASE + first;
	u64 before = 0;
	bool more = true, any = false;

	g_byte_array_set_size(bits, 64 * (((last - base) >> order) / 64 + 1));
	memset(bits->data, 0, bits->len);
	while (more) {
		unsigned int n = type1_track_collect(&m->track, &index, BASE + last, BASE + base,
						     order, words, max, &more);

		g_assert_cmpuint(n, <=, max);
		g_assert_true(n || !more);
		for (unsigned int i = 0; i < n; i++) {
			g_assert_cmphex(words[i].bits, !=, 0);
			g_assert_true(!any || words[i].word + !i > before);
			any = true;
			before = words[i].word;
			for (unsigned int bit = 0; bit < 64; bit++)
				if (words[i].bits >> bit & 1)
					bits->data[64 * before + bit] = 1;
		}
	}
	return bits;
}

static unsigned int count(const struct model *m)
{
	unsigned int n = 0;

	for (unsigned int page = 0; page < PAGES; page++)
		n += dirty(m, page);
	return n;
}

static void check(struct model *m, unsigned int first, unsigned int last, unsigned int base,
		  unsigned int order, unsigned int max)
{
	g_autoptr(GByteArray) want = g_byte_array_new();
	g_autoptr(GByteArray) bits = collect(m, first, last, base, order, max);

	g_byte_array_set_size(want, bits->len);
	memset(want->data, 0, want->len);
	for (unsigned int page = first; page <= last; page++)
		want->data[(page - base) >> order] |= dirty(m, page);
	g_assert_cmpmem(want->data, want->len, bits->data, bits->len);
	g_assert_cmpuint(shim_rcu, ==, 0);
	g_assert_cmpuint(known(m), ==, count(m));
}

static void report(struct model *m, unsigned int first, unsigned int last)
{
	type1_track_reported(&m->track, BASE + first, BASE + last);
	memset(m->stone + first, 0, last - first + 1);
}

static void test_life(void)
{
	struct model *m = begin();

	pin(m, 7);
	check(m, 0, PAGES - 1, 0, 0, 4);
	unpin(m, 7);			/* while tracking is off: clean */
	check(m, 0, PAGES - 1, 0, 0, 4);
	g_assert_cmpuint(known(m), ==, 0);
	pin(m, 8);
	start(m);
	pin(m, 8);
	unpin(m, 8);
	unpin(m, 8);			/* a stone */
	unpin(m, 8);			/* not pinned */
	check(m, 0, PAGES - 1, 0, 0, 4);
	pin(m, 8);			/* and pinned again */
	report(m, 0, PAGES - 1);
	check(m, 0, PAGES - 1, 0, 0, 4);
	unpin(m, 8);
	report(m, 9, PAGES - 1);
	check(m, 0, PAGES - 1, 0, 0, 4);
	report(m, 0, 8);
	check(m, 0, PAGES - 1, 0, 0, 4);
	g_assert_cmpuint(known(m), ==, 0);
	end(m);
}

static void test_stop(void)
{
	struct model *m = begin();

	start(m);
	touch(m, 100, 400);
	for (unsigned int page = 200; page < 300; page++)
		pin(m, page);
	unpin(m, 250);
	check(m, 0, PAGES - 1, 0, 0, 2);
	stop(m);
	check(m, 0, PAGES - 1, 0, 0, 2);
	g_assert_cmpuint(known(m), ==, 99);
	touch(m, 100, 400);
	g_assert_cmpuint(known(m), ==, 99);
	start(m);
	check(m, 0, PAGES - 1, 0, 0, 2);
	end(m);
}

/* Only a first pin and a write by the CPU need memory. */
static void test_memory(void)
{
	struct model *m = begin();
	unsigned long pfn;

	start(m);
	shim_fail_alloc = 1;
	g_assert_cmpint(type1_track_first(&m->track, BASE, 1), ==, -ENOMEM);
	g_assert_cmpint(type1_track_again(&m->track, BASE, &pfn), ==, -ENOENT);
	shim_fail_alloc = 2;
	g_assert_cmpint(type1_track_first(&m->track, BASE, 1), ==, -ENOMEM);
	g_assert_cmpuint(known(m), ==, 0);
	shim_fail_alloc = 3;
	g_assert_cmpint(type1_track_touch(&m->track, BASE + 100, BASE + 300), ==, -ENOMEM);
	memset(m->stone + 100, 1, 28);
	check(m, 0, PAGES - 1, 0, 0, 8);
	pin(m, 4);
	shim_fail_alloc = 1;		/* no room for a second page in its block */
	g_assert_cmpint(type1_track_first(&m->track, BASE + 3, 1), ==, -ENOMEM);
	check(m, 0, PAGES - 1, 0, 0, 8);
	pin(m, 5);
	shim_fail_alloc = 1;
	pin(m, 5);
	unpin(m, 5);
	unpin(m, 5);
	report(m, 0, PAGES - 1);
	stop(m);
	start(m);
	g_assert_cmpuint(shim_fail_alloc, ==, 1);
	shim_fail_alloc = 0;
	end(m);
}

static void test_limits(void)
{
	struct model *m = begin();
	unsigned long pfn;

	g_assert_cmpint(type1_track_first(&m->track, BASE, TYPE1_PFN_LIMIT), ==, -EINVAL);
	g_assert_cmpint(type1_track_first(&m->track, BASE, TYPE1_PFN_LIMIT - 1), ==, 0);
	for (unsigned long n = 1; n < TYPE1_MAX_PINS; n++)
		g_assert_cmpint(type1_track_again(&m->track, BASE, &pfn), ==, 0);
	g_assert_cmpint(type1_track_again(&m->track, BASE, &pfn), ==, -EOVERFLOW);
	g_assert_cmpint(type1_track_unpin(&m->track, BASE, &pfn), ==, TYPE1_MAX_PINS - 1);
	g_assert_cmpuint(pfn, ==, TYPE1_PFN_LIMIT - 1);
	end(m);
}

static void test_last_page(void)
{
	struct model *m = begin();
	unsigned long index = ULONG_MAX - 1;
	struct type1_dirty_word words[2];
	bool more;

	start(m);
	g_assert_cmpint(type1_track_touch(&m->track, ULONG_MAX - 1, ULONG_MAX), ==, 0);
	g_assert_cmpuint(type1_track_collect(&m->track, &index, ULONG_MAX, ULONG_MAX - 1, 0, words, 2,
					     &more), ==, 1);
	g_assert_false(more);
	g_assert_cmphex(words[0].bits, ==, 3);
	g_assert_cmpint(type1_track_first(&m->track, ULONG_MAX, 77), ==, 0);
	index = 0;
	g_assert_true(type1_track_pinned(&m->track, &index, ULONG_MAX));
	g_assert_cmpuint(index, ==, ULONG_MAX);
	type1_track_reported(&m->track, 0, ULONG_MAX);
	g_assert_cmpuint(known(m), ==, 1);
	end(m);
}

/* A block that needs two words, where there is room for one more: it waits for the next call. */
static void test_odd_base(void)
{
	struct model *m = begin();

	start(m);
	touch(m, 40, 40);
	touch(m, 128, 191);
	check(m, 32, PAGES - 1, 32, 0, 2);
	end(m);
}

static void check_pinned(struct model *m, unsigned int first, unsigned int last)
{
	unsigned long index = BASE + first;
	unsigned int page = first;

	while (page <= last && !m->pins[page])
		page++;
	if (!type1_track_pinned(&m->track, &index, BASE + last)) {
		g_assert_cmpuint(page, >, last);
		return;
	}
	g_assert_cmpuint(index, ==, BASE + page);
}

static void random_step(struct model *m, unsigned int spread)
{
	unsigned int page = g_test_rand_int_range(0, spread);
	unsigned int other = page + g_test_rand_int_range(0, 200);

	other = MIN(other, PAGES - 1);
	switch (g_test_rand_int_range(0, 12)) {
	case 0:
		touch(m, page, other);
		break;
	case 1:
		report(m, page, other);
		break;
	case 2:
		if (m->on && g_test_rand_int_range(0, 20))
			break;
		m->on ? stop(m) : start(m);
		break;
	case 3 ... 7:
		pin(m, page);
		break;
	default:
		unpin(m, page);
	}
	check_pinned(m, page, other);
}

static void test_random(void)
{
	for (int round = 0; round < 40; round++) {
		unsigned int spread = g_test_rand_int_range(1, PAGES);
		struct model *m = begin();

		for (int step = 0; step < 1500; step++) {
			random_step(m, spread);
			if (step % 50 == 0) {
				unsigned int base = g_test_rand_int_range(0, spread);
				unsigned int first = g_test_rand_int_range(base, spread);
				unsigned int last = g_test_rand_int_range(first, spread);
				bool blocks = g_test_rand_int_range(0, 2);

				if (blocks)
					base -= base % TYPE1_BLOCK;
				check(m, first, last, base, blocks ? 0 : g_test_rand_int_range(0, 4),
				      g_test_rand_int_range(2, 64));
			}
		}
		end(m);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/vfio-track/life", test_life);
	g_test_add_func("/vfio-track/stop", test_stop);
	g_test_add_func("/vfio-track/memory", test_memory);
	g_test_add_func("/vfio-track/limits", test_limits);
	g_test_add_func("/vfio-track/last-page", test_last_page);
	g_test_add_func("/vfio-track/odd-base", test_odd_base);
	g_test_add_func("/vfio-track/random", test_random);
	return g_test_run();
}
