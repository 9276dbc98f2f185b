/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio driver in a process, on /dev/vhost-vdpa-N: what the tests of the simulator have in common.
 *
 *	drive_open() -> drive_negotiate() -> drive_map() -> ring_set_up()... -> drive_start()
 *	ring_post(), ring_kick(), ring_reap()
 *	drive_suspend(), drive_resume(), drive_reset()
 *
 * All memory that the device sees is one arena; its I/O address is ARENA_IOVA.  Whatever should not
 * fail ends the program with a line that says what did.
 *
 * Limits: split rings without event indices or indirect descriptors; one thread.
 */
#ifndef DRIVE_H
#define DRIVE_H

#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../../../linux-headers/linux/qemu-live-uapi.h"

#define ARENA_IOVA 0x40000000ULL
#define MAX_RINGS 40

struct ring {
    struct drive *drive;
    unsigned idx;
    uint16_t num;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t next_avail;            /* counted here, published by ring_kick() */
    uint16_t next_used;
    int kick;
    int call;
};

struct drive {
    int fd;
    uint64_t features;              /* negotiated */
    uint64_t backend;
    bool late;                      /* rings are enabled by ring_enable() */
    unsigned nrings;
    uint8_t *arena;
    size_t arena_size;
    size_t arena_used;
    struct ring rings[MAX_RINGS];
};

/* One buffer of a request. */
struct segment {
    void *memory;
    uint32_t len;
    bool device_writes;
};

void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
double seconds(void);

void drive_open(struct drive *d, const char *path, size_t arena_size);
void drive_negotiate(struct drive *d, uint64_t wanted);
void drive_map(struct drive *d, unsigned asid);
void *drive_alloc(struct drive *d, size_t size, size_t align);
void drive_start(struct drive *d);
int drive_suspend(struct drive *d);
int drive_resume(struct drive *d);
void drive_reset(struct drive *d);
void drive_config(struct drive *d, void *buf, size_t len);
uint8_t drive_status(struct drive *d);
uint64_t drive_iova(const struct drive *d, const void *memory);

void ring_set_up(struct drive *d, unsigned idx, uint16_t num);
void ring_again(struct ring *r, uint16_t base);
void ring_enable(struct ring *r);
uint16_t ring_base(struct ring *r);
uint16_t ring_post(struct ring *r, uint16_t head, const struct segment *segments, unsigned count);
void ring_kick(struct ring *r);
bool ring_reap(struct ring *r, uint16_t *head, uint32_t *len);
bool ring_wait(struct ring *r, uint16_t *head, uint32_t *len, double limit);
uint16_t ring_pending(const struct ring *r);

#endif
