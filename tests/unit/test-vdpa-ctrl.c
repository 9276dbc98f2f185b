/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Control-queue state and its replay.
 *
 * A model device, written from the specification, takes the commands of a
 * replay; the state it ends in must be the state replayed, for states drawn at
 * random, and must be that of a device after reset where no command came.
 *
 * Limits: the model knows the commands that a replay makes, no others.
 */
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <linux/virtio_net.h>

#include "net/vhost-vdpa-ctrl.h"

#define ROUNDS  2000
#define ALL     UINT64_MAX

typedef struct Model {
    uint8_t mac[6];
    uint8_t macs[64 * 6];
    unsigned unicast, multicast;
    bool mode[6];               /* by VIRTIO_NET_CTRL_RX_* */
    uint32_t vlans[128];
    uint16_t pairs;
    uint64_t offloads;
    bool rss, hash;
    uint32_t types;
    uint16_t length, table[128], queue, rss_pairs;
    uint8_t key[40];
    unsigned commands, refuse_at;
} Model;

static uint64_t number(const uint8_t **at, unsigned bytes)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < bytes; i++) {
        n |= (uint64_t)(*at)[i] << 8 * i;
    }
    *at += bytes;
    return n;
}

static void take(const uint8_t **at, void *to, size_t bytes)
{
    memcpy(to, *at, bytes);
    *at += bytes;
}

static void take_table(Model *m, const uint8_t **at)
{
    m->unicast = number(at, 4);
    g_assert_cmpuint(m->unicast, <=, 64);
    take(at, m->macs, m->unicast * 6);
    m->multicast = number(at, 4);
    g_assert_cmpuint(m->unicast + m->multicast, <=, 64);
    take(at, m->macs + m->unicast * 6, m->multicast * 6);
}

static void take_rss(Model *m, const uint8_t **at)
{
    m->rss = true;
    m->types = number(at, 4);
    m->length = number(at, 2) + 1;
    m->queue = number(at, 2);
    for (unsigned i = 0; i < m->length; i++) {
        m->table[i] = number(at, 2);
    }
    m->rss_pairs = number(at, 2);
    g_assert_cmpuint(number(at, 1), ==, 40);
    take(at, m->key, 40);
}

static void take_hash(Model *m, const uint8_t **at)
{
    m->hash = true;
    m->types = number(at, 4);
    g_assert_cmpuint(number(at, 8), ==, 0);
    g_assert_cmpuint(number(at, 1), ==, 40);
    take(at, m->key, 40);
}

static int model_command(void *opaque, const uint8_t *command, size_t bytes)
{
    const uint8_t *at = command + 2, *end = command + bytes;
    Model *m = opaque;
    unsigned id;

    g_assert_cmpuint(bytes, <=, VDPA_CTRL_COMMAND_MAX);
    g_assert_false(vdpa_ctrl_is_local(command, bytes));
    g_assert_cmpstr(vdpa_ctrl_name(command, bytes), !=, "unknown");
    if (++m->commands == m->refuse_at) {
        return -EPROTO;
    }
    switch (command[0] << 8 | command[1]) {
    case VIRTIO_NET_CTRL_MAC << 8 | VIRTIO_NET_CTRL_MAC_ADDR_SET:
        take(&at, m->mac, 6);
        break;
    case VIRTIO_NET_CTRL_MAC << 8 | VIRTIO_NET_CTRL_MAC_TABLE_SET:
        take_table(m, &at);
        break;
    case VIRTIO_NET_CTRL_VLAN << 8 | VIRTIO_NET_CTRL_VLAN_ADD:
        id = number(&at, 2);
        g_assert_cmpuint(id, <, 4096);
        m->vlans[id / 32] |= 1u << id % 32;
        break;
    case VIRTIO_NET_CTRL_MQ << 8 | VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET:
        m->pairs = number(&at, 2);
        break;
    case VIRTIO_NET_CTRL_MQ << 8 | 1:
        take_rss(m, &at);
        break;
    case VIRTIO_NET_CTRL_MQ << 8 | 2:
        take_hash(m, &at);
        break;
    case VIRTIO_NET_CTRL_GUEST_OFFLOADS << 8 |
         VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET:
        m->offloads = number(&at, 8);
        break;
    default:
        g_assert_cmpuint(command[0], ==, VIRTIO_NET_CTRL_RX);
        g_assert_cmpuint(command[1], <, 6);
        m->mode[command[1]] = number(&at, 1);
    }
    g_assert_true(at == end);
    return 0;
}

/* After a reset: promiscuous, as negotiated, nothing else. */
static Model model_reset(const VdpaCtrlState *s)
{
    Model m = { .mode = { true }, .offloads = s->offloads_default };

    return m;
}

typedef struct Source {
    VdpaCtrlState s;
    uint8_t macs[64 * 6], key[40];
    uint32_t vlans[128];
    uint16_t table[128];
} Source;

