/*
 * KVM dirty ring: from {slot, offset} to page numbers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * A harvest translates its entries, a chunk at a time, with the table's lock held
 * for reading.  Harvests run in vCPU threads, in the reaper and in syncs.  Slots
 * come and go a few times in the life of a machine, with the lock held for writing.
 *
 * Ring entries are untrusted: both halves of the slot word and the
 * offset are checked against the table.
 *
 * Limits: memory follows the highest slot id used in each address space.
 */
#include "dirty-ring-slots.h"

#include <glib.h>

#define SLOT_SPACE(word) ((word) >> 16)
#define SLOT_ID(word) ((word) & 0xffff)

void dirty_slots_init(DirtySlotTable *table)
{
    pthread_rwlock_init(&table->lock, NULL);
    table->spaces = NULL;
    table->nr = 0;
}

void dirty_slots_destroy(DirtySlotTable *table)
{
    for (uint32_t i = 0; i < table->nr; i++) {
        g_free(table->spaces[i].slots);
    }
    g_free(table->spaces);
    pthread_rwlock_destroy(&table->lock);
}

static DirtySlot *slot_lookup_locked(const DirtySlotTable *table,
                                     uint32_t word)
{
    const DirtySlotSpace *space;

    if (SLOT_SPACE(word) >= table->nr) {
        return NULL;
    }
    space = &table->spaces[SLOT_SPACE(word)];
    return SLOT_ID(word) < space->nr ? &space->slots[SLOT_ID(word)] : NULL;
}

static void table_grow_locked(DirtySlotTable *table, uint32_t nr)
{
    if (nr > table->nr) {
        table->spaces = g_renew(DirtySlotSpace, table->spaces, nr);
        while (table->nr < nr) {
            table->spaces[table->nr++] = (DirtySlotSpace){};
        }
    }
}

static void space_grow_locked(DirtySlotSpace *space, uint32_t nr)
{
    if (nr > space->nr) {
        space->slots = g_renew(DirtySlot, space->slots, nr);
        while (space->nr < nr) {
            space->slots[space->nr++] = (DirtySlot){};
        }
    }
}

void dirty_slots_add(DirtySlotTable *table, uint32_t slot,
                     uint64_t first_page, uint64_t npages)
{
    pthread_rwlock_wrlock(&table->lock);
    table_grow_locked(table, SLOT_SPACE(slot) + 1);
    space_grow_locked(&table->spaces[SLOT_SPACE(slot)], SLOT_ID(slot) + 1);
    *slot_lookup_locked(table, slot) = (DirtySlot){
        .first_page = first_page,
        .npages = npages,
    };
    pthread_rwlock_unlock(&table->lock);
}

void dirty_slots_remove(DirtySlotTable *table, uint32_t slot)
{
    DirtySlot *entry;

    pthread_rwlock_wrlock(&table->lock);
    entry = slot_lookup_locked(table, slot);
    if (entry) {
        entry->npages = 0;
    }
    pthread_rwlock_unlock(&table->lock);
}

bool dirty_slots_overlap(DirtySlotTable *table, uint32_t slot, uint64_t first,
                         uint64_t end)
{
    const DirtySlot *entry;
    bool overlap;

    pthread_rwlock_rdlock(&table->lock);
    entry = slot_lookup_locked(table, slot);
    overlap = entry && entry->npages && entry->first_page < end &&
              first < entry->first_page + entry->npages;
    pthread_rwlock_unlock(&table->lock);
    return overlap;
}

size_t dirty_slots_translate(DirtySlotTable *table, const uint32_t *slots,
                             uint64_t *pages, size_t n)
{
    size_t known = 0;

    pthread_rwlock_rdlock(&table->lock);
    for (size_t i = 0; i < n; i++) {
        const DirtySlot *slot = slot_lookup_locked(table, slots[i]);

        if (slot && pages[i] < slot->npages) {
            pages[known++] = slot->first_page + pages[i];
        }
    }
    pthread_rwlock_unlock(&table->lock);
    return known;
}
