/*
 * KVM dirty ring: entries in the order of their pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * KVM_RESET_DIRTY_RINGS protects entries that follow each other, are of one slot
 * and lie within 64 pages together: it takes the MMU lock and walks the page table
 * once for them, and then visits each entry of the page table from the first of
 * these pages to the last.  A guest seldom writes pages in order, so entries are
 * sorted before they are released, but only where they are dense: the visits to
 * pages between them would cost more than the walks that are saved.
 *
 * This is a radix sort, a byte of the key per pass, least significant byte first.
 * Bytes in which no two keys differ need no pass: entries of one slot in a guest of
 * 4 GiB take three.
 *
 * Density is estimated by counting blocks of 64 pages in a filter of one bit per
 * block's hash.  The count ends as soon as it is too high, so the filter has bits for
 * so many blocks and no more.
 *
 * Limits: none on values; a kernel may have written any.
 */
#include "dirty-ring-sort.h"

#include <string.h>

#define BYTE_VALUES 256

/* Pages that the kernel protects together. */
#define BLOCK_PAGES 64

/* Entries per block from which sorting pays, see docs/design/dirty-ring.md. */
#define DENSE 32

/* Most and least bits of the filter, powers of two, as their logarithms. */
#define FILTER_ORDER_MAX 14
#define FILTER_ORDER_MIN 6

/* Bits of the filter for each block that it has to tell from others. */
#define FILTER_SPREAD 8

/* Bytes of a key: those of the offset, then those of the slot. */
#define OFFSET_BYTES sizeof(((DirtyRingEntry *)0)->offset)
#define KEY_BYTES (OFFSET_BYTES + sizeof(((DirtyRingEntry *)0)->slot))

/* The @byte-th byte of an entry's key, the least significant first. */
static inline uint8_t key_byte(const DirtyRingEntry *entry, unsigned byte)
{
    return byte < OFFSET_BYTES ? entry->offset >> 8 * byte
                               : entry->slot >> 8 * (byte - OFFSET_BYTES);
}

/* Copies @from to @to in the order of a byte of the key; equal ones keep theirs. */
static inline void sort_by_byte(const DirtyRingEntry *from,
                                DirtyRingEntry *to, size_t n, unsigned byte)
{
    size_t start[BYTE_VALUES] = {}, sum = 0;

    for (size_t i = 0; i < n; i++) {
        start[key_byte(&from[i], byte)]++;
    }
    for (unsigned value = 0; value < BYTE_VALUES; value++) {
        size_t equal = start[value];

        start[value] = sum;
        sum += equal;
    }
    for (size_t i = 0; i < n; i++) {
        to[start[key_byte(&from[i], byte)]++] = from[i];
    }
}

/* Returns an entry of which those bits are set in which two of @n entries differ. */
static DirtyRingEntry differing_bits(const DirtyRingEntry *entries, size_t n)
{
    DirtyRingEntry bits = {};

    for (size_t i = 1; i < n; i++) {
        bits.offset |= entries[i].offset ^ entries[0].offset;
        bits.slot |= entries[i].slot ^ entries[0].slot;
    }
    return bits;
}

void dirty_ring_sort(DirtyRingEntry *entries, DirtyRingEntry *spare, size_t n)
{
    DirtyRingEntry *from = entries, *to = spare, *swap;
    DirtyRingEntry bits = differing_bits(entries, n);

    for (unsigned byte = 0; byte < KEY_BYTES; byte++) {
        if (key_byte(&bits, byte)) {
            sort_by_byte(from, to, n, byte);
            swap = from;
            from = to;
            to = swap;
        }
    }
    if (from != entries) {
        memcpy(entries, from, n * sizeof(*entries));
    }
}

static inline unsigned block_hash(const DirtyRingEntry *entry, unsigned order)
{
    uint64_t block = entry->offset / BLOCK_PAGES + ((uint64_t)entry->slot << 40);

    return block * 0x9e3779b97f4a7c15ull >> (64 - order);
}

/* The logarithm of the bits of a filter for @blocks. */
static unsigned filter_order(size_t blocks)
{
    unsigned order = FILTER_ORDER_MIN;

    while (order < FILTER_ORDER_MAX && 1ul << order < blocks * FILTER_SPREAD) {
        order++;
    }
    return order;
}

bool dirty_ring_is_dense(const DirtyRingEntry *entries, void *spare, size_t n)
{
    uint64_t *filter = spare;
    size_t blocks = 0, most = n / DENSE;
    unsigned order = filter_order(most);

    if (!most) {
        return false;
    }
    memset(filter, 0, (1 << order) / 8);
    for (size_t i = 0; i < n; i++) {
        unsigned hash = block_hash(&entries[i], order);

        if (!(filter[hash / 64] >> hash % 64 & 1)) {
            filter[hash / 64] |= 1ull << hash % 64;
            if (++blocks > most) {
                return false;
            }
        }
    }
    return true;
}
