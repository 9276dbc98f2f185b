// SPDX-License-Identifier: GPL-2.0-or-later
//
// A queue is reset alone only if the driver accepted VIRTIO_F_RING_RESET.
//
// The base resets a queue at a write of 1 to queue_reset, whatever was negotiated.  A device that does
// not offer the feature, as vhost-vdpa, goes on with the queue's ring, while QEMU has forgotten where it
// is; and after the device was stopped the queue does not start again.
//
// How it was found: by reading.  tests/avocado/virtio_rules.py, case queue-reset.
//
// Delete this when the base asks for the feature; upstream would want it.

@queue_reset@
typedef VirtIODevice;
VirtIODevice *vdev;
identifier val, proxy;
position p;
@@
- if (val == 1) {
+ if (val == 1 && virtio_vdev_has_feature(vdev, VIRTIO_F_RING_RESET)) {
    proxy->vqs[vdev->queue_sel].reset@p = 1;
    ...
  }
