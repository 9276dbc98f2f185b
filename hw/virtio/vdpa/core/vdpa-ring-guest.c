/*
 * vDPA: a guest's split virtqueue, read as its device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * The ring's three areas are in guest memory.  Where an area is contiguous
 * RAM it is accessed in place, with atomic accesses of its fields' sizes;
 * where it is not (it straddles two regions, or is no RAM), through the
 * user's read() and write().  Indirect tables go the same two ways each
 * time.
 *
 * Where the areas are is not remembered over a change of guest memory:
 * vdpa_ring_guest_remap() forgets the pointers, and the next access asks ram()
 * again.  An area that is no RAM any more, in whatever page, breaks the ring at
 * that access, and not earlier: a guest may take its ring away that it does not
 * use any more.
 *
 * Lifetime.  The ring calls ops in the middle of its work and goes on with its
 * own memory afterwards.  So no op may end or free the ring.  An op that lets a
 * device's registers be written cannot promise that (device_status is one):
 * read() and write() access RAM only, and fail for all else.
 *
 * Trust.  The guest can write any of it at any moment.  So whatever is looked
 * at is read once, into a local, and only the local is checked and used:
 *
 *   avail idx      not more than the ring's size ahead of what was taken
 *   heads          below the ring's size, and not of a chain that is taken
 *   next           below the table's size; not more steps than it has entries
 *   indirect       if agreed on; last of its chain; not in another; whole
 *                  entries
 *   addr, len      not empty, do not wrap; in all, 2^32 bytes at most
 *   order          nothing that the device reads after what it writes
 *
 * What used entries we write is never read back.
 *
 * Order of accesses, with the guest's pairs:
 *
 *   avail idx, loaded     before slots and descriptors are: pairs with the
 *                         barrier between the guest's writing these and idx
 *   used idx, stored      after the entries are: pairs with the guest's
 *                         barrier between its reading idx and entries
 *   event or flags stored, then avail idx loaded; used idx stored, then event
 *                         or flags loaded: each side stores first and looks
 *                         second, and full barriers on both sides see to it
 *                         that one of them sees the other's store at least.
 *                         Sequentially consistent accesses are that here.
 *
 * Notifications.  notify_off() is a wish with flags; with the event index it
 * is nothing, as an index that lies behind asks for no kick by itself.
 * vdpa_ring_guest_stop() must not leave the wish behind: the next to serve
 * the ring may be a device that never writes the flags, and the guest would
 * not kick it ever again.
 *
 * The first flush after a start asks for an interrupt whatever the guest's
 * event says: who served the ring before may have been stopped between
 * giving buffers back and saying so.
 *
 * Failures: the first violation, or the first failing access, breaks the ring.
 *
 * Limits: a chain has 1,024 segments at most, or the ring's size if that is
 * more.  No packed rings, no big-endian ones.
 */
#include "vdpa-ring-guest.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>

#include "vdpa-ring-layout.h"

#define CHAIN_MIN_LIMIT 1024
#define CHAIN_BYTES_MAX (1ull << 32)
#define PAGE_MIN 4096u         /* of guests */

/* A range of guest memory: one of the ring's areas, or an indirect table. */
typedef struct Area {
    uint64_t addr;
    uint64_t len;
    uint64_t log;               /* of addr, if host */
    uint8_t *host;              /* NULL: through read() and write() */
} Area;

struct VdpaRingGuest {
    const VdpaGuestOps *ops;
    void *opaque;
    VdpaGuestLayout layout;
    Area desc, avail, used;
    bool started;
    bool stale;                 /* where the areas are is to be asked again */
    char *broken;

    uint16_t next_avail;        /* next to take */
    uint16_t seen_avail;        /* the guest's idx when last looked at */
    uint16_t next_used;         /* next to give back */
    uint16_t shown_used;        /* as the guest sees it */
    bool call_anyway;           /* at the next flush */

