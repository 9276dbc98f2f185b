// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The simulated NIC's filters and control commands, and the simulated disk's requests, as plain
 * computation: each rule, every length of every command, and random commands against invariants.
 *
 * That a frame really comes or stays away is for the lab (vdpa-sim-net, vdpa-sim-blk).
 *
 * Limits: filters are asked with headers of frames, not with frames.
 */
#include <endian.h>
#include <glib.h>
#include <string.h>

#include "../../kernel/drivers/vdpa/vdpa_sim/vdpa_sim_blk_req.h"
#include "../../kernel/drivers/vdpa/vdpa_sim/vdpa_sim_net_rules.h"

#define BIT64(n) (1ULL << (n))
#define EVERYTHING (~0ULL)

static const __u8 own[6] = { 2, 1, 2, 3, 4, 5 };
static const __u8 other[6] = { 2, 9, 9, 9, 9, 9 };
static const __u8 group[6] = { 1, 0, 0x5e, 1, 2, 3 };
static const __u8 everybody[6] = { 255, 255, 255, 255, 255, 255 };

static bool accepts(const struct vdpa_sim_net_rules *rules, const __u8 *dst)
{
	__u8 frame[18] = { 0 };

	memcpy(frame, dst, 6);
	return vdpa_sim_net_rules_accept(rules, frame, sizeof(frame));
}

static bool accepts_vlan(const struct vdpa_sim_net_rules *rules, unsigned int tag, size_t len)
{
	__u8 frame[18] = { [12] = 0x81, [14] = tag >> 8, [15] = tag & 255 };

	memcpy(frame, own, 6);
	return vdpa_sim_net_rules_accept(rules, frame, len);
}

static __u8 command(struct vdpa_sim_net_rules *rules, __u8 class, __u8 cmd, const void *data, size_t len)
{
	g_autofree __u8 *all = g_malloc(len + 2);	/* exactly: a sanitizer sees each byte beyond */

	all[0] = class;
	all[1] = cmd;
	if (len)
		memcpy(all + 2, data, len);
	return vdpa_sim_net_rules_command(rules, all, len + 2);
}

static struct vdpa_sim_net_rules *fresh(__u64 features)
{
	static struct vdpa_sim_net_rules rules;

	vdpa_sim_net_rules_reset(&rules, features, own, 4);
	return &rules;
}

static void test_power_on(void)
{
	struct vdpa_sim_net_rules *r = fresh(0);

	g_assert_true(accepts(r, own));
	g_assert_false(accepts(r, other));
	g_assert_true(accepts(r, everybody));
	g_assert_true(accepts(r, group));
	r = fresh(BIT64(VIRTIO_NET_F_CTRL_RX));
	g_assert_true(accepts(r, other));
	g_assert_cmpuint(r->pairs, ==, 1);
	g_assert_false(vdpa_sim_net_rules_accept(r, own, 13));
}

static void test_modes(void)
{
	struct vdpa_sim_net_rules *r = fresh(EVERYTHING);
	static const struct {
		__u8 cmd;
		__u8 on;
		bool own, other, group, everybody;
	} steps[] = {
		{ VIRTIO_NET_CTRL_RX_PROMISC, 0, true, false, false, true },
		{ VIRTIO_NET_CTRL_RX_ALLMULTI, 7, true, false, true, true },
		{ VIRTIO_NET_CTRL_RX_NOMULTI, 1, true, false, false, true },
		{ VIRTIO_NET_CTRL_RX_ALLUNI, 1, true, true, false, true },
		{ VIRTIO_NET_CTRL_RX_NOUNI, 1, false, false, false, true },
		{ VIRTIO_NET_CTRL_RX_NOBCAST, 1, false, false, false, false },
		{ VIRTIO_NET_CTRL_RX_PROMISC, 1, true, true, true, true },
	};
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(steps); i++) {
		g_assert_cmpuint(command(r, VIRTIO_NET_CTRL_RX, steps[i].cmd, &steps[i].on, 1), ==,
				 VIRTIO_NET_OK);
		g_assert_cmpint(accepts(r, own), ==, steps[i].own);
		g_assert_cmpint(accepts(r, other), ==, steps[i].other);
		g_assert_cmpint(accepts(r, group), ==, steps[i].group);
		g_assert_cmpint(accepts(r, everybody), ==, steps[i].everybody);
	}
}

