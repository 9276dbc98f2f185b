/*
 * vDPA: disjoint ranges of 64-bit addresses, found by an address
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 *   directory   low[]      0x1000      0x9000      0x40000 ...
 *               block[]      |           |            |
 *                            v           v            v
 *   blocks      first[64]  ranges that begin at low[i], and before low[i + 1]
 *               last[64], item[64]
 *
 * A tree of nodes costs a lookup one cache line, and one guess of the CPU's
 * that is wrong half of the time, for each of its levels.  Here the keys that
 * are compared lie side by side: a search for the block in the directory (of
 * 100,000 ranges some 2,000 keys), another within the block, both without a
 * branch that depends on what is found, and then one look at the range itself.
 *
 * A block that is full is split in two, unless the new range comes behind all
 * others, as when a memory map is read in order: then it begins a block of
 * its own and the full one stays full.  A block that has become small is
 * joined with the one behind it if that makes no more than half a block, so
 * that what is left of many ranges does not stay in as many blocks.
 *
 * Failures: none.  That ranges do not overlap is the user's to check.
 *
 * Limits: a new block costs moving the directory's rest: of n ranges, n / 4
 * bytes once in 32 insertions, and as much for a block that goes.
 */
#include "vdpa-lookup.h"

#include <assert.h>
#include <glib.h>
#include <stdbool.h>
#include <string.h>

#define BLOCK 64                /* ranges that a block holds */
#define SMALL (BLOCK / 4)       /* with that many it looks for company */

struct VdpaLookupBlock {
    uint64_t first[BLOCK];
    uint64_t last[BLOCK];
    void *item[BLOCK];
    unsigned n;
};

/* How many of the @n rising @keys are not above @point. */
static size_t not_above(const uint64_t *keys, size_t n, uint64_t point)
{
    const uint64_t *from = keys;

    if (!n) {
        return 0;
    }
    while (n > 1) {
        size_t half = n / 2;

        from += (from[half - 1] <= point) * half;
        n -= half;
    }
    return from - keys + (*from <= point);
}

/* The block that @point is in, if in any: the last that begins before it. */
static size_t block_of(const VdpaLookup *lookup, uint64_t point)
{
    size_t i = not_above(lookup->low, lookup->nblocks, point);

    return i ? i - 1 : 0;
}

/* --- finding -------------------------------------------------------------- */

void *vdpa_lookup_find(const VdpaLookup *lookup, uint64_t point)
{
    const VdpaLookupBlock *block;
    size_t at;

    if (!lookup->nblocks) {
        return NULL;
    }
    block = lookup->block[block_of(lookup, point)];
    at = not_above(block->first, block->n, point);
    return at && point <= block->last[at - 1] ? block->item[at - 1] : NULL;
}

void *vdpa_lookup_at_or_above(const VdpaLookup *lookup, uint64_t point)
{
    const VdpaLookupBlock *block;
    size_t i, at;

    if (!lookup->nblocks) {
        return NULL;
    }
    i = block_of(lookup, point);
    block = lookup->block[i];
    at = not_above(block->first, block->n, point);
    if (at && point <= block->last[at - 1]) {
        return block->item[at - 1];
    }
    if (at < block->n) {
        return block->item[at];
    }
    return i + 1 < lookup->nblocks ? lookup->block[i + 1]->item[0] : NULL;
}

/* --- changing ------------------------------------------------------------- */

/* Makes room for a block at place @i of the directory. */
static VdpaLookupBlock *add_block(VdpaLookup *lookup, size_t i)
{
    size_t behind = lookup->nblocks - i;

    if (lookup->nblocks == lookup->room) {
        lookup->room = MAX(2 * lookup->room, 4);
        lookup->low = g_renew(uint64_t, lookup->low, lookup->room);
        lookup->block = g_renew(VdpaLookupBlock *, lookup->block, lookup->room);
    }
    memmove(&lookup->low[i + 1], &lookup->low[i], behind * sizeof(uint64_t));
    memmove(&lookup->block[i + 1], &lookup->block[i],
            behind * sizeof(VdpaLookupBlock *));
    lookup->nblocks++;
    return lookup->block[i] = g_new0(VdpaLookupBlock, 1);
}

