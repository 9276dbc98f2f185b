/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A simulated NIC: shared by its files.
 *
 *	vdpa_sim_net_main.c	devices, configuration space, statistics
 *	vdpa_sim_net_path.c	frames: from a transmit queue into the receive queue of the same pair
 *	vdpa_sim_net_ctrl.c	the control queue
 *	vdpa_sim_net_rules.c	filters and commands, without the kernel
 *
 * Limits: see vdpa_sim_net_main.c.
 */
#ifndef QEMU_LIVE_VDPA_SIM_NET_H
#define QEMU_LIVE_VDPA_SIM_NET_H

#include "vdpa_sim_net_rules.h"
#include "vdpa_sim_core.h"

#define VDPA_SIM_NET_MAX_PAIRS	16
#define VDPA_SIM_NET_DATA_GROUP 0
#define VDPA_SIM_NET_CTRL_GROUP 1

struct vdpa_sim_net {
	struct vdpa_sim_device sim; /* first */
	struct rw_semaphore sem;    /* the innermost lock; all that follows */
	struct vdpa_sim_net_rules rules;
	u8 mac[ETH_ALEN]; /* the permanent address */
	u16 mtu;
	u16 max_pairs;
	bool link_down;
	u64 filtered; /* frames that the filters refuse; exact within a pair only */
	struct {
		u64 good;
		u64 bad;
	} commands;
};

static inline struct vdpa_sim_net *vdpa_sim_net_of(struct vdpa_sim_device *sim)
{
	return container_of(sim, struct vdpa_sim_net, sim);
}

/* The control queue comes after the pairs that the driver knows of (virtio 1.2, 5.1.2). */
static inline unsigned int vdpa_sim_net_ctrl_queue(const struct vdpa_sim_net *net, u64 features)
{
	return features & BIT_ULL(VIRTIO_NET_F_MQ) ? 2 * net->max_pairs : 2;
}

/* vdpa_sim_net_path.c */
bool vdpa_sim_net_serve_pair(struct vdpa_sim_net *net, struct vdpa_sim_queue *rx,
			     struct vdpa_sim_queue *tx);

/* vdpa_sim_net_ctrl.c */
bool vdpa_sim_net_serve_ctrl(struct vdpa_sim_net *net, struct vdpa_sim_queue *vq);

#endif
