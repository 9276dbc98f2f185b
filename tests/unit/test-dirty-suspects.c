/*
 * Dirty ring: which pages an interrupted reset may have left writable
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <glib.h>
#include <stdbool.h>

#include "accel/kvm/core/dirty-ring-suspects.h"

#define SIZE 1024

typedef struct Taken {
    uint64_t pages[SIZE];
    uint32_t slots[SIZE];
    size_t n;
} Taken;

static void take(void *opaque, const uint32_t *slots, uint64_t *pages, size_t n)
{
    Taken *taken = opaque;

    g_assert_cmpuint(taken->n + n, <=, SIZE);
    for (size_t i = 0; i < n; i++) {
        taken->slots[taken->n] = slots[i];
        taken->pages[taken->n++] = pages[i];
    }
}

static size_t take_all(DirtySuspects *suspects, Taken *taken)
{
    taken->n = 0;
    dirty_suspects_take(suspects, take, taken);
    return taken->n;
}

static bool has(DirtySuspects *suspects, uint32_t slot, uint64_t page)
{
    Taken taken;

    take_all(suspects, &taken);
    for (size_t i = 0; i < taken.n; i++) {
        if (taken.slots[i] == slot && taken.pages[i] == page) {
            return true;
        }
    }
    return false;
}

/* One ioctl that has reset @n entries of slot 0. */
static void reset(DirtySuspects *suspects, const uint64_t *pages, size_t n)
{
    DirtyRingEntry seen[SIZE];

    for (size_t i = 0; i < n; i++) {
        seen[i] = (DirtyRingEntry){ .offset = pages[i] };
    }
    dirty_suspects_note(suspects, seen, SIZE, 0, n);
}

static void test_end(void)
{
    static const struct {
        uint64_t pages[4];
        size_t n, suspects;
    } rows[] = {
        { { 1000 }, 1, 1 },
        { { 1000, 2000 }, 2, 1 },
        { { 1000, 1063 }, 2, 2 },
        { { 1000, 1064 }, 2, 1 },
        { { 1063, 1000 }, 2, 2 },
        { { 1064, 1000 }, 2, 1 },
        /* the span is of all of them, not of neighbours */
        { { 1000, 1040, 1080 }, 3, 2 },
        { { 1080, 1000, 1040 }, 3, 2 },
        { { 1040, 1000, 1063, 1020 }, 4, 4 },
        { { 5, 1040, 1000, 1063 }, 4, 3 },
        { { 7, 7, 7, 7 }, 4, 1 },
        { { 0, UINT64_MAX }, 2, 1 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        DirtySuspects suspects;
        Taken taken;

        dirty_suspects_init(&suspects);
        reset(&suspects, rows[i].pages, rows[i].n);
        g_assert_cmpuint(dirty_suspects_noted(&suspects), ==, rows[i].suspects);
        g_assert_cmpuint(take_all(&suspects, &taken), ==, rows[i].suspects);
        g_assert_true(has(&suspects, 0, rows[i].pages[rows[i].n - 1]));
        dirty_suspects_destroy(&suspects);
    }
}

/* What an earlier ioctl has reset does not count. */
static void test_earlier(void)
{
    const DirtyRingEntry seen[4] = { { 10, 0 }, { 11, 0 }, { 12, 0 }, { 13, 0 } };
    DirtySuspects suspects;

    dirty_suspects_init(&suspects);
    dirty_suspects_note(&suspects, seen, 4, 2, 4);
    g_assert_cmpuint(dirty_suspects_noted(&suspects), ==, 2);
    dirty_suspects_destroy(&suspects);
}

/* Pages of another slot are not protected together with these. */
static void test_slots(void)
{
    const DirtyRingEntry seen[2] = { { .slot = 1, .offset = 5 },
                                { .slot = 2, .offset = 6 } };
    DirtySuspects suspects;

    dirty_suspects_init(&suspects);
    dirty_suspects_note(&suspects, seen, 2, 0, 2);
    g_assert_cmpuint(dirty_suspects_noted(&suspects), ==, 1);
    g_assert_true(has(&suspects, 2, 6));
    dirty_suspects_destroy(&suspects);
}

static void test_cleared(void)
{
    static const uint64_t first[] = { 100, 9000 }, again[] = { 9000, 200, 300 };
    static const uint64_t end[] = { 400, 300 };
    DirtySuspects suspects;

    dirty_suspects_init(&suspects);
    reset(&suspects, first, 2);
    dirty_suspects_noted(&suspects);
    g_assert_true(has(&suspects, 0, 9000));
    reset(&suspects, again, 3);
    g_assert_cmpuint(dirty_suspects_noted(&suspects), ==, 1);
    g_assert_false(has(&suspects, 0, 9000));

    /* Once more at the end: it stays. */
    reset(&suspects, end, 2);
    g_assert_cmpuint(dirty_suspects_noted(&suspects), ==, 1);
    g_assert_true(has(&suspects, 0, 300));
    dirty_suspects_destroy(&suspects);
}

/* At the end of one ring and protected in another one: in which order? */
static void test_two_rings(void)
{
    static const uint64_t at_end[] = { 100, 9000 }, before[] = { 9000, 200 };
    DirtySuspects suspects;

    dirty_suspects_init(&suspects);
    reset(&suspects, at_end, 2);
    reset(&suspects, before, 2);
    dirty_suspects_noted(&suspects);
    g_assert_true(has(&suspects, 0, 9000));
    g_assert_true(has(&suspects, 0, 200));
    dirty_suspects_destroy(&suspects);
}

/* Positions wrap round; a whole ring of neighbours is taken in chunks. */
static void test_wrap(void)
{
    DirtyRingEntry seen[SIZE];
    DirtySuspects suspects;
    Taken taken;

    for (int i = 0; i < SIZE; i++) {
        seen[i] = (DirtyRingEntry){ .offset = i % 4 };
    }
    seen[SIZE - 2].offset = 500;
    dirty_suspects_init(&suspects);
    dirty_suspects_note(&suspects, seen, SIZE, 5 * SIZE - 3, 5 * SIZE + 2);
    g_assert_cmpuint(dirty_suspects_noted(&suspects), ==, 3);

    for (int i = 0; i < SIZE - 1; i++) {
        GArray *passed = g_array_new(FALSE, FALSE, sizeof(DirtyRingEntry));
        DirtyRingEntry one = { .slot = 3, .offset = i * 100 };

        g_array_append_val(passed, one);
        dirty_suspects_note_passed(&suspects, passed);
        g_assert_cmpuint(passed->len, ==, 0);
        g_array_unref(passed);
    }
    dirty_suspects_destroy(&suspects);

    dirty_suspects_init(&suspects);
    for (int i = 0; i < 600; i++) {
        const uint64_t page[] = { i * 100 };

        reset(&suspects, page, 1);
    }
    g_assert_cmpuint(dirty_suspects_noted(&suspects), ==, 600);
    g_assert_cmpuint(take_all(&suspects, &taken), ==, 600);
    dirty_suspects_destroy(&suspects);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dirty-suspects/end", test_end);
    g_test_add_func("/dirty-suspects/earlier", test_earlier);
    g_test_add_func("/dirty-suspects/slots", test_slots);
    g_test_add_func("/dirty-suspects/cleared", test_cleared);
    g_test_add_func("/dirty-suspects/two-rings", test_two_rings);
    g_test_add_func("/dirty-suspects/wrap", test_wrap);
    return g_test_run();
}
