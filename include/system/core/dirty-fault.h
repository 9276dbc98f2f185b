/*
 * Planted faults of dirty tracking
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A build with CONFIG_DIRTY_FAULTS loses guest memory on purpose, to show that the tests
 * notice.  The environment variable QEMU_LIVE_DIRTY_FAULT names the fault:
 *
 *     ring       one ring entry in 100,000 that are released is not published
 *     summary    one chunk of pages in 300 is never marked
 *
 * Without the variable, and in any other build, no memory is lost.
 */
#ifndef SYSTEM_DIRTY_FAULT_H
#define SYSTEM_DIRTY_FAULT_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Returns true if memory is to be lost by the fault @name. */
static inline bool dirty_fault_is(const char *name)
{
#ifdef CONFIG_DIRTY_FAULTS
    const char *planted = getenv("QEMU_LIVE_DIRTY_FAULT");

    return planted && strcmp(planted, name) == 0;
#else
    (void)name;
    return false;
#endif
}

#endif
