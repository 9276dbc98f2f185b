/*
 * Dirty summary: which chunks of a dirty bitmap may have bits set, free of QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * A dirty bitmap has one bit per page of guest memory: 30 MiB for 960 GiB.  Most of its
 * words are 0 when a sync comes, and to read them takes milliseconds.  So there is a bit
 * for each chunk of DIRTY_CHUNK_PAGES pages, and a bit for each word of these bits, a
 * group; a DirtySummary holds both for 8 GiB of guest memory with pages of 4 KiB.
 *
 *     groups          1 bit:  a word of chunks          960 GiB: 120 words
 *     chunks         64 bits: a cache line of bitmap each
 *     bitmap      8 x 64 bits: a page each
 *
 * A bit of the summary may be set although nothing below it is ("may be dirty").  The
 * other way round would lose memory, so the order of accesses is everything:
 *
 *     a thread that sets        a thread that takes
 *     1 bit of the bitmap       1 bit of the group
 *     2 bit of the chunk        2 bit of the chunk
 *     3 bit of the group        3 bits of the bitmap
 *
 * One goes up and sets, the other goes down and clears.  All of these accesses are
 * sequentially consistent, so all threads see one order of them.  Suppose that the first
 * thread leaves out step 2 since the bit of the chunk is set.  Then the second thread
 * has not executed its step 2 yet, comes to its step 3 afterwards and finds the page; or
 * a third thread has set the bit again, for a page of its own.  That third thread may not
 * have reached step 3.  So the first thread executes step 3 in any case: when it has
 * returned, each sync that begins finds the page, whatever the third thread does.
 *
 * A range of pages that is taken, a RAM block, rarely begins and ends with a chunk or a
 * group.  Chunks that it shares with its neighbours are looked at without asking the
 * summary, and their bits are left alone, since a neighbour's page may have set them;
 * groups likewise.  There are two of each at most per range.
 *
 * The first sync of a migration, which is to send all pages anyway, need not move bits.
 * It clears them by plain stores, 30 MiB in a few milliseconds.  A bit that is set
 * meanwhile may be lost that way.  Its page is sent later, though, with all writes that
 * came before the bit: the caller executes a full barrier between the two.
 *
 * A search (dirty_summary_find()) clears bits of chunks and groups in which it finds
 * nothing.  Nothing sets bits of the bitmap meanwhile, so the order is of no importance.
 *
 * Limits: a summary describes a fixed number of pages.  A thread that finds a page dirty
 * in the bitmap and therefore does not mark it relies on the thread that has set the bit:
 * the page is certain to be found only once that thread has marked it.  The last sync of
 * a migration comes when all devices are stopped and all rings' batches are published,
 * so no thread is between its steps then.
 */
#include "system/core/dirty-summary.h"

#define LONG_BITS DIRTY_SUMMARY_LONG_BITS

/* A range of bits within one word. */
static unsigned long mask_between(unsigned long first, unsigned long end)
{
    return (~0ul << first) & (~0ul >> (LONG_BITS - end));
}

/*
 * Bits of the word that starts with bit @base which lie in [@first, @end).  With @unit
 * above 1 each bit stands for @unit things, and first and end are counted in these:
 * those bits of which something lies in the range or, if @whole, everything.
 */
static unsigned long mask_of(unsigned long base, unsigned long first,
                             unsigned long end, unsigned long unit, bool whole)
{
    unsigned long from = whole ? (first + unit - 1) / unit : first / unit;
    unsigned long to = whole ? end / unit : (end + unit - 1) / unit;

    from = from > base ? from - base : 0;
    to = to > base ? to - base : 0;
    to = to < LONG_BITS ? to : LONG_BITS;
    return from < to ? mask_between(from, to) : 0;
}

/*
 * Clears those bits of @word that are in @mask, and returns which of them were set.
 * Pairs with dirty_summary_set_bit(): the caller's next read comes after the clearing.
 */
static unsigned long clear_bits(unsigned long *word, unsigned long mask)
{
    if (!(__atomic_load_n(word, __ATOMIC_SEQ_CST) & mask)) {
        return 0;
    }
    return ~mask ? __atomic_fetch_and(word, ~mask, __ATOMIC_SEQ_CST) & mask
                 : __atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST);
}