static void test_vlans(void)
{
	struct vdpa_sim_net_rules *r = fresh(EVERYTHING & ~BIT64(VIRTIO_NET_F_CTRL_RX));
	static const __u8 vid[2] = { 0x34, 0x0f };
	static const __u8 beyond[2] = { 0, 0x10 };

	g_assert_false(accepts_vlan(r, 0xf34, 18));
	g_assert_cmpuint(command(r, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, vid, 2), ==, 0);
	g_assert_true(accepts_vlan(r, 0xf34, 18));
	g_assert_true(accepts_vlan(r, 0x6f34, 18));		/* priority bits */
	g_assert_false(accepts_vlan(r, 0xf35, 18));
	g_assert_true(accepts_vlan(r, 0xf35, 15));		/* no tag to be seen */
	g_assert_cmpuint(command(r, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, beyond, 2), ==, 1);
	g_assert_cmpuint(command(r, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, vid, 2), ==, 0);
	g_assert_false(accepts_vlan(r, 0xf34, 18));
}

/* Tables of every size around the limit, and with every byte of the end missing. */
static void test_tables(void)
{
	guint count, cut;

	for (count = 0; count < VDPA_SIM_NET_TABLE_MAX + 3; count++) {
		struct vdpa_sim_net_rules *r = fresh(EVERYTHING & ~BIT64(VIRTIO_NET_F_CTRL_RX));
		size_t len = 4 + count * 6 + 4 + 6, multi = 4 + count * 6;
		g_autofree __u8 *data = g_malloc0(len);

		r->features = EVERYTHING;
		r->modes = 0;
		data[0] = count;
		if (count)
			memcpy(data + multi - 6, other, 6);
		data[multi] = 1;
		memcpy(data + multi + 4, group, 6);
		for (cut = 1; cut < len; cut += len / 40 + 1)
			g_assert_cmpuint(command(r, 1, 0, data, len - cut), ==, VIRTIO_NET_ERR);
		g_assert_false(accepts(r, group));
		g_assert_cmpuint(command(r, 1, 0, data, len), ==, VIRTIO_NET_OK);
		g_assert_cmpint(accepts(r, other), ==, count > 0);
		g_assert_true(accepts(r, group));
		g_assert_cmpint(accepts(r, own), ==, true);
		g_assert_cmpint(r->unicast.overflow, ==, count > VDPA_SIM_NET_TABLE_MAX);
	}
}

/* A count whose size in bytes is a multiple of 2^32 is no short table, in either place. */
static void test_table_count_wraps(void)
{
	static const __u8 first[8] = { [3] = 0x80 }, second[8] = { [7] = 0x80 };

	g_assert_cmpuint(command(fresh(EVERYTHING), 1, 0, first, 8), ==, VIRTIO_NET_ERR);
	g_assert_cmpuint(command(fresh(EVERYTHING), 1, 0, second, 8), ==, VIRTIO_NET_ERR);
}

/* No command is known without its feature, nor with another length than its own. */
static void test_gates(void)
{
	static const struct {
		__u8 class, cmd, feature, len;
		__u8 data[8];
	} rows[] = {
		{ 0, 0, VIRTIO_NET_F_CTRL_RX, 1, { 1 } },
		{ 0, 5, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, { 1 } },
		{ 1, 0, VIRTIO_NET_F_CTRL_RX, 8, { 0 } },
		{ 1, 1, VIRTIO_NET_F_CTRL_MAC_ADDR, 6, { 2, 1 } },
		{ 2, 0, VIRTIO_NET_F_CTRL_VLAN, 2, { 1 } },
		{ 3, 0, VIRTIO_NET_F_GUEST_ANNOUNCE, 0, { 0 } },
		{ 4, 0, VIRTIO_NET_F_MQ, 2, { 4 } },
		{ 5, 0, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, 8, { 0 } },
	};
	static const __u8 zeroes[16];
	size_t i, len;

	for (i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_assert_cmpuint(command(fresh(EVERYTHING), rows[i].class, rows[i].cmd, rows[i].data,
					 rows[i].len), ==, VIRTIO_NET_OK);
		g_assert_cmpuint(command(fresh(EVERYTHING & ~BIT64(rows[i].feature)), rows[i].class,
					 rows[i].cmd, rows[i].data, rows[i].len), ==, VIRTIO_NET_ERR);
		for (len = 0; len <= 10; len++)
			if (len != rows[i].len)
				g_assert_cmpuint(command(fresh(EVERYTHING), rows[i].class,
							 rows[i].cmd, zeroes, len), ==,
						 VIRTIO_NET_ERR);
	}
	g_assert_cmpuint(vdpa_sim_net_rules_command(fresh(EVERYTHING), zeroes, 1), ==, VIRTIO_NET_ERR);
	g_assert_cmpuint(vdpa_sim_net_rules_command(fresh(EVERYTHING), zeroes, 0), ==, VIRTIO_NET_ERR);
}

