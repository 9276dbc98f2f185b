// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vringh: its rules one by one, in every kind of memory.
 *
 * Faults of the driver are data: how to make one, and the errno that the interface promises.  A
 * fault has to be told from an empty ring and from a broken one (head), must not take memory with
 * it, and must leave the next good chain readable.
 *
 * Limits: random chains are test-vringh-model.c's, random bytes fuzz-vringh.c's.
 */
#include <glib.h>

#include "rig.h"

#define NEXT	VRING_DESC_F_NEXT
#define WRITE	VRING_DESC_F_WRITE
#define TABLE	VRING_DESC_F_INDIRECT
#define V1	BIT_ULL(VIRTIO_F_VERSION_1)
#define EVENTS	(V1 | BIT_ULL(VIRTIO_RING_F_EVENT_IDX))
#define NUM	16
#define MOST_IN_TABLE	65536	/* and segments of a chain */

static const char text[] = "Arma virumque cano, Troiae qui primus ab oris";

typedef void test_t(struct rig *rig);

struct test {
	const char *name;
	test_t *run;
	u64 features;
	const char *only;	/* this kind */
};

static int get(struct rig *rig, u16 *head)
{
	return rig->kind->getdesc(rig, true, true, head);
}

static void test_empty(struct rig *rig)
{
	u16 head = 3;

	g_assert_cmpint(get(rig, &head), ==, 0);
	g_assert_cmpuint(head, ==, NUM);
}

static void test_chain(struct rig *rig)
{
	u16 head;
	char got[sizeof(text)];

	/* Both buffers lie across chunks. */
	rig_poke(rig, 990, text, sizeof(text));
	rig_set(rig, 5, rig->base + 990, 20, NEXT, 2);
	rig_set(rig, 2, rig->base + 1010, sizeof(text) - 20, NEXT, 7);
	rig_set(rig, 7, rig->base + 2980, sizeof(text), WRITE, 0);
	rig_offer(rig, 5);

	g_assert_cmpint(get(rig, &head), ==, 1);
	g_assert_cmpuint(head, ==, 5);
	g_assert_cmpuint(vringh_kiov_length(&rig->riov), ==, sizeof(text));
	g_assert_cmpint(rig->kind->pull(rig, got, 7), ==, 7);
	g_assert_cmpint(rig->kind->pull(rig, got + 7, 1000), ==, sizeof(text) - 7);
	g_assert_cmpmem(got, sizeof(got), text, sizeof(text));
	g_assert_cmpint(rig->kind->pull(rig, got, 1), ==, 0);

	g_assert_cmpint(rig->kind->push(rig, text, sizeof(text)), ==, sizeof(text));
	g_assert_cmpint(rig->kind->push(rig, text, 1), ==, 0);
	rig_peek(rig, 2980, got, sizeof(got));
	g_assert_cmpmem(got, sizeof(got), text, sizeof(text));

	g_assert_cmpint(rig->kind->complete(&rig->vrh, head, 45), ==, 0);
	g_assert_cmpuint(rig->ring.used->idx, ==, 1);
	g_assert_cmpuint(rig->ring.used->ring[0].id, ==, 5);
	g_assert_cmpuint(rig->ring.used->ring[0].len, ==, 45);
	g_assert_cmpint(get(rig, &head), ==, 0);
}

/* An indirect table across chunks, then on in the ring: at descriptor 0, too. */
static void test_indirect(struct rig *rig)
{
	u16 head;
	char got[sizeof(text)];

	rig_poke(rig, 0, text, sizeof(text));
	rig_set(rig, 3, rig->base + 2990, 3 * 16, TABLE | NEXT, 0);
	rig_set_in_table(rig, 2990, 0, rig->base, 10, NEXT, 2);
	rig_set_in_table(rig, 2990, 2, rig->base + 10, 10, NEXT, 1);
	rig_set_in_table(rig, 2990, 1, rig->base + 20, 10, 0, 9);
	rig_set(rig, 0, rig->base + 30, sizeof(text) - 30, 0, 0);
	rig_offer(rig, 3);

	g_assert_cmpint(get(rig, &head), ==, 1);
	g_assert_cmpuint(head, ==, 3);
	g_assert_cmpint(rig->kind->pull(rig, got, 1000), ==, sizeof(text));
	g_assert_cmpmem(got, sizeof(got), text, sizeof(text));
}

