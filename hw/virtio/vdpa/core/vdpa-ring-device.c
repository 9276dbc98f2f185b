/*
 * vDPA: a split virtqueue of our own, written as its driver
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * The ring proper is in memory that the device reads (descriptors, available
 * ring) and writes (used ring).  Beside it, in memory that it cannot reach,
 * is a cell for each descriptor: which one follows, how long the segment is,
 * where its writing is to be noted.  A cell of a chain's first descriptor also
 * has what belongs to the whole chain.  Cells that no chain uses form the free
 * list, linked by the same field; a chain that comes back is put on it whole,
 * without going through it.
 *
 * Trust.  Of what the device writes, this is looked at, each field once:
 *
 *   used idx       not more ahead than there are buffers in flight
 *   id             the first descriptor of a chain that is in flight
 *   len            not more than the chain's writable segments hold
 *   event, flags   any value will do: it only says whether a kick is wanted
 *
 * A length for a chain that has no writable segment is taken for 0: devices
 * have long been sloppy there, and nothing depends on it.
 *
 * What the device wrote is reported as it says: the first len bytes of the
 * writable segments, in order.  A device that writes beyond what it says does
 * so unseen; a driver is not to look there (VIRTIO 1.2, section 2.7.8.2).
 *
 * Order of accesses, with the device's pairs:
 *
 *   avail idx, stored     after slots and descriptors are: pairs with the
 *                         device's barrier between its reading idx and these
 *   used idx, loaded      before the entries are: pairs with the device's
 *                         barrier between its writing entries and idx
 *   avail idx stored, then event or flags loaded; event or flags stored, then
 *                         used idx loaded: as in vdpa-ring-guest.c
 *
 * Failures: the first violation breaks the ring.  Adding fails with -ENOSPC
 * and leaves the ring as it was.
 *
 * Limits: chains are made of descriptors of the ring, never of indirect
 * tables, so a ring holds as many segments as it has descriptors.  The device
 * returns each chain in an entry of its own (no VIRTIO_F_IN_ORDER).
 */
#include "vdpa-ring-device.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

#include "vdpa-ring-layout.h"

/* What is known of one descriptor, whatever the device does to the ring. */
typedef struct Cell {
    uint64_t log;
    uint32_t len;
    uint16_t next;              /* of the chain, or of the free list */
    bool writes;
    /* The first of a chain only. */
    bool inflight;
    uint32_t token;
    uint16_t tail;              /* the chain's last descriptor */
    uint16_t count;             /* ... and how many it has */
    uint64_t write_len;         /* bytes that the device may write */
} Cell;

struct VdpaRingDevice {
    uint16_t num;
    bool event_idx;
    VdpaRingMemory memory;
    uint64_t *desc;             /* two words each */
    uint8_t *avail, *used;
    VdpaWritten written;
    void *opaque;
    char *broken;

    Cell *cells;
    uint16_t free_head;
    uint16_t nfree;
    uint16_t inflight;

    uint16_t next_avail;        /* where add() puts the next chain */
    uint16_t shown_avail;       /* as the device sees it */
    uint16_t next_used;         /* the next entry to take */
    uint16_t seen_used;         /* the device's idx when last looked at */
};

/* --- memory --------------------------------------------------------------- */

static size_t whole_pages(size_t size)
{
    size_t page = sysconf(_SC_PAGESIZE);

    return (size + page - 1) / page * page;
}

size_t vdpa_ring_driver_area_size(uint16_t num)
{
    return whole_pages(ring_desc_size(num) + ring_avail_size(num));
}

size_t vdpa_ring_avail_offset(uint16_t num)
{
    return ring_desc_size(num);
}

size_t vdpa_ring_device_area_size(uint16_t num)
{
    return whole_pages(ring_used_size(num));
}

static uint16_t load16(const uint8_t *area, uint64_t offset)
{
    uint16_t value = __atomic_load_n((const uint16_t *)(area + offset),
                                     __ATOMIC_SEQ_CST);

    return GUINT16_FROM_LE(value);
}

static void store16(uint8_t *area, uint64_t offset, uint16_t value)
{
    __atomic_store_n((uint16_t *)(area + offset), GUINT16_TO_LE(value),
                     __ATOMIC_SEQ_CST);
}

