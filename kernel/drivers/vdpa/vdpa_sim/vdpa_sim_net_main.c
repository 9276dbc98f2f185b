// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Simulated NICs (module vdpa_sim_net): management device "vdpasim_net".
 *
 *	vdpa dev add name vdpa0 mgmtdev vdpasim_net mac 52:54:00:12:34:56 mtu 9000 max_vqp 4
 *	vdpa dev set name vdpa0 mac 52:54:00:12:34:57	(until a driver starts the device)
 *
 * Queues are 2n (receive) and 2n+1 (transmit) of pair n, and the control queue; a pair is a unit, and
 * the control queue is the only one of its unit because its index is even.  Group 0 has the pairs,
 * group 1 the control queue, so that a hypervisor can answer control commands in an address space of
 * its own.
 *
 * Knobs of the administrator, in /sys/kernel/debug/vdpa_sim/DEVICE:
 *
 *	link		1 or 0; a change is a configuration interrupt
 *	announce	write 1: ask the driver to announce itself; 0 once it has
 *
 * The permanent MAC address is that of `dev add`, or a random one.  A driver that has not started the
 * device may write it in configuration space, as hypervisors do to make it the one of their own
 * command line; an address that the control queue sets lasts until reset.
 *
 * VIRTIO_NET_F_GUEST_ANNOUNCE is offered on request (device_features) only: with it
 * QEMU would not migrate the device.  So is VIRTIO_F_RING_RESET: a queue is reset by making it not
 * ready, which the kernel's own drivers do and user space has no way to.
 *
 * Limits: VDPA_SIM_NET_MAX_PAIRS pairs.  Speed and duplex are not reported.
 */
#include <linux/etherdevice.h>
#include <linux/module.h>
#include <uapi/linux/vdpa.h>
#include <uapi/linux/virtio_ids.h>

#include "vdpa_sim_net.h"

