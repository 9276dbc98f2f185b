/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a vhost-vdpa netdev has to say when a migration comes in.
 *
 * Theory of operation
 * -------------------
 * A device that cannot be given guest memory is better found out about while
 * the guest still runs at the source. Therefore nothing of a migration's stream
 * is taken before all of guest memory is mapped for each device:
 *
 *   stream's header -> each device: wait -> RAM, devices, ... as always
 *                         |
 *                         +-> cannot map: the migration fails, with the reason
 *
 * The source notices that its stream is not taken, or that it was closed; the
 * guest goes on there. What waits is the coroutine that loads, so the monitor
 * is served meanwhile. A failure from before the migration, of which the reason
 * may be gone, is tried once more.
 *
 * A source that offers postcopy has the destination discard its memory after that,
 * and before the first page (migration/postcopy-discard.h); the same wait follows.
 *
 * It is done for all guests, those that do not use the device, too: whether
 * they do is known only when they have left the source.
 *
 * Nothing of this is in the stream: the entry among the handlers of migration
 * has no state to save.
 *
 * Life cycle: new -> free. The netdev may go while a migration waits for it.
 *
 * Thread model: the BQL; the wait is in a coroutine of the main loop.
 *
 * Limits: a source that has sent all it has to say by then, and does not ask
 * whether it was taken (capability return-path), believes that the guest has
 * moved; that much fits into a socket only for a guest of hardly any memory.
 * Memory that a postcopy migration discards when it has begun is mapped again
 * when all of it has come.
 */
#ifndef NET_VHOST_VDPA_INCOMING_H
#define NET_VHOST_VDPA_INCOMING_H

#include "hw/virtio/vdpa/vdpa-device.h"

typedef struct VdpaIncoming VdpaIncoming;

/* For device @d of netdev @name; @d has to stay until free(). */
VdpaIncoming *vdpa_incoming_new(VdpaDevice *d, const char *name);

/* NULL is nothing to free. */
void vdpa_incoming_free(VdpaIncoming *in);

#endif