/* What dirty_summary_take() was asked to do. */
typedef struct Take {
    DirtySummary *summary;
    unsigned long *from;
    unsigned long *to;
    unsigned long first;
    unsigned long end;
    DirtyTakenFunc *taken;
    void *opaque;
} Take;

/* Returns the number of pages that were not dirty in the other bitmap before. */
static unsigned take_word(const Take *take, unsigned long word,
                          unsigned long mask, bool *found)
{
    unsigned long bits = clear_bits(&take->from[word], mask);
    unsigned long fresh, *to;

    *found |= bits != 0;
    if (!bits || !take->to) {
        return 0;
    }
    to = &take->to[word - take->first / LONG_BITS];
    fresh = bits & ~*to;
    *to |= bits;
    return __builtin_popcountl(fresh);
}

/* Clears @n words by plain stores. */
static void clear_words(unsigned long *words, unsigned long n)
{
    for (unsigned long i = 0; i < n; i++) {
        __atomic_store_n(&words[i], 0, __ATOMIC_RELAXED);
    }
}

static uint64_t take_words(const Take *take, unsigned long first,
                           unsigned long end, bool *found)
{
    bool whole = end - first == DIRTY_CHUNK_PAGES;
    uint64_t fresh = 0;

    for (unsigned long word = first / LONG_BITS; word * LONG_BITS < end;
         word++) {
        fresh += take_word(take, word,
                           whole ? ~0ul : mask_of(word * LONG_BITS, take->first,
                                                  take->end, 1, false), found);
    }
    return fresh;
}

static uint64_t take_chunk(const Take *take, unsigned long chunk)
{
    unsigned long first = chunk * DIRTY_CHUNK_PAGES;
    unsigned long end = first + DIRTY_CHUNK_PAGES;
    bool found = false;
    uint64_t fresh = 0;

    if (!take->to && first >= take->first && end <= take->end) {
        clear_words(&take->from[first / LONG_BITS],
                    DIRTY_CHUNK_PAGES / LONG_BITS);
        found = true;
    } else {
        first = first > take->first ? first : take->first;
        end = end < take->end ? end : take->end;
        fresh = take_words(take, first, end, &found);
    }
    if (found && take->taken) {
        take->taken(take->opaque, first, end);
    }
    return fresh;
}

/* Takes the chunks of a group that may be dirty; @all of the group is in the range. */
static uint64_t take_group(const Take *take, unsigned long group, bool all)
{
    unsigned long base = group * LONG_BITS;
    unsigned long whole = mask_of(base, take->first, take->end,
                                  DIRTY_CHUNK_PAGES, true);
    unsigned long shared = ~whole & mask_of(base, take->first, take->end,
                                            DIRTY_CHUNK_PAGES, false);
    unsigned long todo;
    uint64_t fresh = 0;

    /* A group that is shared keeps its bit: a neighbour's page may have set it. */
    if (all) {
        clear_bits(&take->summary->groups[group / LONG_BITS],
                   1ul << group % LONG_BITS);
    }
    todo = shared | clear_bits(&take->summary->chunks[group], whole);
    for (; todo; todo &= todo - 1) {
        fresh += take_chunk(take, base + __builtin_ctzl(todo));
    }
    return fresh;
}

uint64_t dirty_summary_take(DirtySummary *summary, unsigned long *from,
                            unsigned long first, unsigned long end,
                            unsigned long *to, DirtyTakenFunc *taken,
                            void *opaque)
{
    Take take = { summary, from, to, first, end, taken, opaque };
    unsigned long pages = LONG_BITS * DIRTY_CHUNK_PAGES;
    unsigned long whole, todo;
    uint64_t fresh = 0;

    for (unsigned i = 0; i < DIRTY_SUMMARY_GROUP_LONGS; i++) {
        whole = mask_of(i * LONG_BITS, first, end, pages, true);
        todo = ~whole & mask_of(i * LONG_BITS, first, end, pages, false);
        todo |= whole & __atomic_load_n(&summary->groups[i], __ATOMIC_SEQ_CST);
        for (; todo; todo &= todo - 1) {
            unsigned bit = __builtin_ctzl(todo);

            fresh += take_group(&take, i * LONG_BITS + bit, whole >> bit & 1);
        }
    }
    return fresh;
}

