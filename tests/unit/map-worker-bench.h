/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A map worker and its kernel, which notes down every message and can hold one up.
 *
 * Limits: the kernel is a list of messages; no batch is enforced.
 */
#ifndef MAP_WORKER_BENCH_H
#define MAP_WORKER_BENCH_H

#include <glib.h>
#include <linux/qemu-live-uapi.h>

#include "worker-shim.h"
#include "hw/virtio/vdpa/vdpa-map-worker.h"

#define RANGE   (2 * MiB)
#define MOST    4096

typedef struct Message {
    int type;
    uint64_t iova, size, uaddr;
} Message;

/* protected by lock */
typedef struct Kernel {
    QemuMutex lock;
    QemuCond moved;
    Message log[MOST];
    unsigned logged;
    bool hold, held;        /* the next message waits; it does */
    unsigned pass;          /* so many go on nevertheless */
    unsigned arrived;       /* messages, those that wait, too */
    unsigned slow_us;       /* each message takes so long */
    int end_error;          /* of BATCH_END */
    uint64_t bad;           /* this IOVA cannot be mapped */
    int error;
} Kernel;

typedef struct Bench {
    Kernel kernel;
    VdpaKernel functions;
    VdpaFd fd;
    VdpaWorker *worker;
    unsigned idle;
} Bench;

/* @pins: as vdpa_worker_new(); bench_new(): true. */
Bench *bench_new_for(bool pins);
Bench *bench_new(void);
void bench_free(Bench *b);

/* The next message gets stuck in the kernel, or goes on; wait until one is. */
void hold(Bench *b, bool on);
void await_held(Bench *b);

/* Let the held message go; wait until the next is held or there is none. */
void pass_one(void *opaque);

/* Each time limit of the worker passes in @then; NULL: none passes. */
void limit_passes(Bench *b, void (*then)(void *opaque));

/* How many messages the kernel has had. */
unsigned messages(Bench *b);

/* Map @size bytes at @iova, which are at @iova + 0x7f0000000000 in the process. */
void give_map(Bench *b, uint64_t iova, uint64_t size, MemoryRegion *mr);

/* Message @i was this one. */
void check(const Bench *b, unsigned i, int type, uint64_t iova, uint64_t size);

/* test-vdpa-map-late.c */
void add_late_tests(void);

#endif
