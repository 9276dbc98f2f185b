// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * KVM's dirty rings: which pages vCPUs have written, in the order in which they did.
 *
 * Each vCPU has a ring of entries, which its process maps (the vCPU's file, page
 * KVM_DIRTY_LOG_PAGE_OFFSET).  The life of an entry and of its page is in dirty_ring_reset.h.
 *
 *	KVM_CAP_DIRTY_LOG_RING		size of all rings in bytes; before the first vCPU, and once.
 *					From then on there are no dirty bitmaps.
 *	mark_page_dirty_in_slot()	push, by the vCPU that writes: a fault on a protected page, or a
 *					flush of the hardware's log of pages (page modification logging)
 *	soft full			all but the reserve is used: the vCPU leaves for its process
 *					(KVM_EXIT_DIRTY_RING_FULL) instead of entering the guest
 *	KVM_RESET_DIRTY_RINGS		reset, all rings, under slots_lock
 *
 * The reserve, KVM_DIRTY_RING_RSVD_ENTRIES and the hardware's log, is what one stay in the guest may
 * still push after the last look at soft full, so a push always finds room.
 *
 * Threads: only the vCPU's own pushes; only the holder of slots_lock resets.  dirty_index belongs to
 * the first, reset_index to the second; both run freely, and each reads the other's once.
 *
 * Limits: a page that is written outside of a vCPU has no ring; KVM warns of it on x86.
 */
#include <linux/kvm.h>
#include <linux/kvm_host.h>
#include <linux/vmalloc.h>
#include <trace/events/kvm.h>

#define DIRTY_RING_KVM_PROTECT kvm_arch_mmu_enable_log_dirty_pt_masked
#define DIRTY_RING_KVM_FLUSH   kvm_flush_remote_tlbs
#include "dirty_ring_kvm.h"

/* Entries that the hardware logs before KVM sees them; the architecture knows. */
int __weak kvm_cpu_dirty_log_size(void)
{
	return 0;
}

u32 kvm_dirty_ring_get_rsvd_entries(void)
{
	return KVM_DIRTY_RING_RSVD_ENTRIES + kvm_cpu_dirty_log_size();
}

/* @size is in bytes, a power of two, and has been checked. */
int kvm_dirty_ring_alloc(struct kvm_dirty_ring *ring, int index, u32 size)
{
	void *gfns = __vmalloc(size, GFP_KERNEL_ACCOUNT | __GFP_ZERO);

	if (!gfns)
		return -ENOMEM;
	*ring = (struct kvm_dirty_ring) {
		.dirty_gfns = gfns,
		.size = size / sizeof(struct kvm_dirty_gfn),
		.index = index,
	};
	ring->soft_limit = ring->size - kvm_dirty_ring_get_rsvd_entries();
	return 0;
}

void kvm_dirty_ring_free(struct kvm_dirty_ring *ring)
{
	vfree(ring->dirty_gfns);
	ring->dirty_gfns = NULL;
}

struct page *kvm_dirty_ring_get_page(struct kvm_dirty_ring *ring, u32 offset)
{
	return vmalloc_to_page((char *)ring->dirty_gfns + ((size_t)offset << PAGE_SHIFT));
}

static u32 dirty_ring_occupied(const struct kvm_dirty_ring *ring)
{
	return READ_ONCE(ring->dirty_index) - READ_ONCE(ring->reset_index);
}

bool kvm_dirty_ring_soft_full(struct kvm_dirty_ring *ring)
{
	return dirty_ring_occupied(ring) >= ring->soft_limit;
}

void kvm_dirty_ring_push(struct kvm_dirty_ring *ring, u32 slot, u64 offset)
{
	u32 index = ring->dirty_index;
	struct kvm_dirty_gfn *entry = &ring->dirty_gfns[index & (ring->size - 1)];

	WARN_ON_ONCE(dirty_ring_occupied(ring) >= ring->size);
	WRITE_ONCE(entry->slot, slot);
	WRITE_ONCE(entry->offset, offset);
	/* Pairs with the process, which reads an entry whose flag it has seen. */
	smp_store_release(&entry->flags, KVM_DIRTY_GFN_F_DIRTY);
	WRITE_ONCE(ring->dirty_index, index + 1);
	trace_kvm_dirty_ring_push(ring, slot, offset);
}

int kvm_dirty_ring_reset(struct kvm *kvm, struct kvm_dirty_ring *ring)
{
	u32 count = dirty_ring_kvm_reset(kvm, ring);

	trace_kvm_dirty_ring_reset(ring);
	return count;
}
