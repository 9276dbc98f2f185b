/*
 * vDPA: a split virtqueue of our own, written as its driver
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Offers buffers to a device and takes them back.  The ring lies in memory
 * that the caller allocated and mapped for the device.  Nothing that is
 * needed later is read back from memory that the device can write: what the
 * device may corrupt are the used ring's entries, and these are checked.
 * A nonsensical one breaks the ring, with a reason, and nothing else.
 *
 * Life cycle
 *
 *   vdpa_ring_device_new() -> tell the device the addresses, ring base 0
 *   -> add, publish, get, notifications -> vdpa_ring_device_free() once the
 *   device is stopped
 *
 * Thread model: one thread at a time (QEMU: under the BQL).
 *
 * The theory of operation is at the top of vdpa-ring-device.c.
 */
#ifndef HW_VIRTIO_VDPA_RING_DEVICE_H
#define HW_VIRTIO_VDPA_RING_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct VdpaRingDevice VdpaRingDevice;

/*
 * The ring's memory.  driver: vdpa_ring_driver_area_size() bytes, zeroed, the
 * device reads them: the descriptor table, and avail_offset bytes into it the
 * available ring.  device: vdpa_ring_device_area_size() bytes, zeroed, the
 * device writes them: the used ring.  Both at page addresses.
 */
typedef struct VdpaRingMemory {
    void *driver;
    void *device;
} VdpaRingMemory;

size_t vdpa_ring_driver_area_size(uint16_t num);
size_t vdpa_ring_avail_offset(uint16_t num);
size_t vdpa_ring_device_area_size(uint16_t num);

/* A buffer, or a segment of one. */
typedef struct VdpaDeviceBuf {
    uint64_t iova;
    uint64_t log;               /* what written() is told of it */
    uint32_t len;               /* not 0 */
    bool device_writes;         /* none that it reads follows one it writes */
} VdpaDeviceBuf;

/*
 * The device has written [@log, @log + @len), as far as it told: a chain's
 * first bytes, up to the length in its used entry.
 */
typedef void (*VdpaWritten)(void *opaque, uint64_t log, uint64_t len);

/* What came back from the device. */
typedef struct VdpaDeviceDone {
    uint32_t token;             /* as add() took it */
    uint32_t len;               /* bytes written; 0 if it could write none */
    bool len_ignored;           /* could write none and says it did */
} VdpaDeviceDone;

/*
 * A ring of @num descriptors, a power of two to 32,768.
 * @written may be NULL.  The memory stays the caller's and must outlive the
 * ring.  NULL if @num is not fit.
 */
VdpaRingDevice *vdpa_ring_device_new(uint16_t num, const VdpaRingMemory *memory,
                                     bool event_idx, VdpaWritten written,
                                     void *opaque);
void vdpa_ring_device_free(VdpaRingDevice *ring);

/* Zeroes the ring and forgets all buffers: for a device that was reset. */
void vdpa_ring_device_reset(VdpaRingDevice *ring);

uint16_t vdpa_ring_device_num(const VdpaRingDevice *ring);

/* Descriptors left for add(). */
unsigned vdpa_ring_device_room(const VdpaRingDevice *ring);

/* Buffers that add() was given and get() has not returned. */
unsigned vdpa_ring_device_inflight(const VdpaRingDevice *ring);

/*
 * Puts @n segments into the ring as one chain.  The device sees it after the
 * next publish().  0, -ENOSPC (not that many descriptors are free now),
 * -E2BIG (never will be), -EINVAL (@n is 0), -EPROTO (broken).
 */
int vdpa_ring_device_add(VdpaRingDevice *ring, const VdpaDeviceBuf *bufs,
                         unsigned n, uint32_t token);

/* Shows the device what was added.  True if it wants a kick. */
bool vdpa_ring_device_publish(VdpaRingDevice *ring);

/*
 * Takes one buffer back, in whatever order the device returns them, after
 * written() was called for what it wrote.  1, 0 (there is none), or -EPROTO
 * (broken).
 */
int vdpa_ring_device_get(VdpaRingDevice *ring, VdpaDeviceDone *done);

/* Asks the device not to call; it may still. */
void vdpa_ring_device_notify_off(VdpaRingDevice *ring);

/*
 * Asks the device to call at the next buffer it returns.  True if there is
 * one already, for which no call may come.
 */
bool vdpa_ring_device_notify_on(VdpaRingDevice *ring);

/* Why the ring is broken; NULL if it is not.  The ring's own string. */
const char *vdpa_ring_device_broken(const VdpaRingDevice *ring);

#endif