    bool *taken;                /* by head: popped and not pushed */
    uint16_t last_head;         /* of the last pop or take */
    bool last_popped;           /* it came from the available ring */

    VdpaGuestSegment *segments; /* of the last pop or take */
    unsigned max_segments;
};

VdpaRingGuest *vdpa_ring_guest_new(const VdpaGuestOps *ops, void *opaque)
{
    VdpaRingGuest *ring = g_new0(VdpaRingGuest, 1);

    ring->ops = ops;
    ring->opaque = opaque;
    return ring;
}

void vdpa_ring_guest_free(VdpaRingGuest *ring)
{
    if (ring) {
        g_free(ring->taken);
        g_free(ring->segments);
        g_free(ring->broken);
        g_free(ring);
    }
}

const char *vdpa_ring_guest_broken(const VdpaRingGuest *ring)
{
    return ring->broken;
}

static int G_GNUC_PRINTF(2, 3) set_broken(VdpaRingGuest *ring,
                                          const char *format, ...)
{
    va_list args;

    if (!ring->broken) {
        va_start(args, format);
        ring->broken = g_strdup_vprintf(format, args);
        va_end(args);
    }
    return -EPROTO;
}

void vdpa_ring_guest_break(VdpaRingGuest *ring, const char *format, ...)
{
    va_list args;

    if (!ring->broken) {
        va_start(args, format);
        ring->broken = g_strdup_vprintf(format, args);
        va_end(args);
    }
}

static bool usable(const VdpaRingGuest *ring)
{
    return ring->started && !ring->broken;
}

/* --- access to guest memory ----------------------------------------------- */

/* Finds out how the @len bytes at @addr, of some alignment, are reached. */
static Area area_at(VdpaRingGuest *ring, uint64_t addr, uint64_t len,
                    unsigned align, bool write)
{
    Area area = { .addr = addr, .len = len };

    area.host = ring->ops->ram(ring->opaque, addr, len, write, &area.log);
    if ((uintptr_t)area.host % align) {
        area.host = NULL;
    }
    return area;
}

static int unreachable(VdpaRingGuest *ring, uint64_t addr)
{
    return set_broken(ring, "guest address 0x%" PRIx64
                      " is not in guest memory", addr);
}

static int find_areas(VdpaRingGuest *ring);

/* Before an access to @area: whether it is in this process. -errno: broken. */
static int at_hand(VdpaRingGuest *ring, const Area *area)
{
    if (G_UNLIKELY(ring->stale) && !area->host) {
        ring->stale = false;
        if (find_areas(ring)) {
            return set_broken(ring, "not all of the ring is in guest memory");
        }
    }
    return area->host != NULL;
}

static int load16(VdpaRingGuest *ring, const Area *area, uint64_t offset,
                  uint16_t *value)
{
    int here = at_hand(ring, area);

    if (here < 0) {
        return here;
    }
    if (G_LIKELY(here)) {
        *value = __atomic_load_n((uint16_t *)(area->host + offset),
                                 __ATOMIC_SEQ_CST);
    } else if (ring->ops->read(ring->opaque, area->addr + offset, value, 2)) {
        return unreachable(ring, area->addr + offset);
    }
    *value = GUINT16_FROM_LE(*value);
    return 0;
}

static void mark(VdpaRingGuest *ring, const Area *area, uint64_t offset,
                 uint64_t len)
{
    if (area->host && ring->ops->dirty) {
        ring->ops->dirty(ring->opaque, area->log + offset, len);
    }
}

static int store16(VdpaRingGuest *ring, const Area *area, uint64_t offset,
                   uint16_t value)
{
    int here = at_hand(ring, area);

    if (here < 0) {
        return here;
    }
    value = GUINT16_TO_LE(value);
    if (G_LIKELY(here)) {
        __atomic_store_n((uint16_t *)(area->host + offset), value,
                         __ATOMIC_SEQ_CST);
        mark(ring, area, offset, 2);
        return 0;
    }
    if (ring->ops->write(ring->opaque, area->addr + offset, &value, 2)) {
        return unreachable(ring, area->addr + offset);
    }
    return 0;
}

