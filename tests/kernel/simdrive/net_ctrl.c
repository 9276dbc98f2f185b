// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The control queue of a simulated NIC: every command, with what it has to answer and what then has
 * to come back of one frame of each kind.
 *
 * Limits: commands are sent one at a time.
 */
#include "net.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OWN, OTHER, THIRD, BCAST, MCAST1, MCAST2, VLAN5, VLAN6, NPROBES };

#define B(probe) (1U << (probe))
#define ALL_BUT(probes) ((B(NPROBES) - 1) & ~(probes))
#define NO_VLANS (B(VLAN5) | B(VLAN6))

static uint8_t probe_dst[NPROBES][6] = {
    [OTHER] = { 2, 0, 0, 0, 0, 0x77 },
    [THIRD] = { 2, 0, 0, 0, 0, 0x78 },
    [BCAST] = { 255, 255, 255, 255, 255, 255 },
    [MCAST1] = { 1, 0, 0x5e, 0, 0, 1 },
    [MCAST2] = { 1, 0, 0x5e, 0, 0, 2 },
};

struct probe {
    struct virtio_net_hdr_v1 head;
    uint8_t dst[6];
    uint8_t src[6];
    uint8_t rest[48];
} __attribute__((packed));

struct state {
    struct drive *d;
    struct probe *tx;
    struct probe *rx;
    uint8_t mac[6];
};

static void make_probe(struct state *s, unsigned kind)
{
    struct probe *p = &s->tx[kind];
    const uint8_t *dst = kind == OWN || kind >= VLAN5 ? s->mac : probe_dst[kind];

    memset(p, 0, sizeof(*p));
    memcpy(p->dst, dst, 6);
    p->rest[0] = 0x88;
    p->rest[1] = 0xb5;
    if (kind >= VLAN5) {
        p->rest[0] = 0x81;
        p->rest[1] = 0;
        p->rest[3] = kind == VLAN5 ? 5 : 6;
    }
    p->rest[20] = kind;
}

/* Which of the probes come back. */
static unsigned try_probes(struct state *s)
{
    struct ring *rx = &s->d->rings[0], *tx = &s->d->rings[1];
    unsigned kind, seen = 0;
    uint16_t head;
    uint32_t len;

    for (kind = 0; kind < NPROBES; kind++) {
        make_probe(s, kind);
        ring_post(tx, kind, &(struct segment) { &s->tx[kind], sizeof(*s->tx), false }, 1);
    }
    ring_kick(tx);
    for (kind = 0; kind < NPROBES; kind++)
        if (!ring_wait(tx, &head, &len, 20))
            fail("a transmit buffer did not come back in 20 s");
    while (ring_reap(rx, &head, &len)) {
        seen |= B(s->rx[head].rest[20]);
        ring_post(rx, head, &(struct segment) { &s->rx[head], sizeof(*s->rx), true }, 1);
    }
    ring_kick(rx);
    return seen;
}

#define RX(cmd) VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_##cmd
#define OK VIRTIO_NET_OK
#define ERR VIRTIO_NET_ERR
#define BASIC (B(OWN) | B(BCAST))

