// SPDX-License-Identifier: GPL-2.0-or-later
//
// A vDPA device that cannot be started is a link that is down.
//
// Where vhost_net_start() fails, virtio-net goes on to serve its queues itself, which is right for a
// tap device.  A vDPA netdev has no data path in user space: frames that virtio-net takes off the
// guest's transmit queues are lost, and the used ring is written at a position of which the device
// does not know.  The same goes for the transmit queues of a link that is down, which virtio-net
// empties.
//
// How it was found: a guest that loads its driver while QEMU is out of file descriptors never sends or
// receives a frame again.
//
// header: declares what is called below, net/vhost-vdpa-link.h says what it does.
//
// start: where the start fails, the link goes down and the reason is kept.
//
// reset: a driver that is loaded again tries again.
//
// handler, flush, drop: three places touch a transmit queue; none touches one of a vDPA device.
//
// Delete this when the base does not serve queues of a netdev that has no data path in user space.

@header@
position p;
@@
  #include "net/vhost_net.h"@p
+ #include "net/vhost-vdpa-nic.h"

@start@
typedef VirtIODevice, VirtIONet, VirtIONetQueue, VirtQueue;
identifier n, r;
expression text;
position p;
@@
  virtio_net_vhost_status(VirtIONet *n, ...)
  {
  <...
+ n->vhost_started = 0;
+ if (!vhost_vdpa_start_failed(qemu_get_queue(n->nic), r)) {
  error_report@p(text, -r);
- n->vhost_started = 0;
+ }
  ...>
  }

@reset@
identifier vdev, n;
position p;
@@
  virtio_net_reset(VirtIODevice *vdev)
  {
  ...
  virtio_net_disable_rss@p(n);
+ vhost_vdpa_nic_reset(qemu_get_queue(n->nic));
  }

@handler@
identifier fn = { virtio_net_handle_tx_timer, virtio_net_handle_tx_bh };
identifier vdev, vq, n, q;
expression e;
position p;
@@
  fn(VirtIODevice *vdev, VirtQueue *vq)
  {
  VirtIONet *n = VIRTIO_NET(vdev);
  VirtIONetQueue *q@p = e;
+
+ if (vhost_vdpa_serves(qemu_get_queue(n->nic))) {
+     return;
+ }
  ...
  }

@flush@
identifier q, vdev;
position p;
@@
  virtio_net_flush_tx(VirtIONetQueue *q)
  {
  <...
- if (!(vdev->status & VIRTIO_CONFIG_S_DRIVER_OK@p)) {
+ if (!(vdev->status & VIRTIO_CONFIG_S_DRIVER_OK) ||
+     vhost_vdpa_serves(qemu_get_queue(q->n->nic))) {
  ...
  }
  ...>
  }

@drop@
identifier vdev, vq;
position p;
@@
  virtio_net_drop_tx_queue_data(VirtIODevice *vdev, VirtQueue *vq)
  {
  ...
- unsigned int dropped = virtqueue_drop_all@p(vq);
+ unsigned int dropped = 0;
+
+ if (!vhost_vdpa_serves(qemu_get_queue(VIRTIO_NET(vdev)->nic))) {
+     dropped = virtqueue_drop_all(vq);
+ }
  ...
  }