#define DEFAULT_FEATURES                                                                     \
	(VDPA_SIM_FEATURES | BIT_ULL(VIRTIO_NET_F_CSUM) | BIT_ULL(VIRTIO_NET_F_GUEST_CSUM) | \
	 BIT_ULL(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | BIT_ULL(VIRTIO_NET_F_MTU) |             \
	 BIT_ULL(VIRTIO_NET_F_MAC) | BIT_ULL(VIRTIO_NET_F_STATUS) |                          \
	 BIT_ULL(VIRTIO_NET_F_CTRL_VQ) | BIT_ULL(VIRTIO_NET_F_CTRL_RX) |                     \
	 BIT_ULL(VIRTIO_NET_F_CTRL_RX_EXTRA) | BIT_ULL(VIRTIO_NET_F_CTRL_VLAN) |             \
	 BIT_ULL(VIRTIO_NET_F_CTRL_MAC_ADDR))
#define ALL_FEATURES                                                                          \
	(DEFAULT_FEATURES | BIT_ULL(VIRTIO_NET_F_MQ) | BIT_ULL(VIRTIO_NET_F_GUEST_ANNOUNCE) | \
	 BIT_ULL(VIRTIO_F_RING_RESET))

/* Features that stand for commands of the control queue. */
#define CTRL_FEATURES                                                                       \
	(BIT_ULL(VIRTIO_NET_F_CTRL_RX) | BIT_ULL(VIRTIO_NET_F_CTRL_RX_EXTRA) |              \
	 BIT_ULL(VIRTIO_NET_F_CTRL_VLAN) | BIT_ULL(VIRTIO_NET_F_CTRL_MAC_ADDR) |            \
	 BIT_ULL(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | BIT_ULL(VIRTIO_NET_F_GUEST_ANNOUNCE) | \
	 BIT_ULL(VIRTIO_NET_F_MQ))

/* Before negotiation the driver asks about the queues that it could have. */
static u64 vdpa_sim_net_effective_features(const struct vdpa_sim_net *net)
{
	return net->sim.features ?: net->sim.offered;
}

static u32 vdpa_sim_net_group_of(struct vdpa_sim_device *sim, u16 idx)
{
	struct vdpa_sim_net *net = vdpa_sim_net_of(sim);
	u64 features = vdpa_sim_net_effective_features(net);

	if (!(features & BIT_ULL(VIRTIO_NET_F_CTRL_VQ)))
		return VDPA_SIM_NET_DATA_GROUP;
	return idx == vdpa_sim_net_ctrl_queue(net, features) ? VDPA_SIM_NET_CTRL_GROUP
							     : VDPA_SIM_NET_DATA_GROUP;
}

static bool vdpa_sim_net_serve(struct vdpa_sim_unit *unit)
{
	struct vdpa_sim_net *net = vdpa_sim_net_of(unit->sim);
	struct vdpa_sim_queue *first = unit->queues;

	if (first->idx == vdpa_sim_net_ctrl_queue(net, net->sim.features))
		return vdpa_sim_net_serve_ctrl(net, first);
	return unit->nqueues == 2 && vdpa_sim_net_serve_pair(net, first, first + 1);
}

static void vdpa_sim_net_set_rules(struct vdpa_sim_net *net, u64 features)
{
	down_write(&net->sem);
	vdpa_sim_net_rules_reset(&net->rules, features, net->mac, net->max_pairs);
	up_write(&net->sem);
}

static void vdpa_sim_net_start(struct vdpa_sim_device *sim)
{
	vdpa_sim_net_set_rules(vdpa_sim_net_of(sim), sim->features);
}

static void vdpa_sim_net_reset(struct vdpa_sim_device *sim)
{
	struct vdpa_sim_net *net = vdpa_sim_net_of(sim);

	vdpa_sim_net_set_rules(net, 0);
	net->filtered = 0;
	memset(&net->commands, 0, sizeof(net->commands));
}

/* Configuration space. */

static u16 vdpa_sim_net_link_status(const struct vdpa_sim_net *net)
{
	return (net->link_down ? 0 : VIRTIO_NET_S_LINK_UP) |
	       (net->rules.announce ? VIRTIO_NET_S_ANNOUNCE : 0);
}

static void vdpa_sim_net_get_config(struct vdpa_sim_device *sim, void *buf)
{
	struct virtio_net_config *config = buf;
	struct vdpa_sim_net *net = vdpa_sim_net_of(sim);

	down_read(&net->sem);
	memcpy(config->mac, net->rules.mac, ETH_ALEN);
	config->status = (__force __virtio16)cpu_to_le16(vdpa_sim_net_link_status(net));
	config->max_virtqueue_pairs = (__force __virtio16)cpu_to_le16(net->max_pairs);
	config->mtu = (__force __virtio16)cpu_to_le16(net->mtu);
	up_read(&net->sem);
}

/* The permanent address, before a driver has another one; sim.lock is held. */
static void vdpa_sim_net_set_mac_locked(struct vdpa_sim_net *net, const void *mac)
{
	lockdep_assert_held(&net->sim.lock);
	down_write(&net->sem);
	memcpy(net->mac, mac, ETH_ALEN);
	memcpy(net->rules.mac, mac, ETH_ALEN);
	up_write(&net->sem);
}

/* Only the address can be written, only as a whole, and only before the device is started. */
static void vdpa_sim_net_set_config(struct vdpa_sim_device *sim, unsigned int offset,
				    const void *buf, unsigned int len)
{
	struct vdpa_sim_net *net = vdpa_sim_net_of(sim);

	if (offset || len < ETH_ALEN || !vdpa_sim_net_mac_is_valid(buf))
		return;
	mutex_lock(&sim->lock);
	if (sim->phase == VDPA_SIM_PHASE_INIT)
		vdpa_sim_net_set_mac_locked(net, buf);
	mutex_unlock(&sim->lock);
}

/* Statistics. */

static int vdpa_sim_net_put_pair_stats(struct vdpa_sim_queue *vq, struct sk_buff *msg)
{
	return vdpa_sim_put_stat(msg, "packets", vq->stats.requests) ?:
	       vdpa_sim_put_stat(msg, "bytes", vq->stats.bytes) ?:
	       vdpa_sim_put_stat(msg, "errors", vq->stats.errors) ?:
	       vdpa_sim_put_stat(msg, "drops", vq->stats.drops);
}

static int vdpa_sim_net_put_stats(struct vdpa_sim_queue *vq, struct sk_buff *msg)
{
	struct vdpa_sim_net *net = vdpa_sim_net_of(vq->unit->sim);

	if (vdpa_sim_net_group_of(&net->sim, vq->idx) != VDPA_SIM_NET_CTRL_GROUP)
		return vdpa_sim_net_put_pair_stats(vq, msg);
	return vdpa_sim_put_stat(msg, "commands", vq->stats.requests) ?:
	       vdpa_sim_put_stat(msg, "successes", net->commands.good) ?:
	       vdpa_sim_put_stat(msg, "errors", net->commands.bad);
}

/* Knobs. */

static int vdpa_sim_net_get_link(void *data, u64 *value)
{
	struct vdpa_sim_net *net = data;

	*value = !READ_ONCE(net->link_down);
	return 0;
}

static int vdpa_sim_net_set_link(void *data, u64 value)
{
	struct vdpa_sim_net *net = data;
	bool changed;

	down_write(&net->sem);
	changed = net->link_down != !value;
	net->link_down = !value;
	up_write(&net->sem);
	if (changed)
		vdpa_sim_config_changed(&net->sim);
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(vdpa_sim_net_link_fops, vdpa_sim_net_get_link, vdpa_sim_net_set_link,
			 "%llu\n");

static int vdpa_sim_net_get_announce(void *data, u64 *value)
{
	struct vdpa_sim_net *net = data;

	*value = READ_ONCE(net->rules.announce);
	return 0;
}

static int vdpa_sim_net_set_announce(void *data, u64 value)
{
	struct vdpa_sim_net *net = data;

	if (!vdpa_sim_has(&net->sim, VIRTIO_NET_F_GUEST_ANNOUNCE))
		return -EOPNOTSUPP;
	down_write(&net->sem);
	net->rules.announce = value;
	up_write(&net->sem);
	vdpa_sim_config_changed(&net->sim);
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(vdpa_sim_net_announce_fops, vdpa_sim_net_get_announce,
			 vdpa_sim_net_set_announce, "%llu\n");

static int vdpa_sim_net_get_filtered(void *data, u64 *value)
{
	struct vdpa_sim_net *net = data;

	*value = READ_ONCE(net->filtered);
	return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(vdpa_sim_net_filtered_fops, vdpa_sim_net_get_filtered, NULL, "%llu\n");

static void vdpa_sim_net_debugfs(struct vdpa_sim_device *sim, struct dentry *dir)
{
	struct vdpa_sim_net *net = vdpa_sim_net_of(sim);

	debugfs_create_file_unsafe("link", 0600, dir, net, &vdpa_sim_net_link_fops);
	debugfs_create_file_unsafe("announce", 0600, dir, net, &vdpa_sim_net_announce_fops);
	debugfs_create_file_unsafe("filtered", 0400, dir, net, &vdpa_sim_net_filtered_fops);
}

static const struct vdpa_sim_kind vdpa_sim_net_kind = {
	.device_id = VIRTIO_ID_NET,
	.size = sizeof(struct vdpa_sim_net),
	.config_size = sizeof(struct virtio_net_config),
	.ngroups = 2,
	.nspaces = 2,
	.queues_per_unit = 2,
	.serve = vdpa_sim_net_serve,
	.group_of = vdpa_sim_net_group_of,
	.start = vdpa_sim_net_start,
	.reset = vdpa_sim_net_reset,
	.get_config = vdpa_sim_net_get_config,
	.set_config = vdpa_sim_net_set_config,
	.put_stats = vdpa_sim_net_put_stats,
	.debugfs = vdpa_sim_net_debugfs,
};

/* Management device. */

static struct device *vdpa_sim_net_parent;

static bool vdpa_sim_net_has_attr(const struct vdpa_dev_set_config *config, enum vdpa_attr attr)
{
	return config->mask & BIT_ULL(attr);
}

static u16 vdpa_sim_net_wanted_pairs(const struct vdpa_dev_set_config *config)
{
	return vdpa_sim_net_has_attr(config, VDPA_ATTR_DEV_NET_CFG_MAX_VQP)
		       ? config->net.max_vq_pairs
		       : 1;
}

/* Features to offer; 0 when the requested attributes contradict each other. */
static u64 vdpa_sim_net_wanted_features(const struct vdpa_dev_set_config *config, u16 pairs)
{
	u64 mq = pairs > 1 ? BIT_ULL(VIRTIO_NET_F_MQ) : 0;
	u64 features = config->device_features;

	if (!vdpa_sim_net_has_attr(config, VDPA_ATTR_DEV_FEATURES))
		return DEFAULT_FEATURES | mq;
	if (features & ~(u64)ALL_FEATURES || !(features & BIT_ULL(VIRTIO_F_ACCESS_PLATFORM)))
		return 0;
	if (features & CTRL_FEATURES && !(features & BIT_ULL(VIRTIO_NET_F_CTRL_VQ)))
		return 0;
	if ((features & BIT_ULL(VIRTIO_NET_F_MQ)) != mq)
		return 0;
	return features;
}

static unsigned int vdpa_sim_net_wanted_queues(const struct vdpa_dev_set_config *config)
{
	u16 pairs = vdpa_sim_net_wanted_pairs(config);

	return 2 * pairs +
	       !!(vdpa_sim_net_wanted_features(config, pairs) & BIT_ULL(VIRTIO_NET_F_CTRL_VQ));
}

static bool vdpa_sim_net_config_is_valid(const struct vdpa_dev_set_config *config)
{
	u16 pairs = vdpa_sim_net_wanted_pairs(config);

	if (!pairs || pairs > VDPA_SIM_NET_MAX_PAIRS)
		return false;
	if (vdpa_sim_net_has_attr(config, VDPA_ATTR_DEV_NET_CFG_MACADDR) &&
	    !vdpa_sim_net_mac_is_valid(config->net.mac))
		return false;
	if (vdpa_sim_net_has_attr(config, VDPA_ATTR_DEV_NET_CFG_MTU) &&
	    config->net.mtu < ETH_MIN_MTU)
		return false;
	return vdpa_sim_net_wanted_features(config, pairs);
}

/* Does the device offer the features that the attributes belong to? */
static bool vdpa_sim_net_offers(const struct vdpa_sim_net *net,
				const struct vdpa_dev_set_config *config)
{
	u64 needs = 0;

	if (vdpa_sim_net_has_attr(config, VDPA_ATTR_DEV_NET_CFG_MACADDR))
		needs |= BIT_ULL(VIRTIO_NET_F_MAC);
	if (vdpa_sim_net_has_attr(config, VDPA_ATTR_DEV_NET_CFG_MTU))
		needs |= BIT_ULL(VIRTIO_NET_F_MTU);
	return !(needs & ~net->sim.offered);
}

static void vdpa_sim_net_set_up(struct vdpa_sim_net *net, const struct vdpa_dev_set_config *config)
{
	init_rwsem(&net->sem);
	net->max_pairs = vdpa_sim_net_wanted_pairs(config);
	net->sim.offered = vdpa_sim_net_wanted_features(config, net->max_pairs);
	net->mtu = vdpa_sim_net_has_attr(config, VDPA_ATTR_DEV_NET_CFG_MTU) ? config->net.mtu
									    : ETH_DATA_LEN;
	if (vdpa_sim_net_has_attr(config, VDPA_ATTR_DEV_NET_CFG_MACADDR))
		memcpy(net->mac, config->net.mac, ETH_ALEN);
	else
		eth_random_addr(net->mac);
}

static int vdpa_sim_net_dev_add(struct vdpa_mgmt_dev *mgmt, const char *name,
				const struct vdpa_dev_set_config *config)
{
	struct vdpa_sim_device *sim;
	int ret;

	if (!vdpa_sim_net_config_is_valid(config))
		return -EINVAL;
	sim = vdpa_sim_device_new(&vdpa_sim_net_kind, vdpa_sim_net_parent, name,
				  vdpa_sim_net_wanted_queues(config));
	if (IS_ERR(sim))
		return PTR_ERR(sim);
	vdpa_sim_net_set_up(vdpa_sim_net_of(sim), config);
	ret = vdpa_sim_device_register(sim, mgmt);
	if (ret)
		vdpa_sim_device_drop(sim);
	return ret;
}

static void vdpa_sim_net_dev_del(struct vdpa_mgmt_dev *mgmt, struct vdpa_device *vdpa)
{
	vdpa_sim_device_unregister(vdpa_sim_of(vdpa));
}

#define SETTABLE (BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MACADDR) | BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MTU))

static void vdpa_sim_net_set_attr_locked(struct vdpa_sim_net *net,
					 const struct vdpa_dev_set_config *config)
{
	lockdep_assert_held(&net->sim.lock);
	if (vdpa_sim_net_has_attr(config, VDPA_ATTR_DEV_NET_CFG_MACADDR))
		vdpa_sim_net_set_mac_locked(net, config->net.mac);
	if (vdpa_sim_net_has_attr(config, VDPA_ATTR_DEV_NET_CFG_MTU)) {
		down_write(&net->sem);
		net->mtu = config->net.mtu;
		up_write(&net->sem);
	}
}

static int vdpa_sim_net_dev_set_attr(struct vdpa_mgmt_dev *mgmt, struct vdpa_device *vdpa,
				     const struct vdpa_dev_set_config *config)
{
	struct vdpa_sim_net *net = vdpa_sim_net_of(vdpa_sim_of(vdpa));
	bool busy;

	if (config->mask & ~SETTABLE || !vdpa_sim_net_offers(net, config))
		return -EOPNOTSUPP;
	mutex_lock(&net->sim.lock);
	busy = net->sim.phase != VDPA_SIM_PHASE_INIT;
	if (!busy)
		vdpa_sim_net_set_attr_locked(net, config);
	mutex_unlock(&net->sim.lock);
	return busy ? -EBUSY : 0;
}

static const struct vdpa_mgmtdev_ops vdpa_sim_net_mgmt_ops = {
	.dev_add = vdpa_sim_net_dev_add,
	.dev_del = vdpa_sim_net_dev_del,
#ifndef VDPA_NEEDS_EXT_OPS
	.dev_set_attr = vdpa_sim_net_dev_set_attr,
#endif
};

#ifdef VDPA_NEEDS_EXT_OPS
static const struct vdpa_ext_mgmt_ops vdpa_sim_net_ext_mgmt_ops = {
	.dev_set_attr = vdpa_sim_net_dev_set_attr,
};

static int vdpa_sim_net_offer_more(struct vdpa_mgmt_dev *mgmt)
{
	return vdpa_mgmtdev_set_ext_ops(mgmt, &vdpa_sim_net_ext_mgmt_ops);
}
#else
static int vdpa_sim_net_offer_more(struct vdpa_mgmt_dev *mgmt)
{
	return 0;
}
#endif

static struct virtio_device_id vdpa_sim_net_ids[] = {
	{ VIRTIO_ID_NET, VIRTIO_DEV_ANY_ID },
	{ 0 },
};

static struct vdpa_mgmt_dev vdpa_sim_net_mgmt = {
	.ops = &vdpa_sim_net_mgmt_ops,
	.id_table = vdpa_sim_net_ids,
	.config_attr_mask =
		BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MACADDR) | BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MTU) |
		BIT_ULL(VDPA_ATTR_DEV_NET_CFG_MAX_VQP) | BIT_ULL(VDPA_ATTR_DEV_FEATURES),
	.supported_features = ALL_FEATURES,
	.max_supported_vqs = 2 * VDPA_SIM_NET_MAX_PAIRS + 1,
};

static int __init vdpa_sim_net_init(void)
{
	int ret;

	vdpa_sim_net_parent = root_device_register("vdpasim_net");
	if (IS_ERR(vdpa_sim_net_parent))
		return PTR_ERR(vdpa_sim_net_parent);
	vdpa_sim_net_mgmt.device = vdpa_sim_net_parent;
	ret = vdpa_mgmtdev_register(&vdpa_sim_net_mgmt);
	if (ret)
		root_device_unregister(vdpa_sim_net_parent);
	return ret ?: vdpa_sim_net_offer_more(&vdpa_sim_net_mgmt);
}
module_init(vdpa_sim_net_init);

/* Unregistering the management device deletes its devices. */
static void __exit vdpa_sim_net_exit(void)
{
	vdpa_mgmtdev_unregister(&vdpa_sim_net_mgmt);
	root_device_unregister(vdpa_sim_net_parent);
}
module_exit(vdpa_sim_net_exit);

MODULE_DESCRIPTION("vDPA simulator, network devices");
MODULE_LICENSE("GPL");
