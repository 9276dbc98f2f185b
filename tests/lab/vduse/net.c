/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A network device that is alone on its network. Theory of operation and limits: net.h.
 */
#include <string.h>

#include "net.h"

#define ADDRESS 6

static size_t gather(const struct ring_chain *c, uint8_t *to, size_t room)
{
    size_t done = 0;

    for (unsigned i = 0; i < c->nread && done < room; i++) {
        size_t left = room - done;
        size_t len = c->segment[i].iov_len < left ? c->segment[i].iov_len : left;

        memcpy(to + done, c->segment[i].iov_base, len);
        done += len;
    }
    return done;
}

static void scatter(const struct ring_chain *c, const uint8_t *from, size_t bytes)
{
    for (unsigned i = c->nread; bytes; i++) {
        size_t len = c->segment[i].iov_len < bytes ? c->segment[i].iov_len : bytes;

        memcpy(c->segment[i].iov_base, from, len);
        from += len;
        bytes -= len;
    }
}

static bool is_ours(const struct net *n, const uint8_t *to)
{
    return to[0] & 1 || !memcmp(to, n->mac, ADDRESS);
}

/* @bytes of n->frame come in: 0, or -1. */
static int receive(struct net *n, size_t bytes)
{
    struct ring *rx = &n->ring[NET_RX];
    int got = ring_pop(rx, &n->in);

    if (got < 0) {
        return -1;
    }
    if (!got) {
        n->dropped++;
        return 0;
    }
    if (n->in.write_len < bytes) {
        ring_unpop(rx);
        n->dropped++;
        return 0;
    }
    memset(n->frame, 0, NET_HEADER);
    n->frame[NET_HEADER - 2] = 1;       /* one buffer */
    scatter(&n->in, n->frame, bytes);
    n->looped++;
    return ring_push(rx, n->in.head, bytes);
}

/* 1: a frame was moved; 0: there is none; -1. */
static int move_one(struct net *n)
{
    struct ring *tx = &n->ring[NET_TX];
    int got = ring_pop(tx, &n->out);
    size_t bytes;

    if (got <= 0) {
        return got;
    }
    bytes = gather(&n->out, n->frame, sizeof(n->frame));
    if (bytes < NET_HEADER + ADDRESS || bytes < n->out.read_len ||
        !is_ours(n, n->frame + NET_HEADER)) {
        n->gone++;
    } else if (receive(n, bytes)) {
        return -1;
    }
    return ring_push(tx, n->out.head, 0) ? -1 : 1;
}

static int flush(struct net *n)
{
    int flags = 0;

    for (int i = 0; i < NET_QUEUES; i++) {
        int call = ring_flush(&n->ring[i]);

        if (call < 0) {
            return -1;
        }
        flags |= call ? NET_CALL << i : 0;
    }
    return flags;
}

int net_move(struct net *n, unsigned budget)
{
    int moved, flags;

    do {
        while ((moved = budget ? move_one(n) : 0) > 0) {
            budget--;
        }
        if (moved < 0) {
            return -1;
        }
        moved = budget ? ring_wait(&n->ring[NET_TX]) : 0;
    } while (moved > 0);
    flags = moved ? -1 : flush(n);
    return flags < 0 ? -1 : flags | (budget ? 0 : NET_MORE);
}
