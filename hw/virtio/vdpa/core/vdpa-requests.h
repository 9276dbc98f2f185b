/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Requests to a device, several at a time, through a ring of QEMU's.
 *
 * Theory of operation
 * -------------------
 * A request is some bytes that the device reads and one that it answers with, as
 * on a control queue. Both are copied to and from memory that the device sees,
 * which is divided into slots of one size, so that requests can wait in the ring
 * beside each other:
 *
 *   add() ... add() -> publish() -> kick -> get() ... get()
 *
 * add() says -EAGAIN when all slots are taken; one is free again after get().
 * The device takes requests in the order of add(). Answers come in any order; a
 * VdpaRequestDone has the request with it.
 *
 * An answer is read once, after the device has returned the request, and only if
 * it says that it has written it.
 *
 * Life cycle: new -> add, publish, get -> free, whenever nothing is pending. The
 * ring and the memory are the caller's and outlive it.
 *
 * Thread model: one thread at a time.
 *
 * Limits: answers of one byte.
 */
#ifndef HW_VIRTIO_VDPA_REQUESTS_H
#define HW_VIRTIO_VDPA_REQUESTS_H

#include "vdpa-ring-device.h"

/* Of QEMU, and where the device sees it. Bytes. */
typedef struct VdpaRequestMemory {
    void *requests;
    size_t requests_size;
    uint64_t requests_iova;
    void *answers;
    size_t answers_size;
    uint64_t answers_iova;
} VdpaRequestMemory;

typedef struct VdpaRequestDone {
    const uint8_t *request;     /* until its slot is taken again */
    size_t bytes;
    int answer;                 /* 0 to 255; -1: the device wrote none */
} VdpaRequestDone;

typedef struct VdpaRequests VdpaRequests;

/* Requests of up to @longest bytes, 1 to requests_size. */
VdpaRequests *vdpa_requests_new(VdpaRingDevice *ring,
                                const VdpaRequestMemory *memory,
                                size_t longest);
void vdpa_requests_free(VdpaRequests *r);

/*
 * 0; -EAGAIN: after the next get(); -EINVAL: @bytes is 0 or more than the
 * longest; or -errno as vdpa_ring_device_add().
 */
int vdpa_requests_add(VdpaRequests *r, const void *request, size_t bytes);

/* Shows the device what was added. True if it wants a kick. */
bool vdpa_requests_publish(VdpaRequests *r);

/* 1: @done is filled. 0: none is there. -EPROTO: the ring is broken. */
int vdpa_requests_get(VdpaRequests *r, VdpaRequestDone *done);

/* Requests that get() has not returned. */
unsigned vdpa_requests_pending(const VdpaRequests *r);

#endif
