/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A network device that is alone on its network.
 *
 * Theory of operation: a frame that is sent to the device's own address, to all or to many comes
 * back to it, as with the kernel's simulator; any other leaves for nowhere. A frame is taken, put
 * into a receive buffer and given back in one go, so nothing is in flight when the device is
 * stopped between two calls, and lost frames are counted here: those for which there was no
 * receive buffer, or none that was large enough.
 *
 * Thread model: one thread.
 *
 * Limits: one queue pair; no offloads; each frame in one receive buffer.
 */
#ifndef TESTS_LAB_VDUSE_NET_H
#define TESTS_LAB_VDUSE_NET_H

#include "ring.h"

#define NET_HEADER  12              /* virtio 1, before every frame */
#define NET_FRAME   (65536 + NET_HEADER)

enum { NET_RX, NET_TX, NET_QUEUES };

/* What net_move() wants done. */
enum {
    NET_CALL = 1,                   /* << queue: an interrupt */
    NET_MORE = 1 << NET_QUEUES,     /* the budget ran out */
};

struct net {
    uint8_t mac[6];
    struct ring ring[NET_QUEUES];
    uint64_t looped, dropped, gone; /* dropped: no receive buffer for it */
    struct ring_chain out, in;
    uint8_t frame[NET_FRAME];
};

/* Moves up to @budget frames. NET_*, or -1: a ring has a fault. */
int net_move(struct net *n, unsigned budget);

#endif
