// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Receive filters of a simulated NIC, and the control queue's commands (virtio 1.2, 5.1.6.5).
 *
 * Commands are a table: class, command, the feature that it needs, the length of its data.  A
 * command that matches no row, or that the row's function refuses, is answered by VIRTIO_NET_ERR
 * and changes nothing.
 *
 * Reception, in this order:
 *
 *	promiscuous		everything
 *	VLAN tag		only VLANs that were added, once VLAN filtering was negotiated
 *	broadcast		unless switched off
 *	other multicast		if all of it, or by table, and unless switched off
 *	unicast			the device's own address, all of it, or by table; unless switched off
 *
 * After reset a device whose driver can switch modes is promiscuous, as QEMU's is: QEMU restores
 * the modes of a migrated guest relative to that.  Without VIRTIO_NET_F_CTRL_RX the driver could
 * not switch it off; the device then receives its own address, broadcast and multicast.
 *
 * Limits: tags are looked at in their outermost 802.1Q form only.
 */
#include "vdpa_sim_net_rules.h"

#ifdef __KERNEL__
#include <linux/string.h>
#else
#include <string.h>
#endif

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define HEAD_LEN 2 /* class and command, in front of all data */
#define ANY_LEN	 ((size_t)-1)

static __u16 vdpa_sim_net_le16_at(const __u8 *p)
{
	return p[0] | p[1] << 8;
}

static __u32 vdpa_sim_net_le32_at(const __u8 *p)
{
	return vdpa_sim_net_le16_at(p) | (__u32)vdpa_sim_net_le16_at(p + 2) << 16;
}

static __u64 vdpa_sim_net_le64_at(const __u8 *p)
{
	return vdpa_sim_net_le32_at(p) | (__u64)vdpa_sim_net_le32_at(p + 4) << 32;
}

static __u16 vdpa_sim_net_be16_at(const __u8 *p)
{
	return p[0] << 8 | p[1];
}

static bool vdpa_sim_net_has(const struct vdpa_sim_net_rules *rules, unsigned int feature)
{
	return rules->features >> feature & 1;
}

static bool vdpa_sim_net_is_multicast(const __u8 *mac)
{
	return mac[0] & 1;
}

static bool vdpa_sim_net_is_broadcast(const __u8 *mac)
{
	return (mac[0] & mac[1] & mac[2] & mac[3] & mac[4] & mac[5]) == 0xff;
}

/* An address that a station can have: unicast, and not all zeroes. */
bool vdpa_sim_net_mac_is_valid(const __u8 *mac)
{
	return !vdpa_sim_net_is_multicast(mac) &&
	       (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]);
}

void vdpa_sim_net_rules_reset(struct vdpa_sim_net_rules *rules, __u64 features, const __u8 *mac,
			      __u16 max_pairs)
{
	memset(rules, 0, sizeof(*rules));
	rules->features = features;
	memcpy(rules->mac, mac, ETH_ALEN);
	rules->pairs = 1;
	rules->max_pairs = max_pairs;
	rules->offloads = features & VDPA_SIM_NET_OFFLOADS;
	rules->modes = vdpa_sim_net_has(rules, VIRTIO_NET_F_CTRL_RX) ? VDPA_SIM_NET_MODE(PROMISC)
								     : VDPA_SIM_NET_MODE(ALLMULTI);
}

/* Commands.  @data has the length that the table promises; @cmd is the row's. */

static bool vdpa_sim_net_set_mode(struct vdpa_sim_net_rules *rules, __u8 cmd, const __u8 *data,
				  size_t len)
{
	(void)len;
	if (*data)
		rules->modes |= 1U << cmd;
	else
		rules->modes &= ~(1U << cmd);
	return true;
}

/* One of the two tables at the start of @data; where it ends, or 0 when it is longer than @len. */
static size_t vdpa_sim_net_table_bytes(const __u8 *data, size_t len)
{
	__u64 bytes;

	if (len < sizeof(__u32))
		return 0;
	bytes = sizeof(__u32) + (__u64)vdpa_sim_net_le32_at(data) * ETH_ALEN;
	return bytes <= len ? bytes : 0;
}

static void vdpa_sim_net_load_table(struct vdpa_sim_net_table *table, const __u8 *data)
{
	__u32 count = vdpa_sim_net_le32_at(data);

	table->overflow = count > VDPA_SIM_NET_TABLE_MAX;
	table->count = table->overflow ? 0 : count;
	memcpy(table->addr, data + sizeof(__u32), (size_t)table->count * ETH_ALEN);
}

