/*
 * KVM dirty ring: memory slots that come and go
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * All but kvm_dirty_ring_translate() run with the BQL and the slots lock held.
 *
 * Limits: see core/dirty-ring-slots.c.
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "exec/memory.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "dirty-ring.h"
#include "dirty-ring-state.h"

uint32_t kvm_dirty_ring_slot_word(const KVMSlot *slot)
{
    return (uint32_t)slot->as_id << 16 | slot->slot;
}

size_t kvm_dirty_ring_translate(void *opaque, const uint32_t *slots,
                                uint64_t *pages, size_t n)
{
    return dirty_slots_translate(&kvm_dirty_rings.slots, slots, pages, n);
}

bool kvm_dirty_ring_slots_have_bitmaps(void)
{
    return !kvm_dirty_ring_enabled() || kvm_state->kvm_dirty_ring_with_bitmap;
}

void kvm_dirty_ring_slot_add(const KVMSlot *slot)
{
    uint64_t page_size = qemu_real_host_page_size();

    GLOBAL_STATE_CODE();
    if (kvm_dirty_ring_enabled()) {
        dirty_slots_add(&kvm_dirty_rings.slots, kvm_dirty_ring_slot_word(slot),
                        slot->ram_start_offset / page_size,
                        slot->memory_size / page_size);
    }
}

/*
 * With page modification logging a vCPU keeps addresses of dirty pages in a
 * buffer of its own.  When the vCPU leaves the guest, KVM looks up the slot of
 * each address and puts an entry into the ring; it drops addresses whose slot is
 * gone.  So vCPUs have to leave the guest before the slot goes.
 */
bool kvm_dirty_ring_removal_loses_pages(const KVMMemoryListener *kml)
{
    KVMMemoryUpdate *update;

    GLOBAL_STATE_CODE();
    if (!kvm_dirty_ring_enabled()) {
        return false;
    }
    QSIMPLEQ_FOREACH(update, &kml->transaction_del, next) {
        MemoryRegion *mr = update->section.mr;

        if (memory_region_is_ram(mr) &&
            memory_region_get_dirty_log_mask(mr)) {
            return true;
        }
    }
    return false;
}

void kvm_dirty_ring_slot_removing(KVMSlot *slot)
{
    GLOBAL_STATE_CODE();
    if (kvm_state->kvm_dirty_ring_with_bitmap) {
        kvm_dirty_ring_sync_backup(slot);
    }
}

void kvm_dirty_ring_slot_removed(const KVMSlot *slot)
{
    GLOBAL_STATE_CODE();
    if (kvm_dirty_ring_enabled()) {
        /*
         * vCPUs could write to the slot until KVM had dropped it: a harvest
         * before that would miss the last writes.
         */
        dirty_ring_reap_all(&kvm_dirty_rings.set);
        dirty_ring_wait_published(&kvm_dirty_rings.set);
        dirty_slots_remove(&kvm_dirty_rings.slots,
                           kvm_dirty_ring_slot_word(slot));
    }
}
