/*
 * KVM dirty ring: the state that its QEMU-side files share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef ACCEL_KVM_DIRTY_RING_STATE_H
#define ACCEL_KVM_DIRTY_RING_STATE_H

#include "qemu/thread.h"
#include "core/dirty-ring-core.h"
#include "core/dirty-ring-reaper.h"
#include "core/dirty-ring-slots.h"

/* Valid once kvm_dirty_ring_enabled(). */
typedef struct KVMDirtyRings {
    DirtyRingSet set;
    DirtySlotTable slots;
    DirtyReaper reaper;
    QemuThread reaper_thread;
    DirtyRing **vcpus;  /* by cpu_index: written under the BQL by its thread */
    int nr_vcpus;       /* constant */
    uint64_t syncs;     /* atomic */
} KVMDirtyRings;

extern KVMDirtyRings kvm_dirty_rings;

#endif
