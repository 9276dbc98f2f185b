/*
 * Dirty log of one memory region, for a display
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Limits: one listener can register.
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "exec/memory-refresh.h"

static MemoryListener *refresh_listener;
static MemoryRefresh *refresh_region;

void memory_refresh_register(MemoryListener *listener, MemoryRefresh *refresh)
{
    GLOBAL_STATE_CODE();
    refresh_listener = listener;
    refresh_region = refresh;
}

void memory_refresh_or_sync(MemoryListener *listener, MemoryRegion *mr,
                            bool last_stage)
{
    /* COLO's checkpoints do not hold the BQL. */
    BQL_LOCK_GUARD();
    GLOBAL_STATE_CODE();
    if (!mr || listener != refresh_listener || !refresh_region(listener, mr)) {
        listener->log_sync_global(listener, last_stage);
    }
}
