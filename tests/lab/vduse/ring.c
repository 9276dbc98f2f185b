/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A split virtqueue, served as its device. Theory of operation and limits: ring.h.
 */
#include <linux/virtio_ring.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ring.h"

#define DESC_BYTES  16
#define SIZE_MAX_16 32768

/* A table of descriptors: the ring's, or an indirect one. */
struct table {
    uint64_t iova;
    uint32_t num;
    bool indirect;
};

static int __attribute__((format(printf, 2, 3))) fault(struct ring *r, const char *format, ...)
{
    va_list args;

    if (!r->fault[0]) {
        va_start(args, format);
        vsnprintf(r->fault, sizeof(r->fault), format, args);
        va_end(args);
    }
    return -1;
}

static void *locate(struct ring *r, uint64_t iova, uint64_t *len, bool write)
{
    void *at = r->memory->at(r->memory->opaque, iova, len, write);

    if (!at || !*len) {
        fault(r, "0x%llx is not mapped for the device to %s", (unsigned long long)iova,
              write ? "write" : "read");
        return NULL;
    }
    return at;
}

/* A field of the ring: aligned to its size, so it lies in one page. */
static void *field(struct ring *r, uint64_t iova, size_t size, bool write)
{
    uint64_t len = size;
    void *at = locate(r, iova, &len, write);

    if (at && len < size) {
        fault(r, "0x%llx ends in the middle of a field", (unsigned long long)iova);
        return NULL;
    }
    return at;
}

static int read16(struct ring *r, uint64_t iova, uint16_t *value)
{
    uint16_t *at = field(r, iova, sizeof(*at), false);

    if (!at) {
        return -1;
    }
    *value = __atomic_load_n(at, __ATOMIC_ACQUIRE);
    return 0;
}

static int write16(struct ring *r, uint64_t iova, uint16_t value)
{
    uint16_t *at = field(r, iova, sizeof(*at), true);

    if (!at) {
        return -1;
    }
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
    return 0;
}

static int write32(struct ring *r, uint64_t iova, uint32_t value)
{
    uint32_t *at = field(r, iova, sizeof(*at), true);

    if (!at) {
        return -1;
    }
    *at = value;
    return 0;
}

/* An indirect table may lie across maps. */
static int copy_in(struct ring *r, uint64_t iova, void *to, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        uint64_t len = bytes - done;
        void *at = locate(r, iova + done, &len, false);

        if (!at) {
            return -1;
        }
        memcpy((char *)to + done, at, len);
        done += len;
    }
    return 0;
}

static uint64_t avail_flags(const struct ring *r)
{
    return r->layout.avail;
}

static uint64_t avail_idx(const struct ring *r)
{
    return r->layout.avail + 2;
}

static uint64_t avail_slot(const struct ring *r, uint16_t index)
{
    return r->layout.avail + 4 + 2 * (index % r->layout.num);
}

static uint64_t used_event(const struct ring *r)
{
    return r->layout.avail + 4 + 2 * r->layout.num;
}

static uint64_t used_idx(const struct ring *r)
{
    return r->layout.used + 2;
}

static uint64_t used_slot(const struct ring *r, uint16_t index)
{
    return r->layout.used + 4 + 8 * (index % r->layout.num);
}

static uint64_t avail_event(const struct ring *r)
{
    return r->layout.used + 4 + 8 * r->layout.num;
}

/* --- life cycle --------------------------------------------------------- */

static int check_layout(struct ring *r)
{
    const struct ring_layout *l = &r->layout;

    if (!l->num || l->num > SIZE_MAX_16 || l->num & (l->num - 1)) {
        return fault(r, "a ring of %u descriptors", l->num);
    }
    if (l->desc % 16 || l->avail % 2 || l->used % 4) {
        return fault(r, "a ring at 0x%llx, 0x%llx, 0x%llx", (unsigned long long)l->desc,
                     (unsigned long long)l->avail, (unsigned long long)l->used);
    }
    return 0;
}

int ring_start(struct ring *r, const struct ring_memory *memory, const struct ring_layout *layout,
               uint16_t next)
{
    *r = (struct ring) { .memory = memory, .layout = *layout, .next_avail = next };
    if (check_layout(r) || read16(r, used_idx(r), &r->next_used)) {
        return -1;
    }
    if (r->next_used != next) {
        return fault(r, "the driver says %u, the used index is %u", next, r->next_used);
    }
    r->signalled = next;
    r->running = true;
    return 0;
}

void ring_stop(struct ring *r)
{
    r->running = false;
}

