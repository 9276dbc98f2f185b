/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Control-queue state of a network device. See vhost-vdpa-ctrl.h, also for the
 * limits. Layouts: virtio 1.2, section 5.1.6.5.
 */
#include <errno.h>
#include <string.h>
#include <linux/virtio_net.h>

#include "vhost-vdpa-ctrl.h"

#ifndef VIRTIO_NET_F_RSS
#define VIRTIO_NET_F_RSS 60
#endif
#ifndef VIRTIO_NET_F_HASH_REPORT
#define VIRTIO_NET_F_HASH_REPORT 57
#endif
#ifndef VIRTIO_NET_CTRL_MQ_RSS_CONFIG
#define VIRTIO_NET_CTRL_MQ_RSS_CONFIG 1
#define VIRTIO_NET_CTRL_MQ_HASH_CONFIG 2
#endif

/* A command under construction, little-endian. */
typedef struct Command {
    size_t bytes;
    uint8_t at[VDPA_CTRL_COMMAND_MAX];
} Command;

typedef struct Replay {
    const VdpaCtrlState *state;
    VdpaCtrlEmit emit;
    void *opaque;
} Replay;

static void put(Command *c, const void *from, size_t bytes)
{
    memcpy(c->at + c->bytes, from, bytes);
    c->bytes += bytes;
}

static void put_number(Command *c, uint64_t n, unsigned bytes)
{
    while (bytes--) {
        c->at[c->bytes++] = n;
        n >>= 8;
    }
}

static Command command(uint8_t class, uint8_t cmd)
{
    Command c = { .bytes = 2, .at = { class, cmd } };

    return c;
}

static int emit(const Replay *r, const Command *c)
{
    return r->emit(r->opaque, c->at, c->bytes);
}

static bool has(const Replay *r, unsigned feature)
{
    return r->state->features >> feature & 1;
}

/* --- parts of the state ------------------------------------------------- */

static int replay_mac(const Replay *r)
{
    Command c = command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET);

    put(&c, r->state->mac, VDPA_CTRL_MAC);
    return emit(r, &c);
}

static int send_mac_table(const Replay *r)
{
    const VdpaCtrlState *s = r->state;
    unsigned unicast = s->unicast, multicast = s->multicast;
    Command c = command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET);

    if (unicast > VDPA_CTRL_MACS || multicast > VDPA_CTRL_MACS - unicast) {
        return -EINVAL;
    }
    put_number(&c, unicast, 4);
    put(&c, s->macs, unicast * VDPA_CTRL_MAC);
    put_number(&c, multicast, 4);
    put(&c, s->macs + unicast * VDPA_CTRL_MAC, multicast * VDPA_CTRL_MAC);
    return emit(r, &c);
}

/* A device's table is empty after a reset. */
static int replay_mac_table(const Replay *r)
{
    return r->state->unicast || r->state->multicast ? send_mac_table(r) : 0;
}

static int send_rx(const Replay *r, uint8_t cmd, bool on)
{
    Command c = command(VIRTIO_NET_CTRL_RX, cmd);

    put_number(&c, on, 1);
    return emit(r, &c);
}

/*
 * Devices come up promiscuous, with all other modes off. Too many addresses
 * for a filter table mean that all of that kind are let in.
 */
static int replay_rx(const Replay *r)
{
    const VdpaCtrlState *s = r->state;
    const struct {
        uint8_t cmd;
        bool on, off_by_default, extra;
    } modes[] = {
        { VIRTIO_NET_CTRL_RX_PROMISC, s->promisc || s->unicast_overflow,
          false, false },
        { VIRTIO_NET_CTRL_RX_ALLMULTI, s->allmulti || s->multicast_overflow,
          true, false },
        { VIRTIO_NET_CTRL_RX_ALLUNI, s->alluni, true, true },
        { VIRTIO_NET_CTRL_RX_NOMULTI, s->nomulti, true, true },
        { VIRTIO_NET_CTRL_RX_NOUNI, s->nouni, true, true },
        { VIRTIO_NET_CTRL_RX_NOBCAST, s->nobcast, true, true },
    };

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        Command c = command(VIRTIO_NET_CTRL_RX, modes[i].cmd);
        int err;

        if (modes[i].on != modes[i].off_by_default ||
            (modes[i].extra && !has(r, VIRTIO_NET_F_CTRL_RX_EXTRA))) {
            continue;
        }
        put_number(&c, modes[i].on, 1);
        err = emit(r, &c);
        if (err) {
            return err;
        }
    }
    return 0;
}

static int replay_vlans(const Replay *r)
{
    for (unsigned id = 0; id < VDPA_CTRL_VLANS; id++) {
        Command c = command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD);
        int err;

        if (!(r->state->vlans[id / 32] >> (id % 32) & 1)) {
            continue;
        }
        put_number(&c, id, 2);
        err = emit(r, &c);
        if (err) {
            return err;
        }
    }
    return 0;
}

static int replay_pairs(const Replay *r)
{
    Command c = command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET);

    put_number(&c, r->state->queue_pairs, 2);
    return emit(r, &c);
}

static int replay_offloads(const Replay *r)
{
    Command c = command(VIRTIO_NET_CTRL_GUEST_OFFLOADS,
                        VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET);

    if (r->state->offloads == r->state->offloads_default) {
        return 0;
    }
    put_number(&c, r->state->offloads, 8);
    return emit(r, &c);
}

static void put_key(Command *c, const VdpaCtrlState *s)
{
    put_number(c, VDPA_CTRL_RSS_KEY, 1);
    put(c, s->key, VDPA_CTRL_RSS_KEY);
}

