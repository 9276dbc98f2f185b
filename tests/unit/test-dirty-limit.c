/*
 * dirty-limit: the time in which a ring fills
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <glib.h>

#include "system/dirty-limit-core.h"

static void test_ring_full(void)
{
    static const struct {
        uint32_t entries, page_bytes;
        uint64_t rate_mib, us;
    } rows[] = {
        { 4096, 4096, 16, 1000000 },
        { 65536, 4096, 1, 256000000 },
        /* less than one MiB: the ring still takes its time */
        { 128, 4096, 1, 500000 },
        { 1, 4096, 1, 3906 },
        /* less than 1 MiB/s is measured as 0 */
        { 1024, 4096, 0, 4000000 },
        /* the largest ring and pages */
        { 1 << 24, 65536, 1, 1048576000000 },
        { 0, 4096, 0, 0 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_assert_cmpuint(dirty_limit_ring_full_us(rows[i].entries,
                                                  rows[i].page_bytes,
                                                  rows[i].rate_mib), ==,
                         rows[i].us);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dirty-limit/ring-full", test_ring_full);
    return g_test_run();
}
