// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The reset of a dirty ring: against a machine whose pages, TLB and lock are looked at in each call.
 *
 * A page of the machine is writable in its page table, in a TLB, in both or in none.  A write to a
 * page that is in none makes an entry.  After each of the reset's calls it must be true that an
 * entry of which the flag is clear stands for a page that is in neither.  The process at the
 * machine's ring may be hostile: it writes to the ring in the middle of the reset's calls, at places
 * that the tests name.
 *
 * Limits: one thread.
 */
#include <glib.h>

#include "shim.h"
#include "dirty_ring_reset.h"

#define SLOTS 3
#define PAGES (1u << 18)	/* of each slot: a gigabyte */

struct machine {
	struct kvm_dirty_gfn *gfns;
	u32 size, reset_index, dirty_index;
	u32 first;		/* of the entries in pushed */
	bool *writable[SLOTS], *cached[SLOTS];
	GArray *pushed;		/* struct kvm_dirty_gfn, as the vCPU wrote them */
	bool locked, pending;
	unsigned int locks, relaxes, calls, flushes, asked;
	unsigned int scribble_at;	/* in that call */
	void (*during)(struct machine *m);
};

/* The reset's interrupted() has no argument. */
static struct machine *running;

static struct kvm_dirty_gfn *entry(struct machine *m, u32 index)
{
	return &m->gfns[index & (m->size - 1)];
}

/* Every entry that was given back stands for a page that makes an entry when it is written. */
static void check_released(struct machine *m)
{
	for (u32 i = 0; i < m->pushed->len; i++) {
		struct kvm_dirty_gfn *was = &g_array_index(m->pushed, struct kvm_dirty_gfn, i);

		if (was->slot < SLOTS && !entry(m, m->first + i)->flags) {
			g_assert_false(m->writable[was->slot][was->offset]);
			g_assert_false(m->cached[was->slot][was->offset]);
		}
	}
}

static void machine_lock(void *opaque)
{
	struct machine *m = opaque;

	g_assert_false(m->locked);
	m->locked = true;
	m->locks++;
}

static void machine_unlock(void *opaque)
{
	struct machine *m = opaque;

	g_assert_true(m->locked);
	m->locked = false;
}

static void machine_relax(void *opaque)
{
	struct machine *m = opaque;

	g_assert_true(m->locked);
	m->relaxes++;
}

static void machine_protect(void *opaque, u32 slot, u64 base, u64 mask)
{
	struct machine *m = opaque;

	g_assert_true(m->locked);
	g_assert_cmphex(mask, !=, 0);
	g_assert_true(mask >> 63 || !base);	/* KVM looks at all pages up to bit 63 */
	m->calls++;
	if (m->during)
		m->during(m);
	for (u32 bit = 0; bit < 64 && slot < SLOTS && base + bit < PAGES; bit++)
		if (mask >> bit & 1)
			m->writable[slot][base + bit] = false;
}

static void machine_flush(void *opaque)
{
	struct machine *m = opaque;

	g_assert_false(m->locked);
	check_released(m);
	for (u32 slot = 0; slot < SLOTS; slot++)
		memcpy(m->cached[slot], m->writable[slot], PAGES * sizeof(bool));
	m->flushes++;
	if (m->during)
		m->during(m);
}

static bool machine_interrupted(void)
{
	running->asked++;
	return running->pending;
}

static const struct dirty_ring_reset_ops machine_ops = {
	.lock = machine_lock,
	.unlock = machine_unlock,
	.relax = machine_relax,
	.protect = machine_protect,
	.flush = machine_flush,
	.interrupted = machine_interrupted,
};

static void begin(struct machine *m, u32 size)
{
	*m = (struct machine) { .gfns = g_new0(struct kvm_dirty_gfn, size), .size = size,
		.pushed = g_array_new(FALSE, FALSE, sizeof(struct kvm_dirty_gfn)) };
	for (u32 slot = 0; slot < SLOTS; slot++) {
		m->writable[slot] = g_new0(bool, PAGES);
		m->cached[slot] = g_new0(bool, PAGES);
	}
	running = m;
}

