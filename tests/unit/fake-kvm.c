/*
 * A fake KVM: memory, page tables, TLBs and dirty rings, in one process
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * A guest write goes through the vCPU's TLB, then the page table; if neither
 * allows it, it faults: the page becomes writable and an entry goes onto the
 * vCPU's ring.  A reset clears the flags of an entry, then write-protects its
 * page, and flushes all TLBs only at the very end and outside of the lock under
 * which it did the rest: the order that Linux has, and the worst for a user
 * that trusts flags alone.  Between flags and TLB flush it dawdles, so that a
 * page that is published in between does get lost writes.
 *
 * In the mode GATHERS a reset behaves as that of Linux 6.17 and newer does: it
 * gathers entries whose pages lie within 64 of each other, with their flags
 * cleared and the reset index moved on, and protects them together.  Before each
 * entry it looks for a pending signal; if there is one, it forgets what it has
 * gathered and stops, and the count that it returns includes those entries.  A
 * signal is pending every few entries, unless the calling thread blocks
 * FAKE_KICK.  In the mode STOPPED, blocking does not help.
 *
 * Limits: one address space, slot 0, offset = page number.
 */
#include "fake-kvm.h"

#include <assert.h>
#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <stdlib.h>

/* Entries that Linux keeps in reserve (KVM_DIRTY_RING_RSVD_ENTRIES). */
#define RESERVED 64

/* The signal that kicks a vCPU out of the guest. */
#define FAKE_KICK SIGUSR1

/* Gives other threads on other CPUs time to get in between. */
static void dawdle(unsigned rounds)
{
    for (volatile unsigned i = 0; i < rounds; i++) {
    }
}

FakeKvm *fake_kvm_new(unsigned nvcpus, uint32_t size, uint64_t npages)
{
    FakeKvm *kvm = g_new0(FakeKvm, 1);

    assert(size > RESERVED);
    kvm->size = size;
    kvm->soft_limit = size - RESERVED;
    kvm->npages = npages;
    kvm->nvcpus = nvcpus;
    kvm->vcpus = g_new0(FakeVcpu, nvcpus);
    kvm->pte_writable = g_new0(bool, npages);
    kvm->memory = g_new0(uint64_t, npages);
    kvm->seed = 1;
    pthread_mutex_init(&kvm->slots_lock, NULL);
    pthread_mutex_init(&kvm->mmu_lock, NULL);
    for (unsigned v = 0; v < nvcpus; v++) {
        kvm->vcpus[v].ring = g_new0(struct kvm_dirty_gfn, size);
        kvm->vcpus[v].tlb = g_new0(bool, npages);
        pthread_mutex_init(&kvm->vcpus[v].tlb_lock, NULL);
    }
    return kvm;
}

void fake_kvm_free(FakeKvm *kvm)
{
    for (unsigned v = 0; v < kvm->nvcpus; v++) {
        pthread_mutex_destroy(&kvm->vcpus[v].tlb_lock);
        g_free(kvm->vcpus[v].ring);
        g_free(kvm->vcpus[v].tlb);
    }
    pthread_mutex_destroy(&kvm->mmu_lock);
    pthread_mutex_destroy(&kvm->slots_lock);
    g_free(kvm->vcpus);
    g_free(kvm->pte_writable);
    g_free(kvm->memory);
    g_free(kvm);
}

static void push_locked(FakeKvm *kvm, FakeVcpu *vcpu, uint32_t slot,
                        uint64_t offset)
{
    struct kvm_dirty_gfn *entry = &vcpu->ring[vcpu->pushed % kvm->size];

    entry->slot = slot;
    entry->offset = offset;
    __atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_DIRTY, __ATOMIC_RELEASE);
    vcpu->pushed++;
}

void fake_kvm_push(FakeKvm *kvm, unsigned v, uint32_t slot, uint64_t offset)
{
    pthread_mutex_lock(&kvm->mmu_lock);
    push_locked(kvm, &kvm->vcpus[v], slot, offset);
    pthread_mutex_unlock(&kvm->mmu_lock);
}

