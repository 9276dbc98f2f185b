/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reset of a dirty ring: pages that a process has harvested are protected again.
 *
 * A vCPU pushes an entry {slot, offset} for each page that it is the first to write, and sets the
 * entry's flag DIRTY.  The process collects the page and sets the flag RESET; it may do so in any
 * order, but what counts is the run of RESET entries at the reset index.  KVM_RESET_DIRTY_RINGS
 * protects the pages of that run, so that the next write to one makes an entry again, and gives
 * the entries back to the vCPU.
 *
 *	entry:	invalid --push--> DIRTY --process--> DIRTY|RESET --reset--> invalid
 *	page:	protected ------> writable -----------------------protected
 *
 * A reset works in groups of up to DIRTY_RING_GROUP entries:
 *
 *	in order  entries as they come, for as long as their 64-page words ascend: one call protects
 *		  a word, under mmu_lock
 *	count	  the RESET flags of those behind, with acquire
 *	gather	  slot and offset of each into keys of this function's own
 *	sort	  by slot and word
 *	protect	  one call per word, under mmu_lock
 *	flush	  the TLBs, once
 *	release	  clear the flags, then move the reset index
 *
 * "Flag clear" means "protected, and in no TLB": the flags are cleared last.  So a process that
 * publishes a page when its flag is clear cannot lose a write, and a reset that ends early, at a
 * pending signal, has finished all entries that it has counted.  It ends between groups, and never
 * before the first, so it always gets on.
 *
 * The process can write to the ring's memory at any time.  A field is read once before it is acted
 * upon; slot and offset are checked by protect(); a flag has no meaning beyond the entries that vCPUs
 * have pushed, and one reset takes no more entries than there were when it began, whatever the
 * process does meanwhile.  What it spoils is its own log.
 *
 * A page that is dirty costs one call that walks the page tables.  Sorting makes that one call per
 * 64 pages that lie in the same word: random pages of a gigabyte share one from a few thousand
 * entries on.  KVM walks from a mask's first bit to bit 63, whatever is set between and behind; so
 * the last page of a call is its bit 63.  A process that sorts what it harvests, as QEMU does, is
 * spared the keys.
 *
 * Locks: slots_lock, by the caller, keeps resets apart and the slots in place.  mmu_lock is taken
 * twice per group, given up whenever another thread waits for it, and not taken for a ring in which
 * nothing is harvested.
 *
 * Users compile this header with a constant table of operations, so no indirect call is left:
 * dirty_ring.c (kvm.ko) and dirty_ring_livepatch.c.
 *
 * Limits: memory for a group's keys is allocated; without it, groups are DIRTY_RING_SMALL_GROUP
 * entries, which share fewer calls.
 */
#ifndef QEMU_LIVE_DIRTY_RING_RESET_H
#define QEMU_LIVE_DIRTY_RING_RESET_H

#include <linux/kvm.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/types.h>

#define DIRTY_RING_GROUP       65536u
#define DIRTY_RING_SMALL_GROUP 64u

/* A word of pages is what one call protects. */
#define DIRTY_RING_WORD_SHIFT 6
#define DIRTY_RING_WORD	      (1u << DIRTY_RING_WORD_SHIFT)

/* Bits of a key that one pass sorts by: twelve are all there are in a gigabyte. */
#define DIRTY_RING_DIGIT_BITS	   8
#define DIRTY_RING_WIDE_DIGIT_BITS 12
/* A group this large is worth the counters. */
#define DIRTY_RING_WIDE 4096u

/**
 * struct dirty_ring_reset_ops - what a reset needs of KVM
 *
 * @lock, @unlock: mmu_lock, for writing
 * @relax:	   with the lock held, between two calls of @protect: let others have it
 * @protect:	   with the lock held: protect pages @base + n of @slot for each bit n of @mask; to
 *		   be ignored where there is no such slot or page
 * @flush:	   no TLB has protected pages as writable after this
 * @interrupted:   the rest may wait: a signal is pending for which the caller ends early
 */
struct dirty_ring_reset_ops {
	void (*lock)(void *opaque);
	void (*unlock)(void *opaque);
	void (*relax)(void *opaque);
	void (*protect)(void *opaque, u32 slot, u64 base, u64 mask);
	void (*flush)(void *opaque);
	bool (*interrupted)(void);
};

/**
 * struct dirty_ring_view - a ring
 *
 * @gfns:	 the entries
 * @size:	 how many, a power of two
 * @reset_index: of the first entry that was not given back; free running
 * @dirty_index: behind the last entry that was pushed; free running
 */
struct dirty_ring_view {
	struct kvm_dirty_gfn *gfns;
	u32 size;
	u32 *reset_index;
	u32 *dirty_index;
};

/* Memory of a group: keys, as many again to sort them, and counters. */
struct dirty_ring_group {
	u64 *keys;
	u64 *spare; /* NULL: a small group */
	u32 *counts;
	unsigned int digit_bits;
	u32 n;
	u64 varying; /* bits in which the keys differ */
};

static __always_inline struct kvm_dirty_gfn *dirty_ring_entry(const struct dirty_ring_view *ring,
							      u32 index)
{
	return &ring->gfns[index & (ring->size - 1)];
}