static void end(struct machine *m)
{
	for (u32 slot = 0; slot < SLOTS; slot++) {
		g_free(m->writable[slot]);
		g_free(m->cached[slot]);
	}
	g_array_free(m->pushed, TRUE);
	g_free(m->gfns);
}

/* The vCPU writes to a page; false: it makes no entry. */
static bool write_page(struct machine *m, u32 slot, u64 page)
{
	struct kvm_dirty_gfn pushed = { .flags = KVM_DIRTY_GFN_F_DIRTY, .slot = slot,
					.offset = page };

	if (m->cached[slot][page])
		return false;
	if (m->writable[slot][page]) {
		m->cached[slot][page] = true;
		return false;
	}
	g_assert_cmpuint(m->dirty_index - m->reset_index, <, m->size);
	*entry(m, m->dirty_index++) = pushed;
	g_array_append_val(m->pushed, pushed);
	m->writable[slot][page] = m->cached[slot][page] = true;
	return true;
}

/* The process harvests @n entries. */
static void harvest(struct machine *m, u32 n)
{
	for (u32 i = 0; i < n; i++)
		entry(m, m->reset_index + i)->flags |= KVM_DIRTY_GFN_F_RESET;
}

static u32 reset(struct machine *m)
{
	struct dirty_ring_view view = { m->gfns, m->size, &m->reset_index, &m->dirty_index };
	u32 before = m->reset_index, n;

	m->first = before;
	m->locks = m->relaxes = m->calls = m->flushes = m->asked = 0;
	n = dirty_ring_reset(&machine_ops, m, &view);
	g_assert_cmpuint(m->reset_index, ==, before + n);
	g_assert_cmpuint(n, <=, m->pushed->len);
	for (u32 i = 0; i < n; i++) {
		struct kvm_dirty_gfn *was = &g_array_index(m->pushed, struct kvm_dirty_gfn, i);

		if (was->slot < SLOTS) {
			g_assert_false(m->writable[was->slot][was->offset]);
			g_assert_false(m->cached[was->slot][was->offset]);
		}
		if (!m->during)
			g_assert_cmphex(entry(m, before + i)->flags, ==, 0);
	}
	g_array_remove_range(m->pushed, 0, n);
	return n;
}

static u32 count_writable(struct machine *m)
{
	u32 n = 0;

	for (u32 slot = 0; slot < SLOTS; slot++)
		for (u32 page = 0; page < PAGES; page++)
			n += m->writable[slot][page];
	return n;
}

static void test_nothing(void)
{
	struct machine m;

	begin(&m, 64);
	g_assert_cmpuint(reset(&m), ==, 0);
	for (u32 page = 0; page < 10; page++)
		write_page(&m, 0, page);
	g_assert_cmpuint(reset(&m), ==, 0);
	g_assert_cmpuint(m.locks + m.flushes + m.calls, ==, 0);
	g_assert_cmpuint(count_writable(&m), ==, 10);
	end(&m);
}

static void test_in_part(void)
{
	struct machine m;

	begin(&m, 64);
	for (u32 page = 0; page < 10; page++)
		write_page(&m, page % SLOTS, 1000 + page);
	harvest(&m, 7);
	entry(&m, m.reset_index + 8)->flags |= KVM_DIRTY_GFN_F_RESET;	/* out of order */
	g_assert_cmpuint(reset(&m), ==, 7);
	g_assert_cmpuint(count_writable(&m), ==, 3);
	g_assert_cmpuint(m.locks, ==, 2);	/* three in order, the others sorted */
	g_assert_cmpuint(m.flushes, ==, 1);
	g_assert_true(write_page(&m, 0, 1000));
	g_assert_cmpuint(reset(&m), ==, 0);
	harvest(&m, 1);
	g_assert_cmpuint(reset(&m), ==, 2);
	end(&m);
}

/* Indices run freely, and through 2^32. */
static void test_wrap(void)
{
	struct machine m;

	begin(&m, 64);
	m.reset_index = m.dirty_index = -10u;
	for (u32 page = 0; page < 60; page++)
		write_page(&m, 1, page * 100);
	harvest(&m, 60);
	g_assert_cmpuint(reset(&m), ==, 60);
	g_assert_cmpuint(count_writable(&m), ==, 0);
	end(&m);
}

