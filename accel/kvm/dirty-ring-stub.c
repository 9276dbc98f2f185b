/*
 * KVM dirty ring: QMP, HMP and dirty-limit without KVM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-migration.h"
#include "system/dirty-limit.h"

KvmDirtyRingInfo *qmp___org_qemu_live_query_kvm_dirty_ring(Error **errp)
{
    error_setg(errp, "this emulator has no KVM");
    return NULL;
}

void dirty_limit_set_vcpu(int cpu_index, uint64_t mib_per_s)
{
    g_assert_not_reached();
}