static void test_values(void)
{
	struct vdpa_sim_net_rules *r = fresh(BIT64(VIRTIO_NET_F_MQ) | BIT64(VIRTIO_NET_F_CTRL_MAC_ADDR) |
				    BIT64(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS));
	static const __u8 pairs[][2] = { { 0, 0 }, { 5, 0 }, { 4, 1 } };
	static const __u8 csum[8] = { 1 << VIRTIO_NET_F_GUEST_CSUM };
	static const __u8 zero_address[6];
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(pairs); i++)
		g_assert_cmpuint(command(r, 4, 0, pairs[i], 2), ==, VIRTIO_NET_ERR);
	g_assert_cmpuint(r->pairs, ==, 1);
	g_assert_cmpuint(command(r, 5, 0, csum, 8), ==, VIRTIO_NET_ERR);	/* not negotiated */
	g_assert_cmpuint(command(r, 1, 1, group, 6), ==, VIRTIO_NET_ERR);
	g_assert_cmpuint(command(r, 1, 1, zero_address, 6), ==, VIRTIO_NET_ERR);
	g_assert_cmpmem(r->mac, 6, own, 6);
	g_assert_cmpuint(command(r, 1, 1, other, 6), ==, VIRTIO_NET_OK);
	g_assert_true(accepts(r, other));
	g_assert_false(accepts(r, own));
}

/* Whatever comes in, the state stays within its bounds, and a refused command changes nothing. */
static void test_random_commands(void)
{
	struct vdpa_sim_net_rules *r = fresh(EVERYTHING);
	struct vdpa_sim_net_rules before;
	__u8 data[300];
	size_t i, len, k;

	for (i = 0; i < 200000; i++) {
		len = g_test_rand_int_range(0, 40);
		for (k = 0; k < len; k++)
			data[k] = g_test_rand_bit() ? 0 : g_test_rand_int();
		before = *r;
		if (command(r, g_test_rand_int_range(0, 7), g_test_rand_int_range(0, 7), data, len))
			g_assert_cmpmem(&before, sizeof(before), r, sizeof(*r));
		g_assert_cmpuint(r->pairs, >=, 1);
		g_assert_cmpuint(r->pairs, <=, r->max_pairs);
		g_assert_cmpuint(r->unicast.count, <=, VDPA_SIM_NET_TABLE_MAX);
		g_assert_cmpuint(r->multicast.count, <=, VDPA_SIM_NET_TABLE_MAX);
		g_assert_true(vdpa_sim_net_mac_is_valid(r->mac));
	}
}

/* Requests to the disk. */

#define DISK 1000

static struct vdpa_sim_blk_request parse(__u64 features, __u32 type, __u64 sector, size_t out, size_t in)
{
	struct vdpa_sim_blk_limits limits = { features, DISK };
	struct virtio_blk_outhdr head = { htole32(type), 0, htole64(sector) };

	return vdpa_sim_blk_parse(&limits, &head, sizeof(head) + out, in + 1);
}

static void test_blk_bounds(void)
{
	static const struct {
		__u64 sector;
		size_t len;
		bool good;
	} rows[] = {
		{ 0, 512, true }, { 0, 0, true }, { 0, DISK * 512, true }, { 999, 512, true },
		{ 1000, 0, true }, { 1000, 512, false }, { 999, 1024, false }, { 1001, 0, false },
		{ 0, 511, false }, { 0, 513, false }, { 0, DISK * 512 + 512, false },
		{ ~0ULL, 512, false }, { 1ULL << 55, 512, false }, { 0, (size_t)-512, false },
	};
	size_t i;

	for (i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct vdpa_sim_blk_request in, out;

		in = parse(0, VIRTIO_BLK_T_IN, rows[i].sector, 0, rows[i].len);
		out = parse(0, VIRTIO_BLK_T_OUT, rows[i].sector, rows[i].len - 16 + 16, 0);
		g_assert_cmpint(in.action, ==, rows[i].good ? VDPA_SIM_BLK_READ : VDPA_SIM_BLK_REFUSE);
		if (rows[i].len < (size_t)-512)
			g_assert_cmpint(out.action, ==, rows[i].good ? VDPA_SIM_BLK_WRITE : VDPA_SIM_BLK_REFUSE);
		if (!rows[i].good) {
			g_assert_cmpuint(in.status, ==, VIRTIO_BLK_S_IOERR);
			continue;
		}
		g_assert_cmpuint(in.offset, ==, rows[i].sector * 512);
		g_assert_cmpuint(in.len, ==, rows[i].len);
	}
}

