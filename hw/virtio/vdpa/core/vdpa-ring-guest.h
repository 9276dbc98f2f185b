/*
 * vDPA: a guest's split virtqueue, read as its device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Takes descriptor chains from a ring in guest memory and gives them back.
 * The guest may write anything anywhere at any time: every index, length and
 * address is read once, checked, and used from the copy.  What does not hold
 * breaks the ring: vdpa_ring_guest_broken() says why, that call and all later
 * ones return -EPROTO and do nothing, and nothing else is affected.
 *
 * Life cycle
 *
 *   vdpa_ring_guest_start() -> pop, push, flush, notifications
 *   -> vdpa_ring_guest_stop(); may be started again
 *
 * Thread model: one thread at a time (QEMU: under the BQL).
 *
 * The theory of operation is at the top of vdpa-ring-guest.c.
 */
#ifndef HW_VIRTIO_VDPA_RING_GUEST_H
#define HW_VIRTIO_VDPA_RING_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How guest memory is reached.  Addresses are what the driver writes: guest-
 * physical, or IOVAs of the guest's own IOMMU.
 */
typedef struct VdpaGuestOps {
    /*
     * Where [@addr, @addr + @len) is in this process, if it is contiguous
     * RAM that stays there until vdpa_ring_guest_stop() or _remap(); else
     * NULL, and read() and write() are used.  *@log: what dirty() gets for
     * @addr.  No op may end or free the ring: see "Lifetime" in
     * vdpa-ring-guest.c.
     */
    void *(*ram)(void *opaque, uint64_t addr, uint64_t len, bool write,
                 uint64_t *log);

    /*
     * Copies from, to guest memory where ram() has no answer.  0, or -errno
     * if it is not RAM, all of it, at this moment.  write() marks what it wrote
     * dirty itself.  Accesses of 2, 4 and 8 bytes are whole; each call is a full
     * memory barrier.
     */
    int (*read)(void *opaque, uint64_t addr, void *to, size_t len);
    int (*write)(void *opaque, uint64_t addr, const void *from, size_t len);

    /*
     * [@log, @log + @len) was written: may be lost to a migration if not
     * copied again.  Ranges need not be page aligned.  May be NULL.
     */
    void (*dirty)(void *opaque, uint64_t log, uint64_t len);
} VdpaGuestOps;

/* One segment of a chain, as the guest described it; len is never 0. */
typedef struct VdpaGuestSegment {
    uint64_t addr;
    uint32_t len;
    bool device_writes;
} VdpaGuestSegment;

/* A chain: first the segments that the device reads, then those it writes. */
typedef struct VdpaGuestChain {
    const VdpaGuestSegment *segments;   /* the ring's; until the next pop */
    unsigned nread;
    unsigned nwrite;
    uint64_t read_len;          /* bytes */
    uint64_t write_len;
    uint16_t head;              /* what push() takes */
} VdpaGuestChain;

/* Where a ring is and what its two sides agreed on. */
typedef struct VdpaGuestLayout {
    uint64_t desc, avail, used; /* addresses for VdpaGuestOps */
    uint16_t num;               /* descriptors: a power of two, to 32,768 */
    bool event_idx;             /* VIRTIO_RING_F_EVENT_IDX */
    bool indirect;              /* VIRTIO_RING_F_INDIRECT_DESC */
} VdpaGuestLayout;

typedef struct VdpaRingGuest VdpaRingGuest;

/* @ops and @opaque must outlive the ring. */
VdpaRingGuest *vdpa_ring_guest_new(const VdpaGuestOps *ops, void *opaque);
void vdpa_ring_guest_free(VdpaRingGuest *ring);

/*
 * Begins to serve a ring: the next chain is taken from available index
 * @avail_idx, the next is given back at used index @used_idx.  0, or -EINVAL
 * (size), -EFAULT (the ring is not in guest memory).  Clears a broken state.
 */
int vdpa_ring_guest_start(VdpaRingGuest *ring, const VdpaGuestLayout *layout,
                          uint16_t avail_idx, uint16_t used_idx);

/*
 * Stop serving: flush, ask the guest to kick the next server of the ring, forget
 * the pointers that ops->ram() gave.
 */
void vdpa_ring_guest_stop(VdpaRingGuest *ring);

/* Guest memory was remapped: the next access asks ops->ram() again. */
void vdpa_ring_guest_remap(VdpaRingGuest *ring);

/* Takes the next chain: 1, or 0 (there is none), or -errno (broken). */
int vdpa_ring_guest_pop(VdpaRingGuest *ring, VdpaGuestChain *chain);

/*
 * The same for chain @head, without regard to the available ring: it was
 * taken from there in the ring's earlier life and not given back.
 */
int vdpa_ring_guest_take(VdpaRingGuest *ring, uint16_t head,
                         VdpaGuestChain *chain);

/* Undoes the last pop or take, which returned 1, before any other call. */
void vdpa_ring_guest_unpop(VdpaRingGuest *ring);

/* How many chains wait; 0 when broken. */
unsigned vdpa_ring_guest_waiting(VdpaRingGuest *ring);

/*
 * Gives chain @head back with @len bytes written.  The guest sees it after
 * the next flush().  Chains may be given back in any order.  0, -EINVAL (it
 * is not taken), -EPROTO.
 */
int vdpa_ring_guest_push(VdpaRingGuest *ring, uint16_t head, uint32_t len);

/*
 * Shows the guest what was pushed: 1 if it wants to be interrupted, 0 if
 * not, -errno.
 */
int vdpa_ring_guest_flush(VdpaRingGuest *ring);

/* Asks the guest not to kick; it may still. */
void vdpa_ring_guest_notify_off(VdpaRingGuest *ring);

/*
 * Asks the guest to kick at the next chain.  1 if there is one already, for
 * which no kick may come; 0 if not; -errno.
 */
int vdpa_ring_guest_notify_on(VdpaRingGuest *ring);

/* Why the ring is broken; NULL if it is not.  The ring's own string. */
const char *vdpa_ring_guest_broken(const VdpaRingGuest *ring);

/* Breaks the ring for a reason that its user found. */
void vdpa_ring_guest_break(VdpaRingGuest *ring, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The next available index to take, the next used index to give. */
uint16_t vdpa_ring_guest_avail_idx(const VdpaRingGuest *ring);
uint16_t vdpa_ring_guest_used_idx(const VdpaRingGuest *ring);

/*
 * Writes @heads into the available ring's @n slots that end just before the
 * next index, and steps back by as many: the next server of the ring finds
 * them first.  They are no longer taken.  See "Rewinding" in
 * vdpa-shadow-ring.c.  0 or -errno.
 */
int vdpa_ring_guest_rewind(VdpaRingGuest *ring, const uint16_t *heads,
                           unsigned n);

#endif
