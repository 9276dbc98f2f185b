# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of QMP commands, events and members that stock QEMU does not have.

They begin with the downstream prefix that QAPI's rules ask for, so that upstream can never use one of
them for something else.
"""

PREFIX = "__org.qemu-live_"

QUERY_DIRTY_RING = PREFIX + "query-kvm-dirty-ring"
QUERY_VHOST_VDPA = PREFIX + "query-vhost-vdpa"
DIRTY_RING_FAULT = PREFIX + "KVM_DIRTY_RING_FAULT"
#: Member of query-migrate.
SYNCS = PREFIX + "syncs"