static int load_desc(VdpaRingGuest *ring, const Area *table, uint32_t index,
                     RingDesc *desc)
{
    uint64_t offset = (uint64_t)RING_DESC_SIZE * index;
    uint64_t words[2];
    int here = at_hand(ring, table);

    if (here < 0) {
        return here;
    }
    if (G_LIKELY(here)) {
        const uint64_t *from = (const uint64_t *)(table->host + offset);

        words[0] = __atomic_load_n(&from[0], __ATOMIC_RELAXED);
        words[1] = __atomic_load_n(&from[1], __ATOMIC_RELAXED);
    } else if (ring->ops->read(ring->opaque, table->addr + offset, words,
                               sizeof(words))) {
        return unreachable(ring, table->addr + offset);
    }
    *desc = ring_desc_unpack(words);
    return 0;
}

static int store_used(VdpaRingGuest *ring, uint16_t slot, uint32_t id,
                      uint32_t len)
{
    uint64_t offset = ring_used_slot(slot);
    uint32_t elem[2] = { GUINT32_TO_LE(id), GUINT32_TO_LE(len) };
    int here = at_hand(ring, &ring->used);

    if (here < 0) {
        return here;
    }
    if (G_LIKELY(here)) {
        uint32_t *to = (uint32_t *)(ring->used.host + offset);

        __atomic_store_n(&to[0], elem[0], __ATOMIC_RELAXED);
        __atomic_store_n(&to[1], elem[1], __ATOMIC_RELAXED);
    } else if (ring->ops->write(ring->opaque, ring->used.addr + offset, elem,
                                sizeof(elem))) {
        return unreachable(ring, ring->used.addr + offset);
    }
    return 0;
}

/* --- life cycle ----------------------------------------------------------- */

static bool layout_fit(const VdpaGuestLayout *layout)
{
    uint16_t num = layout->num;

    return num && !(num & (num - 1)) && num <= RING_NUM_MAX &&
           !(layout->desc % RING_DESC_ALIGN) &&
           !(layout->avail % RING_AVAIL_ALIGN) &&
           !(layout->used % RING_USED_ALIGN) &&
           layout->desc <= UINT64_MAX - ring_desc_size(num) &&
           layout->avail <= UINT64_MAX - ring_avail_size(num) &&
           layout->used <= UINT64_MAX - ring_used_size(num);
}

/* Whether an area answers in each of its pages. */
static bool area_there(VdpaRingGuest *ring, const Area *area)
{
    uint64_t last = area->len - 2;
    uint16_t ignored;

    if (area->host) {
        return true;
    }
    for (uint64_t offset = 0; offset < last; offset += PAGE_MIN) {
        if (ring->ops->read(ring->opaque, area->addr + offset, &ignored, 2)) {
            return false;
        }
    }
    return !ring->ops->read(ring->opaque, area->addr + last, &ignored, 2);
}

/* The events' fields at the rings' ends are there only if agreed on. */
static int find_areas(VdpaRingGuest *ring)
{
    const VdpaGuestLayout *layout = &ring->layout;
    uint16_t num = layout->num;

    ring->desc = area_at(ring, layout->desc, ring_desc_size(num),
                         RING_DESC_ALIGN, false);
    /* Written by vdpa_ring_guest_rewind() only. */
    ring->avail = area_at(ring, layout->avail,
                          ring_avail_bytes(num, layout->event_idx),
                          RING_AVAIL_ALIGN, true);
    ring->used = area_at(ring, layout->used,
                         ring_used_bytes(num, layout->event_idx),
                         RING_USED_ALIGN, true);
    return area_there(ring, &ring->desc) && area_there(ring, &ring->avail) &&
           area_there(ring, &ring->used) ? 0 : -EFAULT;
}

