// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Frames through a simulated NIC, from a process.
 *
 *	simdrive-net DEVICE flow  PAIRS FRAMES ROUNDS [reset]
 *	simdrive-net DEVICE rate  PAIRS SECONDS [LEN]
 *	simdrive-net DEVICE ctrl  PAIRS
 *
 * flow: every pair sends numbered frames of all lengths and contents, which have to come back whole,
 * each once and in order.  ROUNDS times, in mid-traffic, the device is suspended; then no ring may
 * move and no interrupt come, and the positions that it reports have to be those of its used rings.
 * It goes on by RESUME, or by a reset and a new beginning from the positions; every other time the
 * rings, which have requests in them, are enabled only after DRIVER_OK, where that was negotiated.
 *
 * rate: frames of LEN bytes of payload as fast as they go; prints `rate N` (frames a second).
 *
 * ctrl: see net_ctrl.c.
 *
 * Prints FAIL and why, or OK; figures as `name value`.
 *
 * Limits: frames are sent only when a receive buffer waits for them, so that none may be lost.
 */
#include "net.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAGIC 0x6c6f6f70

struct stamp {
    uint32_t magic;
    uint32_t pair;
    uint64_t seq;
    uint32_t len;               /* of the payload behind */
} __attribute__((packed));

struct frame {
    struct virtio_net_hdr_v1 head;
    uint8_t dst[6];
    uint8_t src[6];
    uint16_t type;
    struct stamp stamp;
    uint8_t payload[];
} __attribute__((packed));

struct pair {
    struct ring *rx;
    struct ring *tx;
    uint8_t *rx_buf[RING_SIZE];
    uint8_t *tx_buf[RING_SIZE];
    uint64_t sent;
    uint64_t received;
    uint16_t tx_free[RING_SIZE];
    unsigned tx_nfree;
    unsigned rx_posted;         /* and not used by a frame on its way */
};

static struct drive drive;
static struct pair *pairs;
static unsigned npairs;
static uint8_t own_mac[6];
static unsigned restarts, lates;

uint64_t net_wanted(void)
{
    return NET_BIT(MAC) | NET_BIT(MTU) | NET_BIT(STATUS) | NET_BIT(CTRL_VQ) | NET_BIT(MQ) |
           NET_BIT(CTRL_RX) | NET_BIT(CTRL_RX_EXTRA) | NET_BIT(CTRL_VLAN) | NET_BIT(CTRL_MAC_ADDR) |
           NET_BIT(CSUM) | NET_BIT(GUEST_CSUM) | NET_BIT(CTRL_GUEST_OFFLOADS) |
           NET_BIT(GUEST_ANNOUNCE);
}

/* All rings, and the control command that puts PAIRS into use. */
void net_begin(struct drive *d, const char *path, unsigned pairs_wanted)
{
    struct virtio_net_config config;
    struct vhost_vring_state asid = { .index = 1, .num = 1 };
    unsigned last, i;

    drive_open(d, path, 64 << 20);
    drive_negotiate(d, net_wanted());
    drive_config(d, &config, sizeof(config));
    memcpy(own_mac, config.mac, 6);
    if (pairs_wanted > 1 && config.max_virtqueue_pairs < pairs_wanted)
        fail("the device has %u pairs", config.max_virtqueue_pairs);
    last = net_has(d, VIRTIO_NET_F_MQ) ? 2 * config.max_virtqueue_pairs : 2;
    drive_map(d, 0);
    if (d->backend >> VHOST_BACKEND_F_IOTLB_ASID & 1) {
        if (ioctl(d->fd, VHOST_VDPA_SET_GROUP_ASID, &asid))
            fail("SET_GROUP_ASID");
        drive_map(d, 1);
    }
    for (i = 0; i < 2 * pairs_wanted; i++)
        ring_set_up(d, i, RING_SIZE);
    if (net_has(d, VIRTIO_NET_F_CTRL_VQ))
        ring_set_up(d, last, 64);
    drive_start(d);
    if (pairs_wanted > 1) {
        uint16_t count = pairs_wanted;

        if (net_command(d, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &count, 2))
            fail("the device refused %u pairs", pairs_wanted);
    }
}

/* The answer to a control command. */
uint8_t net_command(struct drive *d, uint8_t class, uint8_t cmd, const void *data, size_t len)
{
    static uint8_t *buf;
    struct ring *r = &d->rings[d->nrings - 1];
    uint16_t head;
    struct segment segments[3];
    unsigned count = 0;
    uint32_t written;

    if (!buf)
        buf = drive_alloc(d, 65536, 64);
    segments[count++] = (struct segment) { buf, 2, false };
    buf[0] = class;
    buf[1] = cmd;
    memcpy(buf + 2, data, len);
    buf[60000] = 0xee;
    if (len)
        segments[count++] = (struct segment) { buf + 2, len, false };
    segments[count++] = (struct segment) { buf + 60000, 1, true };
    ring_post(r, 0, segments, count);
    ring_kick(r);
    if (!ring_wait(r, &head, &written, 20))
        fail("control command %u.%u: no answer in 20 s", class, cmd);
    if (written != 1)
        fail("control command %u.%u: %u bytes of answer", class, cmd, written);
    return buf[60000];
}

