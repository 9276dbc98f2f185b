/*
 * Switchover estimate: what fits into the downtime limit
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * A migration stops the guest when what remains can be sent within the downtime
 * limit.  The base takes the bandwidth for this from windows of 100 ms or more, and
 * counts the syncs in them as time spent sending.  Near the end syncs may be most of
 * a window, and then the base believes in a network much slower than the real one.
 *
 * The downtime consists of the last sync and of sending what it has found.  So the
 * bandwidth is that of sending alone, and the limit is what is left of it
 * after a sync as long as the one before.
 *
 * Where each sync is followed by sending what it found, and the last sync takes as
 * long as the others, the base's two errors cancel out: with s a sync and r the
 * sending, r / (s + r) x limit >= r says the same as s + r <= limit.  They do not
 * where syncs differ, or come without anything to send.  Whichever of both allows
 * more decides, so a migration that completes at the base completes here.
 *
 * The bandwidth is at most the user's limit, as in the base: syncs leave a smaller part
 * of the window to send the window's quota in.
 *
 * Limits: bytes that are sent while a sync runs (multifd's channels, the socket's
 * buffer) count as if sent outside of it.  They are few per sync, and
 * SWITCHOVER_SENDING_PART_MIN bounds what they can do.
 */
#include "migration/core/switchover-estimate.h"

#define NS_PER_MS 1e6
#define MS_PER_S 1000.0

double switchover_bandwidth(uint64_t bytes, uint64_t elapsed_ms,
                            uint64_t apart_ns, uint64_t max_bytes_per_s)
{
    double plain = (double)bytes / elapsed_ms;
    double sending_ms = elapsed_ms - apart_ns / NS_PER_MS;
    double least_ms = elapsed_ms * SWITCHOVER_SENDING_PART_MIN;
    double bandwidth = bytes / (sending_ms > least_ms ? sending_ms : least_ms);

    if (max_bytes_per_s && bandwidth > max_bytes_per_s / MS_PER_S) {
        bandwidth = max_bytes_per_s / MS_PER_S;
    }
    return bandwidth > plain ? bandwidth : plain;
}

uint64_t switchover_threshold(double bandwidth, double plain_bandwidth,
                              uint64_t limit_ms, uint64_t sync_ns)
{
    double bytes = bandwidth * (limit_ms - sync_ns / NS_PER_MS);
    double plain_bytes = plain_bandwidth * limit_ms;

    return bytes > plain_bytes ? bytes : plain_bytes;
}