static uint32_t load32(const uint8_t *area, uint64_t offset)
{
    uint32_t value = __atomic_load_n((const uint32_t *)(area + offset),
                                     __ATOMIC_RELAXED);

    return GUINT32_FROM_LE(value);
}

/* --- life cycle ----------------------------------------------------------- */

void vdpa_ring_device_reset(VdpaRingDevice *ring)
{
    memset(ring->memory.driver, 0, vdpa_ring_driver_area_size(ring->num));
    memset(ring->memory.device, 0, vdpa_ring_device_area_size(ring->num));
    memset(ring->cells, 0, sizeof(Cell) * ring->num);
    for (unsigned i = 0; i < ring->num; i++) {
        ring->cells[i].next = i + 1;
    }
    ring->free_head = 0;
    ring->nfree = ring->num;
    ring->inflight = 0;
    ring->next_avail = ring->shown_avail = 0;
    ring->next_used = ring->seen_used = 0;
    g_clear_pointer(&ring->broken, g_free);
}

VdpaRingDevice *vdpa_ring_device_new(uint16_t num, const VdpaRingMemory *memory,
                                     bool event_idx, VdpaWritten written,
                                     void *opaque)
{
    VdpaRingDevice *ring;

    if (!num || num & (num - 1) || num > RING_NUM_MAX) {
        return NULL;
    }
    ring = g_new0(VdpaRingDevice, 1);
    ring->num = num;
    ring->event_idx = event_idx;
    ring->memory = *memory;
    ring->desc = memory->driver;
    ring->avail = (uint8_t *)memory->driver + vdpa_ring_avail_offset(num);
    ring->used = memory->device;
    ring->written = written;
    ring->opaque = opaque;
    ring->cells = g_new(Cell, num);
    vdpa_ring_device_reset(ring);
    return ring;
}

void vdpa_ring_device_free(VdpaRingDevice *ring)
{
    if (ring) {
        g_free(ring->cells);
        g_free(ring->broken);
        g_free(ring);
    }
}

uint16_t vdpa_ring_device_num(const VdpaRingDevice *ring)
{
    return ring->num;
}

unsigned vdpa_ring_device_room(const VdpaRingDevice *ring)
{
    return ring->nfree;
}

unsigned vdpa_ring_device_inflight(const VdpaRingDevice *ring)
{
    return ring->inflight;
}

const char *vdpa_ring_device_broken(const VdpaRingDevice *ring)
{
    return ring->broken;
}

static int G_GNUC_PRINTF(2, 3) set_broken(VdpaRingDevice *ring,
                                          const char *format, ...)
{
    va_list args;

    va_start(args, format);
    ring->broken = g_strdup_vprintf(format, args);
    va_end(args);
    return -EPROTO;
}

/* --- offering buffers ----------------------------------------------------- */

/* Writes one descriptor and its cell. */
static void write_descriptor(VdpaRingDevice *ring, uint16_t index,
                             const VdpaDeviceBuf *buf, bool more)
{
    Cell *cell = &ring->cells[index];
    uint16_t flags = (more ? RING_DESC_F_NEXT : 0) |
                     (buf->device_writes ? RING_DESC_F_WRITE : 0);

    cell->log = buf->log;
    cell->len = buf->len;
    cell->writes = buf->device_writes;
    ring->desc[2 * index] = GUINT64_TO_LE(buf->iova);
    ring->desc[2 * index + 1] = ring_desc_rest(buf->len, flags,
                                               more ? cell->next : 0);
}

int vdpa_ring_device_add(VdpaRingDevice *ring, const VdpaDeviceBuf *bufs,
                         unsigned n, uint32_t token)
{
    uint16_t head = ring->free_head, tail = head, index = head;
    uint64_t write_len = 0;

    if (ring->broken) {
        return -EPROTO;
    }
    if (!n || n > ring->nfree) {
        return !n ? -EINVAL : n > ring->num ? -E2BIG : -ENOSPC;
    }
    for (unsigned i = 0; i < n; i++) {
        write_descriptor(ring, index, &bufs[i], i + 1 < n);
        write_len += bufs[i].device_writes ? bufs[i].len : 0;
        tail = index;
        index = ring->cells[index].next;
    }
    ring->cells[head].inflight = true;
    ring->cells[head].token = token;
    ring->cells[head].tail = tail;
    ring->cells[head].count = n;
    ring->cells[head].write_len = write_len;
    ring->free_head = index;
    ring->nfree -= n;
    ring->inflight++;
    *(uint16_t *)(ring->avail +
                  ring_avail_slot(ring->next_avail & (ring->num - 1))) =
        GUINT16_TO_LE(head);
    ring->next_avail++;
    return 0;
}