static void post_rx(struct pair *p, uint16_t id)
{
    ring_post(p->rx, id, &(struct segment) { p->rx_buf[id], BUF_SIZE, true }, 1);
    p->rx_posted++;
}

static void set_up_pairs(unsigned count)
{
    unsigned i, id;

    npairs = count;
    pairs = calloc(count, sizeof(*pairs));
    for (i = 0; i < count; i++) {
        struct pair *p = &pairs[i];

        p->rx = &drive.rings[2 * i];
        p->tx = &drive.rings[2 * i + 1];
        for (id = 0; id < RING_SIZE; id++) {
            p->rx_buf[id] = drive_alloc(&drive, BUF_SIZE, 64);
            p->tx_buf[id] = drive_alloc(&drive, BUF_SIZE, 64);
            p->tx_free[p->tx_nfree++] = id;
            post_rx(p, id);
        }
        ring_kick(p->rx);
    }
}

static uint8_t pattern(uint64_t seq, size_t at)
{
    return seq * 31 + at * 7 + 1;
}

static uint32_t payload_len(uint64_t seq)
{
    return seq * 131 % (1500 - sizeof(struct stamp));
}

static void fill(struct frame *f, unsigned pair, uint64_t seq, uint32_t len)
{
    uint32_t i;

    memset(&f->head, 0, sizeof(f->head));
    if (seq & 1)
        memset(f->dst, 0xff, 6);
    else
        memcpy(f->dst, own_mac, 6);
    memcpy(f->src, own_mac, 6);
    f->type = 0xb588;
    f->stamp = (struct stamp) { MAGIC, pair, seq, len };
    for (i = 0; i < len; i++)
        f->payload[i] = pattern(seq, i);
}

/* In up to three segments, to make the device walk. */
static void post_tx(struct pair *p, uint32_t len)
{
    uint16_t id = p->tx_free[--p->tx_nfree];

    ring_post(p->tx, id, &(struct segment) { p->tx_buf[id], sizeof(struct frame) + len, false }, 1);
    p->rx_posted--;
    p->sent++;
}

static void send_some(unsigned n, uint64_t limit, bool stamped, uint32_t fixed)
{
    struct pair *p = &pairs[n];
    unsigned count = 0;

    while (p->tx_nfree && p->rx_posted && p->sent < limit) {
        struct frame *f = (struct frame *)p->tx_buf[p->tx_free[p->tx_nfree - 1]];
        uint32_t len = stamped ? payload_len(p->sent) : fixed;

        if (stamped || p->sent < 2 * RING_SIZE)
            fill(f, n, p->sent, len);
        post_tx(p, len);
        count++;
    }
    if (count)
        ring_kick(p->tx);
}

static void check_frame(unsigned n, const struct frame *f, uint32_t len)
{
    struct pair *p = &pairs[n];
    uint32_t want = payload_len(p->received);
    uint32_t i;

    if (f->stamp.magic != MAGIC || f->stamp.pair != n)
        fail("pair %u: a frame that is not its own (pair %u)", n, f->stamp.pair);
    if (f->stamp.seq != p->received)
        fail("pair %u: frame %llu where %llu was due", n, (unsigned long long)f->stamp.seq,
             (unsigned long long)p->received);
    if (len != sizeof(*f) + want || f->stamp.len != want)
        fail("pair %u: frame %llu has %u bytes", n, (unsigned long long)p->received, len);
    if (f->head.num_buffers != 1 || f->head.flags)
        fail("pair %u: a bad header", n);
    for (i = 0; i < want; i++)
        if (f->payload[i] != pattern(p->received, i))
            fail("pair %u: frame %llu differs at %u", n, (unsigned long long)p->received, i);
}

/* What came back; how many. */
static unsigned reap(unsigned n, bool stamped)
{
    struct pair *p = &pairs[n];
    unsigned count = 0;
    uint16_t head;
    uint32_t len;

    while (ring_reap(p->tx, &head, &len)) {
        if (len)
            fail("pair %u: the device says it wrote into a transmit buffer", n);
        p->tx_free[p->tx_nfree++] = head;
    }
    while (ring_reap(p->rx, &head, &len)) {
        if (stamped)
            check_frame(n, (struct frame *)p->rx_buf[head], len);
        p->received++;
        post_rx(p, head);
        count++;
    }
    if (count)
        ring_kick(p->rx);
    return count;
}

static void drain_calls(void)
{
    uint64_t count;
    unsigned i;

    for (i = 0; i < drive.nrings; i++)
        if (drive.rings[i].drive && read(drive.rings[i].call, &count, sizeof(count)) < 0)
            continue;
}

