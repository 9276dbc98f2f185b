/*
 * KVM dirty ring: from {slot, offset} to page numbers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A table of the memory slots that KVM knows, by the slot word of a ring entry
 * (address space id in the upper 16 bits, slot id in the lower; linux/kvm.h,
 * struct kvm_userspace_memory_region).
 *
 * Life cycle: the user adds a slot before it tells KVM, and removes it after KVM
 * has removed it and every ring has been emptied.  So the table has the slot of each
 * entry that is harvested.
 */
#ifndef ACCEL_KVM_DIRTY_RING_SLOTS_H
#define ACCEL_KVM_DIRTY_RING_SLOTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct DirtySlot {
    uint64_t first_page;    /* in the publisher's address space, host pages */
    uint64_t npages;        /* 0: no slot */
} DirtySlot;

typedef struct DirtySlotSpace {
    DirtySlot *slots;       /* indexed by slot id */
    uint32_t nr;
} DirtySlotSpace;

typedef struct DirtySlotTable {
    pthread_rwlock_t lock;
    DirtySlotSpace *spaces; /* indexed by address space id; by lock */
    uint32_t nr;
} DirtySlotTable;

void dirty_slots_init(DirtySlotTable *table);
void dirty_slots_destroy(DirtySlotTable *table);

/*
 * Adds the slot of slot word @slot: @npages host pages from page number
 * @first_page.  Replaces a slot of the same word.
 */
void dirty_slots_add(DirtySlotTable *table, uint32_t slot,
                     uint64_t first_page, uint64_t npages);

/* Removes the slot of slot word @slot, if there is one. */
void dirty_slots_remove(DirtySlotTable *table, uint32_t slot);

/* True if the slot of slot word @slot has pages from @first up to @end, exclusive. */
bool dirty_slots_overlap(DirtySlotTable *table, uint32_t slot, uint64_t first,
                         uint64_t end);

/*
 * Translates @n entries for DirtyRingOps.translate: @pages holds offsets on entry,
 * page numbers on return.  Leaves out entries that name no slot, or a page beyond
 * the end of their slot.  Returns how many remain.
 */
size_t dirty_slots_translate(DirtySlotTable *table, const uint32_t *slots,
                             uint64_t *pages, size_t n);

#endif