/* Random pages of a gigabyte share calls; pages in a row share all they can. */
static void test_calls(void)
{
	struct machine m;

	begin(&m, 65536);
	while (m.pushed->len < m.size)
		write_page(&m, 0, g_test_rand_int_range(0, PAGES));
	harvest(&m, m.size);
	g_assert_cmpuint(reset(&m), ==, m.size);
	g_test_message("random: %u calls for %u entries", m.calls, m.size);
	g_assert_cmpuint(m.calls, <, 3 * m.size / 10);
	g_assert_cmpuint(m.locks, ==, 2);
	g_assert_cmpuint(m.flushes, ==, 1);
	g_assert_cmpuint(m.relaxes, ==, m.calls - 2);
	for (u32 page = 0; page < m.size; page++)
		write_page(&m, 0, 640 + page);
	harvest(&m, m.size);
	g_assert_cmpuint(reset(&m), ==, m.size);
	g_assert_cmpuint(m.calls, ==, m.size / 64);
	for (u32 page = 4096; page--;)
		write_page(&m, 0, 640 + page);
	harvest(&m, 4096);
	g_assert_cmpuint(reset(&m), ==, 4096);
	g_assert_cmpuint(m.calls, ==, 64);
	/* The first and the last are neighbours, those between lie across. */
	write_page(&m, 0, 0);
	for (u32 page = 0; page < 64; page++)
		for (u32 word = 1; word < 64; word++)
			write_page(&m, 0, word * 64 + page);
	for (u32 page = 1; page < 64; page++)
		write_page(&m, 0, page);
	harvest(&m, 4096);
	g_assert_cmpuint(reset(&m), ==, 4096);
	g_assert_cmpuint(m.calls, ==, 64 + 64);		/* as long as they ascend; then sorted */
	/* A smaller group, which takes more passes. */
	for (u32 page = 0; page < 4; page++)
		for (u32 word = 0; word < 1000; word++)
			write_page(&m, 0, word * 64 + page);
	harvest(&m, 4000);
	g_assert_cmpuint(reset(&m), ==, 4000);
	g_assert_cmpuint(m.calls, ==, 1000 + 1000);
	end(&m);
}

/* Entries whose words ascend, as a process leaves them that sorts, are protected as they come. */
static void test_in_order(void)
{
	struct machine m;

	begin(&m, 4096);
	for (u32 slot = 0; slot < SLOTS; slot++)
		for (u32 page = 0; page < 900; page++)
			write_page(&m, slot, page / 3 * 96 + (page % 3 ^ 1));
	entry(&m, 5)->offset = ~0ull;	/* names no page, and does not disturb */
	g_array_index(m.pushed, struct kvm_dirty_gfn, 5).slot = ~0u;
	harvest(&m, 900 * SLOTS);
	shim_fail_alloc = 1;
	g_assert_cmpuint(reset(&m), ==, 900 * SLOTS);
	g_assert_cmpuint(shim_fail_alloc, ==, 1);
	shim_fail_alloc = 0;
	g_assert_cmpuint(m.calls, ==, 300 * SLOTS);
	g_assert_cmpuint(m.relaxes, ==, m.calls - 1);
	g_assert_cmpuint(m.locks, ==, 1);
	g_assert_cmpuint(count_writable(&m), ==, 1);
	/* Nothing of a word is protected with the next. */
	write_page(&m, 1, 1000 * 64 + 3);
	write_page(&m, 1, 1001 * 64 + 5);
	write_page(&m, 1, 1001 * 64 + 3);
	harvest(&m, 2);
	g_assert_cmpuint(reset(&m), ==, 2);
	g_assert_true(m.writable[1][1001 * 64 + 3]);
	end(&m);
}

static void test_interrupted(void)
{
	struct machine m;

	begin(&m, 2 * DIRTY_RING_GROUP);
	for (u32 page = 0; page < m.size; page++)
		write_page(&m, 0, page);
	harvest(&m, m.size);
	m.pending = true;	/* and yet it gets on */
	g_assert_cmpuint(reset(&m), ==, DIRTY_RING_GROUP);
	g_assert_cmpuint(count_writable(&m), ==, DIRTY_RING_GROUP);
	m.pending = false;
	g_assert_cmpuint(reset(&m), ==, DIRTY_RING_GROUP);
	g_assert_cmpuint(count_writable(&m), ==, 0);
	end(&m);
}