/* Writes if the TLB or the page table lets it. */
static bool write_allowed(FakeKvm *kvm, FakeVcpu *vcpu, uint64_t page)
{
    bool allowed;

    pthread_mutex_lock(&vcpu->tlb_lock);
    if (!vcpu->tlb[page]) {
        vcpu->tlb[page] = __atomic_load_n(&kvm->pte_writable[page],
                                          __ATOMIC_ACQUIRE);
    }
    allowed = vcpu->tlb[page];
    if (allowed) {
        __atomic_fetch_add(&kvm->memory[page], 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&vcpu->tlb_lock);
    return allowed;
}

/* Makes @page writable and logs it; false if the ring has no room. */
static bool fault(FakeKvm *kvm, FakeVcpu *vcpu, uint64_t page)
{
    bool room;

    pthread_mutex_lock(&kvm->mmu_lock);
    room = vcpu->pushed - vcpu->reset < kvm->soft_limit;
    if (room) {
        if (!kvm->pte_writable[page]) {
            push_locked(kvm, vcpu, 0, page);
        }
        __atomic_store_n(&kvm->pte_writable[page], true, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&kvm->mmu_lock);
    return room;
}

bool fake_kvm_write(FakeKvm *kvm, unsigned v, uint64_t page)
{
    FakeVcpu *vcpu = &kvm->vcpus[v];

    while (!write_allowed(kvm, vcpu, page)) {
        if (!fault(kvm, vcpu, page)) {
            return false;
        }
    }
    return true;
}

/* Resets the next entry of @vcpu if it is collected. */
static bool reset_one(FakeKvm *kvm, FakeVcpu *vcpu)
{
    struct kvm_dirty_gfn *entry = &vcpu->ring[vcpu->reset % kvm->size];
    uint64_t page;

    if (!(__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) &
          KVM_DIRTY_GFN_F_RESET)) {
        return false;
    }
    page = entry->offset;
    __atomic_store_n(&entry->flags, 0, __ATOMIC_RELEASE);
    if (page % 16 == 0) {
        dawdle(500);
    }
    pthread_mutex_lock(&kvm->mmu_lock);
    vcpu->reset++;
    if (page < kvm->npages) {
        __atomic_store_n(&kvm->pte_writable[page], false, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&kvm->mmu_lock);
    return true;
}

/* Pages that were reset and still have to be protected, as in Linux's loop. */
typedef struct Gathered {
    uint64_t base;
    uint64_t mask;
} Gathered;

static void gathered_protect(FakeKvm *kvm, Gathered *gathered)
{
    kvm->protects += gathered->mask != 0;
    pthread_mutex_lock(&kvm->mmu_lock);
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t page = gathered->base + bit;

        if (gathered->mask >> bit & 1 && page < kvm->npages) {
            __atomic_store_n(&kvm->pte_writable[page], false,
                             __ATOMIC_RELEASE);
        }
    }
    pthread_mutex_unlock(&kvm->mmu_lock);
    gathered->mask = 0;
}

static void gathered_add(FakeKvm *kvm, Gathered *gathered, uint64_t page)
{
    uint64_t base = page & ~63ull;

    if (gathered->mask && gathered->base != base) {
        gathered_protect(kvm, gathered);
    }
    gathered->base = base;
    gathered->mask |= 1ull << (page & 63);
}

/* Whether a signal is pending for the calling thread; slots_lock is held. */
static bool signal_pending_locked(FakeKvm *kvm)
{
    sigset_t blocked;

    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    return (kvm->reset_mode == FAKE_RESET_STOPPED ||
            !sigismember(&blocked, FAKE_KICK)) &&
           rand_r(&kvm->seed) % 64 == 0;
}

/*
 * Resets @vcpu's ring and adds to @done.  Returns false if a signal ended it.
 */
static bool reset_gathering_locked(FakeKvm *kvm, FakeVcpu *vcpu, int *done)
{
    Gathered gathered = {};

    while (!signal_pending_locked(kvm)) {
        struct kvm_dirty_gfn *entry = &vcpu->ring[vcpu->reset % kvm->size];
        uint64_t page;

        if (!(__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) &
              KVM_DIRTY_GFN_F_RESET)) {
            gathered_protect(kvm, &gathered);
            return true;
        }
        page = entry->offset;
        __atomic_store_n(&entry->flags, 0, __ATOMIC_RELEASE);
        pthread_mutex_lock(&kvm->mmu_lock);
        vcpu->reset++;
        pthread_mutex_unlock(&kvm->mmu_lock);
        ++*done;
        gathered_add(kvm, &gathered, page);
    }
    return false;
}

static int reset_all_gathering_locked(FakeKvm *kvm)
{
    int done = 0;

    for (unsigned v = 0; v < kvm->nvcpus; v++) {
        if (!reset_gathering_locked(kvm, &kvm->vcpus[v], &done)) {
            break;
        }
    }
    return done;
}

static void flush_tlbs(FakeKvm *kvm)
{
    for (unsigned v = 0; v < kvm->nvcpus; v++) {
        FakeVcpu *vcpu = &kvm->vcpus[v];

        pthread_mutex_lock(&vcpu->tlb_lock);
        for (uint64_t page = 0; page < kvm->npages; page++) {
            vcpu->tlb[page] = false;
        }
        pthread_mutex_unlock(&vcpu->tlb_lock);
    }
}

static bool gathers(const FakeKvm *kvm)
{
    return kvm->reset_mode == FAKE_RESET_GATHERS ||
           kvm->reset_mode == FAKE_RESET_STOPPED;
}

/* How many entries this call may do, or a negative errno. */
static int reset_budget_locked(FakeKvm *kvm)
{
    unsigned call = kvm->calls++;

    if (kvm->reset_mode == FAKE_RESET_ALL || gathers(kvm)) {
        return INT_MAX;
    }
    if (kvm->reset_mode == FAKE_RESET_RELUCTANT && call % 3 == 0) {
        return call % 2 ? 0 : -EINTR;
    }
    return 1 + rand_r(&kvm->seed) % kvm->size;
}

static int reset_all_singly_locked(FakeKvm *kvm, int budget)
{
    int done = 0;

    for (unsigned v = 0; v < kvm->nvcpus; v++) {
        while (done < budget && reset_one(kvm, &kvm->vcpus[v])) {
            done++;
        }
    }
    return done;
}

int fake_kvm_reset(FakeKvm *kvm)
{
    int budget, done;

    pthread_mutex_lock(&kvm->slots_lock);
    budget = reset_budget_locked(kvm);
    done = gathers(kvm) ? reset_all_gathering_locked(kvm)
                        : reset_all_singly_locked(kvm, budget);
    pthread_mutex_unlock(&kvm->slots_lock);
    if (done) {
        dawdle(5000);
        flush_tlbs(kvm);
    }
    return budget < 0 ? budget : done;
}
