/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which pages of a container a device without an IOMMU may have written.
 *
 * Theory of operation
 *
 * A page is
 *
 *	pinned	the device may write to it at any time, so it is dirty whenever the process asks
 *	stone	it was unpinned, or written by the CPU on the device's behalf, since tracking began:
 *		dirty, once
 *	clean	neither
 *
 *	           pin                  pin, unpin of one of several
 *	clean -----------> pinned <---------------------------------.
 *	  ^                 |  ^ '---------------------------------'
 *	  |  last unpin,    |  |
 *	  |  tracking off   |  | pin
 *	  +<----------------+  |
 *	  |                 v  |  last unpin, tracking on
 *	  +<-------------- stone <----- write by the CPU, tracking on
 *	    reported, tracking ends,
 *	    unmapped
 *
 * One xarray per container has a *block* for each 64 pages of the I/O addresses of which some are not
 * clean: a mask of those that are pinned, a mask of stones, and frame and number of pins of each
 * pinned page, in order.  So a block is a word of the bitmap that a process gets.
 *
 *	xarray, by page / 64:	... NULL | block | NULL ...
 *	                                     |
 *	                       pinned 1011, stones 0100, pins: [page 0] [page 1] [page 3]
 *
 * Marks of the xarray say which blocks there are, which have stones and which have pins, so that
 * nothing else is looked at.
 *
 * To start tracking is to set a flag; to stop it is to remove stones.  Neither allocates, neither can
 * fail.  To ask costs what is not clean, not what is mapped: there is no bitmap but the one that
 * the process brings.  Asking has two halves: collect() names the pages and changes nothing, and
 * reported() forgets the stones when the process has the bitmap.  A page is never forgotten because
 * a bitmap could not be written.
 *
 * Unpinning allocates nothing, for the page's block is there.  A write by the CPU lays its stones
 * first (touch), and does not happen if there is no memory for them.
 *
 * Locks: the caller's; nothing here may run at the same time for one container.
 *
 * Limits: TYPE1_MAX_PINS pins of one page; frames below 2^40 (addresses of 52 bits).
 */
#ifndef QEMU_LIVE_VFIO_TYPE1_TRACK_H
#define QEMU_LIVE_VFIO_TYPE1_TRACK_H

#include <linux/bitops.h>
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/xarray.h>

#define TYPE1_BLOCK	64ul /* pages */
#define TYPE1_PIN_BITS	24
#define TYPE1_MAX_PINS	((1ull << TYPE1_PIN_BITS) - 1)
#define TYPE1_PFN_LIMIT (1ull << 40)

/* Marks: every block, blocks with stones, blocks with pins. */
#define TYPE1_USED   XA_MARK_0
#define TYPE1_STONES XA_MARK_1
#define TYPE1_PINNED XA_MARK_2

struct type1_track {
	struct xarray blocks;
	bool on;
};

/**
 * struct type1_block - 64 pages
 *
 * @pinned: bit n: page n is pinned
 * @stones: bit n: page n is a stone, and not pinned
 * @room:   how many entries @pins has room for
 * @pins:   of each pinned page, in ascending order: frame, then number of pins
 */
struct type1_block {
	u64 pinned;
	u64 stones;
	u64 room;
	u64 pins[];
};

/**
 * struct type1_dirty_word - a word of a bitmap, not zero
 *
 * @word: which of the bitmap's words
 * @bits: the pages in it
 */
struct type1_dirty_word {
	u64 word;
	u64 bits;
};

static inline void type1_track_init(struct type1_track *track)
{
	xa_init(&track->blocks);
	track->on = false;
}

static inline u64 type1_bit(unsigned long index)
{
	return 1ull << index % TYPE1_BLOCK;
}

/* Where the entry of a page is, or would be. */
static inline unsigned int type1_slot(const struct type1_block *b, unsigned long index)
{
	return hweight64(b->pinned & (type1_bit(index) - 1));
}

static inline struct type1_block *type1_block_of(struct type1_track *track, unsigned long index)
{
	return xa_load(&track->blocks, index / TYPE1_BLOCK);
}

