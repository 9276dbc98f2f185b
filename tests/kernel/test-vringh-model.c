// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vringh against a naive model, with random chains.
 *
 * The driver makes chains of random buffers, their descriptors strewn over the ring, some of them
 * in indirect tables; a few wait at a time, over many rounds of the ring.  The model is the space
 * as one array of bytes.  The device reads and writes each chain in random bites, and now and then
 * gives chains back.  What it reads has to be what the array has; after what it writes all bytes
 * have to be the array's again, those outside of the buffers included; and the used ring has to
 * say what was done, in order.
 *
 * Limits: the driver is a good one; what a bad one can do is in test-vringh.c and the fuzz target.
 */
#include <glib.h>

#include "rig.h"

#define V1		BIT_ULL(VIRTIO_F_VERSION_1)
#define MOST_BUFFERS	24
#define MOST_WAITING	8
#define TABLES		(MOST_WAITING * 1024)	/* the first bytes of the space are for tables */
#define MOST_BYTES	(MOST_BUFFERS * 1500)

struct buffer {
	unsigned int offset, len;
	bool write;
};

struct chain {
	struct buffer buffer[MOST_BUFFERS];
	unsigned int n;
	u16 head;
	u32 written;
	unsigned int descs[RIG_MAX_NUM], used_descs;
};

struct world {
	struct rig rig;
	unsigned char bytes[RIG_SPACE];		/* the model */
	struct chain waiting[MOST_WAITING];
	unsigned int first, n;			/* of them */
	unsigned int free[RIG_MAX_NUM], n_free;
	u16 done;
};

static unsigned int up_to(unsigned int most)
{
	return g_test_rand_int_range(0, most + 1);
}

static bool one_in(unsigned int n)
{
	return !up_to(n - 1);
}

static void write_both(struct world *w, unsigned int offset, const void *from, size_t len)
{
	memcpy(w->bytes + offset, from, len);
	rig_poke(&w->rig, offset, from, len);
}

static void random_bytes(unsigned char *to, size_t len)
{
	while (len--)
		*to++ = g_test_rand_int();
}

static unsigned int take_desc(struct world *w, struct chain *chain)
{
	unsigned int at = up_to(w->n_free - 1), desc = w->free[at];

	w->free[at] = w->free[--w->n_free];
	chain->descs[chain->used_descs++] = desc;
	return desc;
}

static struct vring_desc describe(struct world *w, const struct buffer *buffer, bool more,
				  unsigned int next)
{
	u16 flags = (buffer->write ? VRING_DESC_F_WRITE : 0) | (more ? VRING_DESC_F_NEXT : 0);

	return rig_desc(w->rig.base + buffer->offset, buffer->len, flags, next);
}

/* Buffers from @from on in a table of the chain's own; the descriptor in the ring is @desc. */
static void make_table(struct world *w, struct chain *chain, unsigned int slot, unsigned int from,
		       unsigned int desc)
{
	unsigned int table = slot * 1024 + 16 * up_to(20) + up_to(3), n = chain->n - from, i;

	for (i = 0; i < n; i++) {
		struct vring_desc d = describe(w, &chain->buffer[from + i], i < n - 1, i + 1);

		write_both(w, table + i * sizeof(d), &d, sizeof(d));
	}
	rig_set(&w->rig, desc, w->rig.base + table, n * sizeof(struct vring_desc),
		VRING_DESC_F_INDIRECT, 0);
}

static void offer(struct world *w)
{
	unsigned int slot = (w->first + w->n) % MOST_WAITING, readable, direct, i, desc;
	struct chain *chain = &w->waiting[slot];

	if (w->n == MOST_WAITING)
		return;
	*chain = (struct chain) { .n = 1 + up_to(MOST_BUFFERS - 1) };
	/* The direct ones need a descriptor each, the rest one together. */
	direct = one_in(2) ? chain->n : up_to(chain->n - 1);
	if (w->n_free < direct + 1)
		return;
	readable = up_to(chain->n);
	for (i = 0; i < chain->n; i++) {
		struct buffer *buffer = &chain->buffer[i];

		buffer->len = one_in(10) ? 0 : up_to(one_in(3) ? 1500 : 40);
		buffer->offset = TABLES + up_to(RIG_SPACE - TABLES - buffer->len - 1);
		buffer->write = i >= readable;
	}

	desc = take_desc(w, chain);
	chain->head = desc;
	for (i = 0; i < direct; i++) {
		bool more = i < chain->n - 1;
		unsigned int next = more ? take_desc(w, chain) : 0;

		w->rig.ring.desc[desc] = describe(w, &chain->buffer[i], more, next);
		desc = next;
	}
	if (direct < chain->n)
		make_table(w, chain, slot, direct, desc);
	rig_offer(&w->rig, chain->head);
	w->n++;
}

