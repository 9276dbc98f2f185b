/*
 * vDPA: which memory a device sees at which I/O virtual address
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A map says that [iova, iova + size) of the device's address space is
 * [hva, hva + size) of this process and, where it is guest RAM,
 * [gpa, gpa + size) of the guest.  A table holds the maps of one address
 * space, of which no two overlap there, and finds them by IOVA in O(log n).  The
 * same host memory can be in several maps (aliases).
 *
 * Life cycle
 *
 *   vdpa_iova_new() -> add, alloc, remove, look up -> vdpa_iova_free()
 *
 *   The table is a book: it maps nothing in the device, it says what is to be
 *   mapped or has been.  A VdpaIovaMap pointer is valid until that map is
 *   removed.
 *
 * Thread model
 *
 *   The caller's lock (QEMU: the BQL) protects a table.  Lookups change
 *   nothing, so any number of them may run at once if no change does.
 *
 * Errors are negative errno.  The theory of operation is at the top of
 * vdpa-iova.c.
 */
#ifndef HW_VIRTIO_VDPA_IOVA_H
#define HW_VIRTIO_VDPA_IOVA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No guest-physical address: the map is of QEMU's memory. */
#define VDPA_IOVA_NONE UINT64_MAX

/* What the device may do; the values are those of VHOST_ACCESS_RO and _WO. */
enum {
    VDPA_IOVA_READ = 1,
    VDPA_IOVA_WRITE = 2,
    VDPA_IOVA_RW = VDPA_IOVA_READ | VDPA_IOVA_WRITE,
};

typedef struct VdpaIovaTable VdpaIovaTable;

/* One map.  Addresses and size are multiples of the table's page size. */
typedef struct VdpaIovaMap {
    uint64_t iova;
    uint64_t size;              /* bytes, at least a page */
    uint64_t hva;
    uint64_t gpa;               /* or VDPA_IOVA_NONE */
    uint8_t perm;               /* VDPA_IOVA_* */
} VdpaIovaMap;

/* Where vdpa_iova_alloc() may put a map. */
typedef struct VdpaIovaLimits {
    uint64_t first;
    uint64_t last;              /* inclusive */
    uint64_t align;             /* a power of two; 0: the page size */
    bool top_down;              /* from last downwards, not first upwards */
} VdpaIovaLimits;

/* What a lookup by address and length found. */
typedef struct VdpaIovaRange {
    uint64_t iova;              /* of the address asked for */
    uint64_t hva;               /* the same */
    uint64_t gpa;               /* the same, or VDPA_IOVA_NONE */
    uint64_t len;               /* bytes until the map or the request ends */
} VdpaIovaRange;

/*
 * A table for IOVAs in [@first, @last] (VHOST_VDPA_GET_IOVA_RANGE) whose maps
 * are multiples of @page_size, a power of two.
 */
VdpaIovaTable *vdpa_iova_new(uint64_t first, uint64_t last,
                             uint64_t page_size);
void vdpa_iova_free(VdpaIovaTable *table);

/*
 * Adds a copy of @map at map->iova.  0, or
 *   -EINVAL  not aligned, size 0, an address range wraps, perm out of range
 *   -ERANGE  not within the table's [first, last]
 *   -EEXIST  overlaps a map
 */
int vdpa_iova_add(VdpaIovaTable *table, const VdpaIovaMap *map);

/*
 * Finds a free IOVA for @map within @limits (NULL: the whole table, upwards),
 * stores it in map->iova and adds a copy.  The first fit in that
 * direction, found in O(log n).  0, or
 *   -EINVAL  as vdpa_iova_add()
 *   -ENOSPC  no hole within the limits is large enough
 */
int vdpa_iova_alloc(VdpaIovaTable *table, VdpaIovaMap *map,
                    const VdpaIovaLimits *limits);

/* Removes the map that starts at @iova and has @size.  0 or -ENOENT. */
int vdpa_iova_remove(VdpaIovaTable *table, uint64_t iova, uint64_t size);

/* The map that holds @iova; NULL if none. */
const VdpaIovaMap *vdpa_iova_find(const VdpaIovaTable *table, uint64_t iova);

/* The map with the lowest IOVA that is not below @iova; NULL if none. */
const VdpaIovaMap *vdpa_iova_at_or_above(const VdpaIovaTable *table,
                                         uint64_t iova);

/*
 * The map of guest memory with the lowest IOVA that has an address from @iova
 * to @last, though it may begin below or end above; NULL if none. Maps without
 * a guest address are passed over.
 */
const VdpaIovaMap *vdpa_iova_guest_in(const VdpaIovaTable *table,
                                      uint64_t iova, uint64_t last);

/*
 * Removes the map that vdpa_iova_guest_in() finds, and copies it to @old. What
 * of it lies outside [@iova, @last], rounded to whole pages, is left to the
 * caller to add again: up to two maps in @rest. Returns how many, or -ENOENT.
 */
int vdpa_iova_remove_guest(VdpaIovaTable *table, uint64_t iova, uint64_t last,
                           VdpaIovaMap *old, VdpaIovaMap rest[2]);

/* The map that follows @map, IOVAs rising; NULL at the end. */
const VdpaIovaMap *vdpa_iova_next(const VdpaIovaTable *table,
                                  const VdpaIovaMap *map);

/*
 * Where [@iova, @iova + @len) is: fills @range for the part that
 * one map covers; the caller asks again for the rest.  @need: VDPA_IOVA_*
 * that the map must allow.  0, -ENOENT (no map), -EACCES, or -EINVAL (@len is
 * 0, or the range wraps).
 */
int vdpa_iova_range(const VdpaIovaTable *table, uint64_t iova, uint64_t len,
                    unsigned need, VdpaIovaRange *range);

#endif