/* Small groups are put into order, too. */
static void test_small(void)
{
	struct machine m;

	begin(&m, 64);
	for (u32 page = 0; page < 64; page++)
		write_page(&m, page % 2, 640 + page);
	harvest(&m, 64);
	g_assert_cmpuint(reset(&m), ==, 64);
	g_assert_cmpuint(m.calls, ==, 2 + 2);	/* in order, and sorted */
	end(&m);
}

static void test_without_memory(void)
{
	struct machine m;

	begin(&m, 4096);
	for (u32 page = 0; page < 1000; page++)
		write_page(&m, page % SLOTS, page * 7919 % PAGES);
	harvest(&m, 1000);
	shim_fail_alloc = 3;	/* the third group has none */
	g_assert_cmpuint(reset(&m), ==, 1000);
	g_assert_cmpuint(shim_fail_alloc, ==, 2);
	for (u32 page = 0; page < 1000; page++)
		write_page(&m, page % SLOTS, page * 7919 % PAGES);
	harvest(&m, 1000);
	shim_fail_alloc = 1;
	g_assert_cmpuint(reset(&m), ==, 1000);
	g_assert_cmpuint(m.locks, ==, 4);
	g_assert_cmpuint(count_writable(&m), ==, 0);
	shim_fail_alloc = 0;
	end(&m);
}

/* Harvests all of the ring again, whatever is in it. */
static void mark_all(struct machine *m)
{
	for (u32 i = 0; i < m->size; i++)
		entry(m, i)->flags = KVM_DIRTY_GFN_F_RESET;
}

static void test_marked_again(void)
{
	struct machine m;

	begin(&m, 256);
	for (u32 page = 0; page < 100; page++)
		write_page(&m, 0, page);
	harvest(&m, 100);
	m.during = mark_all;
	g_assert_cmpuint(reset(&m), ==, 100);
	g_assert_cmpuint(m.locks, ==, 1);
	m.during = NULL;
	/* flags beyond what was pushed mean nothing */
	g_assert_cmpuint(reset(&m), ==, 0);
	for (u32 page = 0; page < 256; page++)
		write_page(&m, 0, page);
	mark_all(&m);
	g_assert_cmpuint(reset(&m), ==, 256);
	g_assert_cmpuint(reset(&m), ==, 0);
	end(&m);
}

/* Takes the flags back, and names other pages. */
static void scribble(struct machine *m)
{
	for (u32 i = 0; i < m->size; i++) {
		entry(m, i)->flags = 0;
		entry(m, i)->slot = 1;
		entry(m, i)->offset = 5;
	}
}

static void scribble_once(struct machine *m)
{
	if (m->calls < m->scribble_at)
		return;
	m->during = NULL;
	scribble(m);
	/* the entries' flags are clear by the process's own hand: nothing to be checked by */
	for (u32 i = 0; i < m->pushed->len; i++)
		entry(m, m->reset_index + i)->flags = KVM_DIRTY_GFN_F_DIRTY;
}

static void test_read_once(void)
{
	struct machine m;

	begin(&m, 256);
	write_page(&m, 1, 5);	/* not harvested: stays writable */
	harvest(&m, 1);
	g_assert_cmpuint(reset(&m), ==, 1);
	for (u32 page = 200; page--;)
		write_page(&m, 0, page * 64);
	harvest(&m, 200);
	m.writable[1][5] = m.cached[1][5] = true;
	m.scribble_at = 2;	/* the keys have been gathered */
	m.during = scribble_once;
	g_assert_cmpuint(reset(&m), ==, 200);
	g_assert_cmpuint(count_writable(&m), ==, 1);
	for (u32 page = 0; page < 200; page++)
		write_page(&m, 0, page * 64);
	harvest(&m, 200);
	m.scribble_at = 1;	/* in order: the second has been read, the third is not harvested any more */
	m.during = scribble_once;
	g_assert_cmpuint(reset(&m), ==, 2);
	g_assert_cmpuint(count_writable(&m), ==, 1 + 198);
	end(&m);
}