static void test_abandon(struct rig *rig)
{
	u16 head;
	int i;

	for (i = 0; i < 3; i++) {
		rig_set(rig, i, rig->base, 4, 0, 0);
		rig_offer(rig, i);
	}
	for (i = 0; i < 3; i++)
		g_assert_cmpint(get(rig, &head), ==, 1);
	rig->kind->abandon(&rig->vrh, 2);
	g_assert_cmpint(get(rig, &head), ==, 1);
	g_assert_cmpuint(head, ==, 1);
}

/* --- faults ---------------------------------------------------------------------------------- */

struct fault {
	const char *name;
	void (*make)(struct rig *rig);	/* a chain whose head is 1 */
	int error;
	bool no_r, no_w;
};

static void make_next_outside(struct rig *rig)
{
	rig_set(rig, 1, rig->base, 8, NEXT, NUM);
}

static void make_loop(struct rig *rig)
{
	rig_set(rig, 1, rig->base, 8, NEXT, 2);
	rig_set(rig, 2, rig->base, 8, NEXT, 1);
}

static void make_loop_in_table(struct rig *rig)
{
	rig_set(rig, 1, rig->base + 64, 32, TABLE, 0);
	rig_set_in_table(rig, 64, 0, rig->base, 8, NEXT, 1);
	rig_set_in_table(rig, 64, 1, rig->base, 8, NEXT, 0);
}

/* Each round of it is a good one; without a bound it takes all memory there is. */
static void make_loop_through_table(struct rig *rig)
{
	rig_set(rig, 1, rig->base + 64, 16, TABLE | NEXT, 1);
	rig_set_in_table(rig, 64, 0, rig->base, 8, 0, 0);
}

static void make_next_outside_table(struct rig *rig)
{
	rig_set(rig, 1, rig->base + 64, 32, TABLE, 0);
	rig_set_in_table(rig, 64, 0, rig->base, 8, NEXT, 2);
}

static void make_next_outside_after_table(struct rig *rig)
{
	rig_set(rig, 1, rig->base + 64, 16, TABLE | NEXT, NUM);
	rig_set_in_table(rig, 64, 0, rig->base, 8, 0, 0);
}

static void make_nested(struct rig *rig)
{
	rig_set(rig, 1, rig->base + 64, 16, TABLE, 0);
	rig_set_in_table(rig, 64, 0, rig->base + 64, 16, TABLE, 0);
}

static void make_empty_table(struct rig *rig)
{
	rig_set(rig, 1, rig->base + 64, 0, TABLE, 0);
}

static void make_odd_table(struct rig *rig)
{
	rig_set(rig, 1, rig->base + 64, 24, TABLE, 0);
}

static void make_huge_table(struct rig *rig)
{
	rig_set(rig, 1, rig->base + 64, 0xfffffff0, TABLE, 0);
}

static void make_wrong_order(struct rig *rig)
{
	rig_set(rig, 1, rig->base, 8, NEXT | WRITE, 2);
	rig_set(rig, 2, rig->base + 8, 8, 0, 0);
}

static void make_readable(struct rig *rig)
{
	rig_set(rig, 1, rig->base, 8, 0, 0);
}

static void make_writable(struct rig *rig)
{
	rig_set(rig, 1, rig->base, 8, WRITE, 0);
}

static const struct fault faults[] = {
	{ "next-outside", make_next_outside, -EINVAL },
	{ "next-outside-table", make_next_outside_table, -EINVAL },
	{ "next-outside-after-table", make_next_outside_after_table, -EINVAL },
	{ "loop", make_loop, -ELOOP },
	{ "loop-in-table", make_loop_in_table, -ELOOP },
	{ "loop-through-table", make_loop_through_table, -ELOOP },
	{ "nested", make_nested, -EINVAL },
	{ "empty-table", make_empty_table, -EINVAL },
	{ "odd-table", make_odd_table, -EINVAL },
	{ "huge-table", make_huge_table, -EINVAL },
	{ "wrong-order", make_wrong_order, -EINVAL },
	{ "unwanted-readable", make_readable, -EPROTO, .no_r = true },
	{ "unwanted-writable", make_writable, -EPROTO, .no_w = true },
};

static void test_faults(struct rig *rig)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		const struct fault *fault = &faults[i];
		unsigned int said = shim_messages;
		u16 head;
		int ret;

		fault->make(rig);
		rig_set(rig, 9, rig->base, 8, 0, 0);
		rig_offer(rig, 1);
		rig_offer(rig, 9);
		ret = rig->kind->getdesc(rig, !fault->no_r, !fault->no_w, &head);
		if (ret != fault->error)
			g_error("%s: %d, not %d", fault->name, ret, fault->error);
		g_assert_cmpuint(head, ==, 1);
		g_assert_cmpuint(rig->riov.used, <=, NUM);
		g_assert_cmpuint(shim_messages, ==, said + 1);
		g_assert_cmpint(get(rig, &head), ==, 1);
		g_assert_cmpuint(head, ==, 9);
	}
}

