/*
 * A fake guest and a fake device around a shadow ring
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle: fake_vdpa_new(), then a driver (the guest's side of a ring) and
 * a device (the other side of whichever ring it is given); all are plain
 * structures of one thread each.  See fake-vdpa.c.
 */
#ifndef TESTS_UNIT_FAKE_VDPA_H
#define TESTS_UNIT_FAKE_VDPA_H

#include <glib.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "hw/virtio/vdpa/core/vdpa-iova.h"
#include "hw/virtio/vdpa/core/vdpa-shadow-ring.h"

#define FAKE_PAGE 4096u
#define FAKE_IOVA (1ull << 32)

/* Guest memory: what lies where is fake_vdpa_new()'s. */
typedef struct FakeVdpa {
    uint8_t *ram;               /* guest address 0 is ram[0] */
    uint64_t size;
    uint8_t *dirty;             /* by byte: 1 if dirty() named it */
    VdpaIovaTable *maps;
    uint32_t *gpa_page;         /* by page from FAKE_IOVA on: 1 + guest page */
    uint64_t *iova_page;        /* by guest page: its IOVA */
    uint8_t *perm;              /* by guest page */
    bool no_ram;                /* ram() has no answer: read() and write() */
    uint64_t hole, hole_size;   /* no guest memory any more */
    bool quiet;                 /* dirty() keeps no book: threads */
    uint64_t translations;

    /* without ram(): what happens at one moment of one access */
    uint64_t reads;             /* so many were made */
    uint64_t hook_at;           /* before the next write to this address: */
    void (*hook)(void *opaque); /* ... called once */
    void *hook_opaque;
    uint64_t fail_at;           /* writes to this address fail; 0: none does */
    bool gone;                  /* there is no guest memory any more */
} FakeVdpa;

extern const VdpaShadowOps fake_vdpa_ops;

/* Whole pages of zeroes, for free(). */
void *fake_pages(size_t size);

/*
 * @size bytes of RAM at guest address 0, of which the first @whole are one map
 * and the rest maps of one to four pages each: some go on where the one before
 * ends, some lie elsewhere.  The last page is read-only for the device.
 */
FakeVdpa *fake_vdpa_new(uint64_t size, uint64_t whole, GRand *rand);
void fake_vdpa_free(FakeVdpa *vdpa);

/* The device sees @map's guest memory there. */
void fake_vdpa_add(FakeVdpa *vdpa, const VdpaIovaMap *map);

/* The guest address of [@iova, @iova + @len); UINT64_MAX if it is not mapped,
 * not contiguous guest memory, or not for that. */
uint64_t fake_vdpa_gpa(FakeVdpa *vdpa, uint64_t iova, uint64_t len,
                       bool write);

/* The field that <linux/virtio_ring.h> has no name for. */
uint16_t *fake_avail_event(struct vring_used *used, uint16_t num);

/* The driver's side of a ring in guest memory. */
typedef struct FakeDriver {
    FakeVdpa *vdpa;
    VdpaGuestLayout layout;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t avail_idx;         /* next to offer */
    uint16_t shown_avail;
    uint16_t last_used;         /* next to take back */
    uint16_t nfree;
    uint16_t free_head;
    uint16_t *next;             /* by descriptor: chain or free list */
    uint16_t *count;            /* by head: descriptors; 0: not offered */
} FakeDriver;

void fake_driver_init(FakeDriver *driver, FakeVdpa *vdpa,
                      const VdpaGuestLayout *layout, uint16_t index);
void fake_driver_destroy(FakeDriver *driver);

/*
 * Offers a chain; @table, if not 0, is where an indirect table for it goes.
 * Its head, or -1 if there is no room.
 */
int fake_driver_offer(FakeDriver *driver, const VdpaGuestSegment *segments,
                      unsigned n, uint64_t table);

/* The head that the next chain will have; -1 if there is no room for @n. */
int fake_driver_next_head(const FakeDriver *driver, unsigned n);

/* Shows what was offered; true if the device is to be kicked. */
bool fake_driver_publish(FakeDriver *driver);

/* Takes one chain back: its head, or -1. */
int fake_driver_reap(FakeDriver *driver, uint32_t *len);

/* Asks for interrupts; true if there is something already. */
bool fake_driver_enable(FakeDriver *driver);

/* The device's side of a ring, shadow or guest's. */
typedef struct FakeDevice {
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t num;
    bool event_idx;
    uint16_t next_avail;
    uint16_t used_idx;
    FakeVdpa *guest;            /* on a guest's ring: has indirect tables */
} FakeDevice;

typedef struct FakeSegment {
    uint64_t addr;
    uint32_t len;
    bool writes;
} FakeSegment;

#define FAKE_SEGMENTS_MAX 4096

void fake_device_on_shadow(FakeDevice *device, const VdpaRingMemory *memory,
                           uint16_t num, bool event_idx);
void fake_device_on_guest(FakeDevice *device, const FakeDriver *driver,
                          uint16_t base);

/* Takes a chain: its head, or -1.  Fills *@n @segs. */
int fake_device_take(FakeDevice *device, FakeSegment *segs, unsigned *n);

/* Returns one; true if the driver is to be interrupted. */
bool fake_device_return(FakeDevice *device, uint16_t head, uint32_t len);

/* Asks for kicks; true if there is something already. */
bool fake_device_enable(FakeDevice *device);

#endif
