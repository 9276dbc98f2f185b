/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the reset of a dirty ring needs of KVM.
 *
 * dirty_ring.c (kvm.ko) and dirty_ring_livepatch.c include this after they have said how two
 * functions of KVM are called:
 *
 *	DIRTY_RING_KVM_PROTECT(kvm, slot, base, mask)	kvm_arch_mmu_enable_log_dirty_pt_masked()
 *	DIRTY_RING_KVM_FLUSH(kvm)			kvm_flush_remote_tlbs()
 *
 * Signals that kill the process end a reset early, others do not: QEMU, up to 11.1 at least, ends
 * itself when KVM_RESET_DIRTY_RINGS has done less than all.
 *
 * Limits: architectures whose mmu_lock is a rwlock.
 */
#ifndef QEMU_LIVE_DIRTY_RING_KVM_H
#define QEMU_LIVE_DIRTY_RING_KVM_H

#include <linux/kvm_host.h>
#include <linux/sched/signal.h>
#include <linux/version.h>

#include "dirty_ring_reset.h"

#ifndef KVM_HAVE_MMU_RWLOCK
#error "mmu_lock is taken as a rwlock here"
#endif

static void dirty_ring_kvm_lock(void *opaque) __acquires(opaque)
{
	struct kvm *kvm = opaque;

	write_lock(&kvm->mmu_lock);
}

static void dirty_ring_kvm_unlock(void *opaque) __releases(opaque)
{
	struct kvm *kvm = opaque;

	write_unlock(&kvm->mmu_lock);
}

static void dirty_ring_kvm_relax(void *opaque)
{
	struct kvm *kvm = opaque;

	if (need_resched() || rwlock_is_contended(&kvm->mmu_lock)) {
		write_unlock(&kvm->mmu_lock);
		cond_resched();
		write_lock(&kvm->mmu_lock);
	}
}

static struct kvm_memory_slot *dirty_ring_kvm_slot(struct kvm *kvm, u32 slot)
{
	u32 as_id = slot >> 16, id = (u16)slot;

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	if (as_id >= kvm_arch_nr_memslot_as_ids(kvm) || id >= KVM_USER_MEM_SLOTS)
		return NULL;
#else
	if (as_id >= KVM_ADDRESS_SPACE_NUM || id >= KVM_USER_MEM_SLOTS)
		return NULL;
#endif
	return id_to_memslot(__kvm_memslots(kvm, as_id), id);
}

static void dirty_ring_kvm_protect(void *opaque, u32 slot, u64 base, u64 mask)
{
	struct kvm *kvm = opaque;
	struct kvm_memory_slot *memslot = dirty_ring_kvm_slot(kvm, slot);

	if (!memslot || base >= memslot->npages)
		return;
	if (memslot->npages - base < BITS_PER_LONG)
		mask &= BIT(memslot->npages - base) - 1;
	if (mask)
		DIRTY_RING_KVM_PROTECT(kvm, memslot, base, mask);
}

static void dirty_ring_kvm_flush(void *opaque)
{
	struct kvm *kvm = opaque;

	DIRTY_RING_KVM_FLUSH(kvm);
}

static bool dirty_ring_kvm_interrupted(void)
{
	return fatal_signal_pending(current);
}

static const struct dirty_ring_reset_ops dirty_ring_kvm_ops = {
	.lock = dirty_ring_kvm_lock,
	.unlock = dirty_ring_kvm_unlock,
	.relax = dirty_ring_kvm_relax,
	.protect = dirty_ring_kvm_protect,
	.flush = dirty_ring_kvm_flush,
	.interrupted = dirty_ring_kvm_interrupted,
};

/* Returns how many entries of @ring were given back.  Needs slots_lock. */
static u32 dirty_ring_kvm_reset(struct kvm *kvm, struct kvm_dirty_ring *ring)
{
	const struct dirty_ring_view view = {
		.gfns = ring->dirty_gfns,
		.size = ring->size,
		.reset_index = &ring->reset_index,
		.dirty_index = &ring->dirty_index,
	};

	return dirty_ring_reset(&dirty_ring_kvm_ops, kvm, &view);
}

#endif
