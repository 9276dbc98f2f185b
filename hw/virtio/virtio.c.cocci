// SPDX-License-Identifier: GPL-2.0-or-later
//
// hw/virtio/virtio.c: what QEMU caches of a ring is as long as the ring.
//
// QEMU caches the three parts of each ring when the guest's driver sets the queue up.  An access
// beyond a part, or a write to a part that was cached for reading, is an assertion.  How long a part
// is and which are written depends on the queue's size and on the features that the driver accepted,
// and a guest can change these without a reset.  The rule: a change of what the length depends on
// caches the rings anew, and is refused while the device is started, as a thread may be serving the
// rings then, and would see the new length before the new cache.
//
// num: virtio-net deletes its queues when the guest changes what it has negotiated, and leaves the
// rings' addresses behind.  A guest that then writes queue_size of such a queue has its ring, of no
// entries, cached: address_space_cache_init() asserts that there is something, and QEMU ends.
//
// caches: the base caches rings anew only if EVENT_IDX is among the accepted features.  From packed
// to split rings and back, without EVENT_IDX, it does not: the used ring of a packed queue is cached
// with four bytes, the descriptors of a split one for reading.
//
// started: features do not change after DRIVER_OK, whatever bits of the status the guest clears.
//
// size: a queue that is set up keeps its size while the device is started.
//
// Delete this when the base does the same.  tests/avocado/hostile.py, case deleted-queue, ends QEMU
// without num; tests/avocado/virtio_rules.py without caches, and fails without the others.

@ num @
identifier vq, addr;
position p;
@@
  addr = vq->vring.desc;
- if (!addr@p) {
+ if (!addr || !vq->vring.num) {
    goto out_no_cache;
  }

@ caches @
typedef VirtIODevice, uint64_t;
identifier vdev, val, i;
statement S;
position p;
@@
  virtio_set_features(VirtIODevice *vdev, uint64_t val)
  {
  ...
- if (virtio_vdev_has_feature@p(vdev, VIRTIO_RING_F_EVENT_IDX)) {
-     int i;
-     for (i = 0; i < VIRTIO_QUEUE_MAX; i++) S
- }
+ for (int i = 0; i < VIRTIO_QUEUE_MAX; i++) S
  ...
  }

@ started @
typedef VirtIODevice, uint64_t;
identifier vdev, val;
position p;
@@
  virtio_set_features(VirtIODevice *vdev, uint64_t val)
  {
  ...
- if (vdev->status@p & VIRTIO_CONFIG_S_FEATURES_OK) {
+ if (vdev->status & VIRTIO_CONFIG_S_FEATURES_OK || virtio_device_started(vdev, vdev->status)) {
    return -EINVAL;
  }
  ...
  }

@ size @
typedef VirtIODevice;
identifier vdev, n, entries;
position p;
@@
  virtio_queue_set_num(VirtIODevice *vdev, int n, int entries)
  {
+ if (vdev->vq[n].vring.desc && virtio_device_started(vdev, vdev->status)) {
+     return;
+ }
  ...
  vdev->vq[n].vring.num =@p entries;
  }