static void test_blk_types(void)
{
	g_assert_cmpint(parse(0, VIRTIO_BLK_T_FLUSH, 0, 0, 0).status, ==, VIRTIO_BLK_S_UNSUPP);
	g_assert_cmpint(parse(BIT64(VIRTIO_BLK_F_FLUSH), VIRTIO_BLK_T_FLUSH, 0, 0, 0).action, ==,
			VDPA_SIM_BLK_FLUSH);
	g_assert_cmpint(parse(EVERYTHING, 3, 0, 0, 512).status, ==, VIRTIO_BLK_S_UNSUPP);
	g_assert_cmpint(parse(EVERYTHING, ~0U, 0, 0, 512).status, ==, VIRTIO_BLK_S_UNSUPP);
	g_assert_cmpint(parse(0, VIRTIO_BLK_T_GET_ID, ~0ULL, 0, 20).action, ==, VDPA_SIM_BLK_ID);
	g_assert_cmpint(parse(EVERYTHING, VIRTIO_BLK_T_DISCARD, 0, 16, 0).action, ==, VDPA_SIM_BLK_DISCARD);
	g_assert_cmpint(parse(EVERYTHING, VIRTIO_BLK_T_DISCARD, 0, 16 * VDPA_SIM_BLK_MAX_RANGES, 0).action, ==,
			VDPA_SIM_BLK_DISCARD);
	g_assert_cmpint(parse(EVERYTHING, VIRTIO_BLK_T_DISCARD, 0, 16 * VDPA_SIM_BLK_MAX_RANGES + 16, 0).action,
			==, VDPA_SIM_BLK_REFUSE);
	g_assert_cmpint(parse(EVERYTHING, VIRTIO_BLK_T_WRITE_ZEROES, 0, 15, 0).action, ==, VDPA_SIM_BLK_REFUSE);
	g_assert_cmpint(parse(EVERYTHING, VIRTIO_BLK_T_WRITE_ZEROES, 0, 0, 0).action, ==, VDPA_SIM_BLK_REFUSE);
}

static bool range(enum vdpa_sim_blk_action action, __u64 sector, __u32 count, __u32 flags)
{
	struct vdpa_sim_blk_limits limits = { EVERYTHING, 100000 };
	struct virtio_blk_discard_write_zeroes r = {
		htole64(sector), htole32(count), htole32(flags),
	};

	return vdpa_sim_blk_range_is_good(&limits, action, &r);
}

static void test_blk_ranges(void)
{
	g_assert_true(range(VDPA_SIM_BLK_DISCARD, 99999, 1, 0));
	g_assert_true(range(VDPA_SIM_BLK_DISCARD, 0, 0, 0));
	g_assert_false(range(VDPA_SIM_BLK_DISCARD, 99999, 2, 0));
	g_assert_false(range(VDPA_SIM_BLK_DISCARD, ~0ULL, 1, 0));
	g_assert_true(range(VDPA_SIM_BLK_DISCARD, 0, VDPA_SIM_BLK_MAX_RANGE_SECTORS, 0));
	g_assert_false(range(VDPA_SIM_BLK_DISCARD, 0, VDPA_SIM_BLK_MAX_RANGE_SECTORS + 1, 0));
	g_assert_false(range(VDPA_SIM_BLK_DISCARD, 0, 1, 1));
	g_assert_true(range(VDPA_SIM_BLK_ZERO, 0, 1, 1));
	g_assert_false(range(VDPA_SIM_BLK_ZERO, 0, 1, 2));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sim/net/power-on", test_power_on);
	g_test_add_func("/sim/net/modes", test_modes);
	g_test_add_func("/sim/net/vlans", test_vlans);
	g_test_add_func("/sim/net/tables", test_tables);
	g_test_add_func("/sim/net/table-count-wraps", test_table_count_wraps);
	g_test_add_func("/sim/net/gates", test_gates);
	g_test_add_func("/sim/net/values", test_values);
	g_test_add_func("/sim/net/random-commands", test_random_commands);
	g_test_add_func("/sim/blk/bounds", test_blk_bounds);
	g_test_add_func("/sim/blk/types", test_blk_types);
	g_test_add_func("/sim/blk/ranges", test_blk_ranges);
	return g_test_run();
}