static void test_bad_head(struct rig *rig)
{
	u16 head = 0;

	rig_offer(rig, NUM);
	g_assert_cmpint(get(rig, &head), ==, -EINVAL);
	g_assert_cmpuint(head, ==, NUM);
	/* It is no chain, so it is not taken. */
	g_assert_cmpuint(rig->vrh.last_avail_idx, ==, 0);
}

static void test_avail_jump(struct rig *rig)
{
	u16 head;

	rig_set(rig, 0, rig->base, 4, 0, 0);
	rig->avail_idx = NUM;
	rig_offer(rig, 0);
	g_assert_cmpint(get(rig, &head), ==, -EINVAL);
	g_assert_cmpuint(head, ==, NUM);
	rig->ring.avail->idx = NUM;
	g_assert_cmpint(get(rig, &head), ==, 1);
}

static void test_no_lists(struct rig *rig)
{
	u16 head;

	shim_warnings = 0;
	g_assert_cmpint(rig->kind->getdesc(rig, false, false, &head), ==, -EINVAL);
	g_assert_cmpuint(shim_warnings, ==, 1);
}

static void test_user_outside(struct rig *rig)
{
	static const struct {
		u64 offset;
		u32 len;
	} bad[] = {
		{ RIG_SPACE, 1 }, { RIG_SPACE - 4, 5 }, { -0x1000ULL - 4, 8 }, { -1ULL, 1 },
		{ 0, 0xffffffff },
	};
	unsigned int i;
	u16 head;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		rig_set(rig, 1, rig->base + bad[i].offset, bad[i].len, 0, 0);
		rig_offer(rig, 1);
		g_assert_cmpint(get(rig, &head), ==, -EINVAL);
		rig_set(rig, 1, rig->base + bad[i].offset, 16, TABLE, 0);
		rig_offer(rig, 1);
		g_assert_cmpint(get(rig, &head), ==, -EINVAL);
	}
}

/* The process's memory is not there, though getrange promised it. */
static void test_user_unmapped(struct rig *rig)
{
	u16 head;
	char byte;

	rig_set(rig, 1, rig->base, 8, NEXT, 2);
	rig_set(rig, 2, rig->base, 8, WRITE, 0);
	rig_offer(rig, 1);
	g_assert_cmpint(get(rig, &head), ==, 1);
	shim_user_end = 0;
	g_assert_cmpint(rig->kind->pull(rig, &byte, 1), ==, -EFAULT);
	g_assert_cmpint(rig->kind->push(rig, &byte, 1), ==, -EFAULT);
	g_assert_cmpint(get(rig, &head), ==, -EFAULT);
	g_assert_cmpuint(head, ==, NUM);
	g_assert_cmpint(rig->kind->complete(&rig->vrh, 1, 0), ==, -EFAULT);
	g_assert_cmpint(rig->kind->need_notify(&rig->vrh), ==, -EFAULT);
	g_assert_true(rig->kind->notify_enable(&rig->vrh));
	rig->kind->notify_disable(&rig->vrh);
	shim_user_end = UINTPTR_MAX;
	g_assert_cmpuint(rig->vrh.completed, ==, 0);
}

static void test_iotlb_outside(struct rig *rig)
{
	u16 head;
	char bytes[8];

	/* The last four bytes of it are not mapped. */
	rig_set(rig, 1, rig->base + RIG_SPACE - 4, 8, NEXT, 2);
	rig_set(rig, 2, rig->base + RIG_SPACE - 4, 8, WRITE, 0);
	rig_offer(rig, 1);
	g_assert_cmpint(get(rig, &head), ==, 1);
	g_assert_cmpint(rig->kind->pull(rig, bytes, 8), ==, -EFAULT);
	g_assert_cmpint(rig->kind->pull(rig, bytes, 4), ==, 4);
	g_assert_cmpint(rig->kind->push(rig, bytes, 8), ==, -EFAULT);

	/* Past the end of the address space, which must not become its beginning. */
	vhost_iotlb_add_range(rig->iotlb, 0, 99, (uintptr_t)rig->memory, VHOST_MAP_RW);
	vhost_iotlb_add_range(rig->iotlb, U64_MAX - 9, U64_MAX, (uintptr_t)rig->memory,
			      VHOST_MAP_RW);
	rig_set(rig, 1, U64_MAX - 3, 8, 0, 0);
	rig_offer(rig, 1);
	g_assert_cmpint(get(rig, &head), ==, 1);
	g_assert_cmpint(rig->kind->pull(rig, bytes, 8), ==, -EFAULT);
}

