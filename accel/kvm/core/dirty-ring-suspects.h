/*
 * KVM dirty ring: pages that an interrupted reset may have left writable
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle
 *
 *   dirty_suspects_init() -> after each KVM_RESET_DIRTY_RINGS, for each ring,
 *   dirty_suspects_note() and ..._note_passed(), then ..._noted() once ->
 *   dirty_suspects_take() at each sync -> dirty_suspects_destroy()
 *
 * Thread model: the caller holds the reset lock.
 */
#ifndef ACCEL_KVM_DIRTY_RING_SUSPECTS_H
#define ACCEL_KVM_DIRTY_RING_SUSPECTS_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

/* A ring entry as it was when it was harvested. */
typedef struct DirtyRingEntry {
    uint64_t offset;
    uint32_t slot;
} DirtyRingEntry;

/* Pages that KVM protects together are less than this apart. */
#define DIRTY_MASK_PAGES 64

typedef struct DirtySuspects {
    GHashTable *pages;      /* of DirtyRingEntry */
    uint64_t *filter;       /* a bit per hash; clear: not in pages */
    GArray *ends;           /* of DirtyRingEntry: noted, not yet in pages */
} DirtySuspects;

/* Takes @n entries.  May write to @pages, which is valid during the call. */
typedef void (*DirtySuspectsTake)(void *opaque, const uint32_t *slots,
                                  uint64_t *pages, size_t n);

void dirty_suspects_init(DirtySuspects *suspects);
void dirty_suspects_destroy(DirtySuspects *suspects);

/*
 * Notes that an ioctl has reset the entries of a ring at positions [@from, @to),
 * @from < @to.  An entry's index in @seen is its position modulo @size.
 */
void dirty_suspects_note(DirtySuspects *suspects, const DirtyRingEntry *seen,
                         uint32_t size, uint64_t from, uint64_t to);

/* Makes entries of unknown position suspects; empties @passed. */
void dirty_suspects_note_passed(DirtySuspects *suspects, GArray *passed);

/* Call when all rings are noted.  Returns the number of suspects. */
size_t dirty_suspects_noted(DirtySuspects *suspects);

/* Hands all suspects to @take, a few hundred at a time; they stay suspects. */
void dirty_suspects_take(DirtySuspects *suspects, DirtySuspectsTake take,
                         void *opaque);

#endif
