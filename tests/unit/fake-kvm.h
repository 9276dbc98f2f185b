/*
 * A fake KVM: memory, page tables, TLBs and dirty rings, in one process
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle: fake_kvm_new() -> fake_kvm_write() from one thread per vCPU,
 * fake_kvm_reset() from any -> fake_kvm_free() with all of them gone.
 */
#ifndef TESTS_UNIT_FAKE_KVM_H
#define TESTS_UNIT_FAKE_KVM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* How KVM_RESET_DIRTY_RINGS behaves. */
typedef enum FakeReset {
    FAKE_RESET_ALL,         /* does all there is, as Linux before 6.17 */
    FAKE_RESET_SOME,        /* stops after a random number of entries */
    FAKE_RESET_RELUCTANT,   /* like SOME; every third call is -EINTR or 0 */
    FAKE_RESET_GATHERS,     /* as Linux 6.17 and newer, see fake-kvm.c */
    FAKE_RESET_STOPPED,     /* the same, and signals that cannot be blocked */
} FakeReset;

typedef struct FakeVcpu {
    struct kvm_dirty_gfn *ring;
    uint64_t pushed;        /* protected by mmu_lock */
    uint64_t reset;         /* protected by mmu_lock */
    pthread_mutex_t tlb_lock;
    bool *tlb;              /* by page: protected by tlb_lock */
} FakeVcpu;

typedef struct FakeKvm {
    uint32_t size;          /* entries per ring */
    uint32_t soft_limit;
    uint64_t npages;
    unsigned nvcpus;
    FakeVcpu *vcpus;
    FakeReset reset_mode;
    unsigned seed;          /* protected by slots_lock */
    unsigned calls;         /* protected by slots_lock */
    unsigned protects;      /* in modes that gather: protected by slots_lock */

    pthread_mutex_t slots_lock;
    pthread_mutex_t mmu_lock;
    bool *pte_writable;     /* by page: written under mmu_lock, atomic */
    uint64_t *memory;       /* by page: its contents, a counter; atomic */
} FakeKvm;

FakeKvm *fake_kvm_new(unsigned nvcpus, uint32_t size, uint64_t npages);
void fake_kvm_free(FakeKvm *kvm);

/*
 * vCPU @v writes @page once.  Returns false, without having written, if its
 * ring is full: KVM_EXIT_DIRTY_RING_FULL.
 */
bool fake_kvm_write(FakeKvm *kvm, unsigned v, uint64_t page);

/* KVM_RESET_DIRTY_RINGS: entries reset, or -errno. */
int fake_kvm_reset(FakeKvm *kvm);

/* Puts an entry on @v's ring as it is, whatever it says. */
void fake_kvm_push(FakeKvm *kvm, unsigned v, uint32_t slot, uint64_t offset);

#endif
