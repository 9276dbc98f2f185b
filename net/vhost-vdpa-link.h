/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The link of a vhost-vdpa netdev whose device has failed.
 *
 * Theory of operation
 * -------------------
 * A vDPA netdev has no data path in user space. So a device that cannot be
 * started, or that fails later, is a link that is down: the guest sees that, and
 * QEMU's model answers the control queue.
 *
 *   up --fail()--> down by a failure --set_link up, a reset of the NIC, or a
 *                     |                stop of the VM--> up
 *                     |
 *                     '--set_link down--> down by the user
 *
 * fail() marks all clients of the netdev and the NIC's at once, so nothing tries
 * to start the device again. The interrupt waits for a bottom half: the guest
 * may direct it to device_status of this device, which stops and resets the
 * device, and fail() may be called in the middle of starting it.
 *
 * The guest's driver resets the NIC before each start, so the next load of a
 * driver tries again. A link that the user took down stays down.
 *
 * A failure is the host's, and the stream of a migration has only the link's state,
 * not why it is down. So a stop of the VM ends a failure: the stream says that the
 * link is up, and the QEMU that continues the VM (the destination, this QEMU after a
 * migration that failed or by `cont`) tries to start the device. If that fails, the
 * link goes down there. The guest is interrupted when the VM stops, which is part
 * of the stream.
 *
 * Life cycle: new -> free. Thread model: the BQL.
 *
 * Limits: while a failure keeps the link down, `set_link` down by the id of the NIC is
 * undone by the name of the netdev only.
 */
#ifndef NET_VHOST_VDPA_LINK_H
#define NET_VHOST_VDPA_LINK_H

#include "net/net.h"

typedef struct VdpaLink VdpaLink;

VdpaLink *vdpa_link_new(const char *netdev);
void vdpa_link_free(VdpaLink *link);

/* The device has failed. Any function of the device may be on the stack. */
void vdpa_link_fail(VdpaLink *link);

/* Has the device failed, and the guest has not been interrupted for it yet? */
bool vdpa_link_fails(const VdpaLink *link);

/* The user called `set_link` for @client, the netdev's first, or for its NIC. */
void vdpa_link_set(VdpaLink *link, NetClientState *client);

/* The NIC is reset. */
void vdpa_link_reset(VdpaLink *link);

#endif
