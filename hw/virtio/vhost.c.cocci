// SPDX-License-Identifier: GPL-2.0-or-later
//
// A guest that changes a queue's addresses while its device runs ends QEMU.
//
// vhost maps a queue's rings when the device starts, unless the guest has not set that queue up; when
// the device stops, it asks the guest's registers again whether there is anything to unmap, and how
// much.  A guest may have written to them meanwhile: a driver has no business to, but nothing keeps it
// from writing QUEUE_ENABLE for one more queue.  Then vhost unmaps a ring that
// was never mapped, at address 0, and QEMU dies of it (address_space_unmap()).
// With a queue taken away instead, what is mapped stays so, and the backend is
// not asked where it stands; with its size changed, more is marked dirty than
// the ring has.
//
// How it was found: tests/avocado/hostile.py, writes to a device's registers drawn by lot.
//
// start, stop: go by the rings that were mapped, which vhost keeps in its own struct anyway.
//
// Delete this when the base stops a queue because it has started it; upstream would want it.

@start@
identifier vq, r;
position p;
@@
  vhost_virtqueue_start(..., struct vhost_virtqueue *vq, ...)
  {
  <...
- return@p r;
+ vq->desc = NULL;
+ return r;
  ...>
  }

@stop@
identifier dev, vdev, vq, idx;
position p;
@@
  vhost_virtqueue_stop(struct vhost_dev *dev, struct VirtIODevice *vdev, struct vhost_virtqueue *vq, unsigned idx)
  {
  ...
- if (virtio_queue_get_desc_addr@p(vdev, idx) == 0)
+ if (!vq->desc)
  {
  ...
  }
  ...
- vhost_memory_unmap(dev, vq->used, virtio_queue_get_used_size(vdev, idx),
-                    1, virtio_queue_get_used_size(vdev, idx));
+ vhost_memory_unmap(dev, vq->used, vq->used_size, 1, vq->used_size);
- vhost_memory_unmap(dev, vq->avail, virtio_queue_get_avail_size(vdev, idx),
-                    0, virtio_queue_get_avail_size(vdev, idx));
+ vhost_memory_unmap(dev, vq->avail, vq->avail_size, 0, vq->avail_size);
- vhost_memory_unmap(dev, vq->desc, virtio_queue_get_desc_size(vdev, idx),
-                    0, virtio_queue_get_desc_size(vdev, idx));
+ vhost_memory_unmap(dev, vq->desc, vq->desc_size, 0, vq->desc_size);
+ vq->desc = NULL;
  }
