/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's xarray, as much of it as type1_track.h needs: a sorted table.
 *
 * As with the kernel's, storing over an entry takes no memory and keeps its mark.  An iteration that
 * is not inside of rcu_read_lock() aborts, and so does an allocation inside.
 *
 * Limits: pointers only; an entry costs the same wherever it is.
 */
#ifndef SHIM_SORTED_XARRAY_H
#define SHIM_SORTED_XARRAY_H

#include "shim.h"

typedef unsigned int xa_mark_t;
#define XA_MARK_0  1u
#define XA_MARK_1  2u
#define XA_MARK_2  4u
#define XA_PRESENT 8u

struct shim_xa_slot {
	unsigned long index;
	void *entry;
	xa_mark_t marks;
};

struct xarray {
	struct shim_xa_slot *slots;
	size_t n, room;
};

extern unsigned int shim_rcu;

static inline void rcu_read_lock(void)
{
	shim_rcu++;
}

static inline void rcu_read_unlock(void)
{
	shim_rcu--;
}

/* An error is no pointer to what malloc() gave. */
static inline bool xa_is_err(const void *entry)
{
	return ((uintptr_t)entry & 3) == 2;
}

static inline int xa_err(void *entry)
{
	return xa_is_err(entry) ? -(int)((uintptr_t)entry >> 2) : 0;
}

static inline void xa_init(struct xarray *xa)
{
	*xa = (struct xarray) {};
}

static inline void xa_destroy(struct xarray *xa)
{
	free(xa->slots);
	*xa = (struct xarray) {};
}

/* The first slot at @index or after. */
static inline size_t shim_xa_at(const struct xarray *xa, unsigned long index)
{
	size_t low = 0, high = xa->n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (xa->slots[middle].index < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static inline struct shim_xa_slot *shim_xa_slot(const struct xarray *xa, unsigned long index)
{
	size_t at = shim_xa_at(xa, index);

	return at < xa->n && xa->slots[at].index == index ? &xa->slots[at] : NULL;
}

static inline void *xa_load(const struct xarray *xa, unsigned long index)
{
	struct shim_xa_slot *slot = shim_xa_slot(xa, index);

	return slot ? slot->entry : NULL;
}

static inline void *xa_store(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp)
{
	struct shim_xa_slot *slot = shim_xa_slot(xa, index);
	size_t at = shim_xa_at(xa, index);
	void *old = NULL;

	if (shim_rcu)
		abort();
	if (slot) {
		old = slot->entry;
		slot->entry = entry;
		return old;
	}
	if (shim_allocation_fails())
		return (void *)(ENOMEM << 2 | 2ul);
	if (xa->n == xa->room) {
		xa->room = xa->room ? 2 * xa->room : 16;
		xa->slots = realloc(xa->slots, xa->room * sizeof(*xa->slots));
	}
	memmove(&xa->slots[at + 1], &xa->slots[at], (xa->n - at) * sizeof(*xa->slots));
	xa->slots[at] = (struct shim_xa_slot) { .index = index, .entry = entry };
	xa->n++;
	return NULL;
}

static inline void *xa_erase(struct xarray *xa, unsigned long index)
{
	struct shim_xa_slot *slot = shim_xa_slot(xa, index);
	size_t at = shim_xa_at(xa, index);
	void *old;

	if (!slot)
		return NULL;
	old = slot->entry;
	memmove(slot, slot + 1, (xa->n - at - 1) * sizeof(*slot));
	xa->n--;
	return old;
}

static inline void xa_set_mark(struct xarray *xa, unsigned long index, xa_mark_t mark)
{
	struct shim_xa_slot *slot = shim_xa_slot(xa, index);

	if (slot)
		slot->marks |= mark;
}

static inline void xa_clear_mark(struct xarray *xa, unsigned long index, xa_mark_t mark)
{
	struct shim_xa_slot *slot = shim_xa_slot(xa, index);

	if (slot)
		slot->marks &= ~mark;
}

static inline void *xa_find(struct xarray *xa, unsigned long *index, unsigned long last,
			    xa_mark_t filter)
{
	for (size_t at = shim_xa_at(xa, *index); at < xa->n && xa->slots[at].index <= last; at++)
		if (filter == XA_PRESENT || xa->slots[at].marks & filter) {
			*index = xa->slots[at].index;
			return xa->slots[at].entry;
		}
	return NULL;
}

static inline void *xa_find_after(struct xarray *xa, unsigned long *index, unsigned long last,
				  xa_mark_t filter)
{
	unsigned long after = *index + 1;
	void *entry = after ? xa_find(xa, &after, last, filter) : NULL;

	if (entry)
		*index = after;
	return entry;
}

struct xa_state {
	struct xarray *xa;
	unsigned long xa_index;
	int error;
};

#define XA_STATE(name, array, index) struct xa_state name = { (array), (index) }

static inline void xas_lock(struct xa_state *xas)
{
}

static inline void xas_unlock(struct xa_state *xas)
{
}

static inline void xas_store(struct xa_state *xas, void *entry)
{
	xas->error = xa_err(xa_store(xas->xa, xas->xa_index, entry, GFP_KERNEL));
}

static inline int xas_error(const struct xa_state *xas)
{
	return xas->error;
}

static inline void xas_set_mark(struct xa_state *xas, xa_mark_t mark)
{
	xa_set_mark(xas->xa, xas->xa_index, mark);
}

/* The allocation has failed for good already. */
static inline bool xas_nomem(struct xa_state *xas, gfp_t gfp)
{
	return false;
}

static inline void *xas_find_marked(struct xa_state *xas, unsigned long last, xa_mark_t mark)
{
	if (!shim_rcu)
		abort();
	return xa_find(xas->xa, &xas->xa_index, last, mark);
}

static inline void *xas_find_marked_after(struct xa_state *xas, unsigned long last, xa_mark_t mark)
{
	return xa_find_after(xas->xa, &xas->xa_index, last, mark);
}

#define xas_for_each_marked(xas, entry, last, mark)                                                \
	for ((entry) = xas_find_marked(xas, last, mark); (entry);                                  \
	     (entry) = xas_find_marked_after(xas, last, mark))

#endif
