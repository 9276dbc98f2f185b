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
 *         (VdpaDevice.shared_asid), as with x-svq=on.
 * moves   Whether a queue of a suspended device can be put elsewhere. A device that
 *         ignores this continues with the old ring when it is resumed. So the
 *         first switch of a device tries it with one queue, in two ways:
 *
 *         position  Set another ring base and read it back.
 *         resume    Some drivers (mlx5_vdpa) only store what they are told while
 *                   the device is suspended, hand it to the hardware at RESUME,
 *                   and read the ring base from the hardware. So tell the device
 *                   of a ring of QEMU's in which nothing is available, at a base
 *                   of its own, resume, suspend, and read the base. Other queues
 *                   are served meanwhile, as before. A device that ignores the
 *                   ring continues with the guest's.
 *
 * control Whether the control queue is served after RESUME is not found out: some
 *         drivers (mlx5_vdpa) stop serving it at SUSPEND, until it is enabled
 *         again. vdpa-switch.c enables it after each RESUME; for other devices
 *         that changes nothing.
 *
 * Thread model: the BQL.
 *
 * Limits: a device that takes positions and ignores addresses is not found out.
 */
#ifndef HW_VIRTIO_VDPA_TRAITS_H
#define HW_VIRTIO_VDPA_TRAITS_H

#include "vdpa-device.h"

/* Between AGREE and the first queue: sets @d->shared_asid. 0, or -errno. */
int vdpa_quirks_asid(VdpaDevice *d, Error **errp);

/*
 * @d is suspended, and is so afterwards. 0, or -errno with @errp. Trying disables
 * a queue, and may leave it parked in a ring of QEMU's: the caller exchanges all
 * queues, or resets the device.
 */
int vdpa_quirks_can_rebase(VdpaDevice *d, bool *moves, Error **errp);

#endif
