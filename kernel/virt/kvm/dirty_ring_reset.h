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
 *	count	the RESET flags, with acquire
 *	gather	slot and offset of each, once, into keys of this function's own
 *	sort	by slot and 64-page word, unless they are in order
 *	protect	one call per word of 64 pages, under mmu_lock
 *	flush	the TLBs, once
 *	release	clear the flags, then move the reset index
 *
 * "Flag clear" means "protected, and in no TLB": the flags are cleared last.  So a process that
 * publishes a page when its flag is clear cannot lose a write, and a reset that ends early, at a
 * pending signal, has finished all entries that it has counted.  It ends between groups, and never
 * before the first, so it always gets on.
 *
 * The process can write to the ring's memory at any time.  Each field is read once; slot and offset
 * are checked by protect(); a flag has no meaning beyond the entries that vCPUs have pushed, and
 * one reset takes no more entries than there were when it began, whatever the process does
 * meanwhile.  What it spoils is its own log.
 *
 * A page that is dirty costs one call that walks the page tables.  Sorting makes that one call per
 * 64 pages that lie in the same word: random pages of a gigabyte share one from a few thousand
 * entries on.
 *
 * Locks: slots_lock, by the caller, keeps resets apart and the slots in place.  mmu_lock is taken
 * once per group, given up whenever another thread waits for it, and not taken for a ring in which
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

#define DIRTY_RING_DIGIT_BITS 8
#define DIRTY_RING_DIGITS     (1u << DIRTY_RING_DIGIT_BITS)

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
	u32 n;
	u64 varying; /* bits in which the keys differ */
	bool sorted;
};

static inline struct kvm_dirty_gfn *dirty_ring_entry(const struct dirty_ring_view *ring, u32 index)
{
	return &ring->gfns[index & (ring->size - 1)];
}

/* How many entries are harvested from @index on, @most at most. */
static inline u32 dirty_ring_harvested(const struct dirty_ring_view *ring, u32 index, u32 most)
{
	u32 n = 0, flags;

	for (; n < most; n++) {
		/* Pairs with the process, which has read an entry before it marks it. */
		flags = smp_load_acquire(&dirty_ring_entry(ring, index + n)->flags);
		if (!(flags & KVM_DIRTY_GFN_F_RESET))
			break;
	}
	return n;
}

/* A key has the slot above the offset.  No slot has 2^32 pages: such an entry names none. */
static inline void dirty_ring_gather(const struct dirty_ring_view *ring, u32 index, u32 n,
				     struct dirty_ring_group *group)
{
	u64 last = 0;

	group->n = 0;
	group->varying = 0;
	group->sorted = true;
	for (; n; n--, index++) {
		const struct kvm_dirty_gfn *entry = dirty_ring_entry(ring, index);
		u64 slot = READ_ONCE(entry->slot);
		u64 offset = READ_ONCE(entry->offset);
		u64 key = slot << 32 | offset;

		if (offset >> 32)
			continue;
		group->varying |= key ^ (group->n ? group->keys[0] : key);
		group->sorted &= key >> DIRTY_RING_WORD_SHIFT >= last;
		last = key >> DIRTY_RING_WORD_SHIFT;
		group->keys[group->n++] = key;
	}
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
	u64 *from = group->keys;
	u32 sum = 0;

	memset(group->counts, 0, DIRTY_RING_DIGITS * sizeof(*group->counts));
	for (u32 i = 0; i < group->n; i++)
		group->counts[from[i] >> shift & (DIRTY_RING_DIGITS - 1)]++;
	for (u32 digit = 0; digit < DIRTY_RING_DIGITS; digit++) {
		u32 count = group->counts[digit];

		group->counts[digit] = sum;
		sum += count;
	}
	for (u32 i = 0; i < group->n; i++)
		group->spare[group->counts[from[i] >> shift & (DIRTY_RING_DIGITS - 1)]++] = from[i];
	group->keys = group->spare;
	group->spare = from;
}

/* Brings keys of the same word together. */
static inline void dirty_ring_sort(struct dirty_ring_group *group)
{
	unsigned int shift = DIRTY_RING_WORD_SHIFT;

	if (group->sorted)
		return;
	if (!group->spare) {
		dirty_ring_sort_small(group);
		return;
	}
	while (shift < 64 && group->varying >> shift) {
		shift += __builtin_ctzll(group->varying >> shift);
		dirty_ring_sort_pass(group, shift);
		shift += DIRTY_RING_DIGIT_BITS;
	}
}

static __always_inline void dirty_ring_protect(const struct dirty_ring_reset_ops *ops, void *opaque,
					       const struct dirty_ring_group *group)
{
	u64 word, mask;
	u32 i = 0;

	if (!group->n)
		return;
	ops->lock(opaque);
	while (i < group->n) {
		if (i)
			ops->relax(opaque);
		word = group->keys[i] >> DIRTY_RING_WORD_SHIFT;
		mask = 0;
		do {
			mask |= 1ull << (group->keys[i++] & (DIRTY_RING_WORD - 1));
		} while (i < group->n && group->keys[i] >> DIRTY_RING_WORD_SHIFT == word);
		ops->protect(opaque, word >> (32 - DIRTY_RING_WORD_SHIFT),
			     word << DIRTY_RING_WORD_SHIFT & 0xffffffff, mask);
	}
	ops->unlock(opaque);
	ops->flush(opaque);
}

/* The vCPU may push into these entries once the index has moved. */
static inline void dirty_ring_release(const struct dirty_ring_view *ring, u32 n)
{
	u32 first = *ring->reset_index;

	for (u32 i = 0; i < n; i++) {
		/* Pairs with the process, which publishes a page whose flag is clear. */
		smp_store_release(&dirty_ring_entry(ring, first + i)->flags, 0);
	}
	/* Pairs with the vCPU's look at how full its ring is. */
	smp_store_release(ring->reset_index, first + n);
}

/* Protects the pages of @n harvested entries, fewer without memory; returns how many. */
static __always_inline u32 dirty_ring_reset_group(const struct dirty_ring_reset_ops *ops,
						  void *opaque, const struct dirty_ring_view *ring,
						  u32 n)
{
	u64 small[DIRTY_RING_SMALL_GROUP];
	struct dirty_ring_group group = { .keys = small };
	u64 *memory = NULL;

	if (n > DIRTY_RING_SMALL_GROUP) {
		memory = kvmalloc(2 * n * sizeof(*memory) + DIRTY_RING_DIGITS * sizeof(u32),
				  GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
		if (memory) {
			group.keys = memory;
			group.spare = memory + n;
			group.counts = (u32 *)(memory + 2 * n);
		} else {
			n = DIRTY_RING_SMALL_GROUP;
		}
	}
	dirty_ring_gather(ring, *ring->reset_index, n, &group);
	dirty_ring_sort(&group);
	dirty_ring_protect(ops, opaque, &group);
	dirty_ring_release(ring, n);
	kvfree(memory);
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
		n = dirty_ring_harvested(ring, *ring->reset_index, min(left, DIRTY_RING_GROUP));
		if (!n)
			break;
		n = dirty_ring_reset_group(ops, opaque, ring, n);
		total += n;
		left -= n;
	}
	return total;
}

#endif