static size_t bytes_of(const struct chain *chain, bool write, unsigned char *from_bytes,
		       unsigned char *to)
{
	size_t n = 0;
	unsigned int i;

	for (i = 0; i < chain->n; i++) {
		const struct buffer *b = &chain->buffer[i];

		if (b->write != write)
			continue;
		if (to)
			memcpy(to + n, from_bytes + b->offset, b->len);
		n += b->len;
	}
	return n;
}

static void read_all(struct world *w, const struct chain *chain)
{
	unsigned char want[MOST_BYTES], got[MOST_BYTES + 1];
	size_t n = bytes_of(chain, false, w->bytes, want), at = 0;

	while (at < n) {
		size_t bite = 1 + up_to(one_in(2) ? 10 : 3000);
		ssize_t ret = w->rig.kind->pull(&w->rig, got + at, min(bite, sizeof(got) - at));

		g_assert_cmpint(ret, ==, min(bite, n - at));
		at += ret;
	}
	g_assert_cmpint(w->rig.kind->pull(&w->rig, got + n, 1), ==, 0);
	g_assert_cmpmem(got, n, want, n);
}

static void write_some(struct world *w, struct chain *chain)
{
	unsigned char data[MOST_BYTES];
	size_t room = bytes_of(chain, true, NULL, NULL), at = 0, taken = 0;
	size_t n = one_in(2) ? room : up_to(room);
	unsigned int i;

	random_bytes(data, n);
	while (at < n) {
		size_t bite = min((size_t)(1 + up_to(one_in(2) ? 10 : 3000)), n - at);

		g_assert_cmpint(w->rig.kind->push(&w->rig, data + at, bite), ==, bite);
		at += bite;
	}
	for (i = 0; i < chain->n && taken < n; i++) {
		const struct buffer *b = &chain->buffer[i];
		size_t part = b->write ? min((size_t)b->len, n - taken) : 0;

		memcpy(w->bytes + b->offset, data + taken, part);
		taken += part;
	}
	chain->written = n;
}

static void compare_space(struct world *w)
{
	unsigned char now[RIG_SPACE];

	rig_peek(&w->rig, 0, now, sizeof(now));
	g_assert_cmpmem(now, sizeof(now), w->bytes, sizeof(w->bytes));
}

static void complete(struct world *w, struct chain *chain)
{
	struct vring_used *used = w->rig.ring.used;
	unsigned int at = w->done & (w->rig.ring.num - 1), i;

	g_assert_cmpint(w->rig.kind->complete(&w->rig.vrh, chain->head, chain->written), ==, 0);
	w->done++;
	g_assert_cmpuint(used->idx, ==, w->done);
	g_assert_cmpuint(used->ring[at].id, ==, chain->head);
	g_assert_cmpuint(used->ring[at].len, ==, chain->written);
	for (i = 0; i < chain->used_descs; i++)
		w->free[w->n_free++] = chain->descs[i];
	w->first = (w->first + 1) % MOST_WAITING;
	w->n--;
}

static void serve(struct world *w)
{
	struct chain *chain = &w->waiting[w->first];
	u16 head;
	int ret = w->rig.kind->getdesc(&w->rig, true, true, &head);

	if (!w->n) {
		g_assert_cmpint(ret, ==, 0);
		return;
	}
	g_assert_cmpint(ret, ==, 1);
	g_assert_cmpuint(head, ==, chain->head);
	if (one_in(8)) {
		w->rig.kind->abandon(&w->rig.vrh, 1);
		return;
	}
	read_all(w, chain);
	write_some(w, chain);
	compare_space(w);
	complete(w, chain);
}

static void test_model(gconstpointer data)
{
	static const unsigned int sizes[] = { 1, 2, 8, 32, 256 };
	struct world *w = g_new(struct world, 1);
	unsigned int i, j, k;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		*w = (struct world) { .n_free = sizes[i] };
		rig_start(&w->rig, data, V1, sizes[i], g_test_rand_int());
		random_bytes(w->bytes, sizeof(w->bytes));
		rig_poke(&w->rig, 0, w->bytes, sizeof(w->bytes));
		for (j = 0; j < sizes[i]; j++)
			w->free[j] = j;
		for (j = 0; j < 60; j++) {
			for (k = up_to(4); k; k--)
				offer(w);
			for (k = up_to(4); k; k--)
				serve(w);
		}
		rig_end(&w->rig);
	}
	g_free(w);
}

int main(int argc, char **argv)
{
	unsigned int i;

	g_test_init(&argc, &argv, NULL);
	for (i = 0; i < rig_number_of_kinds; i++) {
		char *path = g_strdup_printf("/vringh-model/%s", rig_kinds[i].name);

		g_test_add_data_func(path, &rig_kinds[i], test_model);
		g_free(path);
	}
	return g_test_run();
}