/* Pages [@first, @last] of block @at. */
static inline u64 type1_mask(unsigned long at, unsigned long first, unsigned long last)
{
	u64 mask = ~0ull;

	if (at == first / TYPE1_BLOCK)
		mask &= ~0ull << first % TYPE1_BLOCK;
	if (at == last / TYPE1_BLOCK)
		mask &= ~0ull >> (TYPE1_BLOCK - 1 - last % TYPE1_BLOCK);
	return mask;
}

/* Marks that agree with what the block has; it is gone if that is nothing. */
static inline void type1_settle(struct type1_track *track, unsigned long at, struct type1_block *b)
{
	if (!(b->pinned | b->stones)) {
		xa_erase(&track->blocks, at);
		kfree(b);
		return;
	}
	if (!b->stones)
		xa_clear_mark(&track->blocks, at, TYPE1_STONES);
	if (!b->pinned)
		xa_clear_mark(&track->blocks, at, TYPE1_PINNED);
}

/* Enter a block for the first time.  It will have @mark. */
static inline int type1_enter(struct type1_track *track, unsigned long at, struct type1_block *b,
			      xa_mark_t mark)
{
	XA_STATE(xas, &track->blocks, at);

	do {
		xas_lock(&xas);
		xas_store(&xas, b);
		if (!xas_error(&xas)) {
			xas_set_mark(&xas, TYPE1_USED);
			xas_set_mark(&xas, mark);
		}
		xas_unlock(&xas);
	} while (xas_nomem(&xas, GFP_KERNEL));
	return xas_error(&xas);
}

/*
 * A block for page @index with room for @pins entries: @old, or one that takes its place.  If @old is
 * NULL, it will have @mark.  NULL: no memory.
 */
static inline struct type1_block *type1_block_with(struct type1_track *track, unsigned long index,
						   struct type1_block *old, unsigned int pins,
						   xa_mark_t mark)
{
	struct type1_block *b;
	size_t size = 32;

	if (old && old->room >= pins)
		return old;
	while (size < struct_size(b, pins, pins))
		size *= 2;
	b = kzalloc(size, GFP_KERNEL);
	if (!b)
		return NULL;
	if (old) {
		memcpy(b, old, struct_size(old, pins, old->room));
		xa_store(&track->blocks, index / TYPE1_BLOCK, b, GFP_KERNEL);
		kfree(old);
	} else if (type1_enter(track, index / TYPE1_BLOCK, b, mark)) {
		kfree(b);
		return NULL;
	}
	b->room = (size - sizeof(*b)) / sizeof(b->pins[0]);
	return b;
}

static inline void type1_lay_stones(struct type1_track *track, unsigned long at,
				    struct type1_block *b, u64 stones)
{
	if (stones && !b->stones)
		xa_set_mark(&track->blocks, at, TYPE1_STONES);
	b->stones |= stones;
}

/**
 * type1_track_again() - pin a page that is pinned once more
 *
 * @track: the container's
 * @index: page of the I/O address
 * @pfn:   its frame
 *
 * Return: 0; -ENOENT it is not pinned; -EOVERFLOW it is pinned too often.
 */
static inline int type1_track_again(struct type1_track *track, unsigned long index,
				    unsigned long *pfn)
{
	struct type1_block *b = type1_block_of(track, index);
	u64 *pins;

	if (!b || !(b->pinned & type1_bit(index)))
		return -ENOENT;
	pins = &b->pins[type1_slot(b, index)];
	if ((*pins & TYPE1_MAX_PINS) == TYPE1_MAX_PINS)
		return -EOVERFLOW;
	*pfn = *pins >> TYPE1_PIN_BITS;
	++*pins;
	return 0;
}

/**
 * type1_track_first() - the first pin of a page
 *
 * @track: the container's
 * @index: page of the I/O address, which is not pinned
 * @pfn:   its frame
 *
 * Return: 0; -ENOMEM; -EINVAL the frame is out of range.
 */
static inline int type1_track_first(struct type1_track *track, unsigned long index,
				    unsigned long pfn)
{
	struct type1_block *old = type1_block_of(track, index), *b;
	unsigned int n = old ? hweight64(old->pinned) : 0, slot;

	if (pfn >= TYPE1_PFN_LIMIT)
		return -EINVAL;
	b = type1_block_with(track, index, old, n + 1, TYPE1_PINNED);
	if (!b)
		return -ENOMEM;
	slot = type1_slot(b, index);
	memmove(&b->pins[slot + 1], &b->pins[slot], (n - slot) * sizeof(b->pins[0]));
	b->pins[slot] = (u64)pfn << TYPE1_PIN_BITS | 1;
	if (old && !b->pinned)
		xa_set_mark(&track->blocks, index / TYPE1_BLOCK, TYPE1_PINNED);
	b->pinned |= type1_bit(index);
	if (b->stones & type1_bit(index)) {
		b->stones &= ~type1_bit(index);
		type1_settle(track, index / TYPE1_BLOCK, b);
	}
	return 0;
}