/* In this order: each begins where the one before it left the device. */
static const struct {
    const char *what;
    uint8_t class;
    uint8_t cmd;
    uint8_t answer;
    uint8_t len;
    uint8_t data[40];
    unsigned receives;
} cases[] = {
    { "promisc is on at first", RX(PROMISC), OK, 1, { 1 }, ALL_BUT(0) },
    { "promisc off", RX(PROMISC), OK, 1, { 0 }, BASIC },
    { "allmulti on", RX(ALLMULTI), OK, 1, { 1 }, BASIC | B(MCAST1) | B(MCAST2) },
    { "nomulti on", RX(NOMULTI), OK, 1, { 1 }, BASIC },
    { "nomulti off", RX(NOMULTI), OK, 1, { 0 }, BASIC | B(MCAST1) | B(MCAST2) },
    { "allmulti off", RX(ALLMULTI), OK, 1, { 0 }, BASIC },
    { "alluni on", RX(ALLUNI), OK, 1, { 1 }, BASIC | B(OTHER) | B(THIRD) },
    { "nouni on", RX(NOUNI), OK, 1, { 1 }, B(BCAST) },
    { "alluni off", RX(ALLUNI), OK, 1, { 0 }, B(BCAST) },
    { "nouni off", RX(NOUNI), OK, 1, { 0 }, BASIC },
    { "nobcast on", RX(NOBCAST), OK, 1, { 1 }, B(OWN) },
    { "nobcast off", RX(NOBCAST), OK, 1, { 0 }, BASIC },
    { "a mode without its byte", RX(PROMISC), ERR, 0, { 0 }, BASIC },
    { "a mode with two bytes", RX(PROMISC), ERR, 2, { 1, 1 }, BASIC },
    { "an unknown mode", VIRTIO_NET_CTRL_RX, 6, ERR, 1, { 1 }, BASIC },
    { "an unknown class", 99, 0, ERR, 1, { 1 }, BASIC },
    { "tables: other and multicast 1", VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, OK, 20,
      { 1, 0, 0, 0, 2, 0, 0, 0, 0, 0x77, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1 },
      BASIC | B(OTHER) | B(MCAST1) },
    { "tables that claim more than there is", VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, ERR,
      20, { 2, 0, 0, 0, 2, 0, 0, 0, 0, 0x77, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1 },
      BASIC | B(OTHER) | B(MCAST1) },
    { "a table of 4 billion", VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, ERR, 8,
      { 255, 255, 255, 255 }, BASIC | B(OTHER) | B(MCAST1) },
    { "one table", VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, ERR, 4, { 0 },
      BASIC | B(OTHER) | B(MCAST1) },
    { "empty tables", VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, OK, 8, { 0 }, BASIC },
    { "VLAN 5", VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, OK, 2, { 5 }, BASIC | B(VLAN5) },
    { "VLAN 6", VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, OK, 2, { 6 }, BASIC | NO_VLANS },
    { "not VLAN 5", VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, OK, 2, { 5 }, BASIC | B(VLAN6) },
    { "not VLAN 6", VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, OK, 2, { 6 }, BASIC },
    { "VLAN 4096", VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, ERR, 2, { 0, 16 }, BASIC },
    { "another address", VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, OK, 6,
      { 2, 0, 0, 0, 0, 0x78 }, B(THIRD) | B(BCAST) },
    { "a multicast address", VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, ERR, 6,
      { 1, 0, 0, 0, 0, 0x78 }, B(THIRD) | B(BCAST) },
    { "no pair", VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, ERR, 2, { 0, 0 },
      B(THIRD) | B(BCAST) },
    { "32768 pairs", VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, ERR, 2, { 0, 128 },
      B(THIRD) | B(BCAST) },
    { "checksum offload off", VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, OK, 8,
      { 0 }, B(THIRD) | B(BCAST) },
    { "an offload never negotiated", VIRTIO_NET_CTRL_GUEST_OFFLOADS,
      VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, ERR, 8, { 0x80 }, B(THIRD) | B(BCAST) },
    { "no announcement was asked for", VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, ERR, 0,
      { 0 }, B(THIRD) | B(BCAST) },
};

/* With offload off a frame that wants its checksum filled in comes back with it. */
static void check_checksum(struct state *s)
{
    struct ring *rx = &s->d->rings[0], *tx = &s->d->rings[1];
    struct probe *p = &s->tx[0];
    uint16_t head;
    uint32_t len, sum = 0;
    unsigned i;

    make_probe(s, BCAST);
    *p = s->tx[BCAST];
    for (i = 0; i < sizeof(p->rest); i++)
        p->rest[i] = i * 37 + 11;
    p->rest[8] = p->rest[9] = 0;
    p->head.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    p->head.csum_start = 12 + 4;
    p->head.csum_offset = 4;
    ring_post(tx, 0, &(struct segment) { p, sizeof(*p), false }, 1);
    ring_kick(tx);
    if (!ring_wait(rx, &head, &len, 20))
        fail("the frame without a checksum did not come back");
    if (s->rx[head].head.flags)
        fail("checksum offload is off and the header has flags %#x", s->rx[head].head.flags);
    for (i = 4; i < sizeof(p->rest); i += 2)
        sum += s->rx[head].rest[i] << 8 | s->rx[head].rest[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    if (sum != 0xffff)
        fail("the checksum filled in is wrong: the sum is %#x", sum);
    if (!ring_wait(tx, &head, &len, 20))
        fail("the frame without a checksum was not completed");
}

void net_ctrl_cases(struct drive *d, const uint8_t *mac)
{
    struct state s = { .d = d };
    unsigned i, seen;
    uint8_t answer;

    memcpy(s.mac, mac, 6);
    s.tx = drive_alloc(d, RING_SIZE * sizeof(*s.tx), 64);
    s.rx = drive_alloc(d, RING_SIZE * sizeof(*s.rx), 64);
    for (i = 0; i < RING_SIZE / 2; i++)
        ring_post(&d->rings[0], i, &(struct segment) { &s.rx[i], sizeof(*s.rx), true }, 1);
    ring_kick(&d->rings[0]);
    seen = try_probes(&s);
    if (seen != ALL_BUT(0))
        fail("after reset: received %#x", seen);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        answer = net_command(d, cases[i].class, cases[i].cmd, cases[i].data, cases[i].len);
        if (answer != cases[i].answer)
            fail("%s: the answer is %u", cases[i].what, answer);
        seen = try_probes(&s);
        if (seen != cases[i].receives)
            fail("%s: received %#x, should be %#x", cases[i].what, seen, cases[i].receives);
    }
    check_checksum(&s);
    printf("commands %u\n", i);
}
