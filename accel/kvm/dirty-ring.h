/*
 * KVM dirty ring: interface for the rest of accel/kvm
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle, with the BQL held but for class init and ring-full exits:
 *
 *   class init   kvm_dirty_ring_class_init()
 *   kvm_init     kvm_dirty_ring_setup(), before any vCPU and any memory slot;
 *                kvm_dirty_ring_register() per memory listener;
 *                kvm_dirty_ring_start_reaper()
 *   vCPU thread  kvm_dirty_ring_init_vcpu(), kvm_dirty_ring_vcpu_full() and
 *                kvm_dirty_ring_vcpu_pay() any number of times without the BQL,
 *                kvm_dirty_ring_destroy_vcpu()
 *   slots        kvm_dirty_ring_slot_add(), ..._removal_loses_pages(),
 *                ..._slot_removing(), ..._slot_removed()
 *
 * All but the first two may be called without a ring; they do nothing then.
 */
#ifndef ACCEL_KVM_DIRTY_RING_H
#define ACCEL_KVM_DIRTY_RING_H

#include "system/kvm_int.h"

/* Adds dirty-ring and dirty-ring-size to the KVM accelerator class. */
void kvm_dirty_ring_class_init(ObjectClass *oc);

/*
 * Enables rings if the properties ask for them.  Warns and uses the bitmap if the
 * kernel has no dirty rings.  Returns 0, or a negative errno after it has reported
 * why.
 */
int kvm_dirty_ring_setup(KVMState *s);

/* Starts the reaper thread, which sleeps until dirty logging is on. */
void kvm_dirty_ring_start_reaper(KVMState *s);

/*
 * Hooks @kml's dirty log callbacks up.  kml->as_id is set, the listener not
 * registered yet.  Returns false, and does nothing, without a ring.
 */
bool kvm_dirty_ring_register(KVMMemoryListener *kml);

/* Maps @cpu's ring, or takes over the one of an earlier vCPU of its id. */
int kvm_dirty_ring_init_vcpu(CPUState *cpu, Error **errp);

/* Empties @cpu's ring for the last time before @cpu goes away. */
void kvm_dirty_ring_destroy_vcpu(CPUState *cpu);

/* KVM_EXIT_DIRTY_RING_FULL, on @cpu's thread and without the BQL. */
void kvm_dirty_ring_vcpu_full(CPUState *cpu);

/*
 * Call before @cpu enters the guest, on its thread and without the BQL: sleeps for
 * what @cpu has dirtied, if dirty-limit limits it, or until it is kicked.
 */
void kvm_dirty_ring_vcpu_pay(CPUState *cpu);

/*
 * Returns false if no slot needs a dirty bitmap in QEMU: pages go from the rings straight
 * to the RAM list, and KVM keeps no backup bitmap.
 */
bool kvm_dirty_ring_slots_have_bitmaps(void);

/* Call when @slot is complete, before KVM is told of it. */
void kvm_dirty_ring_slot_add(const KVMSlot *slot);

/*
 * Call before KVM removes @slot, which is still complete: marks the pages of its backup
 * bitmap, if there is one.
 */
void kvm_dirty_ring_slot_removing(KVMSlot *slot);

/*
 * Returns true if vCPUs must be out of the guest while KVM removes the slots that
 * @kml has gathered: one of them logs dirty pages into rings.
 */
bool kvm_dirty_ring_removal_loses_pages(const KVMMemoryListener *kml);

/* Call when KVM has removed @slot: empties all rings of its entries. */
void kvm_dirty_ring_slot_removed(const KVMSlot *slot);

#endif