static bool vdpa_sim_net_set_tables(struct vdpa_sim_net_rules *rules, __u8 cmd, const __u8 *data,
				    size_t len)
{
	size_t first = vdpa_sim_net_table_bytes(data, len);

	(void)cmd;
	if (!first || first + vdpa_sim_net_table_bytes(data + first, len - first) != len ||
	    first == len)
		return false;
	vdpa_sim_net_load_table(&rules->unicast, data);
	vdpa_sim_net_load_table(&rules->multicast, data + first);
	return true;
}

static bool vdpa_sim_net_set_mac(struct vdpa_sim_net_rules *rules, __u8 cmd, const __u8 *data,
				 size_t len)
{
	(void)cmd;
	if (!vdpa_sim_net_mac_is_valid(data))
		return false;
	memcpy(rules->mac, data, len);
	return true;
}

static bool vdpa_sim_net_set_vlan(struct vdpa_sim_net_rules *rules, __u8 cmd, const __u8 *data,
				  size_t len)
{
	__u16 vid = vdpa_sim_net_le16_at(data);

	(void)len;
	if (vid >= VDPA_SIM_NET_NUM_VLANS)
		return false;
	if (cmd == VIRTIO_NET_CTRL_VLAN_ADD)
		rules->vlans[vid / 8] |= 1U << vid % 8;
	else
		rules->vlans[vid / 8] &= ~(1U << vid % 8);
	return true;
}

static bool vdpa_sim_net_ack_announce(struct vdpa_sim_net_rules *rules, __u8 cmd, const __u8 *data,
				      size_t len)
{
	(void)cmd;
	(void)data;
	(void)len;
	rules->announce = false;
	return true;
}

static bool vdpa_sim_net_set_pairs(struct vdpa_sim_net_rules *rules, __u8 cmd, const __u8 *data,
				   size_t len)
{
	__u16 pairs = vdpa_sim_net_le16_at(data);

	(void)cmd;
	(void)len;
	if (pairs < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN || pairs > rules->max_pairs)
		return false;
	rules->pairs = pairs;
	return true;
}

static bool vdpa_sim_net_set_offloads(struct vdpa_sim_net_rules *rules, __u8 cmd, const __u8 *data,
				      size_t len)
{
	__u64 offloads = vdpa_sim_net_le64_at(data);

	(void)cmd;
	(void)len;
	if (offloads & ~(rules->features & VDPA_SIM_NET_OFFLOADS))
		return false;
	rules->offloads = offloads;
	return true;
}

struct vdpa_sim_net_command {
	__u8 class;
	__u8 cmd;
	__u8 feature;
	size_t len; /* of the data, or ANY_LEN */
	bool (*run)(struct vdpa_sim_net_rules *rules, __u8 cmd, const __u8 *data, size_t len);
};