static void drop_block(VdpaLookup *lookup, size_t i)
{
    size_t behind = --lookup->nblocks - i;

    g_free(lookup->block[i]);
    memmove(&lookup->low[i], &lookup->low[i + 1], behind * sizeof(uint64_t));
    memmove(&lookup->block[i], &lookup->block[i + 1],
            behind * sizeof(VdpaLookupBlock *));
}

/* Moves ranges between places, which may be of one block and overlap. */
static void move_ranges(VdpaLookupBlock *to, size_t at,
                        const VdpaLookupBlock *from, size_t start, size_t n)
{
    memmove(&to->first[at], &from->first[start], n * sizeof(to->first[0]));
    memmove(&to->last[at], &from->last[start], n * sizeof(to->last[0]));
    memmove(&to->item[at], &from->item[start], n * sizeof(to->item[0]));
}

/* Room for one more in full block @i: the block that @first belongs to now. */
static size_t split_block(VdpaLookup *lookup, size_t i, uint64_t first)
{
    VdpaLookupBlock *full = lookup->block[i];
    VdpaLookupBlock *next = add_block(lookup, i + 1);
    bool append = i + 2 == lookup->nblocks && first > full->last[BLOCK - 1];
    unsigned keep = append ? BLOCK : BLOCK / 2;

    move_ranges(next, 0, full, keep, BLOCK - keep);
    next->n = BLOCK - keep;
    full->n = keep;
    lookup->low[i + 1] = append ? first : next->first[0];
    return first >= lookup->low[i + 1] ? i + 1 : i;
}

void vdpa_lookup_insert(VdpaLookup *lookup, uint64_t first, uint64_t last,
                        void *item)
{
    VdpaLookupBlock *block;
    size_t i, at;

    if (!lookup->nblocks) {
        add_block(lookup, 0);
    }
    i = block_of(lookup, first);
    if (lookup->block[i]->n == BLOCK) {
        i = split_block(lookup, i, first);
    }
    block = lookup->block[i];
    at = not_above(block->first, block->n, first);
    move_ranges(block, at + 1, block, at, block->n - at);
    block->first[at] = first;
    block->last[at] = last;
    block->item[at] = item;
    block->n++;
    lookup->low[i] = block->first[0];
}

/* Joins block @i with the next one if half a block can hold both. */
static void join_blocks(VdpaLookup *lookup, size_t i)
{
    VdpaLookupBlock *block, *next;

    if (i + 1 >= lookup->nblocks) {
        return;
    }
    block = lookup->block[i];
    next = lookup->block[i + 1];
    if (block->n + next->n <= BLOCK / 2) {
        move_ranges(block, block->n, next, 0, next->n);
        block->n += next->n;
        drop_block(lookup, i + 1);
    }
}

void vdpa_lookup_remove(VdpaLookup *lookup, uint64_t first)
{
    size_t i = block_of(lookup, first);
    VdpaLookupBlock *block = lookup->nblocks ? lookup->block[i] : NULL;
    size_t at = block ? not_above(block->first, block->n, first) : 0;

    assert(at && block->first[at - 1] == first);
    block->n--;
    move_ranges(block, at - 1, block, at, block->n - (at - 1));
    if (!block->n) {
        drop_block(lookup, i);
        return;
    }
    lookup->low[i] = block->first[0];
    if (block->n <= SMALL) {
        join_blocks(lookup, i);
    }
}

void vdpa_lookup_clear(VdpaLookup *lookup)
{
    for (size_t i = 0; i < lookup->nblocks; i++) {
        g_free(lookup->block[i]);
    }
    g_free(lookup->low);
    g_free(lookup->block);
    memset(lookup, 0, sizeof(*lookup));
}