static bool usable(const struct ring *r)
{
    return r->running && !r->fault[0];
}

/* --- chains ------------------------------------------------------------- */

static int add_segment(struct ring *r, struct ring_chain *c, const struct vring_desc *d)
{
    bool write = d->flags & VRING_DESC_F_WRITE;
    uint64_t len;

    if (c->nwrite && !write) {
        return fault(r, "a buffer to read after one to write");
    }
    for (uint64_t done = 0; done < d->len; done += len) {
        void *at;

        len = d->len - done;
        if (c->nread + c->nwrite == RING_SEGMENTS) {
            return fault(r, "a chain of more than %u segments", RING_SEGMENTS);
        }
        at = locate(r, d->addr + done, &len, write);
        if (!at) {
            return -1;
        }
        c->segment[c->nread + c->nwrite] = (struct iovec) { at, len };
        *(write ? &c->nwrite : &c->nread) += 1;
        *(write ? &c->write_len : &c->read_len) += len;
    }
    return 0;
}

static int enter(struct ring *r, struct table *t, const struct vring_desc *d)
{
    if (!r->layout.indirect || t->indirect || d->flags & VRING_DESC_F_NEXT || !d->len ||
        d->len % DESC_BYTES) {
        return fault(r, "an indirect table of %u bytes, flags 0x%x", d->len, d->flags);
    }
    *t = (struct table) { d->addr, d->len / DESC_BYTES, true };
    return 0;
}

static int walk(struct ring *r, struct ring_chain *c)
{
    struct table t = { r->layout.desc, r->layout.num, false };
    struct vring_desc d;

    for (uint32_t i = c->head, seen = 0;; i = d.next) {
        if (i >= t.num || seen++ == t.num) {
            return fault(r, i < t.num ? "descriptors form a loop" : "descriptor %u of %u", i,
                         t.num);
        }
        if (copy_in(r, t.iova + (uint64_t)DESC_BYTES * i, &d, sizeof(d))) {
            return -1;
        }
        if (d.flags & VRING_DESC_F_INDIRECT) {
            if (enter(r, &t, &d)) {
                return -1;
            }
            d.next = 0;
            seen = 0;
            continue;
        }
        if (add_segment(r, c, &d)) {
            return -1;
        }
        if (!(d.flags & VRING_DESC_F_NEXT)) {
            return 0;
        }
    }
}

int ring_pop(struct ring *r, struct ring_chain *chain)
{
    uint16_t index;

    if (!usable(r) || read16(r, avail_idx(r), &index)) {
        return -1;
    }
    if (index == r->next_avail) {
        return 0;
    }
    if ((uint16_t)(index - r->next_avail) > r->layout.num) {
        return fault(r, "available index %u after %u, in a ring of %u", index, r->next_avail,
                     r->layout.num);
    }
    chain->nread = chain->nwrite = 0;
    chain->read_len = chain->write_len = 0;
    if (read16(r, avail_slot(r, r->next_avail), &chain->head) || walk(r, chain)) {
        return -1;
    }
    r->next_avail++;
    return 1;
}

void ring_unpop(struct ring *r)
{
    r->next_avail--;
}

int ring_push(struct ring *r, uint16_t head, uint32_t written)
{
    uint64_t slot = used_slot(r, r->next_used);

    if (!usable(r) || write32(r, slot, head) || write32(r, slot + 4, written)) {
        return -1;
    }
    r->next_used++;
    return 0;
}

/* --- notifications ------------------------------------------------------ */

int ring_flush(struct ring *r)
{
    uint16_t old = r->signalled, event;

    if (!usable(r) || write16(r, used_idx(r), r->next_used)) {
        return -1;
    }
    /* Pairs with the driver's, between its wish and its look at the used index. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (r->next_used == old) {
        return 0;
    }
    if (!r->layout.event_idx) {
        r->signalled = r->next_used;
        return read16(r, avail_flags(r), &event) ? -1 : !(event & VRING_AVAIL_F_NO_INTERRUPT);
    }
    if (read16(r, used_event(r), &event)) {
        return -1;
    }
    r->signalled = r->next_used;
    return (uint16_t)(r->next_used - event - 1) < (uint16_t)(r->next_used - old);
}

int ring_wait(struct ring *r)
{
    uint16_t index;

    if (!usable(r) ||
        (r->layout.event_idx && write16(r, avail_event(r), r->next_avail))) {
        return -1;
    }
    /* Pairs with the driver's, between its available index and its look at our wish. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return read16(r, avail_idx(r), &index) ? -1 : index != r->next_avail;
}
