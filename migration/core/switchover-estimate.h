/*
 * Switchover estimate: what fits into the downtime limit, free of QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Pure functions; no lock is needed.  The theory of operation is at the top of
 * switchover-estimate.c.
 */
#ifndef MIGRATION_CORE_SWITCHOVER_ESTIMATE_H
#define MIGRATION_CORE_SWITCHOVER_ESTIMATE_H

#include <stdint.h>

/* At least this part of a window is taken as time spent sending. */
#define SWITCHOVER_SENDING_PART_MIN (1.0 / 8)

/*
 * Returns the bandwidth of sending, in bytes per ms.
 *
 * @bytes: sent in a window of @elapsed_ms (above 0), of which
 * @apart_ns: were spent on finding out what is dirty
 * @max_bytes_per_s: the limit that the user has set; 0: none
 */
double switchover_bandwidth(uint64_t bytes, uint64_t elapsed_ms,
                            uint64_t apart_ns, uint64_t max_bytes_per_s);

/*
 * Returns how many bytes can be sent within a downtime of @limit_ms.
 *
 * @bandwidth: of sending, in bytes per ms
 * @plain_bandwidth: the same with all of the window taken as time spent sending
 * @sync_ns: that the last sync will take
 */
uint64_t switchover_threshold(double bandwidth, double plain_bandwidth,
                              uint64_t limit_ms, uint64_t sync_ns);

#endif
