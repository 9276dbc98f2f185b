/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a device turns out to be like, where no feature bit says so.
 *
 * Theory of operation
 * -------------------
 * space   The control queue is to have an address space of its own. Which group
 *         it is in depends on its index, and that on whether the driver has
 *         agreed on multiqueue; but some devices' groups are fixed. Then it is
 *         among the data queues, and QEMU's rings for it must not be where a
 *         guest can have the device write: all queues are shadowed
 *         (VdpaDevice.together), as with x-svq=on.
 * moves   Whether a queue that stands still can be put elsewhere. A device that
 *         passes over this while it is suspended goes on with the old ring when
 *         it is resumed. So the first time that a device is to be switched, a
 *         queue is given another position, which is read back, and then its own.
 *
 * Thread model: the BQL.
 *
 * Limits: a device that takes positions and passes over addresses is not found
 * out.
 */
#ifndef HW_VIRTIO_VDPA_TRAITS_H
#define HW_VIRTIO_VDPA_TRAITS_H

#include "vdpa-device.h"

/* Between AGREE and the first queue: sets @d->together. 0, or -errno. */
int vdpa_traits_space(VdpaDevice *d, Error **errp);

/*
 * @d is suspended. 0, or -errno with @errp. A queue is disabled by trying it, and
 * whoever goes on takes it from there, or resets the device.
 */
int vdpa_traits_moves(VdpaDevice *d, bool *moves, Error **errp);

#endif
