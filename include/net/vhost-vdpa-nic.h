/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What virtio-net.c calls of a vhost-vdpa netdev: net/vhost-vdpa-link.h.
 *
 * A vDPA netdev has no data path in user space. QEMU's model of virtio-net
 * touches no data queue of such a device, whether the device runs or not.
 *
 * Thread model: the BQL.
 */
#ifndef NET_VHOST_VDPA_NIC_H
#define NET_VHOST_VDPA_NIC_H

#include "net/net.h"

/* Does a vDPA device serve the data queues of this NIC's client? */
static inline bool vhost_vdpa_serves(const NetClientState *nic)
{
    return nic->peer && nic->peer->info->type == NET_CLIENT_DRIVER_VHOST_VDPA;
}

#ifdef CONFIG_VHOST_NET_VDPA
/*
 * vhost_net_start() has failed with @error, a negative errno, for the NIC whose
 * first client is @nic: report the reason and take the link down. False, and
 * nothing is done, if the NIC's peer is no vDPA device.
 */
bool vhost_vdpa_start_failed(NetClientState *nic, int error);

/* The NIC is reset: a link that a failure took down comes up again. */
void vhost_vdpa_nic_reset(NetClientState *nic);
#else
static inline bool vhost_vdpa_start_failed(NetClientState *nic, int error)
{
    return false;
}

static inline void vhost_vdpa_nic_reset(NetClientState *nic)
{
}
#endif

#endif