static bool coin(void)
{
    return g_test_rand_bit();
}

static void fill(void *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        ((uint8_t *)at)[i] = g_test_rand_int();
    }
}

static void draw(Source *src, uint64_t features)
{
    VdpaCtrlState *s = &src->s;

    memset(src, 0, sizeof(*src));
    s->features = features;
    fill(s->mac, 6);
    fill(src->macs, sizeof(src->macs));
    fill(src->key, sizeof(src->key));
    fill(src->table, sizeof(src->table));
    for (int i = g_test_rand_int_range(0, 6); i > 0; i--) {
        src->vlans[g_test_rand_int_range(0, 128)] |= g_test_rand_int();
    }
    s->macs = src->macs;
    s->key = src->key;
    s->table = src->table;
    s->vlans = src->vlans;
    s->unicast = coin() ? 0 : g_test_rand_int_range(0, 65);
    s->multicast = coin() ? 0 : g_test_rand_int_range(0, 65 - s->unicast);
    s->unicast_overflow = coin() && coin();
    s->multicast_overflow = coin() && coin();
    s->promisc = coin();
    s->allmulti = coin();
    s->alluni = coin();
    s->nomulti = coin();
    s->nouni = coin();
    s->nobcast = coin();
    s->queue_pairs = g_test_rand_int_range(1, 17);
    s->offloads_default = g_test_rand_int();
    s->offloads = coin() ? s->offloads_default : (uint32_t)g_test_rand_int();
    s->rss = coin();
    s->hash_types = coin() ? 0 : g_test_rand_int();
    s->table_length = 1 << g_test_rand_int_range(0, 8);
    s->default_queue = g_test_rand_int_range(0, 16);
}

static bool has(const VdpaCtrlState *s, unsigned feature)
{
    return s->features >> feature & 1;
}

static void check_rx(const Model *m, const VdpaCtrlState *s)
{
    bool extra = has(s, VIRTIO_NET_F_CTRL_RX_EXTRA);
    const bool want[6] = {
        s->promisc || s->unicast_overflow, s->allmulti || s->multicast_overflow,
        s->alluni && extra, s->nomulti && extra, s->nouni && extra,
        s->nobcast && extra,
    };
    unsigned macs = s->unicast + s->multicast;

    if (!has(s, VIRTIO_NET_F_CTRL_RX)) {
        g_assert_true(m->mode[0]);
        g_assert_cmpuint(m->unicast + m->multicast, ==, 0);
        return;
    }
    for (int i = 0; i < 6; i++) {
        g_assert_cmpint(m->mode[i], ==, want[i]);
    }
    g_assert_cmpuint(m->unicast, ==, s->unicast);
    g_assert_cmpuint(m->multicast, ==, s->multicast);
    g_assert_cmpint(memcmp(m->macs, s->macs, macs * 6), ==, 0);
}

static void check_rss(const Model *m, const VdpaCtrlState *s)
{
    bool hashes_only = s->table_length == 1 && !s->table[0] &&
                       !s->default_queue && has(s, 57);
    bool steers = has(s, 60) && !hashes_only;
    bool rss = s->rss && steers;
    bool hash = s->rss && !steers && s->hash_types && has(s, 57);

    g_assert_cmpint(m->rss, ==, rss);
    g_assert_cmpint(m->hash, ==, hash);
    if (rss || hash) {
        g_assert_cmphex(m->types, ==, s->hash_types);
        g_assert_cmpint(memcmp(m->key, s->key, 40), ==, 0);
    }
    if (rss) {
        g_assert_cmpuint(m->length, ==, s->table_length);
        g_assert_cmpint(memcmp(m->table, s->table, m->length * 2), ==, 0);
        g_assert_cmpuint(m->queue, ==, s->default_queue);
        g_assert_cmpuint(m->rss_pairs, ==, s->queue_pairs);
    }
}

static void check(const Model *m, const VdpaCtrlState *s)
{
    static const uint8_t none[512];

    if (has(s, VIRTIO_NET_F_CTRL_MAC_ADDR)) {
        g_assert_cmpint(memcmp(m->mac, s->mac, 6), ==, 0);
    } else {
        g_assert_cmpint(memcmp(m->mac, none, 6), ==, 0);
    }
    check_rx(m, s);
    g_assert_cmpint(memcmp(m->vlans, has(s, VIRTIO_NET_F_CTRL_VLAN)
                           ? (void *)s->vlans : (void *)none, 512), ==, 0);
    g_assert_cmpuint(m->pairs, ==, has(s, VIRTIO_NET_F_MQ) ? s->queue_pairs
                                                           : 0);
    g_assert_cmphex(m->offloads, ==,
                    has(s, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)
                    ? s->offloads : s->offloads_default);
    check_rss(m, s);
}