int vdpa_ring_guest_start(VdpaRingGuest *ring, const VdpaGuestLayout *layout,
                          uint16_t avail_idx, uint16_t used_idx)
{
    if (!layout_fit(layout)) {
        return -EINVAL;
    }
    g_clear_pointer(&ring->broken, g_free);
    ring->started = ring->stale = false;
    ring->layout = *layout;
    if (find_areas(ring)) {
        return -EFAULT;
    }
    g_free(ring->taken);
    g_free(ring->segments);
    ring->max_segments = MAX(layout->num, CHAIN_MIN_LIMIT);
    ring->taken = g_new0(bool, layout->num);
    ring->segments = g_new(VdpaGuestSegment, ring->max_segments);
    ring->next_avail = ring->seen_avail = avail_idx;
    ring->next_used = ring->shown_used = used_idx;
    ring->call_anyway = true;
    ring->started = true;
    return 0;
}

void vdpa_ring_guest_stop(VdpaRingGuest *ring)
{
    if (usable(ring)) {
        vdpa_ring_guest_flush(ring);
        vdpa_ring_guest_notify_on(ring);
    }
    ring->started = false;
    ring->desc.host = ring->avail.host = ring->used.host = NULL;
}

void vdpa_ring_guest_remap(VdpaRingGuest *ring)
{
    ring->stale = ring->started;
    ring->desc.host = ring->avail.host = ring->used.host = NULL;
}

/* --- reading chains ------------------------------------------------------- */

/* A walk through a chain, in the ring's table and at most one indirect. */
typedef struct Walk {
    Area table;
    uint32_t entries;           /* that the table has */
    uint32_t steps;             /* made in it */
    uint32_t index;             /* of the next descriptor */
    bool indirect;
} Walk;

static int enter_indirect(VdpaRingGuest *ring, Walk *walk,
                          const RingDesc *desc)
{
    if (!ring->layout.indirect || walk->indirect) {
        return set_broken(ring, "indirect descriptor %s",
                          walk->indirect ? "in an indirect table"
                                         : "without the feature");
    }
    if (desc->flags & RING_DESC_F_NEXT) {
        return set_broken(ring, "indirect descriptor that is not the last");
    }
    if (!desc->len || desc->len % RING_DESC_SIZE ||
        desc->len - 1 > UINT64_MAX - desc->addr) {
        return set_broken(ring, "indirect table of 0x%" PRIx32 " bytes at 0x%"
                          PRIx64, desc->len, desc->addr);
    }
    *walk = (Walk) {
        .table = area_at(ring, desc->addr, desc->len, sizeof(uint64_t), false),
        .entries = desc->len / RING_DESC_SIZE,
        .indirect = true,
    };
    return 0;
}

static int add_segment(VdpaRingGuest *ring, VdpaGuestChain *chain,
                       const RingDesc *desc)
{
    unsigned n = chain->nread + chain->nwrite;
    bool writes = desc->flags & RING_DESC_F_WRITE;

    if (n == ring->max_segments) {
        return set_broken(ring, "chain of more than %u descriptors", n);
    }
    if (!desc->len || desc->len - 1 > UINT64_MAX - desc->addr) {
        return set_broken(ring, "buffer of 0x%" PRIx32 " bytes at 0x%" PRIx64,
                          desc->len, desc->addr);
    }
    if (!writes && chain->nwrite) {
        return set_broken(ring, "readable buffer after a writable one");
    }
    if (chain->read_len + chain->write_len + desc->len > CHAIN_BYTES_MAX) {
        return set_broken(ring, "chain of more than 2^32 bytes");
    }
    ring->segments[n] = (VdpaGuestSegment) { desc->addr, desc->len, writes };
    *(writes ? &chain->nwrite : &chain->nread) += 1;
    *(writes ? &chain->write_len : &chain->read_len) += desc->len;
    return 0;
}