/* Entries that name no page protect none, and do not hold up the others. */
static void test_no_such_page(void)
{
	static const struct { u32 slot; u64 offset; } bad[] = {
		{ SLOTS, 0 }, { ~0u, 0 }, { 0, PAGES }, { 0, ~0ull }, { 0, 1ull << 32 },
		{ 0, (1ull << 32) + 77 }, { 0, 0xffffffff }, { 1 << 16, 77 },
	};
	struct machine m;

	begin(&m, 256);
	m.writable[0][77] = m.cached[0][77] = true;
	m.writable[1][77] = m.cached[1][77] = true;
	for (u32 page = 0; page < ARRAY_SIZE(bad); page++) {
		write_page(&m, 2, page);
		write_page(&m, 2, 100 + page);
		entry(&m, 2 * page)->slot = bad[page].slot;
		entry(&m, 2 * page)->offset = bad[page].offset;
		g_array_index(m.pushed, struct kvm_dirty_gfn, 2 * page).slot = ~0u;
	}
	harvest(&m, 2 * ARRAY_SIZE(bad));
	g_assert_cmpuint(reset(&m), ==, 2 * ARRAY_SIZE(bad));
	g_assert_true(m.writable[0][77]);
	g_assert_cmpuint(count_writable(&m), ==, 2 + ARRAY_SIZE(bad));
	end(&m);
}

static void spoil_second(struct machine *m)
{
	entry(m, m->reset_index + 1)->offset = ~0ull;
}

static void test_only_bad(void)
{
	struct machine m;

	begin(&m, 64);
	write_page(&m, 0, 1);
	entry(&m, 0)->offset = ~0ull;
	g_array_index(m.pushed, struct kvm_dirty_gfn, 0).slot = ~0u;
	harvest(&m, 1);
	g_assert_cmpuint(reset(&m), ==, 1);
	g_assert_cmpuint(m.locks, ==, 0);
	write_page(&m, 0, 640);
	write_page(&m, 0, 2);		/* not in order, and named no more when it is gathered */
	g_array_index(m.pushed, struct kvm_dirty_gfn, 1).slot = ~0u;
	harvest(&m, 2);
	m.during = spoil_second;
	g_assert_cmpuint(reset(&m), ==, 2);
	g_assert_cmpuint(m.locks, ==, 1);
	end(&m);
}

/* Any mixture of writes, harvests and resets: pages that are not in the ring are protected. */
static void test_random(void)
{
	for (int round = 0; round < 30; round++) {
		u32 size = 64u << g_test_rand_int_range(0, 8);
		u32 spread = g_test_rand_int_range(1, PAGES);
		struct machine m;

		begin(&m, size);
		m.reset_index = m.dirty_index = g_test_rand_int();
		for (int step = 0; step < 40; step++) {
			u32 harvested = 0;

			for (u32 n = g_test_rand_int_range(0, size); n; n--)
				if (m.pushed->len < size)
					write_page(&m, g_test_rand_int_range(0, SLOTS),
						   g_test_rand_int_range(0, spread));
			harvested = g_test_rand_int_range(0, m.pushed->len + 1);
			harvest(&m, harvested);
			g_assert_cmpuint(reset(&m), ==, harvested);
		}
		g_assert_cmpuint(count_writable(&m), ==, m.pushed->len);
		end(&m);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/dirty-ring/nothing", test_nothing);
	g_test_add_func("/dirty-ring/in-part", test_in_part);
	g_test_add_func("/dirty-ring/wrap", test_wrap);
	g_test_add_func("/dirty-ring/calls", test_calls);
	g_test_add_func("/dirty-ring/in-order", test_in_order);
	g_test_add_func("/dirty-ring/interrupted", test_interrupted);
	g_test_add_func("/dirty-ring/small", test_small);
	g_test_add_func("/dirty-ring/without-memory", test_without_memory);
	g_test_add_func("/dirty-ring/marked-again", test_marked_again);
	g_test_add_func("/dirty-ring/read-once", test_read_once);
	g_test_add_func("/dirty-ring/no-such-page", test_no_such_page);
	g_test_add_func("/dirty-ring/only-bad", test_only_bad);
	g_test_add_func("/dirty-ring/random", test_random);
	return g_test_run();
}
