/*
 * KVM dirty ring: QMP and HMP without KVM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-migration.h"

KvmDirtyRingInfo *qmp___org_qemu_live_query_kvm_dirty_ring(Error **errp)
{
    error_setg(errp, "this emulator has no KVM");
    return NULL;
}