/* One descriptor.  1: there are more, 0: it was the last, -errno. */
static int step(VdpaRingGuest *ring, Walk *walk, VdpaGuestChain *chain)
{
    RingDesc desc = { 0 };
    int ret;

    if (walk->index >= walk->entries) {
        return set_broken(ring, "descriptor %" PRIu32 " of a table of %" PRIu32,
                          walk->index, walk->entries);
    }
    if (walk->steps++ == walk->entries) {
        return set_broken(ring, "descriptors form a loop");
    }
    ret = load_desc(ring, &walk->table, walk->index, &desc);
    if (ret) {
        return ret;
    }
    if (desc.flags & RING_DESC_F_INDIRECT) {
        ret = enter_indirect(ring, walk, &desc);
        return ret ? ret : 1;
    }
    ret = add_segment(ring, chain, &desc);
    walk->index = desc.next;
    return ret ? ret : !!(desc.flags & RING_DESC_F_NEXT);
}

int vdpa_ring_guest_take(VdpaRingGuest *ring, uint16_t head,
                         VdpaGuestChain *chain)
{
    Walk walk = {
        .table = ring->desc,
        .entries = ring->layout.num,
        .index = head,
    };
    int ret;

    if (!usable(ring)) {
        return -EPROTO;
    }
    if (head >= ring->layout.num) {
        return set_broken(ring, "chain head %u of a ring of %u", head,
                          ring->layout.num);
    }
    if (ring->taken[head]) {
        return set_broken(ring, "chain head %u twice", head);
    }
    *chain = (VdpaGuestChain) { .segments = ring->segments, .head = head };
    do {
        ret = step(ring, &walk, chain);
    } while (ret > 0);
    if (ret < 0) {
        return ret;
    }
    ring->taken[head] = true;
    ring->last_head = head;
    ring->last_popped = false;
    return 1;
}

/* Looks at the available ring again: how many chains wait, or -errno. */
static int look(VdpaRingGuest *ring)
{
    uint16_t idx, waiting;
    int ret = load16(ring, &ring->avail, RING_IDX, &idx);

    if (ret) {
        return ret;
    }
    waiting = idx - ring->next_avail;
    if (waiting > ring->layout.num) {
        return set_broken(ring,
                          "available index %u, %u after %u, in a ring of %u",
                          idx, waiting, ring->next_avail, ring->layout.num);
    }
    ring->seen_avail = idx;
    return waiting;
}

int vdpa_ring_guest_pop(VdpaRingGuest *ring, VdpaGuestChain *chain)
{
    uint16_t head;
    int ret;

    if (!usable(ring)) {
        return -EPROTO;
    }
    if (ring->next_avail == ring->seen_avail) {
        ret = look(ring);
        if (ret <= 0) {
            return ret;
        }
    }
    ret = load16(ring, &ring->avail,
                 ring_avail_slot(ring->next_avail & (ring->layout.num - 1)),
                 &head);
    if (!ret) {
        ret = vdpa_ring_guest_take(ring, head, chain);
    }
    if (ret > 0) {
        ring->next_avail++;
        ring->last_popped = true;
    }
    return ret;
}

void vdpa_ring_guest_unpop(VdpaRingGuest *ring)
{
    ring->taken[ring->last_head] = false;
    ring->next_avail -= ring->last_popped;
    ring->last_popped = false;
}

unsigned vdpa_ring_guest_waiting(VdpaRingGuest *ring)
{
    return usable(ring) ? MAX(look(ring), 0) : 0;
}

/* --- giving back ---------------------------------------------------------- */

int vdpa_ring_guest_push(VdpaRingGuest *ring, uint16_t head, uint32_t len)
{
    int ret;

    if (!usable(ring)) {
        return -EPROTO;
    }
    if (head >= ring->layout.num || !ring->taken[head]) {
        return -EINVAL;
    }
    ret = store_used(ring, ring->next_used & (ring->layout.num - 1), head,
                     len);
    if (!ret) {
        ring->taken[head] = false;
        ring->next_used++;
    }
    return ret;
}