static void test_random(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t features = (uint64_t)(uint32_t)g_test_rand_int() << 32 |
                            (uint32_t)g_test_rand_int();
        Source src;
        Model m;

        draw(&src, coin() ? ALL : features);
        m = model_reset(&src.s);
        g_assert_cmpint(vdpa_ctrl_replay(&src.s, model_command, &m), ==, 0);
        check(&m, &src.s);
    }
}

/* What a device has after a reset is not told it again. */
static void test_defaults(void)
{
    VdpaCtrlState s = { .features = ALL, .promisc = true, .queue_pairs = 1 };
    uint32_t vlans[128] = { 0 };
    Model m = model_reset(&s);

    s.vlans = vlans;
    g_assert_cmpint(vdpa_ctrl_replay(&s, model_command, &m), ==, 0);
    g_assert_cmpuint(m.commands, ==, 2);        /* MAC, queue pairs */
    s.features = 0;
    m = model_reset(&s);
    g_assert_cmpint(vdpa_ctrl_replay(&s, model_command, &m), ==, 0);
    g_assert_cmpuint(m.commands, ==, 0);
}

/*
 * A driver that has agreed on RSS and asked for hashes only must not find all of
 * its frames steered to one queue. Such a command leaves QEMU's model as here.
 */
static void test_hashes_only(void)
{
    Source src;
    Model m;

    draw(&src, ALL);
    src.s.rss = true;
    src.s.hash_types = 0x3f;
    src.s.table_length = 1;
    src.s.default_queue = src.table[0] = 0;
    m = model_reset(&src.s);
    g_assert_cmpint(vdpa_ctrl_replay(&src.s, model_command, &m), ==, 0);
    g_assert_false(m.rss);
    g_assert_true(m.hash);
    g_assert_cmphex(m.types, ==, 0x3f);
}

/* ... and one that has turned all hashes off but not steering is still steered. */
static void test_steering_only(void)
{
    Source src;
    Model m;

    draw(&src, ALL);
    src.s.rss = true;
    src.s.hash_types = 0;
    src.s.default_queue = 3;
    m = model_reset(&src.s);
    g_assert_cmpint(vdpa_ctrl_replay(&src.s, model_command, &m), ==, 0);
    g_assert_true(m.rss);
    g_assert_false(m.hash);
    g_assert_cmpuint(m.queue, ==, 3);
}

/* The first refusal ends it, wherever it comes. */
static void test_refusal(void)
{
    Source src;
    Model m;
    unsigned all;

    draw(&src, ALL);
    m = model_reset(&src.s);
    g_assert_cmpint(vdpa_ctrl_replay(&src.s, model_command, &m), ==, 0);
    all = m.commands;
    for (unsigned at = 1; at <= all; at++) {
        m = model_reset(&src.s);
        m.refuse_at = at;
        g_assert_cmpint(vdpa_ctrl_replay(&src.s, model_command, &m), ==,
                        -EPROTO);
        g_assert_cmpuint(m.commands, ==, at);
    }
}

/* A migration stream may hold anything. */
static void test_malformed(void)
{
    static const struct {
        unsigned unicast, multicast, length;
    } cases[] = {
        { 65, 0, 1 }, { 0, 65, 1 }, { 33, 32, 1 }, { UINT32_MAX, 1, 1 },
        { 1, UINT32_MAX, 1 }, { UINT32_MAX, UINT32_MAX, 1 }, { 0, 0, 0 },
        { 0, 0, 129 }, { 0, 0, 65535 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        Source src;
        Model m;

        draw(&src, ALL);
        m = model_reset(&src.s);
        src.s.unicast = cases[i].unicast;
        src.s.multicast = cases[i].multicast;
        src.s.table_length = cases[i].length;
        src.s.rss = true;
        src.s.hash_types = 1;
        g_assert_cmpint(vdpa_ctrl_replay(&src.s, model_command, &m), ==,
                        -EINVAL);
    }
}

static void test_names(void)
{
    const uint8_t announce[] = { VIRTIO_NET_CTRL_ANNOUNCE, 0 };
    const uint8_t other[] = { 200, 0 };

    g_assert_true(vdpa_ctrl_is_local(announce, 2));
    g_assert_false(vdpa_ctrl_is_local(announce, 1));
    g_assert_false(vdpa_ctrl_is_local(other, 2));
    g_assert_cmpstr(vdpa_ctrl_name(other, 2), ==, "unknown");
    g_assert_cmpstr(vdpa_ctrl_name(announce, 1), ==, "unknown");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vdpa/ctrl/random", test_random);
    g_test_add_func("/vdpa/ctrl/defaults", test_defaults);
    g_test_add_func("/vdpa/ctrl/hashes-only", test_hashes_only);
    g_test_add_func("/vdpa/ctrl/steering-only", test_steering_only);
    g_test_add_func("/vdpa/ctrl/refusal", test_refusal);
    g_test_add_func("/vdpa/ctrl/malformed", test_malformed);
    g_test_add_func("/vdpa/ctrl/names", test_names);
    return g_test_run();
}
