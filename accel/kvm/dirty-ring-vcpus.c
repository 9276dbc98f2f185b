/*
 * KVM dirty ring: a vCPU's ring, and its ring-full exit
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A ring-full exit takes no BQL, unless the vCPU is stuck.  kvm_dirty_rings.vcpus
 * is written under the BQL by the vCPU's thread, which alone reads its element.
 *
 * Limits: the ring of an unplugged vCPU stays mapped, for the next vCPU of its id.
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "qapi/qapi-events-migration.h"
#include "hw/core/cpu.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "system/runstate.h"
#include "trace.h"
#include "dirty-ring.h"
#include "dirty-ring-state.h"

/* How long a vCPU rests after a ring-full exit with an empty ring. */
#define FULL_SPURIOUS_US 1000

int kvm_dirty_ring_init_vcpu(CPUState *cpu, Error **errp)
{
    unsigned long id = kvm_arch_vcpu_id(cpu);
    struct kvm_dirty_gfn *entries;
    DirtyRing *ring;

    GLOBAL_STATE_CODE();
    if (!kvm_dirty_ring_enabled()) {
        return 0;
    }
    if (cpu->cpu_index < 0 || cpu->cpu_index >= kvm_dirty_rings.nr_vcpus) {
        error_setg(errp, "KVM dirty ring: vCPU index %d is beyond maxcpus=%d",
                   cpu->cpu_index, kvm_dirty_rings.nr_vcpus);
        return -EINVAL;
    }
    ring = dirty_ring_find(&kvm_dirty_rings.set, id);
    if (!ring) {
        entries = kvm_dirty_ring_kernel_map(cpu, errp);
        if (!entries) {
            return -ENOMEM;
        }
        ring = dirty_ring_add(&kvm_dirty_rings.set, id, entries);
    }
    dirty_ring_bind(ring, cpu, &cpu->dirty_pages);
    kvm_dirty_rings.vcpus[cpu->cpu_index] = ring;
    return 0;
}

void kvm_dirty_ring_destroy_vcpu(CPUState *cpu)
{
    DirtyRing *ring;

    GLOBAL_STATE_CODE();
    if (!kvm_dirty_ring_enabled()) {
        return;
    }
    ring = kvm_dirty_rings.vcpus[cpu->cpu_index];
    if (ring) {
        dirty_ring_reap(ring);
        dirty_ring_bind(ring, NULL, NULL);
        kvm_dirty_rings.vcpus[cpu->cpu_index] = NULL;
        kvm_dirty_ring_limit_vcpu_gone(cpu);
    }
}

static void vcpu_full_spurious(CPUState *cpu)
{
    trace_kvm_dirty_ring_spurious_full(cpu->cpu_index);
    error_report_once("KVM dirty ring: KVM says that the ring of vCPU %d "
                      "is full, but it is empty: this kernel loses dirty "
                      "pages, migration cannot be trusted", cpu->cpu_index);
    g_usleep(FULL_SPURIOUS_US);
}

/* Stops the machine: KVM would end each KVM_RUN of @cpu at once, for ever. */
static void vcpu_full_stuck(CPUState *cpu)
{
    BQL_LOCK_GUARD();
    if (runstate_is_running()) {
        error_report_once("KVM dirty ring: the ring of vCPU %d is full and "
                          "KVM does not reset it, so the vCPU cannot run: "
                          "stopping the guest", cpu->cpu_index);
        qapi_event_send___org_qemu_live_kvm_dirty_ring_fault(
            KVM_DIRTY_RING_FAULT_VCPU_STUCK, true, cpu->cpu_index);
        vm_stop(RUN_STATE_INTERNAL_ERROR);
    }
}

void kvm_dirty_ring_vcpu_full(CPUState *cpu)
{
    DirtyRing *ring = kvm_dirty_ring_enabled()
                      ? kvm_dirty_rings.vcpus[cpu->cpu_index] : NULL;

    trace_kvm_dirty_ring_full(cpu->cpu_index);
    if (ring) {
        dirty_reaper_hurry(&kvm_dirty_rings.reaper);
        kvm_dirty_ring_limit_full(cpu);
    }
    /* A guest that writes must not wait for a thread that holds the BQL. */
    assert(!bql_locked());
    switch (ring ? dirty_ring_full(ring) : DIRTY_RING_FULL_SPURIOUS) {
    case DIRTY_RING_FULL_FREED:
        break;
    case DIRTY_RING_FULL_SPURIOUS:
        vcpu_full_spurious(cpu);
        break;
    case DIRTY_RING_FULL_STUCK:
        vcpu_full_stuck(cpu);
        break;
    }
}
