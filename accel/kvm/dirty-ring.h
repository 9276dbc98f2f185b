/*
 * KVM dirty ring: what the rest of accel/kvm calls
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle, all with the BQL held unless said otherwise:
 *
 *   class init   kvm_dirty_ring_class_init()
 *   kvm_init     kvm_dirty_ring_setup(), before any vCPU and any memory slot;
 *                kvm_dirty_ring_register() per memory listener;
 *                kvm_dirty_ring_start_reaper()
 *   vCPU thread  kvm_dirty_ring_init_vcpu(), kvm_dirty_ring_vcpu_full() any
 *                number of times without the BQL, kvm_dirty_ring_destroy_vcpu()
 *   slots        kvm_dirty_ring_slot_add(), ..._removal_loses_pages(),
 *                ..._slot_removing(), ..._slot_removed()
 *
 * All but the first two may be called without a ring; they do nothing then.
 */
#ifndef ACCEL_KVM_DIRTY_RING_H
#define ACCEL_KVM_DIRTY_RING_H

#include "system/kvm_int.h"

/* Adds the property dirty-ring-size to the KVM accelerator class. */
void kvm_dirty_ring_class_init(ObjectClass *oc);

/*
 * Enables rings of s->kvm_dirty_ring_size entries if any are asked for.  A
 * kernel without dirty rings gets a warning and the bitmap.  Returns 0, or a
 * negative errno after it has reported why.
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

/* @slot is complete and KVM is about to learn of it. */
void kvm_dirty_ring_slot_add(const KVMSlot *slot);

/*
 * KVM is about to forget @slot, which is still complete: fetches what is not
 * in rings (a backup bitmap) into its dirty_bmap.
 */
void kvm_dirty_ring_slot_removing(KVMSlot *slot);

/*
 * Whether vCPUs must be out of the guest while the deletions that @kml has
 * gathered are carried out: true if one of them logs dirty pages into rings.
 */
bool kvm_dirty_ring_removal_loses_pages(const KVMMemoryListener *kml);

/* KVM has forgotten @slot: empties all rings of its entries. */
void kvm_dirty_ring_slot_removed(const KVMSlot *slot);

#endif
