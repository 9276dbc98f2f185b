/*
 * Dirty log of one memory region, for a display
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A display asks for the dirty pages of its frame buffer up to 30 times a second.
 * A memory listener that logs globally (log_sync_global) can only sync all of
 * memory, which protects each page again.  A function that is registered here can
 * answer for one region instead.
 */
#ifndef EXEC_MEMORY_REFRESH_H
#define EXEC_MEMORY_REFRESH_H

#include "exec/memory.h"

/*
 * Marks the pages of @mr that were written in DIRTY_MEMORY_VGA, and returns true;
 * false if only a global sync can.  A page may be marked again although it was not
 * written since the last call.  Called with the BQL held.
 */
typedef bool MemoryRefresh(MemoryListener *listener, MemoryRegion *mr);

/*
 * Has @refresh asked before @listener->log_sync_global is called for one region.
 * One listener per process; a later call replaces an earlier one.  Needs the BQL.
 */
void memory_refresh_register(MemoryListener *listener, MemoryRefresh *refresh);

/*
 * Syncs @mr, or all of memory if it is NULL, from @listener, which has
 * log_sync_global.  @last_stage: see there.
 */
void memory_refresh_or_sync(MemoryListener *listener, MemoryRegion *mr,
                            bool last_stage);

#endif