/**
 * type1_track_unpin() - take one pin away
 *
 * @track: the container's
 * @index: page of the I/O address
 * @pfn:   its frame
 *
 * Return: how many pins are left; -ENOENT it was not pinned.
 */
static inline long type1_track_unpin(struct type1_track *track, unsigned long index,
				     unsigned long *pfn)
{
	struct type1_block *b = type1_block_of(track, index);
	unsigned int slot;

	if (!b || !(b->pinned & type1_bit(index)))
		return -ENOENT;
	slot = type1_slot(b, index);
	*pfn = b->pins[slot] >> TYPE1_PIN_BITS;
	if (--b->pins[slot] & TYPE1_MAX_PINS)
		return b->pins[slot] & TYPE1_MAX_PINS;
	b->pinned &= ~type1_bit(index);
	memmove(&b->pins[slot], &b->pins[slot + 1],
		(hweight64(b->pinned) - slot) * sizeof(b->pins[0]));
	if (track->on)
		type1_lay_stones(track, index / TYPE1_BLOCK, b, type1_bit(index));
	type1_settle(track, index / TYPE1_BLOCK, b);
	return 0;
}

/**
 * type1_track_touch() - the CPU is about to write to pages [@first, @last] for the device
 *
 * @track: the container's
 * @first: page of the I/O address
 * @last:  likewise
 *
 * Nothing while tracking is off.
 *
 * Return: 0; -ENOMEM, and the write must not happen.  Some pages may be dirty then without need.
 */
static inline int type1_track_touch(struct type1_track *track, unsigned long first,
				    unsigned long last)
{
	struct type1_block *b;
	unsigned long at;

	if (!track->on)
		return 0;
	for (at = first / TYPE1_BLOCK;; at++) {
		b = xa_load(&track->blocks, at);
		b = type1_block_with(track, at * TYPE1_BLOCK, b, 0, TYPE1_STONES);
		if (!b)
			return -ENOMEM;
		type1_lay_stones(track, at, b, type1_mask(at, first, last) & ~b->pinned);
		if (at == last / TYPE1_BLOCK)
			return 0;
	}
}

/**
 * type1_track_pinned() - find a pinned page
 *
 * @track: the container's
 * @index: where to look from; the page found
 * @last:  where to look to
 *
 * Return: whether there is one.
 */
static inline bool type1_track_pinned(struct type1_track *track, unsigned long *index,
				      unsigned long last)
{
	unsigned long at = *index / TYPE1_BLOCK;
	struct type1_block *b = xa_find(&track->blocks, &at, last / TYPE1_BLOCK, TYPE1_PINNED);
	u64 pinned;

	for (; b; b = xa_find_after(&track->blocks, &at, last / TYPE1_BLOCK, TYPE1_PINNED)) {
		pinned = b->pinned & type1_mask(at, *index, last);
		if (pinned) {
			*index = at * TYPE1_BLOCK + __ffs64(pinned);
			return true;
		}
	}
	return false;
}

static inline unsigned int type1_add_bits(struct type1_dirty_word *words, unsigned int n, u64 word,
					  u64 bits)
{
	if (!n || words[n - 1].word != word)
		words[n++] = (struct type1_dirty_word) { .word = word };
	words[n - 1].bits |= bits;
	return n;
}

/* Pages @pages of the block that begins at @first, which a page of @base or above it is the first of. */
static inline unsigned int type1_add_block(struct type1_dirty_word *words, unsigned int n,
					   u64 pages, unsigned long first, unsigned long base,
					   unsigned int order)
{
	unsigned long at;

	if (first < base) {
		pages >>= base - first;
		first = base;
	}
	if (!pages)
		return n;
	if (!order) {
		at = first - base;
		if (pages << at % 64)
			n = type1_add_bits(words, n, at / 64, pages << at % 64);
		if (at % 64 && pages >> (64 - at % 64))
			n = type1_add_bits(words, n, at / 64 + 1, pages >> (64 - at % 64));
		return n;
	}
	for (; pages; pages &= pages - 1) {
		at = (first - base + __ffs64(pages)) >> order;
		n = type1_add_bits(words, n, at / 64, 1ull << at % 64);
	}
	return n;
}