/* Nothing may happen in a suspended device. */
static void check_still(void)
{
    uint16_t before[MAX_RINGS];
    uint64_t count;
    unsigned i;

    drain_calls();
    for (i = 0; i < drive.nrings; i++)
        if (drive.rings[i].drive)
            before[i] = drive.rings[i].used->idx;
    usleep(20000);
    for (i = 0; i < drive.nrings; i++) {
        struct ring *r = &drive.rings[i];
        uint16_t base;

        if (!r->drive)
            continue;
        if (__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) != before[i])
            fail("ring %u moves while the device is suspended", i);
        if (read(r->call, &count, sizeof(count)) > 0)
            fail("ring %u: an interrupt while the device is suspended", i);
        base = ring_base(r);
        if (base != before[i])
            fail("ring %u: position %u, used index %u", i, base, before[i]);
    }
}

static void stop_and_go(bool by_reset)
{
    uint16_t base[MAX_RINGS];
    uint64_t one = 1;
    unsigned i;
    int ret = drive_suspend(&drive);

    if (ret)
        fail("suspend: %s", strerror(-ret));
    for (i = 0; i < 2 * npairs; i++)        /* kicks do not wake it */
        if (write(drive.rings[i].kick, &one, sizeof(one)) < 0)
            fail("kick");
    check_still();
    if (!by_reset) {
        ret = drive_resume(&drive);
        if (ret)
            fail("resume: %s", strerror(-ret));
        return;
    }
    for (i = 0; i < drive.nrings; i++)
        if (drive.rings[i].drive)
            base[i] = ring_base(&drive.rings[i]);
    net_restart(&drive, base);
}

/* Rings that are not enabled do nothing in a running device; once they are they need no kick. */
static void enable_late(struct drive *d)
{
    unsigned i;

    check_still();
    for (i = 0; i < d->nrings; i++)
        if (d->rings[i].drive)
            ring_enable(&d->rings[i]);
    d->late = false;
    lates++;
}

/* Reset, and begin again where the rings were. */
void net_restart(struct drive *d, const uint16_t *base)
{
    struct vhost_vring_state asid = { .index = 1, .num = 1 };
    uint16_t count = npairs;
    unsigned i;

    drive_reset(d);
    drive_negotiate(d, net_wanted());
    d->late = restarts++ % 2 && d->backend >> VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK & 1;
    if (d->backend >> VHOST_BACKEND_F_IOTLB_ASID & 1 &&
        ioctl(d->fd, VHOST_VDPA_SET_GROUP_ASID, &asid))
        fail("SET_GROUP_ASID");
    for (i = 0; i < d->nrings; i++)
        if (d->rings[i].drive)
            ring_again(&d->rings[i], base[i]);
    drive_start(d);
    if (d->late)
        enable_late(d);
    if (npairs > 1 && net_command(d, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &count, 2))
        fail("the device refused %u pairs", npairs);
}

static uint64_t total(void)
{
    uint64_t sum = 0;
    unsigned i;

    for (i = 0; i < npairs; i++)
        sum += pairs[i].received;
    return sum;
}

static void flow(uint64_t frames, unsigned rounds, bool by_reset)
{
    uint64_t all = frames * npairs, next = all / (rounds + 1);
    double last = seconds();
    unsigned done = 0, i;

    while (total() < all) {
        unsigned got = 0;

        for (i = 0; i < npairs; i++) {
            send_some(i, frames, true, 0);
            if (done < rounds && total() >= next * (done + 1)) {
                stop_and_go(by_reset);
                done++;
            }
            got += reap(i, true);
        }
        if (got)
            last = seconds();
        else if (seconds() > last + 20)
            fail("nothing came for 20 s, after %llu of %llu frames", (unsigned long long)total(),
                 (unsigned long long)all);
    }
    usleep(20000);
    for (i = 0; i < npairs; i++)
        if (reap(i, true))
            fail("pair %u: a frame too many", i);
    if (done != rounds)
        fail("%u suspensions of %u", done, rounds);
    printf("frames %llu\nsuspensions %u\nlate %u\n", (unsigned long long)all, done, lates);
}

static void rate(double limit, uint32_t len)
{
    double start = seconds(), now = start;
    unsigned i;

    while (now < start + limit) {
        for (i = 0; i < npairs; i++) {
            send_some(i, UINT64_MAX, false, len);
            reap(i, false);
        }
        now = seconds();
    }
    printf("rate %.0f\n", total() / (now - start));
}

int main(int argc, char **argv)
{
    if (argc < 4)
        fail("usage: simdrive-net DEVICE flow|rate|ctrl PAIRS ...");
    net_begin(&drive, argv[1], atoi(argv[3]));
    if (!strcmp(argv[2], "ctrl")) {
        net_ctrl_cases(&drive, own_mac);
    } else {
        set_up_pairs(atoi(argv[3]));
        if (!strcmp(argv[2], "flow") && argc > 5)
            flow(strtoull(argv[4], NULL, 0), atoi(argv[5]), argc > 6);
        else if (!strcmp(argv[2], "rate") && argc > 4)
            rate(atof(argv[4]), argc > 5 ? strtoul(argv[5], NULL, 0) : 30);
        else
            fail("usage");
    }
    puts("OK");
    return 0;
}
