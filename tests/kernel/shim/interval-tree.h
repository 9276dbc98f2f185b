/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * INTERVAL_TREE_DEFINE() for the shim: a treap that knows the largest end below each node.
 *
 * Nodes are ordered by start, equal ones by age.  A node's rank, a hash of its address, decides
 * how far up it goes: no rank of a child is above its parent's, so the depth is logarithmic in the
 * number of nodes whatever their order.  The parent is kept where the kernel keeps parent and
 * colour.
 *
 * Limits: slower than the kernel's red-black tree; what is compared here shares it.
 */
#ifndef SHIM_INTERVAL_TREE_H
#define SHIM_INTERVAL_TREE_H

struct rb_node {
	struct rb_node *up;
	struct rb_node *rb_right, *rb_left;
};

struct rb_root {
	struct rb_node *rb_node;
};

struct rb_root_cached {
	struct rb_root rb_root;
	struct rb_node *rb_leftmost;
};

#define RB_ROOT_CACHED	((struct rb_root_cached) { { NULL }, NULL })

typedef void shim_refresh_t(struct rb_node *node);

static inline u64 shim_rank(const struct rb_node *node)
{
	u64 x = (uintptr_t)node * 0x9e3779b97f4a7c15ULL;

	return x ^ x >> 29;
}

/* Who points at @node. */
static inline struct rb_node **shim_slot(struct rb_root_cached *root, struct rb_node *node)
{
	struct rb_node *up = node->up;

	if (!up)
		return &root->rb_root.rb_node;
	return up->rb_left == node ? &up->rb_left : &up->rb_right;
}

/* @child goes up in its parent's place, and the parent down to the other side. */
static inline void shim_rotate(struct rb_root_cached *root, struct rb_node *child,
			       shim_refresh_t *refresh)
{
	struct rb_node *parent = child->up, *between;

	*shim_slot(root, parent) = child;
	child->up = parent->up;
	if (parent->rb_left == child) {
		between = child->rb_right;
		parent->rb_left = between;
		child->rb_right = parent;
	} else {
		between = child->rb_left;
		parent->rb_right = between;
		child->rb_left = parent;
	}
	if (between)
		between->up = parent;
	parent->up = child;
	refresh(parent);
	refresh(child);
}

static inline void shim_settle(struct rb_root_cached *root, struct rb_node *node,
			       shim_refresh_t *refresh)
{
	struct rb_node *above;

	while (node->up && shim_rank(node->up) < shim_rank(node))
		shim_rotate(root, node, refresh);
	for (above = node->up; above; above = above->up)
		refresh(above);
}

static inline void shim_remove(struct rb_root_cached *root, struct rb_node *node,
			       shim_refresh_t *refresh)
{
	struct rb_node *above;

	while (node->rb_left || node->rb_right) {
		struct rb_node *l = node->rb_left, *r = node->rb_right;

		shim_rotate(root, !r || (l && shim_rank(l) > shim_rank(r)) ? l : r, refresh);
	}
	above = node->up;
	*shim_slot(root, node) = NULL;
	for (; above; above = above->up)
		refresh(above);
}

#define INTERVAL_TREE_DEFINE(T, RB, N, SUB, START, LAST, LINKAGE, NAME)			\
static void NAME##_refresh(struct rb_node *node)					\
{											\
	T *here = container_of(node, T, RB);						\
	N most = LAST(here);								\
											\
	if (node->rb_left && container_of(node->rb_left, T, RB)->SUB > most)		\
		most = container_of(node->rb_left, T, RB)->SUB;				\
	if (node->rb_right && container_of(node->rb_right, T, RB)->SUB > most)		\
		most = container_of(node->rb_right, T, RB)->SUB;			\
	here->SUB = most;								\
}											\
											\
LINKAGE void NAME##_insert(T *item, struct rb_root_cached *root)			\
{											\
	struct rb_node **at = &root->rb_root.rb_node, *up = NULL;			\
											\
	while (*at) {									\
		up = *at;								\
		at = START(item) < START(container_of(up, T, RB)) ? &up->rb_left	\
								  : &up->rb_right;	\
	}										\
	item->RB = (struct rb_node) { .up = up };					\
	item->SUB = LAST(item);								\
	*at = &item->RB;								\
	shim_settle(root, &item->RB, NAME##_refresh);					\
}											\
											\
LINKAGE void NAME##_remove(T *item, struct rb_root_cached *root)			\
{											\
	shim_remove(root, &item->RB, NAME##_refresh);					\
}											\
											\
static T *NAME##_below(struct rb_node *node, N start, N last)				\
{											\
	while (node) {									\
		T *here = container_of(node, T, RB);					\
		struct rb_node *left = node->rb_left;					\
											\
		if (here->SUB < start)							\
			return NULL;							\
		if (left && container_of(left, T, RB)->SUB >= start) {			\
			node = left;							\
			continue;							\
		}									\
		if (START(here) > last)							\
			return NULL;							\
		if (LAST(here) >= start)						\
			return here;							\
		node = node->rb_right;							\
	}										\
	return NULL;									\
}											\
											\
LINKAGE T *NAME##_iter_first(struct rb_root_cached *root, N start, N last)		\
{											\
	return NAME##_below(root->rb_root.rb_node, start, last);			\
}											\
											\
LINKAGE T *NAME##_iter_next(T *item, N start, N last)					\
{											\
	struct rb_node *node = &item->RB;						\
	T *found = NAME##_below(node->rb_right, start, last);				\
											\
	while (!found && node->up) {							\
		bool was_left = node->up->rb_left == node;				\
											\
		node = node->up;							\
		if (!was_left)								\
			continue;							\
		found = container_of(node, T, RB);					\
		if (START(found) > last)						\
			return NULL;							\
		if (LAST(found) < start)						\
			found = NAME##_below(node->rb_right, start, last);		\
	}										\
	return found;									\
}

#endif