/* type1_track_collect() where a block is a word: a bit stands for a page, and @base begins a block. */
static inline unsigned int type1_collect_blocks(struct xa_state *xas, unsigned long first,
						unsigned long last, unsigned long base,
						struct type1_dirty_word *words, unsigned int max,
						struct type1_block **next)
{
	struct type1_dirty_word *word = words, *end = words + max;
	struct type1_block *b;
	u64 bits;

	xas_for_each_marked(xas, b, last / TYPE1_BLOCK, TYPE1_USED) {
		if (word == end)
			break;
		bits = b->pinned | b->stones;
		if (xas->xa_index == first / TYPE1_BLOCK || xas->xa_index == last / TYPE1_BLOCK)
			bits &= type1_mask(xas->xa_index, first, last);
		word->word = xas->xa_index - base / TYPE1_BLOCK;
		word->bits = bits;
		word += !!bits;
	}
	*next = b;
	return word - words;
}

/* The same for any base and order. */
static inline unsigned int type1_collect_bits(struct xa_state *xas, unsigned long first,
					      unsigned long last, unsigned long base,
					      unsigned int order, struct type1_dirty_word *words,
					      unsigned int max, struct type1_block **next)
{
	struct type1_block *b;
	unsigned int n = 0;

	xas_for_each_marked(xas, b, last / TYPE1_BLOCK, TYPE1_USED) {
		if (n + 2 > max)
			break;
		n = type1_add_block(
			words, n, (b->pinned | b->stones) & type1_mask(xas->xa_index, first, last),
			xas->xa_index * TYPE1_BLOCK, base, order);
	}
	*next = b;
	return n;
}

/**
 * type1_track_collect() - the dirty pages of a range, as words of a bitmap
 *
 * @track: the container's
 * @index: where to begin; where to go on
 * @last:  the last page of the range
 * @base:  page that the bitmap's first bit is for; not above @index
 * @order: a bit stands for 2^@order pages
 * @words: filled in ascending order; the first may be the last of the call before once more
 * @max:   how many of them there is room for, at least 2
 * @more:  whether pages of the range are left, from @index on
 *
 * Return: how many words there are.
 */
static inline unsigned int type1_track_collect(struct type1_track *track, unsigned long *index,
					       unsigned long last, unsigned long base,
					       unsigned int order, struct type1_dirty_word *words,
					       unsigned int max, bool *more)
{
	XA_STATE(xas, &track->blocks, *index / TYPE1_BLOCK);
	struct type1_block *next;
	unsigned int n;

	rcu_read_lock();
	if (!order && base % TYPE1_BLOCK == 0)
		n = type1_collect_blocks(&xas, *index, last, base, words, max, &next);
	else
		n = type1_collect_bits(&xas, *index, last, base, order, words, max, &next);
	rcu_read_unlock();
	*more = next;
	if (next)
		*index = max(*index, xas.xa_index * TYPE1_BLOCK);
	return n;
}

/**
 * type1_track_reported() - the process knows of the dirty pages of [@first, @last]
 *
 * @track: the container's
 * @first: page of the I/O address
 * @last:  likewise
 *
 * What is pinned stays dirty.
 */
static inline void type1_track_reported(struct type1_track *track, unsigned long first,
					unsigned long last)
{
	unsigned long at = first / TYPE1_BLOCK;
	struct type1_block *b = xa_find(&track->blocks, &at, last / TYPE1_BLOCK, TYPE1_STONES);

	for (; b; b = xa_find_after(&track->blocks, &at, last / TYPE1_BLOCK, TYPE1_STONES)) {
		b->stones &= ~type1_mask(at, first, last);
		type1_settle(track, at, b);
	}
}

static inline void type1_track_start(struct type1_track *track)
{
	track->on = true;
}

static inline void type1_track_stop(struct type1_track *track)
{
	track->on = false;
	type1_track_reported(track, 0, ULONG_MAX);
}

#endif
