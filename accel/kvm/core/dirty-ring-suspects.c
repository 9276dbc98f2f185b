/*
 * KVM dirty ring: pages that an interrupted reset may have left writable
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * KVM_RESET_DIRTY_RINGS gathers entries of one slot that are less than DIRTY_MASK_PAGES
 * apart, and protects their pages together.  Linux 6.17 and newer drop the entries
 * that they have gathered when a signal is pending.  SIGSTOP, a debugger and the
 * freezer interrupt the ioctl although all signals are blocked, and a thread that
 * is continued at once cannot see that it was stopped.  The ioctl may then have
 * lost the entries that it gathered last, at the end of those that it has reset in
 * a ring.  Their pages are suspects: each sync publishes them again, until an ioctl
 * has reset a later entry of the same page that was not at the end.  That costs a
 * few pages per ioctl; a page that the guest writes again is soon no suspect.  The
 * last sync publishes suspects while the machine is stopped, so no write is missed.
 *
 * All rings are noted before the entries at their ends become suspects: the ioctl
 * may have protected a page in one ring, then the guest wrote it again, and the
 * new entry is at the end of another ring.
 *
 * Suspects are kept by slot and offset; only those that are published are
 * translated.  A filter avoids most look-ups of pages that are no suspects; each
 * sync clears the bits of pages that are suspects no more.
 *
 * Limits: suspects of a removed slot stay.  They name no page, or one more page to
 * send if the slot's number is used again.  Kernels before 6.17 cannot be told
 * apart reliably, so suspects are kept there, too.
 */
#include "dirty-ring-suspects.h"

#include <stdbool.h>
#include <string.h>

#define FILTER_BITS (1u << 16)

/* Entries handed over at a time: what fits comfortably on a stack. */
#define TAKE_CHUNK 256

static guint seen_hash(gconstpointer key)
{
    const DirtyRingEntry *seen = key;
    uint64_t mixed = (seen->offset + ((uint64_t)seen->slot << 40)) *
                     0x9e3779b97f4a7c15ull;

    return mixed >> 32;
}

static gboolean seen_equal(gconstpointer a, gconstpointer b)
{
    const DirtyRingEntry *one = a, *other = b;

    return one->slot == other->slot && one->offset == other->offset;
}

void dirty_suspects_init(DirtySuspects *suspects)
{
    suspects->pages = g_hash_table_new_full(seen_hash, seen_equal, g_free,
                                            NULL);
    suspects->filter = g_new0(uint64_t, FILTER_BITS / 64);
    suspects->ends = g_array_new(FALSE, FALSE, sizeof(DirtyRingEntry));
}

void dirty_suspects_destroy(DirtySuspects *suspects)
{
    g_hash_table_unref(suspects->pages);
    g_free(suspects->filter);
    g_array_unref(suspects->ends);
}

static void filter_set(DirtySuspects *suspects, const DirtyRingEntry *seen)
{
    guint hash = seen_hash(seen) % FILTER_BITS;

    suspects->filter[hash / 64] |= 1ull << hash % 64;
}

static bool filter_has(const DirtySuspects *suspects,
                       const DirtyRingEntry *seen)
{
    guint hash = seen_hash(seen) % FILTER_BITS;

    return suspects->filter[hash / 64] >> hash % 64 & 1;
}

static void suspect_add(DirtySuspects *suspects, const DirtyRingEntry *seen)
{
    DirtyRingEntry *key = g_new(DirtyRingEntry, 1);

    *key = *seen;
    g_hash_table_add(suspects->pages, key);
    filter_set(suspects, seen);
}

static void suspect_remove(DirtySuspects *suspects, const DirtyRingEntry *seen)
{
    if (filter_has(suspects, seen)) {
        g_hash_table_remove(suspects->pages, seen);
    }
}

/* Returns the first entry that the kernel may have gathered last before @to. */
static uint64_t last_gathered(const DirtyRingEntry *seen, uint32_t size,
                              uint64_t from, uint64_t to)
{
    uint64_t start = to - 1;
    const DirtyRingEntry *last = &seen[start & (size - 1)];
    uint64_t low = last->offset, high = last->offset;

    while (start > from) {
        const DirtyRingEntry *before = &seen[(start - 1) & (size - 1)];

        low = MIN(low, before->offset);
        high = MAX(high, before->offset);
        if (before->slot != last->slot || high - low >= DIRTY_MASK_PAGES) {
            break;
        }
        start--;
    }
    return start;
}

void dirty_suspects_note(DirtySuspects *suspects, const DirtyRingEntry *seen,
                         uint32_t size, uint64_t from, uint64_t to)
{
    uint64_t end = last_gathered(seen, size, from, to), mask = size - 1;

    for (; from < end; from++) {
        suspect_remove(suspects, &seen[from & mask]);
    }
    for (; from < to; from++) {
        g_array_append_val(suspects->ends, seen[from & (size - 1)]);
    }
}

void dirty_suspects_note_passed(DirtySuspects *suspects, GArray *passed)
{
    g_array_append_vals(suspects->ends, passed->data, passed->len);
    g_array_set_size(passed, 0);
}

size_t dirty_suspects_noted(DirtySuspects *suspects)
{
    for (guint i = 0; i < suspects->ends->len; i++) {
        suspect_add(suspects,
                    &g_array_index(suspects->ends, DirtyRingEntry, i));
    }
    g_array_set_size(suspects->ends, 0);
    return g_hash_table_size(suspects->pages);
}

void dirty_suspects_take(DirtySuspects *suspects, DirtySuspectsTake take,
                         void *opaque)
{
    uint32_t slots[TAKE_CHUNK];
    uint64_t pages[TAKE_CHUNK];
    GHashTableIter iter;
    gpointer key;
    size_t n = 0;

    memset(suspects->filter, 0, FILTER_BITS / 8);
    g_hash_table_iter_init(&iter, suspects->pages);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        const DirtyRingEntry *seen = key;

        filter_set(suspects, seen);
        slots[n] = seen->slot;
        pages[n++] = seen->offset;
        if (n == TAKE_CHUNK) {
            take(opaque, slots, pages, n);
            n = 0;
        }
    }
    if (n) {
        take(opaque, slots, pages, n);
    }
}