bool vdpa_ring_device_publish(VdpaRingDevice *ring)
{
    uint16_t old = ring->shown_avail;

    if (ring->next_avail == old || ring->broken) {
        return false;
    }
    store16(ring->avail, RING_IDX, ring->next_avail);
    ring->shown_avail = ring->next_avail;
    if (ring->event_idx) {
        return ring_event_passed(
            load16(ring->used, ring_avail_event(ring->num)),
            ring->next_avail, old);
    }
    return !(load16(ring->used, RING_FLAGS) & RING_USED_F_NO_NOTIFY);
}

/* --- taking them back ----------------------------------------------------- */

/* Looks at the used ring again: how many entries wait, or -EPROTO. */
static int read_used_idx(VdpaRingDevice *ring)
{
    uint16_t idx = load16(ring->used, RING_IDX);
    uint16_t waiting = idx - ring->next_used;

    if (waiting > ring->inflight) {
        return set_broken(ring, "used index %u, %u after %u, with %u buffers",
                          idx, waiting, ring->next_used, ring->inflight);
    }
    ring->seen_used = idx;
    return waiting;
}

/* Reports the chain's first @len writable bytes. */
static void report(VdpaRingDevice *ring, uint16_t head, uint64_t len)
{
    const Cell *cell = &ring->cells[head];

    while (len) {
        if (cell->writes) {
            uint64_t part = MIN(len, cell->len);

            ring->written(ring->opaque, cell->log, part);
            len -= part;
        }
        cell = &ring->cells[cell->next];
    }
}

static void release(VdpaRingDevice *ring, uint16_t head)
{
    Cell *cell = &ring->cells[head];

    cell->inflight = false;
    ring->cells[cell->tail].next = ring->free_head;
    ring->free_head = head;
    ring->nfree += cell->count;
    ring->inflight--;
    ring->next_used++;
}

static int take_back(VdpaRingDevice *ring, uint32_t id, uint32_t len,
                     VdpaDeviceDone *done)
{
    const Cell *cell;

    if (id >= ring->num || !ring->cells[id].inflight) {
        return set_broken(ring, "used entry for descriptor %u, which is not in"
                          " use", id);
    }
    cell = &ring->cells[id];
    if (cell->write_len && len > cell->write_len) {
        return set_broken(ring, "used entry of %u bytes for a buffer of %"
                          G_GUINT64_FORMAT, len, cell->write_len);
    }
    done->token = cell->token;
    done->len_ignored = len && !cell->write_len;
    done->len = cell->write_len ? len : 0;
    if (ring->written) {
        report(ring, id, done->len);
    }
    release(ring, id);
    return 1;
}

int vdpa_ring_device_get(VdpaRingDevice *ring, VdpaDeviceDone *done)
{
    uint64_t offset;
    int ret;

    if (ring->broken) {
        return -EPROTO;
    }
    if (ring->next_used == ring->seen_used) {
        ret = read_used_idx(ring);
        if (ret <= 0) {
            return ret;
        }
    }
    offset = ring_used_slot(ring->next_used & (ring->num - 1));
    return take_back(ring, load32(ring->used, offset),
                     load32(ring->used, offset + 4), done);
}

/* --- notifications -------------------------------------------------------- */

void vdpa_ring_device_notify_off(VdpaRingDevice *ring)
{
    if (!ring->event_idx) {
        store16(ring->avail, RING_FLAGS, RING_AVAIL_F_NO_INTERRUPT);
    }
}

bool vdpa_ring_device_notify_on(VdpaRingDevice *ring)
{
    if (ring->event_idx) {
        store16(ring->avail, ring_used_event(ring->num), ring->next_used);
    } else {
        store16(ring->avail, RING_FLAGS, 0);
    }
    return !ring->broken && read_used_idx(ring) != 0;
}