/* Marks the used entries from index @from to @to dirty. */
static void mark_used(VdpaRingGuest *ring, uint16_t from, uint16_t to)
{
    unsigned num = ring->layout.num;
    unsigned n = (uint16_t)(to - from);
    unsigned slot = from & (num - 1);
    unsigned first_n = MIN(n, num - slot);

    mark(ring, &ring->used, ring_used_slot(slot),
         first_n * RING_USED_ELEM_SIZE);
    if (n > first_n) {
        mark(ring, &ring->used, ring_used_slot(0),
             (MIN(n, num) - first_n) * RING_USED_ELEM_SIZE);
    }
}

/* Whether the guest wants to hear of the used index's step from @old. */
static int wants_call(VdpaRingGuest *ring, uint16_t old)
{
    uint16_t value;
    uint64_t offset = ring->layout.event_idx
                      ? ring_used_event(ring->layout.num) : RING_FLAGS;
    int ret = load16(ring, &ring->avail, offset, &value);

    if (ret) {
        return ret;
    }
    if (ring->call_anyway) {
        ring->call_anyway = false;
        return 1;
    }
    return ring->layout.event_idx
           ? ring_event_passed(value, ring->next_used, old)
           : !(value & RING_AVAIL_F_NO_INTERRUPT);
}

int vdpa_ring_guest_flush(VdpaRingGuest *ring)
{
    uint16_t old = ring->shown_used;
    int ret;

    if (!usable(ring)) {
        return -EPROTO;
    }
    if (ring->next_used == old) {
        return 0;
    }
    mark_used(ring, old, ring->next_used);
    ret = store16(ring, &ring->used, RING_IDX, ring->next_used);
    if (ret) {
        return ret;
    }
    ring->shown_used = ring->next_used;
    return wants_call(ring, old);
}

/* --- notifications -------------------------------------------------------- */

void vdpa_ring_guest_notify_off(VdpaRingGuest *ring)
{
    if (usable(ring) && !ring->layout.event_idx) {
        store16(ring, &ring->used, RING_FLAGS, RING_USED_F_NO_NOTIFY);
    }
}

int vdpa_ring_guest_notify_on(VdpaRingGuest *ring)
{
    int ret;

    if (!usable(ring)) {
        return -EPROTO;
    }
    ret = ring->layout.event_idx
          ? store16(ring, &ring->used, ring_avail_event(ring->layout.num),
                    ring->next_avail)
          : store16(ring, &ring->used, RING_FLAGS, 0);
    if (!ret) {
        ret = look(ring);
    }
    return ret < 0 ? ret : ret > 0;
}

/* --- for who serves the ring next ----------------------------------------- */

uint16_t vdpa_ring_guest_avail_idx(const VdpaRingGuest *ring)
{
    return ring->next_avail;
}

uint16_t vdpa_ring_guest_used_idx(const VdpaRingGuest *ring)
{
    return ring->next_used;
}

/* Writes an available slot unless it has that value already. */
static int put_back(VdpaRingGuest *ring, uint16_t index, uint16_t head)
{
    uint64_t offset = ring_avail_slot(index & (ring->layout.num - 1));
    uint16_t there;
    int ret = load16(ring, &ring->avail, offset, &there);

    if (ret || there == head) {
        return ret;
    }
    return store16(ring, &ring->avail, offset, head);
}

int vdpa_ring_guest_rewind(VdpaRingGuest *ring, const uint16_t *heads,
                           unsigned n)
{
    uint16_t start = ring->next_avail - n;

    if (!usable(ring)) {
        return -EPROTO;
    }
    if (n > ring->layout.num) {
        return -EINVAL;
    }
    for (unsigned i = 0; i < n; i++) {
        int ret = put_back(ring, start + i, heads[i]);

        if (ret) {
            return ret;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        ring->taken[heads[i]] = false;
    }
    ring->next_avail = start;
    return 0;
}