#define COMMAND(CLASS, CMD, FEATURE, LEN, RUN) \
	{ VIRTIO_NET_CTRL_##CLASS, VIRTIO_NET_CTRL_##CMD, VIRTIO_NET_F_##FEATURE, LEN, RUN }

static const struct vdpa_sim_net_command vdpa_sim_net_commands[] = {
	COMMAND(RX, RX_PROMISC, CTRL_RX, 1, vdpa_sim_net_set_mode),
	COMMAND(RX, RX_ALLMULTI, CTRL_RX, 1, vdpa_sim_net_set_mode),
	COMMAND(RX, RX_ALLUNI, CTRL_RX_EXTRA, 1, vdpa_sim_net_set_mode),
	COMMAND(RX, RX_NOMULTI, CTRL_RX_EXTRA, 1, vdpa_sim_net_set_mode),
	COMMAND(RX, RX_NOUNI, CTRL_RX_EXTRA, 1, vdpa_sim_net_set_mode),
	COMMAND(RX, RX_NOBCAST, CTRL_RX_EXTRA, 1, vdpa_sim_net_set_mode),
	COMMAND(MAC, MAC_TABLE_SET, CTRL_RX, ANY_LEN, vdpa_sim_net_set_tables),
	COMMAND(MAC, MAC_ADDR_SET, CTRL_MAC_ADDR, ETH_ALEN, vdpa_sim_net_set_mac),
	COMMAND(VLAN, VLAN_ADD, CTRL_VLAN, 2, vdpa_sim_net_set_vlan),
	COMMAND(VLAN, VLAN_DEL, CTRL_VLAN, 2, vdpa_sim_net_set_vlan),
	COMMAND(ANNOUNCE, ANNOUNCE_ACK, GUEST_ANNOUNCE, 0, vdpa_sim_net_ack_announce),
	COMMAND(MQ, MQ_VQ_PAIRS_SET, MQ, 2, vdpa_sim_net_set_pairs),
	COMMAND(GUEST_OFFLOADS, GUEST_OFFLOADS_SET, CTRL_GUEST_OFFLOADS, 8,
		vdpa_sim_net_set_offloads),
};

/**
 * vdpa_sim_net_rules_command - execute a control command
 * @rules:   changed if the answer is VIRTIO_NET_OK, untouched otherwise
 * @command: class, command, data; untrusted
 * @len:     of all that
 *
 * Return: the answer, VIRTIO_NET_OK or VIRTIO_NET_ERR.
 */
__u8 vdpa_sim_net_rules_command(struct vdpa_sim_net_rules *rules, const __u8 *command, size_t len)
{
	size_t i;

	if (len < HEAD_LEN)
		return VIRTIO_NET_ERR;
	for (i = 0; i < COUNT(vdpa_sim_net_commands); i++) {
		const struct vdpa_sim_net_command *row = &vdpa_sim_net_commands[i];

		if (row->class != command[0] || row->cmd != command[1])
			continue;
		if (!vdpa_sim_net_has(rules, row->feature) ||
		    (row->len != ANY_LEN && row->len != len - HEAD_LEN))
			return VIRTIO_NET_ERR;
		return row->run(rules, row->cmd, command + HEAD_LEN, len - HEAD_LEN)
			       ? VIRTIO_NET_OK
			       : VIRTIO_NET_ERR;
	}
	return VIRTIO_NET_ERR;
}

/* Reception. */

static bool vdpa_sim_net_in_table(const struct vdpa_sim_net_table *table, const __u8 *mac)
{
	__u32 i;

	for (i = 0; i < table->count; i++)
		if (!memcmp(table->addr[i], mac, ETH_ALEN))
			return true;
	return table->overflow;
}

static bool vdpa_sim_net_vlan_passes(const struct vdpa_sim_net_rules *rules, const __u8 *frame,
				     size_t len)
{
	__u16 vid;

	if (!vdpa_sim_net_has(rules, VIRTIO_NET_F_CTRL_VLAN) || len < ETH_HLEN + 2 ||
	    vdpa_sim_net_be16_at(frame + 2 * ETH_ALEN) != ETH_P_8021Q)
		return true;
	vid = vdpa_sim_net_be16_at(frame + ETH_HLEN) & (VDPA_SIM_NET_NUM_VLANS - 1);
	return rules->vlans[vid / 8] >> vid % 8 & 1;
}

static bool vdpa_sim_net_multicast_passes(const struct vdpa_sim_net_rules *rules, const __u8 *mac)
{
	if (rules->modes & VDPA_SIM_NET_MODE(NOMULTI))
		return false;
	return rules->modes & VDPA_SIM_NET_MODE(ALLMULTI) ||
	       vdpa_sim_net_in_table(&rules->multicast, mac);
}

static bool vdpa_sim_net_unicast_passes(const struct vdpa_sim_net_rules *rules, const __u8 *mac)
{
	if (rules->modes & VDPA_SIM_NET_MODE(NOUNI))
		return false;
	return !memcmp(mac, rules->mac, ETH_ALEN) || rules->modes & VDPA_SIM_NET_MODE(ALLUNI) ||
	       vdpa_sim_net_in_table(&rules->unicast, mac);
}

/**
 * vdpa_sim_net_rules_accept - whether the device receives a frame
 * @rules: of the device
 * @frame: its first bytes
 * @len:   of them; ETH_HLEN at the least, four more show a VLAN tag
 */
bool vdpa_sim_net_rules_accept(const struct vdpa_sim_net_rules *rules, const __u8 *frame,
			       size_t len)
{
	if (len < ETH_HLEN)
		return false;
	if (rules->modes & VDPA_SIM_NET_MODE(PROMISC))
		return true;
	if (!vdpa_sim_net_vlan_passes(rules, frame, len))
		return false;
	if (vdpa_sim_net_is_broadcast(frame))
		return !(rules->modes & VDPA_SIM_NET_MODE(NOBCAST));
	return vdpa_sim_net_is_multicast(frame) ? vdpa_sim_net_multicast_passes(rules, frame)
						: vdpa_sim_net_unicast_passes(rules, frame);
}
