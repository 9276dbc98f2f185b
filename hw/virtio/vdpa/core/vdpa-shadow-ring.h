/*
 * vDPA: shadow virtqueue, between a guest's ring and a device's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Moves buffers from the guest's ring (vdpa-ring-guest.h) to a ring of
 * QEMU that the device serves (vdpa-ring-device.h), and back, so that the device's
 * writes to guest memory are seen.  Payload is not copied: the device reads
 * and writes guest memory itself.
 *
 * Life cycle
 *
 *   vdpa_shadow_ring_new()
 *      |
 *      v                          forward() on a kick of the guest,
 *   vdpa_shadow_ring_start() ---> complete() on a call of the device
 *      ^                                     |
 *      |        device suspended or reset; drain()
 *      |                                     v
 *      '---------- state ---------- vdpa_shadow_ring_stop()
 *                                            |
 *                                            v
 *                                  vdpa_shadow_ring_free()
 *
 *   A virtual machine that is paused while its device stays shadowed and
 *   keeps its state (suspend, resume) needs no call.
 *
 * Thread model: one thread at a time (QEMU: under the BQL).
 *
 * A ring that broke (either side broke the rules) stays broken until it is
 * stopped: forward() and complete() then do nothing and return -EPROTO.
 *
 * The theory of operation is at the top of vdpa-shadow-ring.c.
 */
#ifndef HW_VIRTIO_VDPA_SHADOW_RING_H
#define HW_VIRTIO_VDPA_SHADOW_RING_H

#include "vdpa-ring-device.h"
#include "vdpa-ring-guest.h"

typedef struct VdpaShadowRing VdpaShadowRing;

/* Where the device finds a range of guest memory. */
typedef struct VdpaRange {
    uint64_t iova;
    uint64_t log;               /* for VdpaGuestOps.dirty() */
    uint64_t len;               /* contiguous bytes, from the address on */
} VdpaRange;

typedef struct VdpaShadowOps {
    /* Rings and indirect tables; dirty() also gets what the device wrote. */
    VdpaGuestOps guest;

    /*
     * Where the device finds [@addr, @addr + @len), at least its beginning:
     * asked again for the rest.  @device_writes: -EACCES if it must not.
     * 0 or -errno, which breaks the ring.
     */
    int (*translate)(void *opaque, uint64_t addr, uint64_t len,
                     bool device_writes, VdpaRange *range);
} VdpaShadowOps;

/* What forward() and complete() ask of their caller, or'ed. */
enum {
    VDPA_SHADOW_KICK = 1,       /* kick the device */
    VDPA_SHADOW_CALL = 2,       /* interrupt the guest */
    VDPA_SHADOW_MORE = 4,       /* the budget ran out: the same call again */
};

/* Where a ring stopped. */
typedef struct VdpaShadowState {
    uint16_t avail_idx;         /* next available index to take */
    uint16_t used_idx;          /* next used index to give */
    uint16_t ninflight;         /* chains taken and not given back */
    uint16_t *inflight;         /* their heads, oldest first; g_free() */
} VdpaShadowState;

/* Counters; they only grow, over starts and stops. */
typedef struct VdpaShadowStats {
    uint64_t forwarded;         /* chains given to the device */
    uint64_t descriptors;       /* ... in so many descriptors */
    uint64_t completed;         /* chains given back to the guest */
    uint64_t bytes_written;     /* by the device, as it told */
    uint64_t split;             /* chains with a segment across maps */
    uint64_t stalls;            /* times the device's ring was too full */
    uint64_t kicks, calls;      /* asked of the caller */
    uint64_t lengths_ignored;   /* lengths for chains that it could not write */
} VdpaShadowStats;

/* @ops and @opaque must outlive the ring. */
VdpaShadowRing *vdpa_shadow_ring_new(const VdpaShadowOps *ops, void *opaque);
void vdpa_shadow_ring_free(VdpaShadowRing *ring);

/*
 * Those bits of @features, of virtio's transport range (24 to 40), under
 * which a ring cannot be shadowed; 0 if it can.
 */
uint64_t vdpa_shadow_ring_refused(uint64_t features);

/* Those bits by the specification's names, for humans. The caller frees. */
char *vdpa_shadow_ring_feature_names(uint64_t features);

/*
 * Begins to shadow the guest ring at @layout with a device ring of @num
 * descriptors in @memory, which it zeroes; the device is to start at ring
 * base 0.  @state is where the previous server of the guest's ring stopped: a
 * state of vdpa_shadow_ring_stop(), or indices only, with no chain in flight.
 * Chains in flight are given to the device again, first and in their order,
 * by the first forward().  What the caller of this has to do next is that
 * forward(), as no kick comes for buffers that are there already.
 *
 * 0, -EINVAL (sizes; a state that cannot be: it may come from a migration
 * stream), -EFAULT (the ring is not in guest memory).
 */
int vdpa_shadow_ring_start(VdpaShadowRing *ring, const VdpaGuestLayout *layout,
                           uint16_t num, const VdpaRingMemory *memory,
                           const VdpaShadowState *state);

/*
 * Ends it.  The device must not touch its ring any more, and drain() must have
 * been called since.  Fills @state (may be NULL); a broken ring's is
 * where it was.  The next server of the guest's ring is to be kicked once,
 * and the guest interrupted once: neither knows what the other did meanwhile.
 */
void vdpa_shadow_ring_stop(VdpaShadowRing *ring, VdpaShadowState *state);

/*
 * Before stop(): puts the chains in flight back into the guest's available
 * ring, so that a device that knows a ring base only can serve the guest's
 * ring from there.  The state that stop() gives then has none in flight, and
 * its avail_idx equals its used_idx: the ring base.  0 or -errno.
 */
int vdpa_shadow_ring_rewind(VdpaShadowRing *ring);

/*
 * Gives up to @budget chains (0: as many as the device's ring has
 * descriptors) to the device.  VDPA_SHADOW_*, or -errno: broken.
 */
int vdpa_shadow_ring_forward(VdpaShadowRing *ring, unsigned budget);

/*
 * Gives up to @budget chains (0: as above) back to the guest, then forwards
 * what had no room before.  VDPA_SHADOW_*, or -errno: broken.
 */
int vdpa_shadow_ring_complete(VdpaShadowRing *ring, unsigned budget);

/*
 * Give back all that the device returned, forward nothing. The device has
 * stopped and may have lost its access to guest memory.
 * VDPA_SHADOW_CALL or 0, or -errno: broken.
 */
int vdpa_shadow_ring_drain(VdpaShadowRing *ring);

/* Guest memory was remapped: the next access asks ops->guest.ram() again. */
void vdpa_shadow_ring_remap(VdpaShadowRing *ring);

bool vdpa_shadow_ring_started(const VdpaShadowRing *ring);
unsigned vdpa_shadow_ring_inflight(const VdpaShadowRing *ring);

/* Why the ring is broken, which side's fault first; NULL if it is not. */
const char *vdpa_shadow_ring_broken(const VdpaShadowRing *ring);

const VdpaShadowStats *vdpa_shadow_ring_stats(const VdpaShadowRing *ring);

void vdpa_shadow_state_clear(VdpaShadowState *state);

#endif
