/*
 * KVM dirty ring: the state and functions that its QEMU-side files share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each function of one file that another one calls; dirty-ring.h has those for
 * the rest of accel/kvm.
 */
#ifndef ACCEL_KVM_DIRTY_RING_STATE_H
#define ACCEL_KVM_DIRTY_RING_STATE_H

#include "qemu/thread.h"
#include "system/kvm_int.h"
#include "core/dirty-ring-reaper.h"
#include "core/dirty-ring-core.h"
#include "core/dirty-ring-slots.h"

/* The phases of a sync, in their order. */
typedef enum KVMDirtyRingPhase {
    KVM_DIRTY_RING_PHASE_KICK,  /* vCPUs are asked to leave the guest */
    KVM_DIRTY_RING_PHASE_REAP,  /* from harvest to publication */
    KVM_DIRTY_RING_PHASE_WAIT,  /* for other threads to publish */
    KVM_DIRTY_RING_PHASE_BQL,   /* for the BQL, if it was released */
    KVM_DIRTY_RING_PHASES,
} KVMDirtyRingPhase;

/* Valid once kvm_dirty_ring_enabled(). */
typedef struct KVMDirtyRings {
    DirtyRingSet set;
    DirtySlotTable slots;
    DirtyReaper reaper;
    QemuThread reaper_thread;
    DirtyRing **vcpus;  /* by cpu_index: written under the BQL by its thread */
    int nr_vcpus;       /* constant */
    uint64_t syncs;     /* atomic */
    DirtyRingTime phases[KVM_DIRTY_RING_PHASES];    /* of syncs */
    uint64_t redirtied; /* atomic: pages published that were dirty already */

    /* Properties that were set; read by kvm_dirty_ring_setup(). */
    OnOffAuto asked;    /* dirty-ring */
    bool asked_size;    /* dirty-ring-size, which is in the KVMState */
} KVMDirtyRings;

extern KVMDirtyRings kvm_dirty_rings;

/* dirty-ring-kernel.c */

/*
 * The number of entries where none is asked for: 65,536, or as many as the kernel
 * offers.
 */
uint32_t kvm_dirty_ring_kernel_default_size(KVMState *s);

/*
 * Enables rings of @size entries and sets s->kvm_dirty_ring_size, or warns and
 * leaves it at 0 if the kernel has no rings.  Returns 0, or a negative errno
 * after it has reported why.
 */
int kvm_dirty_ring_kernel_enable(KVMState *s, uint32_t size);

/* Maps the ring of @cpu; NULL and @errp if that fails. */
struct kvm_dirty_gfn *kvm_dirty_ring_kernel_map(CPUState *cpu, Error **errp);

/* DirtyRingOps.reset; @opaque is the KVMState. */
int kvm_dirty_ring_kernel_reset(void *opaque);

/* Reads the backup bitmap of @slot into its dirty_bmap; false if KVM has none. */
bool kvm_dirty_ring_kernel_get_backup(KVMSlot *slot);

/* Marks the pages of the backup bitmap of @slot, if it logs.  Needs the BQL. */
void kvm_dirty_ring_sync_backup(KVMSlot *slot);

/* dirty-ring-memslots.c */

/* The slot word that KVM's ring entries carry for @slot. */
uint32_t kvm_dirty_ring_slot_word(const KVMSlot *slot);

/* DirtyRingOps.translate; page numbers are those of the RAM list. */
size_t kvm_dirty_ring_translate(void *opaque, const uint32_t *slots,
                                uint64_t *pages, size_t n);

/* dirty-ring-publish.c: DirtyRingOps.publish */
void kvm_dirty_ring_publish(void *opaque, const uint64_t *pages, size_t n);

/* dirty-ring-refresh.c: MemoryRefresh */
bool kvm_dirty_ring_refresh(MemoryListener *listener, MemoryRegion *mr);

/* dirty-ring-limit.c */

/* Call once, before any vCPU; @nr_vcpus: the largest cpu_index and 1. */
void kvm_dirty_ring_limit_setup(int nr_vcpus);

/* @cpu's ring was full: charges @cpu before it enters the guest. */
void kvm_dirty_ring_limit_full(CPUState *cpu);

/* @cpu's thread ends, and calls this. */
void kvm_dirty_ring_limit_vcpu_gone(CPUState *cpu);

#endif
