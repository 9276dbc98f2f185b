/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The link of a vhost-vdpa netdev whose device has failed. See
 * vhost-vdpa-link.h, also for the limits.
 */
#include "qemu/osdep.h"
#include "hw/virtio/virtio-net.h"
#include "net/net.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-net.h"
#include "hw/virtio/vdpa/core/vdpa-report.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "system/runstate.h"
#include "vhost-vdpa-link.h"

struct VdpaLink {
    char *netdev;
    QEMUBH *interrupt;
    VMChangeStateEntry *vm_change;
    bool failed;        /* a failure took it down, and keeps it down */
    bool due;           /* the bottom half will interrupt the guest */
    bool internal;      /* this file is calling set_link */
};

/* What set_link marks, without telling anything of it. */
static void mark(const VdpaLink *link, bool down)
{
    NetClientState *clients[MAX_QUEUE_NUM];
    int n = qemu_find_net_clients_except(link->netdev, clients,
                                         NET_CLIENT_DRIVER__MAX, MAX_QUEUE_NUM);

    for (int i = 0; i < n; i++) {
        clients[i]->link_down = down;
        if (clients[i]->peer) {
            clients[i]->peer->link_down = down;
        }
    }
}

static void forget(VdpaLink *link)
{
    link->failed = link->due = false;
    qemu_bh_cancel(link->interrupt);
}

static void interrupt(void *opaque)
{
    VdpaLink *link = opaque;
    Error *err = NULL;

    link->due = false;
    link->internal = true;
    qmp_set_link(link->netdev, false, &err);
    link->internal = false;
    if (err) {
        vdpa_error_reportf_err(err, "vhost-vdpa: ");
    }
}

/* A failure is forgotten; the guest is interrupted if it was for the failure. */
static void take_up(VdpaLink *link, NetClientState *client)
{
    NetClientState *nic = client->peer;

    forget(link);
    mark(link, false);
    if (nic) {
        nic->info->link_status_changed(nic);
    }
}

/* When the VM stops: called after the device is stopped, and nothing starts it. */
static void vm_changes(void *opaque, bool running, RunState state)
{
    VdpaLink *link = opaque;
    NetClientState *client = !running && link->failed
                             ? qemu_find_netdev(link->netdev) : NULL;

    if (client) {
        take_up(link, client);
    }
}

VdpaLink *vdpa_link_new(const char *netdev)
{
    VdpaLink *link = g_new0(VdpaLink, 1);

    link->netdev = g_strdup(netdev);
    link->interrupt = qemu_bh_new(interrupt, link);
    link->vm_change = qemu_add_vm_change_state_handler(vm_changes, link);
    return link;
}

void vdpa_link_free(VdpaLink *link)
{
    qemu_del_vm_change_state_handler(link->vm_change);
    qemu_bh_delete(link->interrupt);
    g_free(link->netdev);
    g_free(link);
}

void vdpa_link_fail(VdpaLink *link)
{
    mark(link, true);
    link->failed = link->due = true;
    qemu_bh_schedule(link->interrupt);
}

bool vdpa_link_fails(const VdpaLink *link)
{
    return link->due;
}

/*
 * set_link marks all clients if it is given the netdev's name, and the NIC's
 * only if it is given the NIC's id.
 */
void vdpa_link_set(VdpaLink *link, NetClientState *client)
{
    NetClientState *nic = client->peer;

    if (link->internal || !link->failed) {
        return;
    }
    forget(link);
    if (client->link_down && nic && !nic->link_down) {
        mark(link, false);
        nic->info->link_status_changed(nic);
    }
}

void vdpa_link_reset(VdpaLink *link)
{
    NetClientState *client = link->failed ? qemu_find_netdev(link->netdev) : NULL;

    if (!client) {
        return;
    }
    forget(link);
    mark(link, false);
    if (client->peer) {
        VirtIONet *n = qemu_get_nic_opaque(client->peer);

        n->status |= VIRTIO_NET_S_LINK_UP;
    }
}
