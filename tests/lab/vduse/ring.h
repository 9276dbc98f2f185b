/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A split virtqueue, served as its device.
 *
 * Theory of operation
 * -------------------
 * What a driver made available is taken with pop(), given back with push(), and shown to the driver
 * by flush(). Ring and buffers lie in I/O virtual memory; a function of the caller's translates a
 * range of it to an address of this process.
 *
 * The driver is not trusted: it may write anything at any time. Each field is read once, checked,
 * and used from the copy. A failed check is a fault: its text names it, and every later call
 * does nothing and returns -1.
 *
 * This is a device to test drivers with, so it shares no code with the ring code that is under
 * test, and holds it to one thing more than virtio does: at its start, the used index has to be
 * where the driver says that the device left off, since this device returns all that it takes
 * before it lets itself be stopped. A driver that lost its place shows there.
 *
 * Life cycle: start, then any of the others; start again at any time.
 *
 * Thread model: one thread.
 *
 * Limits: split rings, little-endian machines, RING_SEGMENTS segments per chain.
 */
#ifndef TESTS_LAB_VDUSE_RING_H
#define TESTS_LAB_VDUSE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define RING_SEGMENTS 1024

/*
 * Where @iova is in this process, and in *@len how much of it is contiguous there: at most
 * what *@len asked for. NULL if the device must not get at it that way.
 */
struct ring_memory {
    void *(*at)(void *opaque, uint64_t iova, uint64_t *len, bool write);
    void *opaque;
};

struct ring_layout {
    uint64_t desc, avail, used;     /* I/O virtual addresses */
    uint32_t num;
    bool event_idx, indirect;
};

struct ring {
    const struct ring_memory *memory;
    struct ring_layout layout;
    uint16_t next_avail, next_used;
    uint16_t signalled;             /* used index at the last flush() */
    bool running;
    char fault[160];                /* empty: none */
};

/* What the device reads, then what it writes. */
struct ring_chain {
    uint16_t head;
    unsigned nread, nwrite;
    size_t read_len, write_len;
    struct iovec segment[RING_SEGMENTS];
};

/* Takes up a ring whose next available index is @next. 0 or -1. */
int ring_start(struct ring *r, const struct ring_memory *memory, const struct ring_layout *layout,
               uint16_t next);
void ring_stop(struct ring *r);

/* 1: @chain is the next one; 0: there is none; -1. */
int ring_pop(struct ring *r, struct ring_chain *chain);

/* Undoes the last pop, which gave a chain. */
void ring_unpop(struct ring *r);

/* Gives the chain that was taken first back. 0 or -1. */
int ring_push(struct ring *r, uint16_t head, uint32_t written);

/* Shows what was pushed. 1: the driver wants an interrupt; 0: not; -1. */
int ring_flush(struct ring *r);

/* Asks for a kick at the next chain. 1: there is one already; 0; -1. */
int ring_wait(struct ring *r);

#endif
