/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frames that a simulated NIC receives, and the control commands that choose them.
 *
 * Plain computation on plain memory: no locks, no allocation, nothing of the kernel's but types, so
 * that it is compiled and tested in userspace as well (tests/kernel).  The caller's lock keeps
 * readers from a struct vdpa_sim_net_rules while a command changes it.
 *
 * Limits: everything is little endian (VIRTIO_F_VERSION_1).
 */
#ifndef QEMU_LIVE_VDPA_SIM_NET_RULES_H
#define QEMU_LIVE_VDPA_SIM_NET_RULES_H

#include <linux/if_ether.h>
#include <linux/types.h>
#include <linux/virtio_net.h>
#ifndef __KERNEL__
#include <stdbool.h>
#include <stddef.h>
#endif

#define VDPA_SIM_NET_TABLE_MAX 64 /* addresses; a longer table lets everything through */
#define VDPA_SIM_NET_NUM_VLANS 4096

/* Receive modes; the bit of a mode is its command in class VIRTIO_NET_CTRL_RX. */
#define VDPA_SIM_NET_MODE(cmd) (1U << (VIRTIO_NET_CTRL_RX_##cmd))

struct vdpa_sim_net_table {
	__u32 count;
	bool overflow; /* the driver gave more than fit */
	__u8 addr[VDPA_SIM_NET_TABLE_MAX][ETH_ALEN];
};

struct vdpa_sim_net_rules {
	__u64 features; /* negotiated */
	__u8 mac[ETH_ALEN];
	__u8 modes;    /* VDPA_SIM_NET_MODE() */
	bool announce; /* the driver has been asked to announce itself */
	__u16 pairs;   /* in use */
	__u16 max_pairs;
	__u64 offloads; /* bits of VIRTIO_NET_F_GUEST_*, in effect */
	struct vdpa_sim_net_table unicast;
	struct vdpa_sim_net_table multicast;
	__u8 vlans[VDPA_SIM_NET_NUM_VLANS / 8];
};

/* The offloads that a driver may switch. */
#define VDPA_SIM_NET_OFFLOADS (1ULL << VIRTIO_NET_F_GUEST_CSUM)

void vdpa_sim_net_rules_reset(struct vdpa_sim_net_rules *rules, __u64 features, const __u8 *mac,
			      __u16 max_pairs);
__u8 vdpa_sim_net_rules_command(struct vdpa_sim_net_rules *rules, const __u8 *command, size_t len);
bool vdpa_sim_net_rules_accept(const struct vdpa_sim_net_rules *rules, const __u8 *frame,
			       size_t len);
bool vdpa_sim_net_mac_is_valid(const __u8 *mac);

#endif