/* Returns the first bit that is set, from @start on; @end or more if none is before. */
static unsigned long find_bit(const unsigned long *words, unsigned long end,
                              unsigned long start)
{
    unsigned long bits;

    for (unsigned long word = start / LONG_BITS; word * LONG_BITS < end;
         word++) {
        bits = words[word];
        if (word == start / LONG_BITS) {
            bits &= ~0ul << start % LONG_BITS;
        }
        if (bits) {
            return word * LONG_BITS + __builtin_ctzl(bits);
        }
    }
    return end;
}

static void clear_chunk(DirtySummary *summary, unsigned long chunk)
{
    unsigned long group = chunk / LONG_BITS;

    summary->chunks[group] &= ~(1ul << chunk % LONG_BITS);
    if (!summary->chunks[group]) {
        summary->groups[group / LONG_BITS] &= ~(1ul << group % LONG_BITS);
    }
}

/* The first chunk from @chunk on that may be dirty; DIRTY_SUMMARY_CHUNKS if none. */
static unsigned long find_chunk(DirtySummary *summary, unsigned long chunk)
{
    unsigned long group, end, found;

    while (chunk < DIRTY_SUMMARY_CHUNKS) {
        group = find_bit(summary->groups, DIRTY_SUMMARY_LONGS,
                         chunk / LONG_BITS);
        if (group > chunk / LONG_BITS) {
            chunk = group * LONG_BITS;
            continue;
        }
        end = (group + 1) * LONG_BITS;
        found = find_bit(summary->chunks, end, chunk);
        if (found < end) {
            return found;
        }
        chunk = end;
    }
    return DIRTY_SUMMARY_CHUNKS;
}

/* dirty_summary_find() within one summary; returns @end or more if there is no page. */
static unsigned long find_in(DirtySummary *summary, const unsigned long *bitmap,
                             unsigned long end, unsigned long start)
{
    unsigned long chunk, stop, page;

    for (; start < end; start = stop) {
        chunk = find_chunk(summary, start / DIRTY_CHUNK_PAGES);
        if (chunk > start / DIRTY_CHUNK_PAGES) {
            start = chunk * DIRTY_CHUNK_PAGES;
        }
        if (start >= end) {
            break;
        }
        stop = (chunk + 1) * DIRTY_CHUNK_PAGES;
        page = find_bit(bitmap, stop < end ? stop : end, start);
        if (page < stop) {
            return page;
        }
        if (start == chunk * DIRTY_CHUNK_PAGES) {
            clear_chunk(summary, chunk);
        }
    }
    return end;
}

unsigned long dirty_summary_find(DirtySummary *summaries,
                                 const unsigned long *bitmap,
                                 unsigned long end, unsigned long start)
{
    unsigned long base, stop, page;

    while (start < end) {
        base = start / DIRTY_SUMMARY_PAGES * DIRTY_SUMMARY_PAGES;
        stop = end - base < DIRTY_SUMMARY_PAGES ? end - base
                                                : DIRTY_SUMMARY_PAGES;
        page = find_in(&summaries[base / DIRTY_SUMMARY_PAGES],
                       bitmap + base / LONG_BITS, stop, start - base);
        if (page < stop) {
            return base + page;
        }
        start = base + stop;
    }
    return end;
}

void dirty_summaries_mark(DirtySummary *summaries, unsigned long first,
                          unsigned long end)
{
    unsigned long base, stop;

    for (; first < end; first = base + stop) {
        base = first / DIRTY_SUMMARY_PAGES * DIRTY_SUMMARY_PAGES;
        stop = end - base < DIRTY_SUMMARY_PAGES ? end - base
                                                : DIRTY_SUMMARY_PAGES;
        dirty_summary_mark(&summaries[base / DIRTY_SUMMARY_PAGES], first - base,
                           stop);
    }
}