/* Entries @entry from the one of @index on, @n of them, @n is counted down. */
#define dirty_ring_for_each(entry, ring, index, n)                                       \
	for (struct kvm_dirty_gfn *begin_ = (ring)->gfns, *end_ = begin_ + (ring)->size, \
				  *(entry) = dirty_ring_entry(ring, index);              \
	     n; (n)--, (entry) = (entry) + 1 == end_ ? begin_ : (entry) + 1)

/* How many entries are harvested from @index on, @most at most. */
static inline u32 dirty_ring_harvested(const struct dirty_ring_view *ring, u32 index, u32 most)
{
	u32 left = most;

	dirty_ring_for_each(entry, ring, index, left) {
		/* Pairs with the process, which has read an entry before it marks it. */
		if (!(smp_load_acquire(&entry->flags) & KVM_DIRTY_GFN_F_RESET))
			break;
	}
	return most - left;
}

/* A key has the slot above the offset.  No slot has 2^32 pages: false for such an entry. */
static __always_inline bool dirty_ring_key(const struct kvm_dirty_gfn *entry, u64 *key)
{
	u64 slot = READ_ONCE(entry->slot);
	u64 offset = READ_ONCE(entry->offset);

	*key = slot << 32 | offset;
	return !(offset >> 32);
}

/* Pages that one call protects: @base + n of @slot for each bit n of @mask. */
struct dirty_ring_word {
	u64 slot; /* DIRTY_RING_NO_SLOT: none yet */
	u64 base;
	u64 mask;
};

#define DIRTY_RING_NO_SLOT (1ull << 32)

/* Protects them, with the last one as the mask's last bit. */
static __always_inline void dirty_ring_protect_word(const struct dirty_ring_reset_ops *ops,
						    void *opaque,
						    const struct dirty_ring_word *word)
{
	unsigned int behind = __builtin_clzll(word->mask);

	if (word->base < behind)
		behind = 0;
	ops->protect(opaque, word->slot, word->base - behind, word->mask << behind);
}

/*
 * Protects the pages of harvested entries from the reset index on, @most at most, for as long as their
 * words ascend.  Returns how many entries those were.
 */
static __always_inline u32 dirty_ring_protect_in_order(const struct dirty_ring_reset_ops *ops,
						       void *opaque,
						       const struct dirty_ring_view *ring, u32 most)
{
	struct dirty_ring_word at = { .slot = DIRTY_RING_NO_SLOT };
	u32 left = most;

	dirty_ring_for_each(entry, ring, *ring->reset_index, left) {
		u64 slot, offset;

		/* Pairs with the process, which has read an entry before it marks it. */
		if (!(smp_load_acquire(&entry->flags) & KVM_DIRTY_GFN_F_RESET))
			break;
		slot = READ_ONCE(entry->slot);
		offset = READ_ONCE(entry->offset);
		if (slot == at.slot && offset - at.base < DIRTY_RING_WORD) {
			at.mask |= 1ull << (offset - at.base);
			continue;
		}
		if (offset >> 32)
			continue;
		if (at.slot == DIRTY_RING_NO_SLOT) {
			ops->lock(opaque);
		} else {
			if (slot < at.slot || (slot == at.slot && offset < at.base))
				break;
			dirty_ring_protect_word(ops, opaque, &at);
			ops->relax(opaque);
		}
		at.slot = slot;
		at.base = offset & ~(u64)(DIRTY_RING_WORD - 1);
		at.mask = 1ull << (offset - at.base);
	}
	if (at.slot != DIRTY_RING_NO_SLOT) {
		dirty_ring_protect_word(ops, opaque, &at);
		ops->unlock(opaque);
	}
	return most - left;
}

static inline void dirty_ring_gather(const struct dirty_ring_view *ring, u32 index, u32 n,
				     struct dirty_ring_group *group)
{
	u64 any = 0, all = ~0ull;
	u64 *key = group->keys;

	dirty_ring_for_each(entry, ring, index, n) {
		if (!dirty_ring_key(entry, key))
			continue;
		any |= *key;
		all &= *key;
		key++;
	}
	group->n = key - group->keys;
	group->varying = any & ~all;
}

/* By insertion, for small groups. */
static inline void dirty_ring_sort_small(struct dirty_ring_group *group)
{
	for (u32 i = 1; i < group->n; i++) {
		u64 key = group->keys[i];
		u32 at = i;

		for (; at && group->keys[at - 1] > key; at--)
			group->keys[at] = group->keys[at - 1];
		group->keys[at] = key;
	}
}

/* One pass of a radix sort: by the digit at @shift, stable. */
static inline void dirty_ring_sort_pass(struct dirty_ring_group *group, unsigned int shift)
{
	const u32 digits = 1u << group->digit_bits;
	u64 *from = group->keys, *to = group->spare, *end = from + group->n;
	u32 *counts = group->counts;
	u32 sum = 0;

	memset(counts, 0, digits * sizeof(*counts));
	for (u64 *key = from; key < end; key++)
		counts[*key >> shift & (digits - 1)]++;
	for (u32 digit = 0; digit < digits; digit++) {
		u32 count = counts[digit];

		counts[digit] = sum;
		sum += count;
	}
	for (u64 *key = from; key < end; key++)
		to[counts[*key >> shift & (digits - 1)]++] = *key;
	group->keys = to;
	group->spare = from;
}

