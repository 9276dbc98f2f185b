/*
 * vDPA: the split virtqueue in memory (VIRTIO 1.2, section 2.7)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Offsets and flags, for both sides.  Everything is little-endian: devices
 * without VIRTIO_F_VERSION_1 are not shadowed.
 */
#ifndef HW_VIRTIO_VDPA_RING_LAYOUT_H
#define HW_VIRTIO_VDPA_RING_LAYOUT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* The most descriptors that a ring has. */
#define RING_NUM_MAX 32768

/* Descriptor table: {u64 addr; u32 len; u16 flags; u16 next}. */
#define RING_DESC_SIZE 16
#define RING_DESC_ALIGN 16
#define RING_DESC_F_NEXT 1u
#define RING_DESC_F_WRITE 2u
#define RING_DESC_F_INDIRECT 4u

/* Available ring: u16 flags, u16 idx, u16 ring[num], u16 used_event. */
#define RING_AVAIL_ALIGN 2
#define RING_AVAIL_F_NO_INTERRUPT 1u
/* Used ring: u16 flags, u16 idx, {u32 id, len} ring[num], u16 avail_event. */
#define RING_USED_ALIGN 4
#define RING_USED_ELEM_SIZE 8
#define RING_USED_F_NO_NOTIFY 1u

/* A packed ring's event structure: u16 off_wrap, u16 flags (section 2.8.14). */
#define RING_PACKED_EVENT 4

/* Both. */
#define RING_FLAGS 0
#define RING_IDX 2
#define RING_SLOTS 4

static inline uint64_t ring_avail_slot(uint16_t slot)
{
    return RING_SLOTS + 2ull * slot;
}

static inline uint64_t ring_used_slot(uint16_t slot)
{
    return RING_SLOTS + (uint64_t)RING_USED_ELEM_SIZE * slot;
}

/* Where the events are, and the sizes of the whole. */
static inline uint64_t ring_used_event(uint16_t num)
{
    return ring_avail_slot(num);
}

static inline uint64_t ring_avail_event(uint16_t num)
{
    return ring_used_slot(num);
}

static inline uint64_t ring_desc_size(uint16_t num)
{
    return (uint64_t)RING_DESC_SIZE * num;
}

static inline uint64_t ring_avail_size(uint16_t num)
{
    return ring_used_event(num) + 2;
}

static inline uint64_t ring_used_size(uint16_t num)
{
    return ring_avail_event(num) + 2;
}

/* The same without the event's field, unless that was agreed on. */
static inline uint64_t ring_avail_bytes(uint16_t num, bool event_idx)
{
    return ring_avail_size(num) - (event_idx ? 0 : 2);
}

static inline uint64_t ring_used_bytes(uint16_t num, bool event_idx)
{
    return ring_used_size(num) - (event_idx ? 0 : 2);
}

/* A descriptor in two words, each read or written at once. */
typedef struct RingDesc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
} RingDesc;

static inline RingDesc ring_desc_unpack(const uint64_t words[2])
{
    uint64_t rest = GUINT64_FROM_LE(words[1]);

    return (RingDesc) {
        .addr = GUINT64_FROM_LE(words[0]),
        .len = (uint32_t)rest,
        .flags = (uint16_t)(rest >> 32),
        .next = (uint16_t)(rest >> 48),
    };
}

static inline uint64_t ring_desc_rest(uint32_t len, uint16_t flags,
                                      uint16_t next)
{
    return GUINT64_TO_LE(len | (uint64_t)flags << 32 | (uint64_t)next << 48);
}

/*
 * Whether the step from @old to @now passes @event, that is, whether who set
 * the event wants to hear of it (section 2.7.7.2).
 */
static inline bool ring_event_passed(uint16_t event, uint16_t now, uint16_t old)
{
    return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

#endif
