/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * query-vhost-vdpa where there is no virtio.
 */
#include "qemu/osdep.h"
#include "qapi/qapi-commands-net.h"

VhostVdpaInfoList *qmp___org_qemu_live_query_vhost_vdpa(Error **errp)
{
    return NULL;
}