/* Brings keys of the same word together. */
static inline void dirty_ring_sort(struct dirty_ring_group *group)
{
	unsigned int shift = DIRTY_RING_WORD_SHIFT;

	if (!group->spare) {
		dirty_ring_sort_small(group);
		return;
	}
	while (shift < 64 && group->varying >> shift) {
		shift += __builtin_ctzll(group->varying >> shift);
		dirty_ring_sort_pass(group, shift);
		shift += group->digit_bits;
	}
}

static __always_inline void dirty_ring_protect(const struct dirty_ring_reset_ops *ops, void *opaque,
					       const struct dirty_ring_group *group)
{
	const u64 *key = group->keys, *end = key + group->n;
	struct dirty_ring_word at;
	u64 word;

	if (key == end)
		return;
	ops->lock(opaque);
	for (;;) {
		word = *key >> DIRTY_RING_WORD_SHIFT;
		at.slot = *key >> 32;
		at.base = word << DIRTY_RING_WORD_SHIFT & 0xffffffff;
		at.mask = 0;
		do {
			at.mask |= 1ull << (*key & (DIRTY_RING_WORD - 1));
		} while (++key < end && *key >> DIRTY_RING_WORD_SHIFT == word);
		dirty_ring_protect_word(ops, opaque, &at);
		if (key == end)
			break;
		ops->relax(opaque);
	}
	ops->unlock(opaque);
}

static __always_inline void dirty_ring_clear(struct kvm_dirty_gfn *entry, u32 n)
{
	for (struct kvm_dirty_gfn *end = entry + n; entry < end; entry++) {
		/* Pairs with the process, which publishes a page whose flag is clear. */
		smp_store_release(&entry->flags, 0);
	}
}

/* The vCPU may push into these entries once the index has moved. */
static inline void dirty_ring_release(const struct dirty_ring_view *ring, u32 n)
{
	u32 first = *ring->reset_index;
	u32 to_end = min(n, ring->size - (first & (ring->size - 1)));

	dirty_ring_clear(dirty_ring_entry(ring, first), to_end);
	dirty_ring_clear(ring->gfns, n - to_end);
	/* Pairs with the vCPU's look at how full its ring is. */
	smp_store_release(ring->reset_index, first + n);
}

/* Protects the pages of @n harvested entries from @index on, fewer without memory; returns how many. */
static __always_inline u32 dirty_ring_protect_sorted(const struct dirty_ring_reset_ops *ops,
						     void *opaque,
						     const struct dirty_ring_view *ring, u32 index,
						     u32 n)
{
	u64 small[DIRTY_RING_SMALL_GROUP];
	struct dirty_ring_group group = { .keys = small };
	u64 *memory = NULL;

	group.digit_bits = n < DIRTY_RING_WIDE ? DIRTY_RING_DIGIT_BITS : DIRTY_RING_WIDE_DIGIT_BITS;
	if (n > DIRTY_RING_SMALL_GROUP) {
		memory = kvmalloc(2 * n * sizeof(*memory) + (sizeof(u32) << group.digit_bits),
				  GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
		if (memory) {
			group.keys = memory;
			group.spare = memory + n;
			group.counts = (u32 *)(memory + 2 * n);
		} else {
			n = DIRTY_RING_SMALL_GROUP;
		}
	}
	dirty_ring_gather(ring, index, n, &group);
	dirty_ring_sort(&group);
	dirty_ring_protect(ops, opaque, &group);
	kvfree(memory);
	return n;
}

/* Gives back up to @most harvested entries; returns how many. */
static __always_inline u32 dirty_ring_reset_group(const struct dirty_ring_reset_ops *ops,
						  void *opaque, const struct dirty_ring_view *ring,
						  u32 most)
{
	u32 n = dirty_ring_protect_in_order(ops, opaque, ring, most);
	u32 behind = dirty_ring_harvested(ring, *ring->reset_index + n, most - n);

	if (behind)
		n += dirty_ring_protect_sorted(ops, opaque, ring, *ring->reset_index + n, behind);
	if (n) {
		ops->flush(opaque);
		dirty_ring_release(ring, n);
	}
	return n;
}

/**
 * dirty_ring_reset() - protect again what a process has harvested from a ring
 *
 * Returns how many entries were given back.  Needs slots_lock.  May sleep.
 */
static __always_inline u32 dirty_ring_reset(const struct dirty_ring_reset_ops *ops, void *opaque,
					    const struct dirty_ring_view *ring)
{
	u32 left = min(READ_ONCE(*ring->dirty_index) - *ring->reset_index, ring->size);
	u32 total = 0, n;

	while (left && !(total && ops->interrupted())) {
		n = dirty_ring_reset_group(ops, opaque, ring, min(left, DIRTY_RING_GROUP));
		if (!n)
			break;
		total += n;
		left -= n;
	}
	return total;
}

#endif
