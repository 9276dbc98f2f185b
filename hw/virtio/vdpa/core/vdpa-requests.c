/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Requests to a device, several at a time. See vdpa-requests.h, also for the
 * limits.
 */
#include <errno.h>
#include <string.h>
#include <glib.h>

#include "vdpa-requests.h"

#define DESCRIPTORS 2       /* of a request: it, and its answer */

struct VdpaRequests {
    VdpaRingDevice *ring;
    VdpaRequestMemory memory;
    size_t longest;
    unsigned slots;
    unsigned n_free;
    uint16_t *free;         /* a stack of slots */
    size_t *bytes;          /* by slot; 0: free */
};

VdpaRequests *vdpa_requests_new(VdpaRingDevice *ring,
                                const VdpaRequestMemory *memory,
                                size_t longest)
{
    VdpaRequests *r = g_new0(VdpaRequests, 1);
    size_t slots = MIN(memory->requests_size / longest, memory->answers_size);

    r->ring = ring;
    r->memory = *memory;
    r->longest = longest;
    r->slots = MIN(slots, vdpa_ring_device_num(ring) / DESCRIPTORS);
    r->free = g_new(uint16_t, r->slots);
    r->bytes = g_new0(size_t, r->slots);
    while (r->n_free < r->slots) {
        r->free[r->n_free] = r->slots - 1 - r->n_free;
        r->n_free++;
    }
    return r;
}

void vdpa_requests_free(VdpaRequests *r)
{
    if (r) {
        g_free(r->free);
        g_free(r->bytes);
        g_free(r);
    }
}

static uint8_t *request_at(const VdpaRequests *r, unsigned slot)
{
    return (uint8_t *)r->memory.requests + slot * r->longest;
}

static uint8_t *answer_at(const VdpaRequests *r, unsigned slot)
{
    return (uint8_t *)r->memory.answers + slot;
}

int vdpa_requests_add(VdpaRequests *r, const void *request, size_t bytes)
{
    VdpaDeviceBuf bufs[DESCRIPTORS];
    unsigned slot;
    int err;

    if (!bytes || bytes > r->longest) {
        return -EINVAL;
    }
    if (!r->n_free) {
        return -EAGAIN;
    }
    slot = r->free[r->n_free - 1];
    bufs[0] = (VdpaDeviceBuf) {
        .iova = r->memory.requests_iova + slot * r->longest, .len = bytes,
    };
    bufs[1] = (VdpaDeviceBuf) {
        .iova = r->memory.answers_iova + slot, .len = 1, .device_writes = true,
    };
    memcpy(request_at(r, slot), request, bytes);
    err = vdpa_ring_device_add(r->ring, bufs, DESCRIPTORS, slot);
    if (err) {
        return err;
    }
    r->bytes[slot] = bytes;
    r->n_free--;
    return 0;
}

bool vdpa_requests_publish(VdpaRequests *r)
{
    return vdpa_ring_device_publish(r->ring);
}

int vdpa_requests_get(VdpaRequests *r, VdpaRequestDone *done)
{
    VdpaDeviceDone got;
    int ret = vdpa_ring_device_get(r->ring, &got);
    unsigned slot;

    if (ret <= 0) {
        return ret;
    }
    slot = got.token;
    *done = (VdpaRequestDone) {
        .request = request_at(r, slot), .bytes = r->bytes[slot],
        .answer = got.len ? __atomic_load_n(answer_at(r, slot), __ATOMIC_RELAXED)
                          : -1,
    };
    r->bytes[slot] = 0;
    r->free[r->n_free++] = slot;
    return 1;
}

unsigned vdpa_requests_pending(const VdpaRequests *r)
{
    return r->slots - r->n_free;
}