/*
 * Whether hashes choose queues. A driver that has agreed on that may ask for
 * hashes alone (HASH_CONFIG); what QEMU keeps of it, and migrates, is a table of
 * one entry, queue 0. A driver that has all hashes go to queue 0 on purpose
 * leaves the same; it is served by some queue, as a device chooses.
 */
static bool steers(const Replay *r)
{
    const VdpaCtrlState *s = r->state;

    return has(r, VIRTIO_NET_F_RSS) &&
           !(has(r, VIRTIO_NET_F_HASH_REPORT) && s->table_length == 1 &&
             !s->table[0] && !s->default_queue);
}

/* Without hash types, too: all frames then go to the default queue. */
static int replay_rss(const Replay *r)
{
    const VdpaCtrlState *s = r->state;
    Command c = command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG);

    if (!s->rss || !steers(r)) {
        return 0;
    }
    if (!s->table_length || s->table_length > VDPA_CTRL_RSS_TABLE) {
        return -EINVAL;
    }
    put_number(&c, s->hash_types, 4);
    put_number(&c, s->table_length - 1, 2);
    put_number(&c, s->default_queue, 2);
    for (unsigned i = 0; i < s->table_length; i++) {
        put_number(&c, s->table[i], 2);
    }
    put_number(&c, s->queue_pairs, 2);
    put_key(&c, s);
    return emit(r, &c);
}

/* Hashes without steering: the table's fields are reserved. */
static int replay_hash(const Replay *r)
{
    Command c = command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_HASH_CONFIG);

    if (!r->state->rss || steers(r) || !r->state->hash_types) {
        return 0;
    }
    put_number(&c, r->state->hash_types, 4);
    put_number(&c, 0, 8);
    put_key(&c, r->state);
    return emit(r, &c);
}

/* Each part, and the feature without which there is no such command. */
static const struct {
    int (*replay)(const Replay *r);
    unsigned feature;
} parts[] = {
    { replay_mac, VIRTIO_NET_F_CTRL_MAC_ADDR },
    { replay_mac_table, VIRTIO_NET_F_CTRL_RX },
    { replay_pairs, VIRTIO_NET_F_MQ },
    { replay_rss, VIRTIO_NET_F_RSS },
    { replay_hash, VIRTIO_NET_F_HASH_REPORT },
    { replay_offloads, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS },
    { replay_rx, VIRTIO_NET_F_CTRL_RX },
    { replay_vlans, VIRTIO_NET_F_CTRL_VLAN },
};

int vdpa_ctrl_replay(const VdpaCtrlState *state, VdpaCtrlEmit emit_one,
                     void *opaque)
{
    const Replay r = { state, emit_one, opaque };

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        int err = has(&r, parts[i].feature) ? parts[i].replay(&r) : 0;

        if (err) {
            return err;
        }
    }
    return 0;
}

/* What lets more in comes before the table, else after it: nothing is lost. */
static int send_filter(const Replay *r)
{
    const VdpaCtrlState *s = r->state;
    bool promisc = s->promisc || s->unicast_overflow;
    bool allmulti = s->allmulti || s->multicast_overflow;
    int err = 0;

    for (int on = 1; !err && on >= 0; on--) {
        if (promisc == on) {
            err = send_rx(r, VIRTIO_NET_CTRL_RX_PROMISC, on);
        }
        if (!err && allmulti == on) {
            err = send_rx(r, VIRTIO_NET_CTRL_RX_ALLMULTI, on);
        }
        if (!err && on) {
            err = send_mac_table(r);
        }
    }
    return err;
}

int vdpa_ctrl_filter(const VdpaCtrlState *s, VdpaCtrlEmit emit_one,
                     void *opaque)
{
    const Replay r = { s, emit_one, opaque };

    return has(&r, VIRTIO_NET_F_CTRL_RX) ? send_filter(&r) : 0;
}

bool vdpa_ctrl_is_filter(const uint8_t *c, size_t bytes)
{
    return bytes >= 2 &&
           ((c[0] == VIRTIO_NET_CTRL_MAC &&
             c[1] == VIRTIO_NET_CTRL_MAC_TABLE_SET) ||
            (c[0] == VIRTIO_NET_CTRL_RX &&
             (c[1] == VIRTIO_NET_CTRL_RX_PROMISC ||
              c[1] == VIRTIO_NET_CTRL_RX_ALLMULTI)));
}

/* The announcement that a migrated guest makes is asked for by QEMU. */
bool vdpa_ctrl_is_local(const uint8_t *c, size_t bytes)
{
    return bytes >= 2 && c[0] == VIRTIO_NET_CTRL_ANNOUNCE;
}

const char *vdpa_ctrl_name(const uint8_t *c, size_t bytes)
{
    static const char *const classes[] = {
        [VIRTIO_NET_CTRL_RX] = "receive mode",
        [VIRTIO_NET_CTRL_MAC] = "MAC",
        [VIRTIO_NET_CTRL_VLAN] = "VLAN",
        [VIRTIO_NET_CTRL_ANNOUNCE] = "announce",
        [VIRTIO_NET_CTRL_MQ] = "queue pairs",
        [VIRTIO_NET_CTRL_GUEST_OFFLOADS] = "offloads",
    };

    if (bytes < 2 || c[0] >= sizeof(classes) / sizeof(classes[0]) ||
        !classes[c[0]]) {
        return "unknown";
    }
    return classes[c[0]];
}
