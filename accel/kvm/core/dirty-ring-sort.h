/*
 * KVM dirty ring: entries in the order of their pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef ACCEL_KVM_DIRTY_RING_SORT_H
#define ACCEL_KVM_DIRTY_RING_SORT_H

#include <stdbool.h>
#include <stddef.h>

#include "dirty-ring-suspects.h"

/*
 * Sorts @n entries by slot, then by offset, both ascending.  @spare has room for
 * @n entries; its contents are undefined afterwards.  Takes no lock.
 */
void dirty_ring_sort(DirtyRingEntry *entries, DirtyRingEntry *spare, size_t n);

/*
 * True if sorting @n entries makes a reset cheaper: if the blocks of 64 pages that
 * they name have half of their pages among them, on average.  An estimate; takes no
 * lock.  @spare: as for dirty_ring_sort()
 */
bool dirty_ring_is_dense(const DirtyRingEntry *entries, void *spare, size_t n);

#endif