static void test_iotlb_permission(struct rig *rig)
{
	u64 high = 0x900000000000ULL;
	u16 head;
	char byte;

	vhost_iotlb_add_range(rig->iotlb, high, high + 7, (uintptr_t)rig->memory, VHOST_MAP_RO);
	vhost_iotlb_add_range(rig->iotlb, high + 8, high + 15, (uintptr_t)rig->memory,
			      VHOST_MAP_WO);
	rig_set(rig, 1, high + 8, 8, NEXT, 2);
	rig_set(rig, 2, high, 8, WRITE, 0);
	rig_offer(rig, 1);
	g_assert_cmpint(get(rig, &head), ==, 1);
	g_assert_cmpint(rig->kind->pull(rig, &byte, 1), ==, -EFAULT);
	g_assert_cmpint(rig->kind->push(rig, &byte, 1), ==, -EFAULT);

	/* The used ring read-only: the index says so, the entries only that it cannot be. */
	vhost_iotlb_itree_first(rig->iotlb, RIG_RING_IOVA + rig->ring_size - 1,
				RIG_RING_IOVA + rig->ring_size - 1)->perm = VHOST_MAP_RO;
	g_assert_cmpint(rig->kind->complete(&rig->vrh, 1, 0), ==, -EFAULT);
}

static void test_iotlb_no_ring(struct rig *rig)
{
	u16 head;

	vhost_iotlb_reset(rig->iotlb);
	g_assert_cmpint(get(rig, &head), ==, -EINVAL);
	g_assert_cmpuint(head, ==, NUM);
	g_assert_cmpint(rig->kind->complete(&rig->vrh, 0, 0), ==, -EFAULT);
	g_assert_cmpint(rig->kind->need_notify(&rig->vrh), ==, -EINVAL);
	g_assert_true(rig->kind->notify_enable(&rig->vrh));
	vringh_set_iotlb(&rig->vrh, NULL, NULL);
	g_assert_cmpint(get(rig, &head), ==, -EINVAL);
	g_assert_cmpint(rig->kind->complete(&rig->vrh, 0, 0), ==, -EFAULT);
}

/* An index in two pages, or half of it mapped: refused, and nothing beyond is touched. */
static void test_iotlb_split_index(struct rig *rig)
{
	unsigned char *page = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
	u64 iova = 0x800000000000ULL;
	u16 head;

	memset(page, 0, PAGE_SIZE);
	vhost_iotlb_add_range(rig->iotlb, iova, iova + PAGE_SIZE - 1, (uintptr_t)page,
			      VHOST_MAP_RW);
	rig->vrh.vring.avail = (void *)(uintptr_t)(iova + PAGE_SIZE - 3);
	g_assert_cmpint(get(rig, &head), ==, -EINVAL);
	vhost_iotlb_add_range(rig->iotlb, iova + PAGE_SIZE, iova + 2 * PAGE_SIZE - 1,
			      (uintptr_t)page, VHOST_MAP_RW);
	g_assert_cmpint(get(rig, &head), ==, -EINVAL);
	free(page);
}

/* An index at the last byte of a page, and one at the last byte of a map: neither is read at once. */
static void test_iotlb_index_at_end(struct rig *rig)
{
	unsigned char *pages = aligned_alloc(PAGE_SIZE, 2 * PAGE_SIZE);
	u64 iova = 0x800000000000ULL;
	u16 head;

	memset(pages, 0, 2 * PAGE_SIZE);
	vhost_iotlb_add_range(rig->iotlb, iova, iova + 2 * PAGE_SIZE - 1, (uintptr_t)pages,
			      VHOST_MAP_RW);
	rig->vrh.vring.avail = (void *)(uintptr_t)(iova + PAGE_SIZE - 3);
	/* Addresses of a process need no page. */
	g_assert_cmpint(get(rig, &head), ==, rig_is(rig, "iotlb-va") ? 0 : -EINVAL);
	rig->vrh.vring.avail = (void *)(uintptr_t)(iova + PAGE_SIZE - 4);
	g_assert_cmpint(get(rig, &head), ==, 0);

	vhost_iotlb_del_range(rig->iotlb, iova, U64_MAX);
	vhost_iotlb_add_range(rig->iotlb, iova, iova + 102, (uintptr_t)pages, VHOST_MAP_RW);
	rig->vrh.vring.avail = (void *)(uintptr_t)(iova + 100);
	g_assert_cmpint(get(rig, &head), ==, -EINVAL);
	free(pages);
}

/* Pages are accessed one at a time under the lock that keeps them mapped: each kind of access once. */
static void test_iotlb_lock(struct rig *rig)
{
	static unsigned char pages[2 * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
	u64 iova = 0x800000000000ULL;
	char got[8];
	u16 head;

	shim_pages_unlocked = 0;
	vhost_iotlb_add_range(rig->iotlb, iova, iova + 2 * PAGE_SIZE - 1, (uintptr_t)pages,
			      VHOST_MAP_RW);
	rig_set(rig, 1, iova + PAGE_SIZE - 4, 8, NEXT, 2);
	rig_set(rig, 2, iova + PAGE_SIZE - 4, 8, WRITE, 0);
	rig_offer(rig, 1);
	g_assert_cmpint(get(rig, &head), ==, 1);
	g_assert_cmpuint(shim_pages_unlocked, ==, 0);
	g_assert_cmpint(rig->kind->pull(rig, got, 8), ==, 8);
	g_assert_cmpint(rig->kind->push(rig, got, 8), ==, 8);
	g_assert_cmpint(rig->kind->complete(&rig->vrh, head, 8), ==, 0);
	g_assert_cmpint(rig->kind->need_notify(&rig->vrh), ==, 1);
	rig->kind->notify_disable(&rig->vrh);
	g_assert_true(rig->kind->notify_enable(&rig->vrh));
	g_assert_cmpuint(shim_pages_unlocked, ==, 0);
	g_assert_cmpuint(shim_locks_held, ==, 0);
}

/* The IOTLB says that it is there, the process's page tables say that it is not. */
static void test_iotlb_va_fault(struct rig *rig)
{
	char got[8] = "";
	u16 head;

	rig_set(rig, 1, 0x900000000000ULL, 8, NEXT, 2);
	rig_set(rig, 2, 0x900000000000ULL, 8, WRITE, 0);
	rig_offer(rig, 1);
	vhost_iotlb_add_range(rig->iotlb, 0x900000000000ULL, 0x900000000fffULL, 64, VHOST_MAP_RW);
	g_assert_cmpint(get(rig, &head), ==, 1);
	shim_user_start = PAGE_SIZE;
	g_assert_cmpint(rig->kind->pull(rig, got, 8), ==, -EFAULT);
	g_assert_cmpint(rig->kind->push(rig, got, 8), ==, -EFAULT);
	shim_user_start = 0;
}

/* --- ranges of a caller that is no help ------------------------------------------------------ */

static bool range_elsewhere(struct vringh *vrh, u64 addr, struct vringh_range *range)
{
	*range = (struct vringh_range) { .start = addr + 1, .end_incl = addr + 100 };
	return true;
}

static bool range_both_ends(struct vringh *vrh, u64 addr, struct vringh_range *range)
{
	*range = addr >> 63 ? (struct vringh_range) { .start = U64_MAX - 99, .end_incl = U64_MAX } :
				  (struct vringh_range) { .start = 0, .end_incl = 99 };
	return true;
}

static int get_by(struct rig *rig, bool (*getrange)(struct vringh *, u64, struct vringh_range *),
		  u64 addr, u32 len, u16 flags)
{
	u16 head;

	rig_set(rig, 1, addr, len, flags, 0);
	rig_offer(rig, 1);
	return vringh_getdesc_user(&rig->vrh, (struct vringh_iov *)&rig->riov, NULL, getrange, &head);
}

static void test_user_ranges(struct rig *rig)
{
	/* A range that does not have the address. */
	g_assert_cmpint(get_by(rig, range_elsewhere, 0x1000, 8, 0), ==, -EINVAL);
	g_assert_cmpint(get_by(rig, range_elsewhere, 0x1000, 8, 0), ==, -EINVAL);
	/* A buffer that ends at the last address; one that goes on at 0, where there is memory, too. */
	g_assert_cmpint(get_by(rig, range_both_ends, U64_MAX - 7, 8, 0), ==, 1);
	g_assert_cmpuint(vringh_kiov_length(&rig->riov), ==, 8);
	g_assert_cmpint(get_by(rig, range_both_ends, U64_MAX - 7, 9, 0), ==, -EINVAL);
	g_assert_cmpint(get_by(rig, range_both_ends, 0, 8, 0), ==, 1);
	g_assert_cmpint(get_by(rig, range_both_ends, 99, 1, 0), ==, 1); /* the last byte */
}

static struct vring_desc at_the_end[2];

/* The last addresses of all lead to that table. */
static bool range_to_table(struct vringh *vrh, u64 addr, struct vringh_range *range)
{
	range->start = U64_MAX - 15;
	range->end_incl = U64_MAX;
	range->offset = (uintptr_t)at_the_end - range->start;
	return true;
}

/* A table that ends at the last address; one that would go on at 0, though its chain does not. */
static void test_user_table_at_end(struct rig *rig)
{
	at_the_end[0] = rig_desc(U64_MAX - 7, 8, 0, 0);
	g_assert_cmpint(get_by(rig, range_to_table, U64_MAX - 15, 16, TABLE), ==, 1);
	g_assert_cmpint(get_by(rig, range_to_table, U64_MAX - 15, 32, TABLE), ==, -EINVAL);
}

/* The longest chain, and one with a buffer more. */
static void test_most_segments(struct rig *rig)
{
	struct vring_desc *table = calloc(MOST_IN_TABLE, sizeof(*table));
	unsigned int i;
	u16 head;

	for (i = 0; i < MOST_IN_TABLE; i++)
		table[i] = rig_desc(rig->base, 8, i < MOST_IN_TABLE - 1 ? NEXT : 0, i + 1);
	rig_set(rig, 2, rig->base, 8, 0, 0);
	for (i = 0; i < 2; i++) {
		rig_set(rig, 1, (uintptr_t)table, MOST_IN_TABLE * 16, i ? TABLE | NEXT : TABLE, 2);
		rig_offer(rig, 1);
		g_assert_cmpint(get(rig, &head), ==, i ? -ELOOP : 1);
	}
	free(table);
}

/* The longest table, one that is too long by an entry, and one of one entry and a half. */
static void test_table_limits(struct rig *rig)
{
	static const u32 bytes[] = { MOST_IN_TABLE * 16, (MOST_IN_TABLE + 1) * 16, 24 };
	struct vring_desc *table = calloc(MOST_IN_TABLE + 1, sizeof(*table));
	u16 head;
	int i;

	table[0] = rig_desc(rig->base, 8, 0, 0);
	for (i = 0; i < 3; i++) {
		rig_set(rig, 1, (uintptr_t)table, bytes[i], TABLE, 0);
		rig_offer(rig, 1);
		g_assert_cmpint(get(rig, &head), ==, i ? -EINVAL : 1);
	}
	free(table);
}

/* --- lists of segments ----------------------------------------------------------------------- */

static void offer_long_chain(struct rig *rig)
{
	int i;

	for (i = 0; i < NUM; i++)
		rig_set(rig, i, rig->base + i * 8, 8, i < NUM - 1 ? NEXT : 0, i + 1);
	rig_offer(rig, 0);
}

static void test_growth(struct rig *rig)
{
	char got[8 * NUM], want[8 * NUM];
	u16 head;
	unsigned int i;

	for (i = 0; i < sizeof(want); i++)
		want[i] = i;
	rig_poke(rig, 0, want, sizeof(want));
	offer_long_chain(rig);
	g_assert_cmpint(get(rig, &head), ==, 1);
	g_assert_true(rig->riov.max_num & VRINGH_IOV_ALLOCATED);
	g_assert_cmpint(rig->kind->pull(rig, got, sizeof(got)), ==, sizeof(got));
	g_assert_cmpmem(got, sizeof(got), want, sizeof(want));
	/* It is used again, and serves. */
	offer_long_chain(rig);
	g_assert_cmpint(get(rig, &head), ==, 1);
	g_assert_cmpuint(rig->riov.used, ==, NUM);
}

static void test_growth_fails(struct rig *rig)
{
	u16 head;
	int nth;

	for (nth = 1; nth <= 2; nth++) {
		vringh_kiov_cleanup(&rig->riov);
		vringh_kiov_init(&rig->riov, rig->first[0], 2);
		offer_long_chain(rig);
		shim_fail_alloc = nth;
		g_assert_cmpint(get(rig, &head), ==, -ENOMEM);
		g_assert_cmpuint(head, ==, 0);
		g_assert_cmpuint(shim_fail_alloc, ==, 0);
	}
	offer_long_chain(rig);
	g_assert_cmpint(get(rig, &head), ==, 1);
}

static void test_advance(struct rig *rig)
{
	u16 head;
	char got[4];

	rig_poke(rig, 0, text, sizeof(text));
	rig_set(rig, 1, rig->base, 10, NEXT, 2);
	rig_set(rig, 2, rig->base + 10, 10, 0, 0);
	rig_offer(rig, 1);
	g_assert_cmpint(get(rig, &head), ==, 1);
	vringh_kiov_advance(&rig->riov, 13);
	g_assert_cmpuint(vringh_kiov_length(&rig->riov), ==, 7);
	g_assert_cmpint(rig->kind->pull(rig, got, 4), ==, 4);
	g_assert_cmpmem(got, 4, text + 13, 4);
	vringh_kiov_advance(&rig->riov, 1000);
	g_assert_cmpuint(vringh_kiov_length(&rig->riov), ==, 0);
	/* Used up, the segments have their base and length back. */
	g_assert_cmpuint(rig->riov.iov[0].iov_len, ==, 10);
	g_assert_cmpuint(rig->riov.iov[1].iov_len, ==, 10);
}

static void test_zero_length(struct rig *rig)
{
	u16 head;
	char got[4];

	rig_poke(rig, 0, text, sizeof(text));
	rig_set(rig, 1, rig->base, 0, NEXT, 2);
	rig_set(rig, 2, rig->base, 4, 0, 0);
	rig_offer(rig, 1);
	g_assert_cmpint(get(rig, &head), ==, 1);
	g_assert_cmpint(rig->kind->pull(rig, got, 100), ==, 4);
	g_assert_cmpmem(got, 4, text, 4);
}

/* --- completion and notifications ------------------------------------------------------------ */

static void test_complete_wraps(struct rig *rig)
{
	int i;

	for (i = 0; i < 3 * NUM + 1; i++)
		g_assert_cmpint(rig->kind->complete(&rig->vrh, i % NUM, i), ==, 0);
	g_assert_cmpuint(rig->ring.used->idx, ==, 3 * NUM + 1);
	g_assert_cmpuint(rig->ring.used->ring[0].len, ==, 3 * NUM);
	g_assert_cmpuint(rig->ring.used->ring[1].len, ==, 2 * NUM + 1);
}

static void test_complete_multi(struct rig *rig)
{
	struct vring_used_elem elem[NUM + 1];
	int i;

	for (i = 0; i <= NUM; i++)
		elem[i] = (struct vring_used_elem) { .id = i, .len = 100 + i };
	g_assert_cmpint(vringh_complete_multi_user(&rig->vrh, elem, 5), ==, 0);
	g_assert_cmpint(vringh_complete_multi_user(&rig->vrh, elem, NUM), ==, 0);
	g_assert_cmpuint(rig->ring.used->idx, ==, NUM + 5);
	g_assert_cmpuint(rig->ring.used->ring[5].len, ==, 100);
	g_assert_cmpuint(rig->ring.used->ring[4].len, ==, 100 + NUM - 1);
	g_assert_cmpint(vringh_complete_multi_user(&rig->vrh, elem, NUM + 1), ==, -EINVAL);
	g_assert_cmpint(vringh_complete_multi_user(&rig->vrh, elem, 0), ==, 0);
	g_assert_cmpuint(rig->ring.used->idx, ==, NUM + 5);
}

static void test_flags(struct rig *rig)
{
	rig->kind->notify_disable(&rig->vrh);
	g_assert_cmpuint(rig->ring.used->flags, ==, VRING_USED_F_NO_NOTIFY);
	g_assert_true(rig->kind->notify_enable(&rig->vrh));
	g_assert_cmpuint(rig->ring.used->flags, ==, 0);
	rig_offer(rig, 0);
	g_assert_false(rig->kind->notify_enable(&rig->vrh));

	g_assert_cmpint(rig->kind->need_notify(&rig->vrh), ==, 1);
	rig->ring.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	g_assert_cmpint(rig->kind->need_notify(&rig->vrh), ==, 0);
}

/* With event indices: a call if and only if the index that the driver named was passed. */
static void test_events(struct rig *rig)
{
	u16 done = 0;
	int i, j;

	for (i = 0; i < 400; i++) {
		int n = g_test_rand_int_range(0, 12);
		u16 event = done + g_test_rand_int_range(0, 16) - 4;
		bool passed = false;

		*(u16 *)&vring_used_event(&rig->ring) = event;
		for (j = 0; j < n; j++) {
			passed = passed || done == event;
			g_assert_cmpint(rig->kind->complete(&rig->vrh, 0, 0), ==, 0);
			done++;
		}
		g_assert_cmpint(rig->kind->need_notify(&rig->vrh), ==, passed);
	}
	for (i = 0; i < 0x10001; i++)
		rig->kind->complete(&rig->vrh, 0, 0);
	g_assert_cmpint(rig->kind->need_notify(&rig->vrh), ==, 1);
	g_assert_cmpint(rig->kind->need_notify(&rig->vrh), ==, 0);

	rig->kind->notify_disable(&rig->vrh);
	g_assert_cmpuint(rig->ring.used->flags, ==, 0);
	rig->vrh.last_avail_idx = 0xfffe;
	rig->ring.avail->idx = 0xfffe;
	g_assert_true(rig->kind->notify_enable(&rig->vrh));
	g_assert_cmpuint(vring_avail_event(&rig->ring), ==, 0xfffe);
}

static void test_size(struct rig *rig)
{
	static const unsigned int bad[] = { 0, 3, 6, 65535, 65536, 1U << 31 };
	struct vringh vrh = { .completed = 9 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		g_assert_cmpint(vringh_init_kern(&vrh, V1, bad[i], true, NULL, NULL, NULL),
				==, -EINVAL);
	g_assert_cmpint(vringh_init_user(&vrh, EVENTS, 32768, true, NULL, NULL, NULL), ==, 0);
	g_assert_true(vrh.little_endian && vrh.event_indices && vrh.weak_barriers);
	g_assert_cmpuint(vrh.completed, ==, 0);
	g_assert_cmpint(vringh_init_kern(&vrh, 0, 1, false, NULL, NULL, NULL), ==, 0);
	g_assert_false(vrh.little_endian || vrh.event_indices || vrh.weak_barriers);
}

static const struct test tests[] = {
	{ "empty", test_empty },
	{ "chain", test_chain },
	{ "indirect", test_indirect },
	{ "abandon", test_abandon },
	{ "faults", test_faults },
	{ "bad-head", test_bad_head },
	{ "avail-jump", test_avail_jump },
	{ "no-lists", test_no_lists },
	{ "outside", test_user_outside, .only = "user" },
	{ "unmapped", test_user_unmapped, .only = "user" },
	{ "outside", test_iotlb_outside, .only = "iotlb" },
	{ "permission", test_iotlb_permission, .only = "iotlb" },
	{ "no-ring", test_iotlb_no_ring, .only = "iotlb" },
	{ "split-index", test_iotlb_split_index, .only = "iotlb" },
	{ "index-at-end", test_iotlb_index_at_end, .only = "iotlb" },
	{ "lock", test_iotlb_lock, .only = "iotlb" },
	{ "fault", test_iotlb_va_fault, .only = "iotlb-va" },
	{ "ranges", test_user_ranges, .only = "user" },
	{ "table-at-end", test_user_table_at_end, .only = "user" },
	{ "table-limits", test_table_limits, .only = "kern" },
	{ "most-segments", test_most_segments, .only = "kern" },
	{ "growth", test_growth },
	{ "growth-fails", test_growth_fails },
	{ "advance", test_advance },
	{ "zero-length", test_zero_length },
	{ "complete-wraps", test_complete_wraps },
	{ "complete-multi", test_complete_multi, .only = "user" },
	{ "flags", test_flags },
	{ "events", test_events, .features = EVENTS },
	{ "size", test_size, .only = "kern" },
};

struct instance {
	const struct test *test;
	const struct rig_kind *kind;
};

static void run(gconstpointer data)
{
	const struct instance *instance = data;
	u64 features = instance->test->features ?: V1;
	struct rig rig;

	rig_start(&rig, instance->kind, features, NUM, 7);
	instance->test->run(&rig);
	rig_end(&rig);
}

int main(int argc, char **argv)
{
	unsigned int i, j;

	g_test_init(&argc, &argv, NULL);
	for (i = 0; i < rig_number_of_kinds; i++) {
		for (j = 0; j < ARRAY_SIZE(tests); j++) {
			struct instance *instance;
			char *path;

			if (tests[j].only && strncmp(rig_kinds[i].name, tests[j].only,
						     strlen(tests[j].only)))
				continue;
			instance = g_new(struct instance, 1);
			*instance = (struct instance) { &tests[j], &rig_kinds[i] };
			path = g_strdup_printf("/vringh/%s/%s", rig_kinds[i].name, tests[j].name);
			g_test_add_data_func_full(path, instance, run, g_free);
			g_free(path);
		}
	}
	return g_test_run();
}
